"""How well what was done to a photo is read from it: a table, and the training of the small network that weighs the statistics.

    python benchmarks/estimating.py --photos CBSD68=bench/CBSD68 --photos Set14=bench/Set14 --photos held-out=crops/held_out
    python benchmarks/estimating.py --fit estimate.safetensors --photos crops=photos/crops --photos clean=photos/clean --minutes 10

Conventions: RGB; noise is white, of one sigma in all channels, added to levels of 8 bit, clipped and rounded; blur is Gaussian, sigma in px; JPEG by OpenCV (libjpeg-turbo), colour at half
resolution; "twice" is JPEG 20, cut by 3 and 5 px, saved again at 90. For each damage: mean and mean absolute error (MAE) of the estimate; AUC of the chance that there was any against the same
photos as they are; the share that was found (chance above 1/2). For the photos as they are: how many are called compressed, noisy, blurred. Photos of test sets are not free of all that:
BSD's were JPEGs of quality 95 once, and some of Set14's are scans with noise.

`--fit`: photos whose names end in jpg are made smaller by .5 to .62, so that their JPEG is gone; others are taken as they are and must be clean. Hold out what you measure on.
"""
import os
import time
import zlib
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version

import cv2
import numpy as np
import pandas as pd
import torch
import typer
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score
from restorer_fastai.degrade.damage import coarse_noise, compress_jpeg
from restorer_fastai.degrade.estimate import estimate_done, trace_features
from restorer_fastai.degrade.grid import spread_crops
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_float, to_uint8
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.photo.reading import read_photo

NOISE, JPEG, BLUR = (3, 5, 15, 25, 50), (10, 20, 30, 40, 60, 80, 90), (1, 1.75, 2.5)


def levels(x): return np.uint8(np.rint(x).clip(0, 255))


def as_jpeg(img, quality, halved=True):
    "Pixels as JPEG gives them back."
    return to_uint8(compress_jpeg(to_float(img), quality, halved))


def damages(img, seed):
    "(what is read, damage, its size, damaged photo)."
    x, noise = np.float32(img), np.random.default_rng(seed).standard_normal(img.shape, dtype=np.float32)
    yield 'as it is', 'as it is', 0, img
    for s in NOISE: yield 'noise', f'noise {s}', s, levels(x + s*noise)
    for q in JPEG: yield 'quality', f'JPEG {q}', q, as_jpeg(img, q)
    yield 'quality', 'JPEG twice', 20, as_jpeg(np.ascontiguousarray(as_jpeg(img, 20)[3:, 5:]), 90)
    for s in BLUR: yield 'blur', f'blur {s}', s, levels(cv2.GaussianBlur(x, (0, 0), s, borderType=cv2.BORDER_REFLECT))


def rows_of(group, paths):
    "A row for each photo and damage: the chances and the number that was read."
    for path in with_progress(paths, group):
        for what, damage, size, img in damages(read_photo(path), zlib.crc32(path.name.encode())):
            done = estimate_done(img)
            yield dict(group=group, what=what, damage=damage, size=size, read=np.mean(getattr(done, what)) if what != 'as it is' else 0, doubt=done.doubt.get(what, 0),
                       **{o: done.chance(o) for o in ('quality', 'noise', 'blur')})


def table(rows):
    "A row for each set and damage, as markdown."
    lines = [['photos', 'damage', 'read', 'MAE', 'AUC of any', 'found', 'called compressed', 'noisy', 'blurred'], ['---', '---', *['--:']*7]]
    for (group, damage), part in rows.groupby(['group', 'damage'], sort=False):
        whole, what = rows[(rows.group == group) & (rows.what == 'as it is')], part.what.iloc[0]
        figures = ['', '', '', ''] if what == 'as it is' else [f'{part.read.mean():.2f}', f'{(part.read - part["size"]).abs().mean():.2f}',
            f'{roc_auc_score([0]*len(whole) + [1]*len(part), [*whole[what], *part[what]]):.3f}', f'{(part[what] > .5).mean():.0%}']
        lines.append([f'{group} ({len(part)})', damage, *figures, *(f'{(part[o] > .5).mean():.0%}' for o in ('quality', 'noise', 'blur'))])
    return '\n'.join(f'| {" | ".join(o)} |' for o in lines)


def lesson_crop(path, rng):
    "A crop without traces of JPEG, one in eight grey, in levels."
    img = read_photo(path)
    if path.suffix.lower() in ('.jpg', '.jpeg'): img = cv2.resize(img, None, fx=(s := rng.uniform(.5, .62)), fy=s, interpolation=cv2.INTER_AREA)
    h, w = (min(o, n) for o in img.shape[:2] for n in [int(rng.choice([128, 160, 192, 256]))])
    y, x = (int(rng.integers(n - m + 1)) for n, m in zip(img.shape, (h, w)))
    img = img[y:y + h, x:x + w]
    return np.repeat(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)[..., None], 3, 2) if rng.random() < .12 else img


def some_noise(x, rng):
    "(levels with noise, sigmas, coarseness)."
    sigma, way, coarse = np.full(3, np.exp(rng.uniform(np.log(2), np.log(60)))), rng.random(), 0.
    noise = rng.standard_normal(x.shape, dtype=np.float32)
    if way < .2: sigma = sigma*rng.permutation([1, *rng.uniform(.2, 1, 2)])
    elif way < .35: noise = np.repeat(noise[..., :1], 3, 2)
    elif way < .55:
        coarse, sigma = rng.uniform(.4, 2), sigma/2
        noise = coarse_noise(x.shape, coarse, rng)
    return x + noise*np.float32(sigma), sigma, coarse


def lesson(img, rng):
    "(damaged crop, what is to be read: log(1 + noise) of R, G, B, coarseness, blur; was there noise, blur)."
    kind, x = rng.choice(['clean', 'jpeg', 'noise', 'blur', 'blur noise', 'noise jpeg', 'jpeg noise', 'blur jpeg'], p=[.3, .19, .24, .18, .03, .015, .015, .03]), np.float32(img)
    sigma, coarse, blur = np.zeros(3), 0., 0.
    for step in kind.split():
        if step == 'blur':
            blur = float(np.exp(rng.uniform(np.log(.5), np.log(4))))
            x = cv2.GaussianBlur(x, (0, 0), blur, borderType=cv2.BORDER_REFLECT_101)
        elif step == 'noise': x, sigma, coarse = some_noise(x, rng)
        elif step == 'jpeg': x = np.float32(as_jpeg(levels(x), rng.integers(5, 96), rng.random() < .5))
    y, left = rng.integers(0, 8, 2) if rng.random() < .5 else (0, 0)
    return np.ascontiguousarray(levels(x)[y:, left:]), [*np.log1p(sigma), coarse, blur], [sigma.max() > 0, blur > 0]


def lessons(paths, minutes, seed):
    "Statistics (n, 58), numbers (n, 5) and what there was (n, 2) of as many lessons as there is time for."
    rng, end, found = np.random.default_rng(seed), time.time() + 60*minutes, []
    while time.time() < end:
        img, numbers, there = lesson(lesson_crop(paths[rng.integers(len(paths))], rng), rng)
        found.append((trace_features(spread_crops(img))[0], numbers, there))
    return [np.float32(o) for o in zip(*found)]


class Weigher(torch.nn.Module):
    "What `weigh` computes, to be trained."
    def __init__(self, ni, nf=24):
        super().__init__()
        self.layers, self.skip = torch.nn.ModuleList(torch.nn.Linear(*o) for o in ((ni, nf), (nf, nf), (nf, 12))), torch.nn.Linear(ni, 12, bias=False)
        torch.nn.init.zeros_(self.skip.weight)

    def forward(self, x): return self.layers[2](torch.tanh(self.layers[1](torch.tanh(self.layers[0](x))))) + self.skip(x)


def weigher_loss(y, numbers, there):
    "Numbers where there was any, with their doubts; chances, where a false alarm costs three and a half times as much as a miss."
    mean, doubt, counts = y[:, :5], y[:, 5:10], torch.cat([there[:, :1].expand(-1, 4), there[:, 1:]], 1)*torch.tensor([1., 1, 1, .5, 1])
    off = (mean - numbers).detach().abs()
    far = 3*torch.nn.functional.smooth_l1_loss(mean, numbers, reduction='none', beta=.2) + .3*(.5*(off/doubt.exp()).square().clamp(max=30) + doubt)
    chance = torch.nn.functional.binary_cross_entropy_with_logits(y[:, 10:], there*.98 + .01, reduction='none')
    return (counts*far).mean() + .6*(chance*(1 + 2.5*(1 - there))).mean()


def fitted(features, numbers, there, steps=2600, seed=0):
    "Weights for `weigh`."
    torch.manual_seed(seed)
    mean, scale = features.mean(0), features.std(0) + 1e-2
    x, numbers, there = torch.tensor(((features - mean)/scale).clip(-4, 4)), torch.tensor(numbers), torch.tensor(there)
    net = Weigher(x.shape[1])
    opt = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=.02)
    for i in range(steps):
        opt.param_groups[0]['lr'] = 4e-3*min(1, i/50)*(1 - i/steps)
        some = torch.randint(len(x), (192,))
        loss = weigher_loss(net(x[some] + .03*torch.randn(192, x.shape[1])), numbers[some], there[some])
        opt.zero_grad(); loss.backward(); opt.step()
    weights = {f'{k}{i}': v for i, o in enumerate(net.layers) for k, v in (('w', o.weight.T), ('b', o.bias))} | dict(skip=net.skip.weight.T)
    return dict(mean=mean, scale=scale) | {k: v.detach().numpy().copy() for k, v in weights.items()}


def main(
    photos:Annotated[list[str], typer.Option(help='NAME=FOLDER of clean photos; give it several times')],
    limit:Annotated[int, typer.Option(help='At most so many photos of each set; 0: all')]=0,
    out:Annotated[Optional[Path], typer.Option(help='A CSV file for all readings')]=None,
    fit:Annotated[Optional[Path], typer.Option(help='Train on the photos instead, and write the weights here')]=None,
    minutes:Annotated[float, typer.Option(help='With --fit: how long to make lessons')]=10.,
    seed:int=0,
):
    "Read from damaged photos what was done to them, or train what reads."
    sets = {name: find_photos(folder)[:limit or None] for name, _, folder in (o.partition('=') for o in photos)}
    if fit:
        made = lessons([o for paths in sets.values() for o in paths], minutes, seed)
        save_file(fitted(*made, seed=seed), fit)
        return print(f'{len(made[0])} lessons; {fit}')
    rows = pd.DataFrame([row for name, paths in sets.items() for row in rows_of(name, paths)])
    if out: rows.to_csv(out, index=False)
    print(table(rows))


if __name__ == '__main__': typer.run(main)
