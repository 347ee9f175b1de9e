"""Photos a second through each stage's training step, beside stock fastai in 32-bit floats; and where the time goes.

Stock is what fastai's documentation shows: `unet_learner`, a `Learner` around `gan_critic`, and `GANLearner`, of the same U-Net and
as wide a critic, on the same batches. Both train in turn, a step of one and a step of the other, so that whatever else the machine does hits both; the gain is the
median of the ratios of neighbours. In the GAN critic and generator strictly alternate on both sides; a round is one turn of each.

    python benchmarks/throughput.py                          # about twelve minutes on two idle cores
    python benchmarks/throughput.py --sizes 64 --steps 10    # one size, more closely
    python benchmarks/throughput.py --recipe quick           # the networks of another recipe

Batches have about as many pixels at each size (`--pixels`), as in the recipes. They are ready in memory: the loader is not in the first table
(see loader_speed.py), but its time stands in the second. Prints Markdown tables.
"""
import gc
import os
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import torch
import typer
from dataset_speed import sample_crops
from fastai.callback.core import Callback
from fastai.data.all import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.losses import MSELossFlat
from fastai.torch_core import default_device, set_seed
from fastai.vision.gan import AdaptiveGANSwitcher, AdaptiveLoss, GANLearner, gan_critic, gan_loss_from_func
from fastai.vision.learner import unet_learner
from restorer_fastai.learn.critic import critic_learner
from restorer_fastai.nets.projected import new_critic
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.data.dataset import build_dataset
from restorer_fastai.learn.gan import GanLearner
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.nets.blocks import bf16_is_fast
from restorer_fastai.nets.restorer import build_network
from restorer_fastai.train.recipe import load_recipe
from torch import nn

ALWAYS = float('inf') # a critic's loss is below it, so the turns alternate


class Phases(Callback):
    "Seconds of each part of each step, and whose turn it was."
    order = -100 # before everything else that happens at an event
    def before_fit(self): self.steps = []
    def _mark(self, name):
        if self.dls.device.type == 'cuda': torch.cuda.synchronize()
        now = time.perf_counter()
        self.steps[-1][name], self.began = now - self.began, now
    def before_batch(self):
        if self.dls.device.type == 'cuda': torch.cuda.synchronize()
        turn = next((cb for cb in self.learn.cbs if hasattr(type(cb), 'switch')), None)
        self.began = time.perf_counter()
        self.steps.append(dict(turn='generator' if turn and turn.gen_mode else 'critic' if turn else ''))
    def after_pred(self): self._mark('forward')
    def after_loss(self): self._mark('loss')
    def after_backward(self): self._mark('backward')
    def after_batch(self): self._mark('optimiser') # step and zero_grad

    @property
    def seconds(self): return sum(v for step in self.steps for k,v in step.items() if k != 'turn')


def memory_dls(pairs, bs, device):
    "Loaders that only collate what is in memory; nothing to validate."
    return DataLoaders(DataLoader(pairs, bs=bs, device=device), DataLoader([], bs=bs, device=device), device=device)


def adversarial(pred, target): return AdaptiveLoss(nn.BCEWithLogitsLoss())(pred, target)


def generators(dls, recipe):
    net = recipe.network
    stock = unet_learner(dls, pretrained=False, loss_func=MSELossFlat(), **net.unet_kwargs())
    return stock, generator_learner(dls, net, loss='mse')


def stock_critic(recipe): return gan_critic(nf=recipe.critic['nf']) # what fastai has for it, also where ours is built otherwise


def critics(dls, recipe):
    stock = Learner(dls, stock_critic(recipe), loss_func=AdaptiveLoss(nn.BCEWithLogitsLoss()))
    return stock, critic_learner(dls, net=new_critic(**recipe.critic))


def gans(dls, recipe):
    unet, _ = generators(dls, recipe)
    losses = gan_loss_from_func(MSELossFlat(), adversarial, (1., 50.))
    stock = GANLearner(dls, unet.model, stock_critic(recipe), *losses, switcher=AdaptiveGANSwitcher(critic_thresh=ALWAYS))
    return stock, GanLearner(dls, build_network(recipe.network), new_critic(**recipe.critic), critic_thresh=ALWAYS)


STAGES = {'generator': (generators, 1), 'critic': (critics, 1), 'gan': (gans, 2)} # learners, batches a round


def measure(stage, pairs, bs, recipe, steps, device):
    "[(stock, ours)]: seconds of the rounds of both, side by side; and the phases of ours."
    make, batches = STAGES[stage]
    if stage == 'critic': pairs = [(o, torch.tensor(float(i % 2))) for i,(_,o) in enumerate(pairs)]
    dls = memory_dls((pairs*batches)[:bs*batches], bs, device)
    learners = make(dls, recipe)
    clocks = [Phases(), Phases()]
    for learn,clock in zip(learners, clocks): learn.add_cb(clock)
    rounds, phases = [], []
    for i in range(steps + 2):
        for learn in learners[::1 if i % 2 else -1]: # neither is always the first
            with learn.no_bar(), learn.no_logging(): learn.fit(1)
        if i < 2: continue # the first ones allocate
        rounds.append(tuple(clock.seconds for clock in clocks))
        phases += clocks[1].steps
    return rounds, phases


def photos(root, size, n, mix, seed, device):
    "`n` pairs out of the loader, in memory; and the seconds that a photo took."
    set_seed(seed)
    dls = get_dls(root, size, bs=n, mix=mix, samples=n, device=device)
    start = time.perf_counter()
    x, y = next(iter(dls.train))
    return [(a, b) for a,b in zip(*(o.as_subclass(torch.Tensor) for o in (x, y)))], (time.perf_counter() - start)/n


def ratio_cell(rounds):
    ratios = [stock/ours for stock,ours in rounds]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})'


def phase_rows(stage, size, phases, bs, loading):
    "A row for each kind of step: milliseconds a photo."
    for turn in dict.fromkeys(o['turn'] for o in phases):
        mine = [o for o in phases if o['turn'] == turn]
        name = stage if not turn else f"{stage}, {turn}'s turn"
        parts = [1000*loading] + [1000/bs*statistics.median(o[k] for o in mine) for k in ('forward', 'loss', 'backward', 'optimiser')]
        yield f'| {name} | {size} | ' + ' | '.join(f'{o:.1f}' for o in parts) + ' |'


def main(
    sizes: Annotated[str, typer.Option(help='Sides of the photos, px: multiples of 32, at least 64')] = '64,128,192,256',
    stages: Annotated[str, typer.Option(help='What to measure')] = 'generator,critic,gan',
    steps: Annotated[int, typer.Option(help='Rounds to measure, after two that do not count')] = 3,
    pixels: Annotated[int, typer.Option(help='Pixels a batch, about: decides how many photos it has')] = 32*64*64,
    recipe: Annotated[str, typer.Option(help='Whose networks: quick, reference, or a YAML file')] = 'reference',
    mix: Annotated[str, typer.Option(help='Degradation mix (for the loader\'s time)')] = 'lapaz2021',
    threads: Annotated[Optional[int], typer.Option(help='Threads  [default: as many as cores]')] = None,
    device: Annotated[Optional[str], typer.Option(help='Where to train: cpu, cuda  [default: a GPU if there is one]')] = None,
    seed: Annotated[int, typer.Option(help='Of everything random')] = 0,
):
    recipe, device = load_recipe(recipe), torch.device(device or default_device())
    torch.set_num_threads(threads or os.cpu_count())
    print(f'{platform.machine()}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, bf16 is {"" if bf16_is_fast(device) else "not "}fast here; '
          f'recipe {recipe.name}\n')
    print('| stage | size, px | photos a batch | stock fastai fp32, photos/s | ours, photos/s | gain: median (range) |\n|---|---|---|---|---|---|')
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        build_dataset(sample_crops(Path(tmp)/'photos', 40, seed), Path(tmp)/'set', pairs='none', progress=False)
        for size in map(int, sizes.split(',')):
            bs = max(2, round(pixels/size**2))
            pairs, loading = photos(Path(tmp)/'set', size, bs, mix, seed, device)
            for stage in stages.split(','):
                set_seed(seed)
                rounds, phases = measure(stage, pairs, bs, recipe, steps, device)
                stock, ours = (bs*STAGES[stage][1]/statistics.median(o) for o in zip(*rounds))
                print(f'| {stage} | {size} | {bs} | {stock:.1f} | {ours:.1f} | {ratio_cell(rounds)} |', flush=True)
                rows += phase_rows(stage, size, phases, bs, 0. if stage == 'critic' else loading)
                gc.collect() # learners hold themselves in circles
    print('\nWhere the time goes in ours, ms a photo. In a GAN the loss contains the other network: its opinion of, or its photos for, the one whose turn it is.\n')
    print('| stage | size, px | loader | forward | loss | backward | optimiser |\n|---|---|---|---|---|---|---|')
    print('\n'.join(rows))


if __name__ == '__main__': typer.run(main)
