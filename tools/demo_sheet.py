"""The pictures of `make demo`.

    python tools/demo_sheet.py damage demo/photos/held_out demo/worn                       # four photos as people bring them
    python tools/demo_sheet.py sheet demo/wonder.jpg worn=demo/worn restored=demo/wonder   # folders side by side, a photo a row
"""
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from restorer_fastai.degrade.damage import add_gaussian_noise, to_black_and_white
from restorer_fastai.degrade.film import film_negative
from restorer_fastai.degrade.marks import add_scratches
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_float, with_short_side
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import show_photos
from restorer_fastai.photo.writing import write_photo

SIDE = 384 # px, short side of the photos
app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def damage(photos: Annotated[Path, typer.Argument(help='Folder with two clean photos at least')], out: Path):
    "Write four worn photos: a film negative, a scratched and noisy print, a black-and-white one, a small one; and beside them, as OUT_truth, what they were."
    first, second = (with_short_side(to_float(read_photo(o)), SIDE) for o in find_photos(photos)[:2])
    worn = {'1_negative': (film_negative(second, grain=.02, seed=1), second),
            '2_damaged': (add_gaussian_noise(add_scratches(first, count=4, seed=3), 12, seed=3), first),
            '3_black_and_white': (to_black_and_white(second), second),
            '4_small': (with_short_side(first, SIDE//4), first)}
    for name, (photo, truth) in worn.items():
        write_photo(out/f'{name}.png', photo)
        write_photo(out.with_name(f'{out.name}_truth')/f'{name}.png', truth)


@app.command()
def sheet(out: Path, columns: Annotated[list[str], typer.Argument(help='TITLE=FOLDER, from left to right; photos go together by name')], height: float = 2.):
    "Write one picture with a row for each photo of the first folder."
    columns = [o.split('=', 1) for o in columns]
    found = [{o.stem: o for o in find_photos(folder)} for _, folder in columns]
    names = list(found[0])
    rows = [[read_photo(o[name]) if name in o else np.full((8, 8, 3), 255, np.uint8) for o in found] for name in names]
    tall = max(o.shape[0] for row in rows for o in row)
    same = [cv2.resize(o, (round(o.shape[1]*tall/o.shape[0]), tall), interpolation=cv2.INTER_NEAREST) for row in rows for o in row]
    fig = show_photos(same, [title if i == 0 else '' for i in range(len(rows)) for title, _ in columns], ncols=len(columns), height=height)
    out.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(out, dpi=110, pil_kwargs=dict(quality=88))
    typer.echo(f'{out}: {", ".join(names)}')


if __name__ == '__main__': app()
