"""What it costs, and gains, that OpenMP's threads sleep while they wait: seconds a photo and a training step, under three policies.

Between two pieces of work the threads of a process wait for each other. As libgomp (in PyTorch's wheels for Linux) comes, they spin for
a while first. That is quickest as long as every thread has a core to itself; beside another busy process a thread may spin on the core
that the one it waits for needs. The policies: nothing set; `OMP_WAIT_POLICY=PASSIVE`, which sleeps at once; and `GOMP_SPINCOUNT=1000`,
which spins, but not for long.

Measured are restoring (`Restorer.load().faster()`, a photo of 512 px) and training (steps of the reference recipe's generator, 16 photos
of 64 px), alone and beside one process that keeps a core busy. OpenMP reads the variables once, as it is loaded: every policy has
processes of its own. They work in turn, so that whatever else the machine does hits all of them; ratios are the medians, and ranges,
of those to `default` in the same round.

    python benchmarks/threads.py --quick                     # about eight minutes on two cores
    python benchmarks/threads.py                             # at most half an hour
    python benchmarks/threads.py --works training --threads 4 --beside nothing

On Linux rounds do not count in which others computed for more than a tenth of the time. Where fewer than three are left, all count, and
`quiet rounds` says so. Where OpenMP is another (macOS), GOMP_SPINCOUNT is without effect. Prints a Markdown table.
"""
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import torch
import typer
from fastai.data.all import DataLoader, DataLoaders
from fastai.torch_core import set_seed
from restore_speed import make_photo
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.nets.blocks import bf16_is_fast
from restorer_fastai.train.recipe import load_recipe
from restorer_fastai.restore.restorer import Restorer

POLICIES = {'default': {}, 'PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'}, 'SPINCOUNT=1000': {'GOMP_SPINCOUNT': '1000'}}
VARIABLES = 'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME' # what may be set already; the last is LLVM's and Intel's
BUSY = 'import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**6))' # it ends with this script, however that ends


@contextmanager
def environment(policy):
    "Processes that start meanwhile see the policy, and nothing of what was set before."
    before = {k: os.environ.pop(k) for k in VARIABLES if k in os.environ}
    os.environ.update(POLICIES[policy])
    try: yield
    finally:
        for k in POLICIES[policy]: del os.environ[k]
        os.environ.update(before)


@contextmanager
def busy_process():
    "Somebody else, who computes on one core."
    process = subprocess.Popen([sys.executable, '-c', BUSY])
    try: yield process
    finally:
        process.kill()
        process.wait()


def computed(pid=None):
    "Seconds that a process, or the whole machine, has computed; 0 where that cannot be read."
    path = Path('/proc', str(pid or ''), 'stat')
    if not path.exists(): return 0
    fields = path.read_text().splitlines()[0].rpartition(')')[2].split()
    ticks = fields[11:13] if pid else fields[1:4] + fields[6:9] # without what it was idle
    return sum(map(int, ticks))/os.sysconf('SC_CLK_TCK')


def restoring(side=512):
    "A function that restores so many photos."
    restorer, photo = Restorer.load(device='cpu').faster(), make_photo(side, side)
    def restore(n):
        for _ in range(n): restorer.restore(photo)
    return restore


def training(size=64, bs=16):
    "A function that trains so many steps. The batches are in memory, and what is on them does not matter."
    set_seed(0)
    pair, recipe = (torch.rand(3, size, size), torch.rand(3, size, size)), load_recipe('reference')
    def loaders(n): return DataLoaders(*(DataLoader(o, bs=bs, device='cpu') for o in ([pair]*(bs*n), [])), device='cpu') # nothing to validate
    learn = generator_learner(loaders(1), recipe.network, loss=recipe.loss)
    def train(n):
        learn.dls = loaders(n)
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
    return train


WORKS = {'restoring': (restoring, 2, 's/photo'), 'training': (training, 2, 's/step')} # how to, how many a round, and what the figures are


def work(pipe, name, threads):
    "A process: prepare, then a round each time it is told to."
    make, n, _ = WORKS[name]
    torch.set_num_threads(1) # all processes prepare at the same time, and should not be in each other's way
    do = make()
    torch.set_num_threads(threads)
    pipe.send(None)
    for _ in iter(pipe.recv, None):
        start = time.perf_counter()
        do(n)
        pipe.send((time.perf_counter() - start)/n)


def start(context, policy, name, threads):
    "A process under a policy, and the pipe to it."
    pipe, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, name, threads), daemon=True)
    with environment(policy): process.start()
    theirs.close() # so that the end of the process is the end of the pipe
    return process, pipe


def one_round(workers, order, busy):
    "Policy -> seconds, and the share of the time that others computed, at the worst."
    times, others, mine = {}, [], [busy] if busy else []
    def theirs(policy): return computed() - sum(computed(o.pid) for o in [workers[policy][0], *mine])
    for policy in order:
        before, start = theirs(policy), time.perf_counter()
        workers[policy][1].send(True)
        times[policy] = workers[policy][1].recv()
        others.append((theirs(policy) - before)/(time.perf_counter() - start))
    return times, max(others)


def measure(name, threads, busy, rounds, limit):
    "[(policy -> seconds, the others' share)], a round each. In turn, until there are enough or the time is over."
    context, found = multiprocessing.get_context('spawn'), [] # new interpreters, which load OpenMP afresh
    workers = {policy: start(context, policy, name, threads) for policy in POLICIES}
    for _, pipe in workers.values(): pipe.recv() # all are ready
    with busy_process() if busy else nullcontext() as other:
        end = time.monotonic() + limit
        one_round(workers, POLICIES, other) # the first one allocates
        while len(quiet(found)) < rounds and (time.monotonic() < end or not found):
            order = list(POLICIES)[::1 if len(found) % 2 else -1] # none is always the first, or always after the same
            found.append(one_round(workers, order, other))
    for process, pipe in workers.values():
        pipe.send(None)
        process.join()
    return found


def quiet(found, most=0.1):
    "The rounds that nobody disturbed."
    return [times for times, others in found if others <= most]


def ratio(rounds, policy):
    "Median and range of the ratios to `default` in the same round."
    ratios = [o[policy]/o['default'] for o in rounds]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})'


def print_row(name, threads, busy, found):
    "One row of the table."
    rounds = quiet(found)
    if len(rounds) < 3: rounds = [times for times, _ in found]
    seconds = [f'{statistics.median(o[policy] for o in rounds):.3f}' for policy in POLICIES]
    ratios = [ratio(rounds, policy) for policy in list(POLICIES)[1:]]
    cells = [f'{name}, {WORKS[name][2]}', str(threads), 'one busy process' if busy else 'nothing', f'{len(quiet(found))} of {len(found)}']
    cells += [*seconds, *ratios]
    print('| ' + ' | '.join(cells) + ' |', flush=True)


def main(
    works: Annotated[str, typer.Option(help='What to measure')] = 'restoring,training',
    threads: Annotated[str, typer.Option(help='Threads that PyTorch computes with')] = '1,2',
    beside: Annotated[str, typer.Option(help='What else the machine does')] = 'nothing,busy',
    rounds: Annotated[int, typer.Option(help='Quiet rounds of each, after one that does not count')] = 15,
    limit: Annotated[float, typer.Option(help='Seconds for the rounds of a row: then it makes do with what it has')] = 180,
    quick: Annotated[bool, typer.Option(help='Five rounds, or 25 seconds')] = False,
):
    if quick: rounds, limit = 5, 25
    fast = '' if bf16_is_fast('cpu') else 'not '
    print(f'{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, bf16 is {fast}fast here\n')
    ratios = [f'{o} / default: median (range)' for o in list(POLICIES)[1:]]
    print('| ' + ' | '.join(['work', 'threads', 'beside', 'quiet rounds', *POLICIES, *ratios]) + ' |')
    print('|---'*(3 + 2*len(POLICIES)) + '|')
    for name in works.split(','):
        for n in map(int, threads.split(',')):
            for busy in (o == 'busy' for o in beside.split(',')): print_row(name, n, busy, measure(name, n, busy, rounds, limit))


if __name__ == '__main__': typer.run(main)
