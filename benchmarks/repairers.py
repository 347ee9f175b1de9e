"""Who repairs what better: the U-Net, the repair network that is told what was done, or both as they share the work (`unet_share`), true to what is there (`consistent`).

    python benchmarks/repairers.py --photos crops --limit 20
    python benchmarks/repairers.py --photos crops --limit 20 --repairer run/repair.safetensors --out scores.csv

Squares out of the middle of photos, best of lossless ones that no network has learned from, are damaged in each way; what is told is what is read from the
damaged square, nobody says more. Prints Markdown: the PSNR of the damaged squares (RGB, no border left out, 256 levels), what each wins over it (of a square in which
nothing is wrong, its PSNR, at most 60 dB), the share that the U-Net has in the common answer; and what a square costs, the U-Net counting 1.
"""
import os
import time
import warnings
from itertools import islice
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import pandas as pd
import torch
import typer
from restorer_fastai import Restorer
from restorer_fastai.degrade.estimate import estimate_done
from restorer_fastai.nets.restorer import consistent, shared_repair, unet_share
from restorer_fastai.nets.weights import load_weights
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_float, to_tensor
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.score.metrics import MAX_DB, psnr
from restorer_fastai.score.tasks import Drawn, as_file


def noise(sigma): return 'gaussian_noise', dict(sigma=sigma)
def jpeg(quality): return 'jpeg', dict(quality=quality)
def blur(sigma): return 'gaussian_blur', dict(sigma=lambda short: sigma/short) # px


ALONE = {f'noise {o}': noise(o) for o in (2, 5, 10, 15, 25, 50)} | {f'JPEG {o}': jpeg(o) for o in (10, 20, 30, 40, 75, 90)} | {f'blur {o} px': blur(o) for o in (.6, 1, 1.75, 2.5)}
WAYS = {'nothing': ()} | {k: (v,) for k, v in ALONE.items()} | {
    'salt and pepper 3 %': (('salt_and_pepper', dict(amount=.03)),), 'noise 5, JPEG 60': (noise(5), jpeg(60)), 'noise 20, JPEG 40': (noise(20), jpeg(40)),
    'noise 20, JPEG 90': (noise(20), jpeg(90)), 'blur 1 px, noise 3': (blur(1), noise(3)), 'blur 1 px, noise 10': (blur(1), noise(10)),
    'blur 2 px, noise 20': (blur(2), noise(20)), 'blur 1.5 px, JPEG 50': (blur(1.5), jpeg(50))}


def middle(img, side):
    "A square out of the middle, float32 (side, side, 3) in [0, 1]."
    y, x = ((n - side)//2 for n in img.shape[:2])
    return to_float(img[y:y + side, x:x + side])


def timed(spent, name, f):
    "A function that adds up its seconds."
    def run(*args):
        began = time.perf_counter()
        y = f(*args)
        spent[name] = spent.get(name, 0) + time.perf_counter() - began
        return y
    return run


def table(rows, spent):
    "Markdown."
    out = ['| damage | damaged | U-Net | repair network | both | share of the U-Net |', '| --- | --: | --: | --: | --: | --: |']
    for name, m in rows.groupby('damage', sort=False).mean(numeric_only=True).iterrows():
        nothing = name == 'nothing'
        won = [f'{m[k]:.2f}' if nothing else f'{m[k] - m.damaged:+.2f}' for k in ('unet', 'told', 'both')]
        out.append(f'| {name} | {"" if nothing else f"{m.damaged:.2f}"} | {" | ".join(won)} | {m.share:.2f} |')
    each = {k: v/spent['unet'] for k, v in spent.items()}
    return '\n'.join(out) + f'\n\n{rows.photo.nunique()} squares a row. What a square costs: U-Net 1, repair network {each["told"]:.2f}, what is told {each["estimate"]:.2f}.'


def main(
    photos:Annotated[Path, typer.Option(help='Folder of clean photos')],
    model:Annotated[str, typer.Option(help='Weights of a network with a U-Net, and with a repair network unless `--repairer` gives one')]='reference',
    repairer:Annotated[Optional[Path], typer.Option(help='Weights of another repair network')]=None,
    side:Annotated[int, typer.Option(help='Side of the squares, px; a multiple of 32')]=256,
    limit:Annotated[int, typer.Option(help='At most so many photos; 0: all')]=0,
    out:Annotated[Optional[Path], typer.Option(help='A CSV file for all scores')]=None,
    seed:int=0,
):
    "Damage squares, let both repair them, print the table."
    net = Restorer.load(model, device='cpu').net
    if repairer: net.put_part('repairer', load_weights(repairer)[0])
    if net.repairer is None: raise typer.BadParameter('this model has no repair network: give one, --repairer FILE')
    spent, rows = {}, []
    unet, told, read = timed(spent, 'unet', net.unet_repairs), timed(spent, 'told', net.told_repairs), timed(spent, 'estimate', estimate_done)
    large = ((path, img) for path in find_photos(photos) if min((img := read_photo(path)).shape[:2]) >= side)
    for path, img in islice(large, limit or None):
        clean = middle(img, side)
        for name, steps in WAYS.items():
            damaged = as_file(Drawn(steps)(clean, seed, path.name, name)[0]) if steps else clean
            x, numbers, truth = to_tensor(damaged), torch.from_numpy(read(damaged).numbers())[None], to_tensor(clean)
            def score(y): return float(psnr(y.clamp(0, 1), truth, cap=MAX_DB))
            with torch.inference_mode():
                a, b = unet(x), told(x, numbers)
                both = consistent(shared_repair(x, numbers, lambda _: a, lambda *_: b), x, numbers)
            rows.append(dict(photo=path.name, damage=name, damaged=score(x), unet=score(a), told=score(b), both=score(both), share=float(unet_share(numbers))))
    if not rows: raise typer.BadParameter(f'no photo in {photos} has a short side of {side} px')
    rows = pd.DataFrame(rows)
    if out: rows.to_csv(out, index=False)
    print(table(rows, spent))


if __name__ == '__main__': typer.run(main)
