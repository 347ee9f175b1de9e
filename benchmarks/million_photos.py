"""What a million photos cost: core-hours, hours on so many machines, disk and money; and what Dask adds to the work.

Measured in one run on this machine: building a data set (manifest only, and with pairs), restoring clean photos of 1,024 px, damaged ones, and the three results of `restorer oldphoto`.
Rates are seconds of one core, as the processor counts them (computing in one thread), so that what else the machine does hardly counts; waiting for the disk is not in them. Importing and
loading, once a process, is not in them either. Then the same photos are built and restored by two workers of a Dask scheduler on this machine, each warm: what they and the program that
hands out compute, over what one process computes alone.

    python benchmarks/million_photos.py --quick                  # 3 photos: minutes
    python benchmarks/million_photos.py                          # 12 photos
    python benchmarks/million_photos.py --price .02 --cores 64   # other machines

The price of a core-hour is an assumption, as is that N machines are N times as fast and that all have this machine's cores. Prints Markdown tables.
"""
import logging
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated

os.environ.setdefault('OMP_NUM_THREADS', '1')
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import numpy as np
import torch
import typer
from restorer_fastai import Restorer
from restorer_fastai.data.dataset import build_dataset, group_alike
from restorer_fastai.degrade.mixes import apply_steps, load_mix
from restorer_fastai.oldphoto.pipeline import OldPhoto
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_float, to_uint8
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import copy_samples
from restorer_fastai.photo.writing import write_photo

MILLION, SIDE = 10**6, 1024


def make_photos(folder, n):
    "`n` real photos, enlarged or made smaller to 1,024 px along the long side, each other than the rest: JPEG, quality 92."
    found = find_photos(copy_samples(folder/'samples'))
    for i in range(n):
        img = read_photo(found[i % len(found)])
        img = img[:, ::-1] if i//len(found) % 2 else img
        img = img[i//len(found):] # no two with equal pixels
        scale = SIDE/max(img.shape[:2])
        write_photo(folder/'clean'/f'{i:03}.jpg', cv2.resize(np.ascontiguousarray(img), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), quality=92)
    return folder/'clean'


def damage(clean, folder):
    "The photos as the mix `archive` leaves them."
    photos = find_photos(clean)
    plans = load_mix('archive').assign([o.name for o in photos], 0)
    for o in photos: write_photo(folder/o.name, to_uint8(apply_steps(to_float(read_photo(o)), plans[o.name].steps)), quality=92)
    return folder


def hours_to_compare(some=20_000):
    "What `build` does in one process: the hashes of a million photos compared with each other. It grows with the square."
    looks = np.random.default_rng(0).integers(0, 2**63, some, dtype=np.uint64).tolist()
    return seconds_of_a_core(lambda: group_alike(looks))*(MILLION/some)**2/3600


def megabytes(folder): return sum(o.stat().st_size for o in Path(folder).rglob('*') if o.is_file())/1e6


def seconds_of_a_core(work):
    "What this process computes, all threads together."
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(works, n, tmp):
    "Name -> (core-seconds, MB read, MB written) a photo; each work is done once on a single photo before it counts."
    rows = {}
    for name, (source, work) in works.items():
        one = tmp/'one'
        one.mkdir()
        shutil.copy(find_photos(source)[0], one)
        work(one, tmp/'warm')
        took = seconds_of_a_core(lambda: work(source, tmp/'out'))
        rows[name] = took/n, megabytes(source)/n, megabytes(tmp/'out')/n
        for o in ('one', 'warm', 'out'): shutil.rmtree(tmp/o)
    return rows


def with_dask(work, source, tmp):
    """Core-seconds of all processes with two workers, over those of one process alone. What a run costs once (asking the workers, loading the network in the program that hands out) cancels
    out: it is the cost of all photos less that of a single one."""
    from distributed import Client, LocalCluster
    (one := tmp/'one').mkdir()
    shutil.copy(find_photos(source)[0], one)
    def cost(photos, **kw):
        took = seconds_of_a_core(lambda: work(photos, tmp/'out', **kw))
        shutil.rmtree(tmp/'out')
        return took
    def cost_of_all(client, *photos):
        before = sum(client.run(time.process_time).values())
        here = cost(*photos, scheduler=client.scheduler.address)
        return here + sum(client.run(time.process_time).values()) - before
    cost(source) # to be warm
    alone = cost(source) - cost(one)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster, Client(cluster, set_as_default=False) as client:
        for _ in range(2): cost(source, scheduler=client.scheduler.address) # until both workers have loaded what they need
        many = cost_of_all(client, source) - cost_of_all(client, one)
    shutil.rmtree(one)
    return many/alone


def say_rates(rows):
    print('| | core-seconds a photo | photos/s a core | MB read | MB written |\n|---|---:|---:|---:|---:|')
    for name, (took, read, written) in rows.items(): print(f'| {name} | {took:.2f} | {1/took:.2f} | {read:.2f} | {written:.2f} |')


def say_reckoning(rows, machines, cores, price):
    print(f'\n| a million photos | core-hours | {" | ".join(f"{o} machine{chr(115)[:o > 1]} of {cores} cores" for o in machines)} | disk, TB | USD |\n|---|---:|' + '---:|'*(len(machines) + 2))
    for name, (took, read, written) in rows.items():
        hours = took*MILLION/3600
        print(f'| {name} | {hours:,.0f} | {" | ".join(f"{hours/cores/o:,.1f} h" for o in machines)} | {(read + written)*MILLION/1e6:.1f} | {hours*price:,.0f} |')


def main(
    quick:Annotated[bool, typer.Option('--quick', help='3 photos')]=False,
    price:Annotated[float, typer.Option(help='USD for a core-hour; an assumption')]=.04,
    cores:Annotated[int, typer.Option(help='Of each machine in the reckoning')]=32,
    machines:Annotated[str, typer.Option(help='How many machines, several with commas between')]='1,10,100',
):
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    n, quiet, restorer = 3 if quick else 12, dict(progress=False), Restorer.load('reference').faster()
    old = OldPhoto(restorer)
    def build(pairs): return lambda source, out, **kw: build_dataset(source, out, mix='archive', pairs=pairs, valid_share=.3, **quiet, **kw)
    def restore(source, out, **kw): return restorer.restore_folder(source, out, **quiet, **kw)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        clean = make_photos(tmp, n)
        damaged = damage(clean, tmp/'damaged')
        rows = measure({'`build --pairs none`': (clean, build('none')), '`build` with pairs': (clean, build('all')), '`restore`, clean photos': (clean, restore),
                        '`restore`, damaged photos': (damaged, restore), '`oldphoto`, damaged photos': (damaged, lambda source, out: old.restore_folder(source, out, progress=False))}, n, tmp)
        say_rates(rows)
        say_reckoning(rows, list(map(int, machines.split(','))), cores, price)
        print(f'\n{n} photos, {SIDE} px along the long side; {str(restorer.dtype or torch.float32).removeprefix("torch.")} on {restorer.device}. {price} USD a core-hour is an assumption.')
        print(f'Comparing the hashes of a million photos, which `build` does in one process: {hours_to_compare():.1f} hours of one core.')
        ratios = {'`build` with pairs': with_dask(build('all'), clean, tmp), '`restore`, clean photos': with_dask(restore, clean, tmp)}
        print('With two workers of Dask, over one process alone (core-seconds, the same photos): ' + ', '.join(f'{name} {ratio:.2f}' for name, ratio in ratios.items()))


if __name__ == '__main__': typer.run(main)
