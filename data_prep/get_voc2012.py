"""Get the photos of PASCAL VOC2012: 17,125 JPEGs from the official host, a download of 2 GB.

    python data_prep/get_voc2012.py --out photos/voc2012

Needs 4 GB of free disk for a while. Stopped half-way, the same command goes on from there. On a machine without network, fetch
VOCtrainval_11-May-2012.tar elsewhere, bring it over, and unpack it with --tar VOCtrainval_11-May-2012.tar
"""
import hashlib
import shutil
import tarfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Annotated, Optional
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.errors import RestorerError
from restorer_fastai.photo.progress import with_progress

URL = 'https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar'
MD5 = '6cd6e144f989b92b3379bac3b3de84fd'
PHOTOS = 17_125
FOLDER = PurePosixPath('VOCdevkit/VOC2012/JPEGImages')


class VocError(RestorerError):
    "Something that the person at the keyboard can mend."


def byte_bar():
    "Progress in bytes, with the time left."
    # Not `progress_bar`, which counts photos: a download is told in bytes, as GB of GB, and its host need not say how many there are.
    return Progress(TextColumn('{task.description}'), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True))


def pieces(file):
    "The rest of an open file in pieces of 1 MiB."
    while piece := file.read(2**20): yield piece


def md5_of(path):
    "MD5 of a file, 32 hexadecimal digits."
    digest = hashlib.md5(usedforsecurity=False)
    with byte_bar() as bar, open(path, 'rb') as file:
        task = bar.add_task('checking', total=path.stat().st_size)
        for piece in pieces(file):
            digest.update(piece)
            bar.advance(task, len(piece))
    return digest.hexdigest()


def fetch(url, part):
    "Download into the file `part`, going on from what it holds already."
    have = part.stat().st_size if part.exists() else 0
    try: answer = urlopen(Request(url, headers={'Range': f'bytes={have}-'} if have else {}), timeout=60)
    except HTTPError as e:
        if e.code == 416: return # nothing left to fetch
        raise
    with answer, byte_bar() as bar:
        if answer.status != 206: have = 0 # the host sends everything again
        length = answer.headers.get('Content-Length')
        total = have + int(length) if length else None
        task = bar.add_task('downloading', total=total, completed=have)
        with open(part, 'ab' if have else 'wb') as file:
            for piece in pieces(answer):
                file.write(piece)
                bar.advance(task, len(piece))
    if total and part.stat().st_size < total: raise OSError('the connection was cut')


def download(url, tar, md5):
    "The tar from `url`, whole and with the right checksum."
    part = tar.with_name(tar.name + '.part')
    part.parent.mkdir(parents=True, exist_ok=True)
    try: fetch(url, part)
    except (OSError, HTTPException) as e:
        raise VocError(f"{url}: {e}. Start again, it goes on from here; or fetch the file elsewhere and give it as --tar") from e
    if md5_of(part) != md5:
        part.unlink()
        raise VocError(f"{url}: the checksum is not {md5}. The download was removed: start the same command again")
    part.rename(tar)


def photo_name(member):
    "File name if a member of the tar is a photo, else None. Raises VocError for what has no place in this tar."
    path = PurePosixPath(member.name)
    if path.is_absolute() or '..' in path.parts or '\\' in member.name:
        raise VocError(f"the tar holds {member.name!r}, which points outside: not VOC2012, nothing was unpacked")
    if path.parent != FOLDER or member.isdir(): return None
    if not member.isfile(): raise VocError(f"the tar holds {member.name!r}, no plain file: not VOC2012, nothing was unpacked")
    return path.name


def extract(tar, out):
    "Unpack the photos of the tar, and nothing else, into `out`; those that are there are left alone. Returns how many there are."
    try:
        with tarfile.open(tar) as archive:
            photos = [(member, name) for member in archive if (name := photo_name(member))]
            for member, name in with_progress(photos, 'unpacking'):
                if (out/name).is_file() and (out/name).stat().st_size == member.size: continue
                with write_beside(out/name) as beside, open(beside, 'wb') as file:
                    shutil.copyfileobj(archive.extractfile(member), file)
    except tarfile.TarError as e: raise VocError(f"{tar} is no tar, or damaged ({e}): get it again") from e
    if not photos: raise VocError(f"{tar} holds no photos in {FOLDER}: is it {Path(URL).name}?")
    return len(photos)


def main(
    out: Annotated[Path, typer.Option(help='Folder for the photos')],
    tar: Annotated[Optional[Path], typer.Option(help='Unpack this file instead of downloading')] = None,
    keep_tar: Annotated[bool, typer.Option(help='Keep the downloaded tar')] = False,
    url: Annotated[str, typer.Option(help='Download from here')] = URL,
    md5: Annotated[str, typer.Option(help='Checksum that the tar must have')] = MD5,
):
    try:
        if not tar and len(list(out.glob('*.jpg'))) == PHOTOS: return typer.echo(f'{out}: all {PHOTOS:,} photos are there')
        here = tar or out/Path(URL).name
        if here.is_file():
            if md5_of(here) != md5: raise VocError(f"{here}: the checksum is not {md5}: damaged, or another file. Get it again")
        elif tar: raise VocError(f"{tar}: there is no such file")
        else: download(url, here, md5)
        typer.echo(f'{out}: {extract(here, out):,} photos')
        if not (tar or keep_tar): here.unlink()
    except (VocError, OSError) as e:
        typer.secho(f'error: {e}', fg='red', err=True)
        raise typer.Exit(1)


if __name__ == '__main__':
    main.__doc__ = __doc__
    typer.run(main)
