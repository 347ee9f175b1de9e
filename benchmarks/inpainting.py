"""Holes filled by several methods, by how much of a photo is lost. The table in nbs/pages/old_photos.md.

    python benchmarks/inpainting.py --photos CBSD68=bench/CBSD68 --photos people=photos/people --masks irregular_masks --out scores/inpainting
    python benchmarks/inpainting.py --photos CBSD68=bench/CBSD68 --net ours=inpaint.safetensors --net article=partial.safetensors --limit 8 --out quick

Photos: NAME=PATH, a folder or a file. `--people-held-out` takes of every folder only the photos that trainings here leave out (CRC-32 of the file's name, every twentieth). Masks: a folder of
pictures, white where nothing is left, sorted by their share into 0-10 %, 10-20 % ... (NVIDIA's 12,000 irregular ones, or some of them); each is resized to the photo, nearest neighbour. Each
photo meets one mask of every share, chosen by a hash of both names. Beside them a row of thin scratches, 2 to 5 pixels wide, drawn by program, in photos with grain.

Beside the networks: Telea and Navier-Stokes (OpenCV, radius 3 px), and pull-push. All of them are told the mask. Writes OUT.csv (a row for each photo, share and method), OUT.md (the table and its
conventions), and with `--sheets FOLDER` the photos in which the first network loses most against Telea, and wins most.
"""
import os
import time
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
from restorer_fastai.baselines.classical import inpaint_navier_stokes, inpaint_telea
from restorer_fastai.degrade.chance import name_hash, seed_from
from restorer_fastai.degrade.mixes import apply_steps
from restorer_fastai.degrade.marks import scratch_alpha
from restorer_fastai.nets.weights import find_weights, load_network
from restorer_fastai.oldphoto.inpaint import hole_radius, inpaint, InpaintNet
from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.errors import RestorerError
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_float, to_uint8
from restorer_fastai.photo.progress import progress_bar
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.score.metrics import hole_psnr, lpips_distance, MAX_DB, psnr, ssim

SHARES = [f'{i}-{i + 10} %' for i in range(0, 60, 10)]
THIN = 'scratches'
CONVENTIONS = """PSNR RGB in dB over the pixels of the holes alone, and over the whole photo, means over photos; SSIM RGB (Wang et al. 2004, one implementation for all); LPIPS v0.1 (SqueezeNet), lower is
better; all on 8-bit photos at their own size, no border left out. Networks without added grain, since no grain is the right one to the pixel. ± is half a 95 % interval of the mean difference to Telea, by photo."""


def named(given):
    "NAME=PATH -> (name, path); without a name the path's own."
    return [(name or Path(path).name, path) for name, _, path in (o.rpartition('=') for o in given)]


def photos_of(given, limit, held_out):
    "name -> paths: of a name at most `limit`, those whose names have the lowest hash."
    found = {}
    for name, path in named(given):
        paths = [o for o in find_photos([path]) if not held_out or Path(path).is_file() or zlib.crc32(o.name.encode()) % 20 == 0 or name.startswith('CBSD')]
        found.setdefault(name, []).extend(paths)
    return {name: sorted(paths, key=lambda p: name_hash(p.name))[:limit or None] for name, paths in found.items()}


def masks_by_share(folder):
    "'10-20 %' -> names of masks, and name -> mask, bool."
    groups, masks = {o: [] for o in SHARES}, {}
    for path in find_photos([folder]):
        mask = read_photo(path)[..., 0] > 127
        i = int(mask.mean()*10)
        if mask.any() and i < 6:
            groups[SHARES[i]].append(path.name)
            masks[path.name] = mask
    return groups, masks


def irregular(groups, masks, photo, share, shape):
    "The mask of that share for a photo, at the photo's size."
    name = min(groups[share], key=lambda o: name_hash(photo, o))
    return cv2.resize(masks[name].astype(np.uint8), shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0


def thin_scratches(photo, shape):
    "Scratches of 2 to 5 pixels."
    seed, short = seed_from('thin', photo, bits=32), min(shape[:2])
    return np.logical_or.reduce([scratch_alpha(shape, 4, width/short, .8, seed + i) > .12 for i, width in enumerate((2, 3.3, 4.5))])


def cases(photos, groups, masks):
    "(set, share, photo's name, photo (H, W, 3) uint8, mask)"
    for name, paths in photos.items():
        for path in paths:
            img = read_photo(path)
            for share in SHARES:
                if groups[share]: yield name, share, path.name, img, irregular(groups, masks, path.name, share, img.shape)
            grainy = apply_steps(to_float(img), [dict(name='grain', sigma=.02, size=.003, seed=seed_from('grain', path.name, bits=32))])
            yield name, THIN, path.name, to_uint8(grainy), thin_scratches(path.name, img.shape)


def methods_of(nets):
    "name -> function of (photo, mask)"
    found = {'Telea': lambda img, mask: to_uint8(inpaint_telea(img, mask)), 'Navier-Stokes': lambda img, mask: to_uint8(inpaint_navier_stokes(img, mask)),
             'pull-push': lambda img, mask: inpaint(InpaintNet((8, 8), (1,), (1,)).eval(), img, mask, grain=0, notes=[])} # a new network changes nothing
    for name, net in nets.items(): found[name] = lambda img, mask, net=net: inpaint(net, img, mask, grain=0, notes=[])
    return found


def scores(filled, img, mask, with_lpips):
    "What is measured of one photo."
    filled, img = to_float(filled), to_float(img)
    row = dict(hole=hole_psnr(filled, img, mask, cap=MAX_DB), whole=psnr(filled, img, cap=MAX_DB), ssim=ssim(filled, img))
    return row | (dict(lpips=lpips_distance(filled, img)) if with_lpips else {})


def table(rows, methods):
    "Markdown: a line for each set, share and method."
    lines = ['| photos | lost | method | PSNR in the holes | against Telea | whole | SSIM | LPIPS |', '|---|---|---|---|---|---|---|---|']
    for (photos, share), group in rows.groupby(['photos', 'lost'], sort=False):
        holes = group.pivot(index='name', columns='method', values='hole')
        for i, method in enumerate(methods):
            own, gain = group[group.method == method], holes[method] - holes.Telea
            said = '' if method == 'Telea' else f'{gain.mean():+.2f} ± {1.96*gain.std()/max(len(gain), 1)**.5:.2f}'
            first = f'{photos} ({len(holes)})' if i == 0 else ''
            perceived = f'{own.lpips.mean():.3f}' if 'lpips' in own else '—'
            lines.append(f'| {first} | {share if i == 0 else ""} | {method} | {own.hole.mean():.2f} | {said} | {own.whole.mean():.2f} | {own.ssim.mean():.4f} | {perceived} |')
    return '\n'.join(lines)


def seconds(methods, sizes=(512, 1024)):
    "Markdown: seconds for a square photo with a fifth of it lost in strokes, the best of three."
    lines = ['| method | ' + ' | '.join(f'{o} px' for o in sizes) + ' |', '|---|' + '---|'*len(sizes)]
    rng = np.random.default_rng(0)
    made = []
    for size in sizes:
        img = to_uint8(cv2.resize(rng.random((size//16, size//16, 3), np.float32), (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1))
        made.append((img, scratch_alpha(img.shape, 30, .012, .9, 3) > .12))
    for name, method in methods.items():
        took = [min(_took(method, *o) for _ in range(3)) for o in made]
        lines.append(f'| {name} | ' + ' | '.join(f'{o:.2f} s' for o in took) + ' |')
    return '\n'.join(lines) + f'\n\n{torch.get_num_threads()} threads; {100*made[0][1].mean():.0f} % lost.'


def _took(method, img, mask):
    began = time.perf_counter()
    method(img, mask)
    return time.perf_counter() - began


def sheet(kept, methods, folder):
    "The worst and the best cases, a picture each: given, filled by each method, the truth."
    for title, case in kept:
        img, mask, answers = case
        parts = [np.where(mask[..., None], np.uint8(255), img), *(answers[o] for o in methods), img]
        write_photo(Path(folder)/f'{title}.jpg', np.hstack(parts))


def load_net(path):
    "An inpainting network from a file or a manifest."
    path = find_weights(path)
    return load_network(path, 'inpaint')[0] if str(path).endswith('.json') else load_network(path)[0]


def main(
    photos: Annotated[list[str], typer.Option(help='NAME=PATH')],
    masks: Annotated[Optional[str], typer.Option(help='folder of masks, white where nothing is left; without it only scratches')] = None,
    net: Annotated[Optional[list[str]], typer.Option(help='NAME=WEIGHTS; the one of the package when not given')] = None,
    out: str = 'inpainting',
    limit: Annotated[int, typer.Option(help='photos of each name at most; 0: all')] = 0,
    people_held_out: bool = True,
    lpips: Annotated[bool, typer.Option(help="needs the package lpips and SqueezeNet's weights")] = True,
    times: Annotated[bool, typer.Option(help='measure seconds, too')] = True,
    sheets: Annotated[Optional[str], typer.Option(help='folder for pictures of the worst and the best')] = None,
):
    nets = {name: load_net(path) for name, path in named(net or ['ours=reference'])}
    methods, rows, kept = methods_of(nets), [], []
    groups, drawn = masks_by_share(masks) if masks else ({o: [] for o in SHARES}, {})
    chosen = photos_of(photos, limit, people_held_out)
    if not any(chosen.values()): raise RestorerError('no photos: give --photos NAME=PATH')
    total, first = sum(map(len, chosen.values()))*(1 + sum(map(bool, groups.values()))), next(iter(nets))
    with progress_bar(total, 'inpainting') as tell:
        for done, (name, share, file, img, mask) in enumerate(cases(chosen, groups, drawn), 1):
            answers = {m: f(img, mask) for m, f in methods.items()}
            own = [dict(photos=name, lost=share, name=file, method=m, ratio=mask.mean(), radius=hole_radius(mask)) | scores(y, img, mask, lpips) for m, y in answers.items()]
            rows += own
            gain = next(o['hole'] for o in own if o['method'] == first) - own[0]['hole']
            kept.append((gain, f'{share.split()[0]}-{Path(file).stem}', (img, mask, answers)))
            kept = sorted(kept, key=lambda o: o[0])
            kept = kept[:8] + kept[8:][-4:]
            tell(done)
    rows = pd.DataFrame(rows)
    order = pd.Categorical(rows.lost, [*SHARES, THIN])
    rows = rows.assign(lost=order.astype(str), _at=order.codes).sort_values(['photos', '_at'], kind='stable').drop(columns='_at')
    text = '\n\n'.join([table(rows, methods), CONVENTIONS, *([seconds(methods)] if times else [])]) + '\n'
    with write_beside(Path(f'{out}.csv')) as tmp: rows.to_csv(tmp, index=False, float_format='%.5g')
    with write_beside(Path(f'{out}.md')) as tmp: tmp.write_text(text, encoding='utf-8')
    if sheets: sheet([(f'{i:02d}{gain:+.1f}dB-{title}', case) for i, (gain, title, case) in enumerate(kept)], methods, sheets)
    print(text)


if __name__ == '__main__':
    try: typer.run(main)
    except RestorerError as e: raise SystemExit(f'{e}')
