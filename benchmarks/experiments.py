"""Which choices pay: short trainings that differ in one thing, on the same photos, for the same number of steps, with the same seed.

    python benchmarks/experiments.py --data data --out experiments                       # all of them
    python benchmarks/experiments.py --data data --out experiments --names base,mse      # some
    python benchmarks/experiments.py --data data --out experiments --start look.safetensors

Each trains the generator at 64 px and is then scored on the same whole frames at 128 px from the held-out side of the split, degraded by the mix `archive`,
told the mode, so that the sign does not drown the rest; the last column is blind. `--start` are weights whose network that looks is already trained; without them the experiments with `look` train one first
(`--look-photos`). Writes OUT/experiments.csv and prints a Markdown table; what stands in the CSV is not trained again.
"""
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import pandas as pd
import torch
import typer
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.learn.frame import told_mode
from restorer_fastai.nets.frame import MODES
from restorer_fastai.photo.disk import write_rows
from restorer_fastai.score.metrics import psnr, ssim
from restorer_fastai.train.kinds import FrameStage, make_stage
from restorer_fastai.train.recipe import Recipe
from restorer_fastai.train.run import train
from restorer_fastai.nets.weights import load_weights, save_weights

CHOSEN = NetConfig(norm='batch', look=True, residual=True, head=64, detail=8)
OWN_END = dict(head=None, detail=0) # fastai's
EXPERIMENTS = { # name -> (title, changes of the network, of the recipe, of the stage)
    'base': ('chosen: look, residual, batch norm, head of 64 channels and 8 blocks, PSNR loss, parts at any scale', {}, {}, {}),
    'no_look': ('no look: the U-Net sees whole frames and finds the sign itself', dict(look=False), {}, dict(view='frame')),
    'no_look_parts': ('no look, parts', dict(look=False), {}, {}),
    'photo': ('predict the photo, not a residual', dict(residual=False), {}, {}),
    'y_range': ('predict the photo through a sigmoid (-3, 3)', dict(residual=False, y_range=(-3, 3)) | OWN_END, {}, {}),
    'weight_norm': ('weight norm', dict(norm='weight'), {}, {}),
    'no_norm': ('no norm in the decoder', dict(norm='none'), {}, {}),
    'mse': ('MSE', {}, dict(loss='mse'), {}),
    'l1': ('L1', {}, dict(loss='l1'), {}),
    'perceptual': ('MSE + 0.01 perceptual (SqueezeNet)', {}, dict(loss='mse + 0.01*perceptual'), {}),
    'stock_adam': ("fastai's Adam as it is (eps 1e-5)", {}, {}, dict(optimiser='adam')),
    'own_end': ("fastai's end of 99 channels at full size", OWN_END, {}, {}),
    'head_32': ('head of 32 channels', dict(head=32), {}, {}),
    'detail_2': ('head of 2 blocks', dict(detail=2), {}, {}),
    'head_only': ('the head alone, without the U-Net', {}, {}, dict(head_only=True)),
    'attention': ('self-attention', dict(self_attention=True), {}, {}),
    'no_blur': ('no blur after PixelShuffle', dict(blur=False), {}, {}),
    'ema': ('EMA of the weights, 0.98', {}, dict(ema=.98), {}),
    'lr_3e-4': ('highest rate 3e-4', {}, {}, dict(lr=3e-4)),
    'lr_3e-3': ('highest rate 3e-3', {}, {}, dict(lr=3e-3)),
    'zoom_1.2': ('parts at most 1/1.2 of the short side', {}, {}, dict(zoom=1.2)),
    'repairs_mix': ('mix repairs instead of archive', {}, dict(mix='repairs'), {}),
    'weight_attention': ('weight norm and self-attention', dict(norm='weight', self_attention=True), {}, {}),
    'plain_mix': ('mix lapaz2021 instead of archive', {}, dict(mix='lapaz2021'), {}),
}


def recipe_of(name, start, photos, bs, seed):
    "The recipe of one experiment."
    _, network, changes, stage = EXPERIMENTS[name]
    network = replace(CHOSEN, **network)
    stage = make_stage(**(dict(kind='generator', size=64, samples=photos, bs=bs, lr=1e-3, view='part', zoom=4) | stage))
    shared = dict(mix='archive', loss='psnr_loss', valid_samples=16, keep='last', seed=seed, critic=dict(nf=8))
    return Recipe(**(shared | dict(name=name, stages=(stage,), network=network, start=start if network.look else None) | changes))


def start_for(network, looked, out):
    "Weights of another network that looks alike: an untrained U-Net with the same trained eyes."
    torch.manual_seed(0)
    net = build_network(network)
    net.looker.load_state_dict(looked)
    return str(save_weights(out, net))


@torch.no_grad()
def score(net, dl):
    "Scores on whole frames: told, of each mode and of all, and blind."
    rows = []
    for x,y,mode in dl:
        blind, told = (net(x, x, m).clamp(0, 1) for m in (None, mode))
        numbers = zip(mode, psnr(told, y, cap=60), ssim(told, y), psnr(blind, y, cap=60))
        rows += [dict(mode=MODES[m], psnr=float(p), ssim=float(s), blind=float(b)) for m,p,s,b in numbers]
    rows = pd.DataFrame(rows)
    return dict(psnr=rows.psnr.mean(), ssim=rows.ssim.mean(), blind=rows.blind.mean(), **rows.groupby('mode').psnr.mean())


def main(
    data:Annotated[Path, typer.Option(help='Folder that `restorer build` wrote')],
    out:Annotated[Path, typer.Option(help='Folder for runs and results')],
    names:Annotated[Optional[str], typer.Option(help='Some experiments, with commas between')]=None,
    start:Annotated[Optional[Path], typer.Option(help='Weights with a trained network that looks')]=None,
    photos:Annotated[int, typer.Option(help='Photos that each trains on')]=2400,
    look_photos:Annotated[int, typer.Option(help='Photos that the network that looks trains on, without --start')]=20000,
    valid:Annotated[int, typer.Option(help='Held-out photos to score')]=128,
    bs:int=16,
    seed:int=0,
):
    "Train and score; a line as soon as each is done."
    out.mkdir(parents=True, exist_ok=True)
    if start is None:
        stage = FrameStage(96, samples=look_photos, bs=64, lr=1e-3)
        start = train(Recipe('look', (stage,), network=CHOSEN, mix='archive', keep='last', seed=seed), data, out/'look', progress=False)
    looked = load_weights(start)[0].looker.state_dict()
    dl = get_dls(data, size=128, bs=16, view='frame', mix='archive', truth=told_mode, valid_samples=valid, seed=seed).valid
    path = out/'experiments.csv'
    rows = pd.read_csv(path).to_dict('records') if path.exists() else []
    for name in names.split(',') if names else EXPERIMENTS:
        if any(o['name'] == name for o in rows): continue
        recipe = recipe_of(name, None, photos, bs, seed)
        if recipe.network.look: recipe = replace(recipe, start=start_for(recipe.network, looked, out/'start.safetensors'))
        weights = train(recipe, data, out/name, progress=False)
        speed = pd.read_csv(out/name/'log.csv').photos_per_s.iloc[-1]
        rows.append(dict(name=name, title=EXPERIMENTS[name][0], **score(load_weights(weights)[0], dl), photos_per_s=speed))
        write_rows(path, rows)
        print(f"{name}: {rows[-1]['psnr']:.2f} dB", flush=True)
    print('\n| experiment | all, PSNR / SSIM | photos | black-and-white | negatives | all, blind | photos/s |\n| --- | --- | --: | --: | --: | --: | --: |')
    for o in rows:
        print(f"| {o['title']} | {o['psnr']:.2f} / {o['ssim']:.3f} | {o['photo']:.2f} | {o['black_and_white']:.2f} | {o['negative']:.2f} | {o['blind']:.2f} | {o['photos_per_s']:.1f} |")


if __name__ == '__main__': typer.run(main)
