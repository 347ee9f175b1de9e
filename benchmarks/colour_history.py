"""Colours as they were guessed in 2016, and today: short trainings that differ in one thing, on the same photos, for the same number of them, with several seeds.

    python benchmarks/colour_history.py --data data --photos CBSD68=bench/CBSD68 --out history                     # all of them
    python benchmarks/colour_history.py --data data --photos CBSD68=bench/CBSD68 --out history --names blurred,plain --seeds 3
    python benchmarks/colour_history.py --cost                                                                     # what a step of each costs

Each trains at 128 px with its eyes at rest (EfficientNet-Lite0, ImageNet's weights) and is then scored on whole photos whose colours are known, made grey by luma (Rec. 601), at their own size.
PSNR: RGB of 8 bits, no border left out. Gap: colourfulness (Hasler and Suesstrunk M3) minus the truth's. LPIPS: SqueezeNet. Warm: which share of the pixels is warm (Cr above grey, Cb below), where a network that averages
answers sepia. Photos are crops of the data set's (`restorer build --pairs none`). `OUT/scores.csv` keeps a row for each photo; what stands there is not trained again. `--sheet` draws what the networks of the first seed say.
`critic` goes on from `blurred` with as many photos again. `--cost`: what a step keeps for the way back, for one photo of 224 × 224 px, and its time as a multiple of the first one's, median of three, by turns; eyes at rest.
"""
import os
import time
import warnings
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import numpy as np
import pandas as pd
import torch
import typer
from fastai.torch_core import set_seed
from restorer_fastai.colourhistory.hypercolumns import saved_for_backward
from restorer_fastai.colourhistory.training import hinted, new_history_net
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.learn.critic import critic_dls, critic_learner
from restorer_fastai.nets.colour import chroma, luma
from restorer_fastai.nets.critics import CriticNet
from restorer_fastai.nets.weights import load_network, save_weights
from restorer_fastai.oldphoto.colorize import colorize
from restorer_fastai.oldphoto.colorize_gan import ColorizedPhotos, colorize_gan
from restorer_fastai.oldphoto.colorize_learn import with_luma
from restorer_fastai.photo.disk import write_rows
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import rgb_to_ycbcr, to_float, to_tensor, to_uint8
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.score.metrics import colourfulness, lpips_distance, psnr
from restorer_fastai.train.kinds import make_stage
from restorer_fastai.train.recipe import Recipe
from restorer_fastai.train.run import train

EXPERIMENTS = { # name -> (title, what is different in its stage)
    'blurred': ('residual encoder, five levels, blurred loss, Adam', {}),
    'plain': ('plain loss', dict(blurs=())),
    'sgd': ('SGD, rate .1', dict(optimiser='sgd', lr=.1)),
    'four': ('four levels', dict(levels=4)),
    'hints': ('half of the photos with colours of an earlier frame', dict(hints=.5)),
    'classes': ('the colour network of the old-photo pipeline: odds of 225 colours', dict(kind='colorize')),
    'hypercolumns': ('hypercolumns, four levels', dict(form='hypercolumns', levels=4)),
    'critic': ('blurred, and then a critic', None),
}
BS, SIZE = 8, 128


def trained(name, data, folder, seed, photos):
    "Weights of one experiment."
    if name == 'critic': return against_a_critic(folder.parent/f'blurred_{seed}'/'model.safetensors', data, folder, seed, photos)
    stage = make_stage(**(dict(kind='colour_history', size=SIZE, samples=photos, bs=BS, lr=1e-3, frozen=True) | EXPERIMENTS[name][1]))
    return train(Recipe(name, (stage,), mix='archive', ema=.99, keep='last', valid_samples=16, seed=seed), data, folder, progress=False)


def against_a_critic(start, data, folder, seed, photos):
    "The network goes on with the house's critic beside a pixel loss."
    set_seed(seed)
    net, header = load_network(start)
    dls = get_dls(data, size=SIZE, bs=BS, samples=photos, valid_samples=16, mix='colourless', seed=seed)
    critic = CriticNet(32)
    first = critic_learner(critic_dls(ColorizedPhotos(net), dls, n=photos//2, n_valid=32), net=critic)
    gan = colorize_gan(dls, net, critic, weights=(.01, 10.), lr=1e-4)
    with first.no_bar(), first.no_logging(): first.fit(1, 1e-4)
    with gan.no_bar(), gan.no_logging(): gan.fit(1)
    folder.mkdir(parents=True, exist_ok=True)
    return save_weights(folder/'model.safetensors', net.eval())


def warm(img):
    "Which share of the pixels is warm, in %."
    cb, cr = np.moveaxis(rgb_to_ycbcr(img)[..., 1:] - 128/255, -1, 0)
    return 100*float(((cr > 2/255) & (cb < -2/255)).mean())


def row_of(img, truth, weights):
    "The numbers of a coloured photo."
    return dict(psnr=psnr(img, truth), gap=colourfulness(img) - colourfulness(truth), lpips=lpips_distance(img, truth, weights=weights), warm=warm(img))


def hinted_psnr(net, truth, seed):
    "PSNR when the photo is seen with some colours, as from an earlier frame; and of those colours alone."
    x = to_tensor(truth)
    torch.manual_seed(seed)
    seen = hinted(x, luma(x), 1.)
    colours = torch.nn.functional.interpolate(net.guess_from(seen), x.shape[2:], mode='bilinear')
    return [float(psnr(with_luma(luma(x), o).clamp(0, 1), x)) for o in (colours, chroma(seen))]


def cost(times=3):
    "Print what each network costs while it learns."
    nets = {(e, f, n): new_history_net(f, False, eyes=e, levels=n) for e in ('lite0', 'vgg16') for f in ('residual', 'hypercolumns') for n in (4, 5)}
    seconds, kept, x = {k: [] for k in nets}, {}, torch.rand(1, 3, 224, 224)
    for net in nets.values(): net.train().eyes.requires_grad_(False)
    for _ in range(times):
        for k, net in nets.items():
            start = time.perf_counter()
            net(x).mean().backward()
            seconds[k].append(time.perf_counter() - start)
    for k, net in nets.items(): kept[k] = saved_for_backward(net, x)/2**20
    first = float(np.median(seconds['lite0', 'residual', 4]))
    print('| eyes | network | levels | MiB a photo | time of a step |\n| --- | --- | --: | --: | --: |')
    for k in nets: print(f'| {k[0]} | {k[1]} | {k[2]} | {kept[k]:.0f} | {np.median(seconds[k])/first:.1f} |')


def main(
    data:Annotated[Optional[Path], typer.Option(help='Folder that `restorer build` wrote')]=None,
    photos:Annotated[Optional[list[str]], typer.Option(help='Photos in colour to score, NAME=FOLDER; several times')]=None,
    out:Annotated[Path, typer.Option(help='Folder for runs and results')]=Path('history'),
    names:Annotated[Optional[str], typer.Option(help='Some experiments, with commas between')]=None,
    seeds:Annotated[int, typer.Option(help='How often each is trained')]=1,
    first_seed:int=0,
    learn:Annotated[int, typer.Option(help='Photos that each learns from, eight a step')]=4000,
    limit:Annotated[int, typer.Option(help='At most so many photos of each folder')]=60,
    weights:Annotated[Optional[Path], typer.Option(help="ImageNet's SqueezeNet, a file or its folder")]=None,
    sheet:Annotated[Optional[Path], typer.Option(help='A JPEG file: truth, grey, each of --names, and the shipped network')]=None,
    only_cost:Annotated[bool, typer.Option('--cost', help='Memory and time of a step of each network')]=False,
):
    "Train and score; a line as soon as each is done."
    if only_cost: return cost()
    if not (data and photos): raise typer.BadParameter('give --data and --photos, or --cost')
    out.mkdir(parents=True, exist_ok=True)
    names = names.split(',') if names else list(EXPERIMENTS)
    truths = {(k, p.name): to_float(read_photo(p)) for k, _, f in (o.partition('=') for o in photos) for p in sorted(find_photos(Path(f)))[:limit]}
    path = out/'scores.csv'
    rows = pd.read_csv(path).to_dict('records') if path.exists() else []
    if not any(o['name'] == 'truth' for o in rows):
        grey = {k: np.repeat(rgb_to_ycbcr(v)[..., :1], 3, 2) for k, v in truths.items()}
        for name, imgs in dict(truth=truths, grey=grey).items(): rows += [dict(name=name, seed=0, set=k, photo=p, **row_of(to_uint8(img), truths[k, p], weights), hinted=None, hints_alone=None) for (k, p), img in imgs.items()]
    for seed in range(first_seed, first_seed + seeds):
        for name in names:
            if any((o['name'], o['seed']) == (name, seed) for o in rows): continue
            net = load_network(trained(name, data, out/f'{name}_{seed}', seed, learn))[0].eval()
            for (k, p), truth in with_progress(truths.items(), f'{name} {seed}', len(truths)):
                hinted_row = dict(zip(('hinted', 'hints_alone'), hinted_psnr(net, truth, 0) if name in ('hints', 'blurred') else (None, None)))
                rows.append(dict(name=name, seed=seed, set=k, photo=p, **row_of(to_uint8(colorize(net, truth, 'mild' if name == 'classes' else None)), truth, weights), **hinted_row))
            write_rows(path, rows)
    report(pd.DataFrame(rows))
    if sheet: write_photo(sheet, sheet_of(truths, {o: load_network(out/f'{o}_{first_seed}'/'model.safetensors')[0].eval() for o in names}), quality=85)


def sheet_of(truths, nets, side=176):
    "One row a photo: truth, grey, what each network says, and the colour network that comes with the package; tiles of `side` px, cut from the middle."
    nets = nets | dict(shipped=load_network('reference', role='colour')[0].eval())
    def tile(img):
        h, w = img.shape[:2]
        img = cv2.resize(to_float(img), (max(side, round(w*side/h)), max(side, round(h*side/w))), interpolation=cv2.INTER_AREA)
        top, left = (n - side for n in img.shape[:2])
        return img[top//2:top//2 + side, left//2:left//2 + side]
    rows = [[truth, np.repeat(rgb_to_ycbcr(truth)[..., :1], 3, 2), *(colorize(net, truth, 'mild' if name in ('classes', 'shipped') else None) for name, net in nets.items())] for truth in truths.values()]
    return to_uint8(np.concatenate([np.concatenate([tile(o) for o in row], 1) for row in rows]))


def report(rows):
    "Print the tables: means over photos, then over seeds, ± their standard deviation."
    print('| photos | what | seeds | PSNR | gap | LPIPS | warm, % | told earlier colours, dB |\n| --- | --- | --: | --: | --: | --: | --: | --: |')
    for k, of_set in rows.groupby('set', sort=False):
        for name in ['truth', 'grey', *EXPERIMENTS]:
            runs = of_set[of_set.name == name].groupby('seed').mean(numeric_only=True)
            if not len(runs): continue
            mean, std = runs.mean(), runs.std() if len(runs) > 1 else runs.mean()*np.nan
            def shown(column, digits):
                if column not in mean or np.isnan(mean[column]): return ''
                return f'{mean[column]:.{digits}f}' + ('' if np.isnan(std[column]) else f' ± {std[column]:.{digits}f}')
            cells = [shown('psnr', 2), shown('gap', 1), shown('lpips', 3), shown('warm', 0), shown('hinted', 2)]
            print(f"| {k} ({of_set.photo.nunique()}) | {EXPERIMENTS[name][0] if name in EXPERIMENTS else name} | {len(runs)} | {' | '.join(cells)} |")


if __name__ == '__main__': typer.run(main)
