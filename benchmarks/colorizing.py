"""How good guessed colours are: grey, one colour for all, the network that was shipped before, and networks that colorize, on photos whose colours are known.

    python benchmarks/colorizing.py --photos CBSD68=bench/CBSD68 --photos people=photos/people --every 20 --network ours=colorize.safetensors --out colours
    python benchmarks/colorizing.py --photos CBSD68=bench/CBSD68 --network ours=run/model.safetensors --setting ours:0,1,1 --setting ours:1,.5,1

Photos are made grey (luma, Rec. 601), coloured whole, and compared with the truth at their own size. `--every N` takes only the photos whose CRC-32 of the file's name is divisible by N, those
that our trainings leave out (20), from every folder but CBSD68. LPIPS and the Fréchet distance need ImageNet's SqueezeNet (`--weights`); without it they are left out. Writes OUT.csv (every photo)
and OUT.md (the table), which it also prints. `--sheet` writes pictures: truth, grey and each method.
"""
import os
import warnings
import zlib
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import numpy as np
import pandas as pd
import typer
from restorer_fastai.nets.backbone import load_backbone
from restorer_fastai.nets.colour import add_colour
from restorer_fastai.nets.weights import load_network
from restorer_fastai.oldphoto.colorize import colorize
from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.errors import RestorerError, WeightsError
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import rgb_to_ycbcr, to_float, to_uint8
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.score.colours import chroma_mse, features_of, frechet_distance
from restorer_fastai.score.metrics import colourfulness, lpips_distance, psnr

MEAN_COLOUR = (-0.025, 0.018) # Cb and Cr, 0 for grey: mean of 473 photos that our networks learned from


def one_colour(img):
    "The brightness of (H, W, 3) with the same colour everywhere."
    return add_colour(rgb_to_ycbcr(img)[..., 0], np.broadcast_to(np.float32(MEAN_COLOUR), (*img.shape[:2], 2)))


def methods_of(networks, settings):
    "Name -> function from a photo (H, W, 3) to the same one with guessed colours."
    methods = dict(grey=lambda img: np.repeat(rgb_to_ycbcr(img)[..., :1], 3, 2), mean=one_colour)
    loaded = {}
    for name, _, path in (o.partition('=') for o in networks):
        net, _ = load_network(path or name)
        loaded[name] = getattr(net, 'colourer', net) # a restorer's part, or a network that colorizes
    for name, net in loaded.items():
        own = [o.partition(':')[2] for o in settings if o.partition(':')[0] == name]
        if not hasattr(net, 'setting'): methods[name] = lambda img, net=net: colorize(net, img)
        for said in (own or ['mild', 'bold'])*hasattr(net, 'setting'):
            setting = said if said.isalpha() else tuple(float(o) for o in said.split(','))
            methods[f'{name} {said}'] = lambda img, net=net, setting=setting: colorize(net, img, setting)
    return methods


def chosen(folder, every):
    "The photos of a folder that are compared."
    paths = sorted(find_photos(folder))
    return paths if every <= 1 else [o for o in paths if zlib.crc32(o.name.encode()) % every == 0]


def scores_of(paths, methods, squeeze, weights, sheet):
    "A row for each photo and method, and the features of each method's photos."
    rows, seen = [], {k: [] for k in ['truth', *methods]}
    for path in with_progress(paths, 'colours'):
        truth = to_float(read_photo(path))
        answers = {k: to_float(to_uint8(m(truth))) for k, m in methods.items()}
        for name, img in answers.items():
            row = dict(photo=path.name, method=name, psnr=psnr(img, truth), chroma=chroma_mse(img, truth), gap=colourfulness(img) - colourfulness(truth))
            rows.append(row | (dict(lpips=lpips_distance(img, truth, weights=weights)) if squeeze else {}))
        for name, img in dict(truth=truth, **answers).items() if squeeze else (): seen[name].append(features_of([img], squeeze))
        if sheet: write_photo(sheet/f'{path.stem}.jpg', to_uint8(np.concatenate([truth, *answers.values()], 1)), quality=90)
    return pd.DataFrame(rows), {k: np.concatenate(v) for k, v in seen.items() if v}


def table_of(scores, seen):
    "A row for each method: means over photos; the gap is that of the set."
    table = scores.groupby('method', sort=False).mean(numeric_only=True)
    table.insert(1, 'gain', table.psnr - table.psnr['grey'])
    if seen: table['frechet'] = [frechet_distance(seen[o], seen['truth']) for o in table.index]
    return table


def markdown_of(tables):
    "All sets in one table."
    columns = list(next(iter(tables.values())).columns)
    lines = [['photos', 'colours', *columns], ['---', '---', *['--:']*len(columns)]]
    for name, table in tables.items(): lines += [[name, method, *(f'{v:.{3 if k == "lpips" else 1 if k in ("gap", "frechet", "chroma") else 2}f}' for k, v in row.items())] for method, row in table.iterrows()]
    note = ('PSNR: RGB of 8 bits, dB, mean over photos; gain: against grey. Chroma: mean squared error of Cb and Cr, 8-bit levels. Gap: colourfulness (Hasler and Süsstrunk M3) minus that of the truth, mean. '
            'LPIPS: SqueezeNet, 0.1. Frechet: SqueezeNet features, few photos: only to be compared within one set, not with published FIDs.')
    return '\n'.join(f'| {" | ".join(o)} |' for o in lines) + f'\n\n{note}\n'


def main(
    photos:Annotated[list[str], typer.Option(help='Folder of photos in colour, NAME=FOLDER')],
    network:Annotated[list[str], typer.Option(help='Network that colorizes, or restorer with one: NAME=FILE, or a name of shipped weights')]=['reference'],
    setting:Annotated[Optional[list[str]], typer.Option(help="NAME:SETTING, 'mild', 'bold' or rarity,temperature,saturation, for a network that knows settings; all of mild and bold when none is given")]=None,
    every:Annotated[int, typer.Option(help="Only photos whose CRC-32 of the name is divisible by this; CBSD68 is always whole")]=1,
    limit:Annotated[int, typer.Option(help='At most so many of each folder; 0: all')]=0,
    weights:Annotated[Optional[Path], typer.Option(help="ImageNet's SqueezeNet, a file or its folder")]=None,
    out:Annotated[Path, typer.Option(help='Writes OUT.csv and OUT.md')]=Path('colorizing'),
    sheet:Annotated[Optional[Path], typer.Option(help='Folder for pictures: truth, then each method')]=None,
):
    "Compare guessed colours with the truth."
    try: squeeze = load_backbone('squeezenet1_1', weights)
    except WeightsError as e: squeeze = print(f'no LPIPS, no Fréchet distance: {e}')
    methods, tables, rows = methods_of(network, setting or []), {}, []
    if sheet: sheet.mkdir(parents=True, exist_ok=True)
    for name, _, folder in (o.partition('=') for o in photos):
        paths = chosen(Path(folder), 1 if name == 'CBSD68' else every)[:limit or None]
        if not paths: raise RestorerError(f'{folder}: there is no photo to compare')
        scores, seen = scores_of(paths, methods, squeeze, weights, sheet and sheet/name)
        tables[f'{name} ({len(paths)})'] = table_of(scores, seen)
        rows.append(scores.assign(photos=name))
        text = markdown_of(tables)
        with write_beside(Path(f'{out}.csv')) as tmp: pd.concat(rows).to_csv(tmp, index=False)
        with write_beside(Path(f'{out}.md')) as tmp: tmp.write_text(text, encoding='utf-8')
    print(text)


if __name__ == '__main__': typer.run(main)
