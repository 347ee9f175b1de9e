"""The sheet of real photos in the README: as they came, a classical tool, the restorer. Nobody knows their truth, so there are no scores.

    python benchmarks/real_photos.py negatives/forest_strip.png old_photos/detroit_1915.jpg --out nbs/images/real_photos.jpg

Choose the photos before you look at the results. Negatives (named with --negative) are inverted by negadoctor with an automatic film base, the others
get their levels stretched. The restorer is told nothing; what it took each photo for stands below it.
"""
import warnings
from pathlib import Path
from typing import Annotated, Optional

warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import typer
from restorer_fastai.baselines.classical import stretch_levels
from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.pixels import to_float
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import show_photos
from restorer_fastai.baselines.negadoctor import invert_negadoctor
from restorer_fastai import Restorer


def reduced(img, short=384):
    "Small enough for a sheet."
    scale = short/min(img.shape[:2])
    return img if scale >= 1 else cv2.resize(img, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def main(
    photos:Annotated[list[Path], typer.Argument(help='Photos, in the order of the rows')],
    negative:Annotated[Optional[list[Path]], typer.Option(help='Those of them that are negatives')]=None,
    model:Annotated[str, typer.Option(help='Weights')]='reference',
    out:Annotated[Path, typer.Option(help='JPEG to write')]=Path('real_photos.jpg'),
):
    "Draw the sheet."
    restorer, shown, titles = Restorer.load(model), [], []
    for path in photos:
        img = to_float(reduced(read_photo(path)))
        tool, name = (invert_negadoctor, 'negadoctor') if path in (negative or ()) else (stretch_levels, 'levels stretched')
        shown += [img, tool(img), restorer.restore(img)]
        titles += [path.stem.replace('_', ' '), name, f'restored; seen as {restorer.look(img).replace("_", "-")}']
    fig = show_photos(shown, titles, ncols=3, height=2.2)
    with write_beside(out) as beside: fig.savefig(beside, format='jpeg', dpi=85, pil_kwargs=dict(quality=80))


if __name__ == '__main__': typer.run(main)
