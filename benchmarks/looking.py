"""How often the network knows what it sees: the figures on negatives and faded photos in the README and the model card.

    python benchmarks/looking.py --photos photos/clean --manifest data/manifest.csv

Photos are the held-out ones of a data set, each damaged `--draws` times as the mix says. Prints Markdown: what the frames are against what they were
taken for, and the shares of negatives that were seen as negatives and of positives that were not.
"""
import os
import warnings
import zlib
from pathlib import Path
from typing import Annotated

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import pandas as pd
import torch
import typer
from restorer_fastai.degrade.mixes import apply_steps, load_mix
from restorer_fastai.photo.pixels import to_float, to_tensor, to_uint8
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.learn.frame import kind_of
from restorer_fastai.nets.frame import FRAME_KINDS
from restorer_fastai import Restorer

NAMES = list(FRAME_KINDS)


def taken_for(restorer, img):
    "(kind that the network acts on, mode that the restorer decides for)"
    scale = 256/max(img.shape[:2])
    small = cv2.resize(img, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else img
    with torch.inference_mode(): context = restorer.net.look(to_tensor(small))
    return NAMES[int(context.kind)], restorer.look(img)


def look_at(restorer, clean, mix, seeds):
    "(what a photo was made to be, kind, mode) for each of the seeds."
    for seed in seeds:
        plan = mix.draw(seed)
        yield kind_of(plan), *taken_for(restorer, to_uint8(apply_steps(clean, plan.steps)))


def counts_markdown(seen):
    "What frames are, against what they were taken for."
    counts = pd.crosstab(seen['is'], seen.kind).reindex(index=NAMES, columns=NAMES, fill_value=0)
    lines = [['is \\ taken for', *NAMES], ['---', *['--:']*len(NAMES)], *([name, *map(str, row)] for name, row in counts.iterrows())]
    return '\n'.join(f'| {" | ".join(o)} |' for o in lines)


def right_signs(seen):
    "Name of a group of frames -> share of them of which it is known whether they are negatives."
    negative = seen['is'].map(FRAME_KINDS) == 'negative'
    right = negative == (seen['mode'] == 'negative')
    return {'all': right.mean(), **{k: right[seen['is'] == k].mean() for k in ('film_negative', 'plain_negative')}, 'positives': right[~negative].mean()}


def main(
    photos:Annotated[Path, typer.Option(help='Folder of clean photos')],
    manifest:Annotated[Path, typer.Option(help="A data set's manifest.csv: its held-out photos are taken")],
    model:Annotated[str, typer.Option(help='Weights')]='reference',
    mix:Annotated[str, typer.Option(help='How the photos are damaged')]='archive',
    draws:Annotated[int, typer.Option(help='How often each photo is damaged')]=2,
    limit:Annotated[int, typer.Option(help='At most so many photos; 0: all')]=0,
    seed:int=0,
):
    "Count what is taken for what."
    restorer, mix, rows = Restorer.load(model), load_mix(mix), pd.read_csv(manifest)
    sources, seen = rows[rows.split == 'valid'].source.tolist(), []
    for source in with_progress(sources[:limit or None], 'looking'):
        seeds = [zlib.crc32(f'{seed} {source} {i}'.encode()) for i in range(draws)] # those of the figures in the README
        seen += look_at(restorer, to_float(read_photo(photos/source)), mix, seeds)
    seen = pd.DataFrame(seen, columns=['is', 'kind', 'mode'])
    print(f'\n{counts_markdown(seen)}\n\nThe sign is right, of {len(seen)} frames:', ', '.join(f'{k} {v:.1%}' for k, v in right_signs(seen).items()))


if __name__ == '__main__': typer.run(main)
