"""Does the network ever wait for photos? The loader alone beside the training step alone, at each size of the reference recipe.

On a machine with two cores one of them loads (one worker process) and the other trains (one thread), so this is what is measured: photos
a second out of one worker process, and photos a second through one training step (forward, backward, optimiser) of the reference
network, fitted by its own learner. A ratio above 1 means that the loader waits for the network; with more cores or a GPU, start as
many workers as it takes. The loader is also measured inside the main process (num_workers=0), where its time adds to the step's.

    python benchmarks/loader_speed.py                          # crops of the sample photos that installed packages carry
    python benchmarks/loader_speed.py ~/photos --sizes 64,128  # your own
    python benchmarks/loader_speed.py --threads 16 --workers 8 --device cuda
    python benchmarks/loader_speed.py --repair                 # the lessons of the repair network, damaged by the loader or on the device

Prints a Markdown table.
"""
import os
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('OMP_NUM_THREADS', '1') # of the workers
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import torch
import typer
from dataset_speed import first_photos, sample_crops
from fastai.callback.core import Callback
from fastai.torch_core import default_device, set_seed
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.data.dataset import build_dataset
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.learn.on_device import as_planned, planned_learner, PlannedLessons
from restorer_fastai.learn.repair import repair_dls, RepairLessons
from restorer_fastai.nets.blocks import bf16_is_fast
from restorer_fastai.photo.files import find_photos
from restorer_fastai.train.recipe import load_recipe


class StepClock(Callback):
    "Seconds of each training step, from the moment its batch is there."
    order = -100 # before everything else that happens at the start of a batch
    def before_fit(self): self.seconds = []
    def _now(self):
        if self.dls.device.type == 'cuda': torch.cuda.synchronize()
        return time.perf_counter()
    def before_batch(self): self.start = self._now()
    def after_step(self):
        if self.training: self.seconds.append(self._now() - self.start)


def step_rate(root, network, size, bs, steps, device):
    "Photos a second through the training step of the generator."
    dls = get_dls(root, size, bs, mix='lapaz2021', samples=bs*(steps + 1), valid_samples=1, device=device)
    clock = StepClock()
    learn = generator_learner(dls, network, cbs=clock)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    return bs / statistics.median(clock.seconds[1:]) # the first one allocates


def loader_rate(root, size, bs, mix, workers, seconds, device):
    "Photos a second out of the loader, once it runs."
    dls = get_dls(root, size, bs, mix=mix, samples=10**6 // size, num_workers=workers, device=device)
    batches = iter(dls.train)
    for _ in range(workers + 1): next(batches)
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds: n += len(next(batches)[0])
    return n / (time.perf_counter() - start)


def rate_of(step, n, seconds):
    "Times `n` a second that something goes, once it runs."
    step()
    if torch.cuda.is_available(): torch.cuda.synchronize()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        count += n
        if torch.cuda.is_available(): torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def repair_table(files, sizes, bs, workers, seconds, device):
    "Lessons a second: out of both kinds of loader, through the damage on the device, and through a training step; and who waits for whom."
    print('| px | batch | loader damages | loader plans | damage on the device | step | step / loader that damages | step / loader that plans |\n|--:|--:|--:|--:|--:|--:|--:|--:|')
    for size in sizes:
        rates = []
        for lessons in (RepairLessons, PlannedLessons):
            dls = repair_dls(files, files[:2], size, bs, 10**5, lessons, num_workers=workers, device=device)
            batches = iter(dls.train)
            rates.append(rate_of(lambda: next(batches), bs, seconds))
        batch = next(batches)
        damage = rate_of(lambda: as_planned(batch), bs, seconds)
        bad, told, *truth = as_planned(batch)
        learn = planned_learner(dls)
        learn.create_opt()
        learn.fast_precision.before_fit()
        def step():
            learn.loss_func(learn.model(bad, told), *truth).backward()
            learn.opt.step()
            learn.opt.zero_grad()
        trains = rate_of(step, bs, seconds)
        print(f'| {size} | {bs} | {rates[0]:.0f} | {rates[1]:.0f} | {damage:.0f} | {trains:.1f} | {trains/rates[0]:.3f} | {trains/rates[1]:.3f} |', flush=True)


def batch_sizes(recipe, sizes):
    "Size -> batch size of the reference recipe's generator stages; at other sizes as many pixels as at its largest."
    known = {o.size: o.bs for o in recipe.stages if o.kind == 'generator'}
    largest = max(known)
    return {s: known.get(s) or max(1, int(known[largest] * (largest/s)**2)) for s in sizes}


def main(
    photos: Annotated[Optional[Path], typer.Argument(help='Folder of photos; crops of the sample photos, 256 px high, when not given')] = None,
    count: Annotated[int, typer.Option(help='Photos to use, at most')] = 120,
    sizes: Annotated[str, typer.Option(help='Sides of the training squares, px')] = '64,128,192,256',
    mixes: Annotated[str, typer.Option(help='Degradation mixes')] = 'lapaz2021,archive',
    steps: Annotated[int, typer.Option(help='Training steps to measure at each size')] = 2,
    seconds: Annotated[float, typer.Option(help='How long each loader is measured')] = 2.,
    workers: Annotated[int, typer.Option(help='Loader processes')] = 1,
    threads: Annotated[int, typer.Option(help='Threads of the training step')] = 1,
    device: Annotated[Optional[str], typer.Option(help='Where to train: cpu, cuda  [default: a GPU if there is one]')] = None,
    seed: Annotated[int, typer.Option(help='Of everything random')] = 0,
    repair: Annotated[bool, typer.Option('--repair', help='The lessons of the repair network instead')] = False,
    bs: Annotated[int, typer.Option(help='Lessons a batch, with --repair')] = 16,
):
    set_seed(seed)
    cv2.setNumThreads(1)
    torch.set_num_threads(threads)
    device = torch.device(device) if device else default_device()
    recipe = load_recipe('reference')
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        folder = first_photos(photos, tmp/'photos', count) if photos else sample_crops(tmp/'photos', count, seed, shape=(256, 341))
        if repair: return repair_table(find_photos(folder), map(int, sizes.split(',')), bs, workers, seconds, device)
        root = tmp/'set'
        build_dataset(folder, root, seed=seed, pairs='none', progress=False)
        print(f"{recipe.network.arch}, {'bf16' if bf16_is_fast(device) else 'fp32'}, {device}, {platform.machine()}, {os.cpu_count()} cores; "
              f"step with {threads} thread(s), loader with {workers} process(es); photos/s\n\n"
              "| px | batch | step | mix | loader, in-process | loader, own process | ratio loader / step |\n|--:|--:|--:|:--|--:|--:|--:|")
        for size, bs in batch_sizes(recipe, map(int, sizes.split(','))).items():
            step = step_rate(root, recipe.network, size, bs, steps, device)
            for mix in mixes.split(','):
                inside, outside = (loader_rate(root, size, bs, mix, n, seconds, device) for n in (0, workers))
                print(f'| {size} | {bs} | {step:.1f} | {mix} | {inside:.0f} | {outside:.0f} | {outside/step:.1f} |', flush=True)


if __name__ == '__main__':
    main.__doc__ = __doc__
    typer.run(main)
