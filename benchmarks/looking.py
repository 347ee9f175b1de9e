"""How often the network knows what it sees: the figures on negatives and faded photos in nbs/pages/old_photos.md and the model card.

    python benchmarks/looking.py --photos photos/clean --manifest data/manifest.csv
    python benchmarks/looking.py --positives old=old_photos --positives CBSD68=bench/CBSD68 --leave-out '*_mask.png' --negatives film=negatives
    python benchmarks/looking.py --looker frame_lite.safetensors --positives CBSD68=bench/CBSD68 --turned CBSD68=bench/CBSD68 --fading people=photos/people

With `--photos` and `--manifest`: the held-out photos of a data set, each damaged `--draws` times as the mix says; what the frames are against what they were
taken for, and the shares of negatives that were seen as negatives and of positives that were not.

NAME=PATH (a folder, a file, or a pattern; a NAME that comes twice is one group): `--positives` are photos and prints, of which none may be inverted; `--negatives` are
scans that have to be found; `--turned` are photos of which 255 - x has to be found, and `--other-film` photos that the independent film model of 39c_score.other_film
has taken. A row a group: how many, how many are taken for the wrong side, and how many would be at other bars (`margin`: logit of "a negative", the mean of all looks).
Below it the frames that are nearest to the wrong side of the bar, by name. `--fading`: photos faded at random (44a_learn.any_frame); PSNR and the CIE76 colour difference
before and after the colours were turned, and how much the same photos change that have not faded. `--looker` puts another network in the place of the restorer's.
"""
import os
import warnings
import zlib
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import numpy as np
import pandas as pd
import torch
import typer
from restorer_fastai.degrade.mixes import apply_steps, load_mix
from restorer_fastai.photo.pixels import to_float, to_tensor, to_uint8
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.learn.any_frame import faded
from restorer_fastai.learn.frame import kind_of
from restorer_fastai.nets.frame import FRAME_KINDS, negative_margin
from restorer_fastai.nets.weights import load_weights
from restorer_fastai.restore.look import look_at, thumbnail, turn_colours
from restorer_fastai.score.other_film import other_negative
from do_no_harm import real_paths # beside this script
from restorer_fastai import Restorer

NAMES = list(FRAME_KINDS)


def taken_for(restorer, img):
    "(kind that the network acts on, mode that the restorer decides for)"
    scale = 256/max(img.shape[:2])
    small = cv2.resize(img, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else img
    with torch.inference_mode(): context = restorer.net.look(to_tensor(small))
    return NAMES[int(context.kind)], restorer.look(img)


def look_at_plans(restorer, clean, mix, seeds):
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


BARS = (0., 1., 1.5, 2., 2.5, 3.)


def groups_of(positives, negatives, turned, other_film, leave_out, limit, seed):
    "(group, name, picture, is it a negative?) of all real pictures that were given."
    def drawn(path): return zlib.crc32(f'{seed} {path.name}'.encode())
    makers = ((positives, '', False, lambda img, path: img), (negatives, '', True, lambda img, path: img), (turned, ' turned', True, lambda img, path: 255 - to_uint8(to_float(img))),
              (other_film, ' on film', True, lambda img, path: to_uint8(other_negative(to_float(img), drawn(path)).scan)))
    for given, suffix, negative, make in makers:
        for group, paths in real_paths(given, leave_out, limit).items():
            for path in paths: yield group + suffix, path.name, make(read_photo(path), path), negative


def margins(restorer, pictures):
    "A row for each picture: the side that was decided, and the margin of the network's opinion of the whole frame."
    rows = []
    for group, name, img, negative in pictures:
        with torch.inference_mode(): margin = float(negative_margin(restorer.net.looker.opinion(thumbnail(img)))[0])
        rows.append(dict(group=group, name=name, negative=negative, found=restorer.look(img) == 'negative', margin=margin))
    return pd.DataFrame(rows)


def sides_markdown(rows):
    "A row a group: wrong decisions, and how many would be wrong at other bars of the margin."
    lines = [['group', 'frames', 'wrong', *(f'wrong at {o:g}' for o in BARS)], ['---', *['--:']*(2 + len(BARS))]]
    for group, part in rows.groupby('group', sort=False):
        wrong = [((part.margin > o) != part.negative).sum() for o in BARS]
        lines.append([f'{group} ({"negatives" if part.negative.all() else "positives"})', len(part), (part.found != part.negative).sum(), *wrong])
    return '\n'.join(f'| {" | ".join(map(str, o))} |' for o in lines)


def nearest(rows, n=8):
    "The frames of each side that come nearest to the other, or are beyond it."
    by = rows.assign(worse=rows.margin.where(~rows.negative, -rows.margin)).sort_values('worse', ascending=False)
    return '\n'.join(f'{"negatives" if side else "positives"}: ' + ', '.join(f'{o.group}/{o.name} {o.margin:+.1f}{" (wrong)" if o.found != side else ""}' for o in by[by.negative == side].head(n).itertuples())
                     for side in (False, True))


def apart(a, b):
    "(PSNR in dB, mean CIE76 difference) of two photos in [0, 1]."
    lab = [cv2.cvtColor(o.astype(np.float32), cv2.COLOR_RGB2LAB) for o in (a, b)]
    return -10*np.log10(max(float(((a - b)**2).mean()), 1e-10)), float(np.linalg.norm(lab[0] - lab[1], axis=2).mean())


def mended(restorer, img):
    "(picture after its colours were turned, kind that was acted on)."
    seen = look_at(restorer.net, img)
    return turn_colours(to_float(img), seen), NAMES[int(seen.context.kind)] if seen.context.kind is not None else 'photo'


def fading_markdown(restorer, paths, seed):
    "What mending does to photos that were faded by chance, and to the same photos as they were."
    rows = []
    for group, files in paths.items():
        for path in files:
            clean = to_float(read_photo(path))
            old = to_uint8(faded(clean, np.random.default_rng(zlib.crc32(f'{seed} {path.name}'.encode()))))
            (back, kind), (same, whole) = mended(restorer, old), mended(restorer, to_uint8(clean))
            rows.append(dict(group=group, found=kind == 'faded_photo', touched=whole != 'photo', before=apart(to_float(old), clean), after=apart(back, clean), harm=apart(same, clean)))
    lines = [['group', 'photos', 'faded: found', 'PSNR before', 'after', 'ΔE before', 'after', 'whole: touched', 'ΔE'], ['---', *['--:']*8]]
    for group, part in pd.DataFrame(rows).groupby('group'):
        mean = {k: np.mean(part[k].tolist(), 0) for k in ('before', 'after', 'harm')}
        lines.append([group, len(part), f'{part.found.mean():.1%}', f'{mean["before"][0]:.2f}', f'{mean["after"][0]:.2f}', f'{mean["before"][1]:.1f}', f'{mean["after"][1]:.1f}',
                      f'{part.touched.mean():.1%}', f'{mean["harm"][1]:.2f}'])
    return '\n'.join(f'| {" | ".join(map(str, o))} |' for o in lines)


def of_mix(restorer, photos, manifest, mix, draws, limit, seed):
    "Frames that a mix makes of held-out photos."
    mix, rows = load_mix(mix), pd.read_csv(manifest)
    sources, seen = rows[rows.split == 'valid'].source.tolist(), []
    for source in with_progress(sources[:limit or None], 'looking'):
        seeds = [zlib.crc32(f'{seed} {source} {i}'.encode()) for i in range(draws)] # those of the figures there
        seen += look_at_plans(restorer, to_float(read_photo(photos/source)), mix, seeds)
    seen = pd.DataFrame(seen, columns=['is', 'kind', 'mode'])
    return f'\n{counts_markdown(seen)}\n\nThe sign is right, of {len(seen)} frames: ' + ', '.join(f'{k} {v:.1%}' for k, v in right_signs(seen).items())


def main(
    photos:Annotated[Optional[Path], typer.Option(help='Folder of clean photos')]=None,
    manifest:Annotated[Optional[Path], typer.Option(help="A data set's manifest.csv: its held-out photos are taken")]=None,
    positives:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of photos and prints; give it several times')]=None,
    negatives:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of negatives; give it several times')]=None,
    turned:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of photos to look at as 255 - x')]=None,
    other_film:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of photos to look at as negatives of the independent film model')]=None,
    fading:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of clean photos to fade and mend')]=None,
    leave_out:Annotated[Optional[list[str]], typer.Option(help='Names of photos to leave out, such as *_mask.png; give it several times')]=None,
    model:Annotated[str, typer.Option(help='Weights')]='reference',
    looker:Annotated[Optional[Path], typer.Option(help='Weights of the network that looks, in the place of the one in the model')]=None,
    mix:Annotated[str, typer.Option(help='How the photos of the data set are damaged')]='archive',
    draws:Annotated[int, typer.Option(help='How often each photo is damaged')]=2,
    limit:Annotated[int, typer.Option(help='At most so many photos of each kind; 0: all')]=0,
    out:Annotated[Optional[Path], typer.Option(help='A CSV file for the margins of all real pictures')]=None,
    seed:int=0,
):
    "Count what is taken for what."
    restorer = Restorer.load(model)
    if looker: restorer.net.put_part('looker', load_weights(looker)[0])
    if photos and manifest: print(of_mix(restorer, photos, manifest, mix, draws, limit, seed))
    rows = margins(restorer, groups_of(positives, negatives, turned, other_film, leave_out, limit, seed))
    if len(rows): print(f'\n{sides_markdown(rows)}\n\nNearest to the other side, with the logit of "a negative":\n{nearest(rows)}')
    if out: rows.to_csv(out, index=False)
    if fading: print(f'\n{fading_markdown(restorer, real_paths(fading, leave_out, limit), seed)}')


if __name__ == '__main__': typer.run(main)
