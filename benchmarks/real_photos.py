"""The sheet of real photos in nbs/pages/old_photos.md: as they came, classical tools, the restorer. Nobody knows their truth, so there are no scores.

    python benchmarks/real_photos.py negatives/forest_strip.png old_photos/detroit_1915.jpg --negative negatives/forest_strip.png --out nbs/images/real_photos.jpg
    python benchmarks/real_photos.py old_photos/*.jpg --model before=old/model.json --model now=reference --height 1.6

Choose the photos before you look at the results. Negatives (named with --negative) are inverted by negadoctor with an automatic film base; in the others what is
narrow and stands out is taken for a scratch (top-hat) and filled by Telea's method, then the levels are stretched. The restorer is told nothing but that prints are
worn, as `restorer oldphoto` does; what it took each photo for stands below it. `--model NAME=WEIGHTS` may come several times, a column each.
"""
import warnings
from pathlib import Path
from typing import Annotated, Optional

warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import numpy as np
import typer
from restorer_fastai.baselines.classical import inpaint_telea, stretch_levels
from restorer_fastai.baselines.negadoctor import invert_negadoctor
from restorer_fastai.oldphoto.defects import top_hat
from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.pixels import to_float
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import show_photos
from restorer_fastai import Restorer

STANDS_OUT = .3 # height of the top-hat above which something is a scratch


def reduced(img, short=384):
    "Small enough for a sheet."
    scale = short/min(img.shape[:2])
    return img if scale >= 1 else cv2.resize(img, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def mend_classically(img):
    "Dust and scratches, then levels."
    scratches = cv2.dilate(np.uint8(top_hat(img, 5) > STANDS_OUT), np.ones((3, 3), np.uint8)) > 0
    return stretch_levels(inpaint_telea(img, scratches))


def named(models):
    "NAME=WEIGHTS, ... -> pairs; a name is not needed when there is one."
    return [(name or 'restored', weights) for name, _, weights in (o.rpartition('=') for o in models)]


def main(
    photos:Annotated[list[Path], typer.Argument(help='Photos, in the order of the rows')],
    negative:Annotated[Optional[list[Path]], typer.Option(help='Those of them that are negatives')]=None,
    model:Annotated[Optional[list[str]], typer.Option(help='Weights, or NAME=WEIGHTS')]=None,
    height:Annotated[float, typer.Option(help='Of a row, inches')]=2.2,
    groups:Annotated[int, typer.Option(help='How many photos stand side by side')]=1,
    out:Annotated[Path, typer.Option(help='JPEG to write')]=Path('real_photos.jpg'),
):
    "Draw the sheet."
    restorers = [(name, Restorer.load(weights)) for name, weights in named(model or ['reference'])]
    shown, titles = [], []
    for path in with_progress(photos, 'restoring'):
        img = to_float(reduced(read_photo(path)))
        tool, tool_name = (invert_negadoctor, 'negadoctor') if path in (negative or ()) else (mend_classically, 'classical')
        shown += [img, tool(img)]
        titles += [path.stem.replace('_', ' ')[:28], tool_name]
        for name, restorer in restorers:
            shown.append(restorer.restore(img, defects=True if path in (negative or ()) else 'likely')) # a print that somebody wants to have restored is worn
            titles.append(f'{name}; seen as {restorer.look(img).replace("_", "-")}')
    fig = show_photos(shown, titles, ncols=groups*(2 + len(restorers)), height=height)
    with write_beside(out) as beside: fig.savefig(beside, format='jpeg', dpi=85, pil_kwargs=dict(quality=80))


if __name__ == '__main__': typer.run(main)
