"""How soon a critic tells restored photos from real ones: fastai's `gan_critic` beside ours that judges texture at full size, and one that looks through EfficientNet-Lite0.

    python benchmarks/critics.py --data data --model reference

The generator restores `--samples` squares once; every critic learns from the same ones, in the same order, and is scored on squares of held-out photos.
Prints Markdown: accuracy after each epoch (a coin has 50 %), seconds in all.
"""
import os
import time
import warnings
from pathlib import Path
from typing import Annotated

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import typer
from fastai.torch_core import default_device, set_seed
from restorer_fastai.learn.critic import critic_dls, critic_learner
from restorer_fastai.nets.projected import new_critic
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.learn.frame import told_mode
from restorer_fastai import Restorer


def main(
    data:Annotated[Path, typer.Option(help='Built data set')],
    model:Annotated[str, typer.Option(help='Weights of the generator')]='reference',
    mix:Annotated[str, typer.Option(help='How the photos are damaged')]='repairs',
    size:Annotated[int, typer.Option(help='Side of the squares, px')]=64,
    samples:Annotated[int, typer.Option(help='Training squares of each kind')]=1600,
    valid:Annotated[int, typer.Option(help='Held-out squares of each kind')]=256,
    epochs:int=6,
    bs:int=32,
    lr:float=1e-3,
    nf:Annotated[int, typer.Option(help='Channels of the first layer')]=32,
    seed:int=0,
):
    "Train the critics and print the table."
    set_seed(seed)
    dls = get_dls(data, size=size, bs=bs, view='part', zoom=2, on_the_fly=True, mix=mix, samples=samples, valid_samples=valid, truth=told_mode,
                  seed=seed, num_workers=0, device=default_device())
    photos = critic_dls(Restorer.load(model).net.to(dls.device), dls, n=samples, n_valid=valid)
    print('| critic |', ' | '.join(f'epoch {i+1}' for i in range(epochs)), '| s |\n| ---', '| --: '*(epochs + 1) + '|')
    for name, form in (('gan_critic', 'far'), ('near', 'near'), ('projected', 'projected')):
        set_seed(seed)
        learn, began = critic_learner(photos, net=new_critic(form, nf=nf)), time.perf_counter()
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, lr)
        rows = [f'{o[2]:.1%}' for o in learn.recorder.values]
        print(f'| {name} |', ' | '.join(rows), f'| {time.perf_counter() - began:.0f} |', flush=True)


if __name__ == '__main__': typer.run(main)
