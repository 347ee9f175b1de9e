"""What invented texture costs and what it brings: photos as `--texture` restores them, from none to as much as the network has learned.

    python benchmarks/texture.py --photos photos/CBSD68 --limit 16 --weights weights
    python benchmarks/texture.py --photos photos/CBSD68 --limit 16 --weights weights --ballot ballot
    restorer votes ballot/texture_* --input ballot/input --reference ballot/truth --out votes.csv

Clean photos are damaged, restored blind (the network is told nothing), and compared with the truth. Prints Markdown: PSNR in dB and LPIPS (SqueezeNet, version
0.1; below it how it differs from that without texture), of RGB at full size, no border left out, on 256 levels; means over photos. `--ballot` keeps the pictures, a folder each, for a blind vote.
"""
import os
import warnings
from itertools import islice
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import pandas as pd
import typer
from restorer_fastai import Restorer
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_uint8
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.score.evaluate import Scoring, score_photos
from restorer_fastai.score.tasks import as_file, choose_tasks

DAMAGES = 'jpeg_10', 'jpeg_20', 'jpeg_40', 'blur_2.5', 'clean'


def versions(restore, damaged, textures):
    "Name -> photo, float: as it is damaged, and restored with each texture."
    return {'damaged': damaged} | {f'texture_{o:g}': as_file(restore(damaged, texture=o)) for o in textures}


def keep(folder, name, made, truth):
    "A photo's versions, each in a folder of its own."
    for kind, photo in (('truth', truth), *((k.replace('damaged', 'input'), v) for k, v in made.items())): write_photo(folder/kind/f'{name}.png', to_uint8(photo))


def table(rows, textures):
    "Markdown."
    names = [f'texture_{o:g}' for o in textures]
    out = [f'| damage | photos | damaged | {" | ".join(f"texture {o:g}" for o in textures)} |', f'| --- | --: | --: | {" | ".join(["--:"]*len(names))} |']
    for task, m in rows.groupby('damage', sort=False).mean(numeric_only=True).iterrows():
        base, cells = m[f'lpips_{names[0]}'], []
        for name in ('damaged', *names):
            cell = f'{m[f"psnr_{name}"]:.2f} / {m[f"lpips_{name}"]:.4f}'
            cells.append(cell + (f' ({m[f"lpips_{name}"]/base - 1:+.0%})' if name in names[1:] and base > 1e-3 else ''))
        out.append(f'| {task} | {(rows.damage == task).sum()} | {" | ".join(cells)} |')
    return '\n'.join(out)


def main(
    photos:Annotated[Path, typer.Option(help='Folder of clean photos, best of such that no network has learned from')],
    model:Annotated[str, typer.Option(help='Weights of a network with a part that has learned texture')]='reference',
    weights:Annotated[Optional[Path], typer.Option(help="SqueezeNet's ImageNet weights, for LPIPS: a file or folder")]=None,
    tasks:Annotated[str, typer.Option(help='How photos are damaged: tasks of `score.tasks`')]=','.join(DAMAGES),
    textures:Annotated[str, typer.Option(help='How much texture; the first is what the others are compared with')]='0,0.5,1',
    limit:Annotated[int, typer.Option(help='At most so many photos; 0: all')]=0,
    ballot:Annotated[Optional[Path], typer.Option(help='Folder for the pictures, see `restorer votes`')]=None,
    out:Annotated[Optional[Path], typer.Option(help='A CSV file for all scores')]=None,
    seed:int=0,
):
    "Damage photos, restore them with more and more texture, print the table."
    restorer, shares, rows = Restorer.load(model), [float(o) for o in textures.split(',')], []
    if getattr(restorer.net, 'textured', None) is None: raise typer.BadParameter('this model has no part that has learned texture')
    for path in with_progress(list(islice(find_photos(photos), limit or None)), 'photos'):
        truth = as_file(read_photo(path))
        for task in choose_tasks(tasks.split(','), None):
            made = versions(restorer.restore, as_file(task.draw(truth, path.stem, seed)[0]), shares)
            rows.append(dict(photo=path.name, damage=task.title) | score_photos(made, truth, scoring=Scoring(lpips=True, weights=weights)))
            if ballot: keep(ballot, f'{path.stem}-{task.name}', made, truth)
    if not rows: raise typer.BadParameter(f'there are no photos in {photos}')
    rows = pd.DataFrame(rows)
    if out: rows.to_csv(out, index=False)
    print(table(rows, shares))


if __name__ == '__main__': typer.run(main)
