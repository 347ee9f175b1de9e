"""Get the photos of PASCAL VOC2012: 17,125 JPEGs from the official host, a download of 2 GB.

    python data_prep/get_voc2012.py --out photos/voc2012

Needs 4 GB of free disk for a while. Stopped half-way, the same command goes on from there. On a machine without network, fetch
VOCtrainval_11-May-2012.tar elsewhere, bring it over, and unpack it with --tar VOCtrainval_11-May-2012.tar
"""
from pathlib import Path
from typing import Annotated, Optional

import typer

from restorer_fastai.data.voc2012 import DownloadError, get_voc2012, VOC_MD5, VOC_URL


def main(
    out: Annotated[Path, typer.Option(help='Folder for the photos')],
    tar: Annotated[Optional[Path], typer.Option(help='Unpack this file instead of downloading')] = None,
    keep_tar: Annotated[bool, typer.Option(help='Keep the downloaded tar')] = False,
    url: Annotated[str, typer.Option(help='Download from here')] = VOC_URL,
    md5: Annotated[str, typer.Option(help='Checksum that the tar must have')] = VOC_MD5,
):
    try: typer.echo(f'{out}: {get_voc2012(out, tar, keep_tar, url, md5):,} photos')
    except (DownloadError, OSError) as e:
        typer.secho(f'error: {e}', fg='red', err=True)
        raise typer.Exit(1)


if __name__ == '__main__':
    main.__doc__ = __doc__
    typer.run(main)
