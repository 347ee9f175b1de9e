"""Seconds, megapixels a second and memory of restoring a photo, beside stock fastai in 32-bit floats.

Stock is what `unet_learner(dls, resnet34, n_out=3)` builds, fp32, contiguous, the whole photo at once. Ours are the shipped weights under a `Restorer`,
looking at the whole frame included: as trained, with folded norms, in bf16, and as a graph under OpenVINO (extra `[fast]`; left out when it is missing) and,
to compare, under ONNX Runtime (in 32 bits only, left out unless somebody has installed it).
Every variant lives in a process of its own, so that each has its own peak of memory. Stock and the variant restore in turn, so that whatever else the machine
does hits both; the gain is the median of the ratios of neighbours. One photo to warm up does not count.

    python benchmarks/restore_speed.py --quick               # few rounds; 24 megapixels from a few tiles
    python benchmarks/restore_speed.py                       # all of it
    python benchmarks/restore_speed.py --sizes 512 --big 0   # one size

The weights matter: what is in doubt is looked at again, and what is lost is filled. Prints Markdown tables.
"""
import importlib.util
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Optional

warnings.simplefilter('ignore') # notes of libraries to each other's developers

import numpy as np
import torch
import typer
from PIL import Image
from restorer_fastai.photo.pixels import from_tensor, to_tensor, to_uint8
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai import Restorer

STOCK, TRAINED = 'stock fastai, fp32, whole', 'ours as trained, fp32'
FASTER = {'ours folded, fp32': dict(dtype=torch.float32), 'ours folded, bf16': dict(dtype=torch.bfloat16)}
GRAPH = {'ours as graph, fp32': torch.float32, 'ours as graph, bf16': torch.bfloat16}
RUNTIME, TILED = 'ours as graph, fp32, ONNX Runtime', ', tiled'


class Enough(Exception): "Raised after as many tiles as were asked for."


def make_photo(height, width):
    "A real photo, enlarged: uint8 (H, W, 3)."
    return np.asarray(Image.fromarray(sample_photo('china')).resize((width, height), Image.Resampling.BICUBIC))


def stock_network():
    from fastai.vision.learner import create_unet_model
    from torchvision.models import resnet34
    net = create_unet_model(resnet34, 3, (256, 256), pretrained=False).eval()
    @torch.inference_mode()
    def restore(photo, on_tile=None): return to_uint8(from_tensor(net(to_tensor(photo)).as_subclass(torch.Tensor).clamp(0, 1)))
    return restore


class InOnnxRuntime:
    "A graph under ONNX Runtime, with the face of OpenVINO's."
    def __init__(self, graph):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(graph), options, ['CPUExecutionProvider'])

    def create_infer_request(self): return self
    def infer(self, inputs, **_): return self.session.run(None, {o.name: x for o, x in zip(self.session.get_inputs(), inputs)})


def make_restorer(name, weights, graph, side):
    "A function from photo to photo."
    if name == STOCK: return stock_network()
    kind, tiled, _ = name.partition(TILED)
    size = {} if tiled or side is None else dict(tile=side)
    restorer = Restorer.load(weights, device='cpu', **size)
    if kind in FASTER: restorer = restorer.faster(**FASTER[kind])
    elif kind in GRAPH: restorer = restorer.faster(graph, dtype=GRAPH[kind])
    elif kind == RUNTIME:
        restorer = restorer.faster(graph, dtype=torch.float32)
        restorer.net.compiled = InOnnxRuntime(graph)
    return restorer.restore


def peak_memory():
    "Most memory that this process has held, MiB."
    status = Path('/proc/self/status')
    if status.exists(): return int(next(o for o in status.read_text().splitlines() if o.startswith('VmHWM')).split()[1])/1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**20 if platform.system() == 'Darwin' else 1024)


def seconds(restore, photo, tiles):
    "How long a photo takes; with `tiles`, from the first so many of its tiles. Also the photo when it was finished."
    times = [time.perf_counter()]
    def on_tile(done, total):
        times.append(time.perf_counter())
        if tiles and done > tiles: raise Enough(total)
    try: out = restore(photo, on_tile=on_tile)
    except Enough as e: return (times[-1] - times[1])/tiles*e.args[0], None
    return time.perf_counter() - times[0], out


def work(pipe, name, weights, graph, shape, side, tiles, threads):
    "A process: warm up, then a photo each time it is told to, then its memory."
    torch.set_num_threads(threads)
    restore, photo = make_restorer(name, weights, graph, side), make_photo(*shape)
    pipe.send(seconds(restore, photo, tiles and 1)[1])
    for _ in iter(pipe.recv, None): pipe.send(seconds(restore, photo, tiles)[0])
    pipe.send(peak_memory())


def measure(names, weights, graph, shape, side, tiles, rounds, threads):
    "Name -> (seconds of each round, peak memory in MiB, the photo). In turn."
    context, workers = multiprocessing.get_context('spawn'), {}
    for name in names:
        pipe, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, name, weights, graph, shape, side, tiles, threads), daemon=True)
        process.start()
        theirs.close() # so that the end of the process is the end of the pipe
        workers[name] = process, pipe, pipe.recv()
    times = {name: [] for name in names}
    for i in range(rounds):
        for name in names[::1 if i % 2 else -1]: # none is always the first
            workers[name][1].send(True)
            times[name].append(workers[name][1].recv())
    found = {}
    for name, (process, pipe, photo) in workers.items():
        pipe.send(None)
        found[name] = times[name], pipe.recv(), photo
        process.join()
    return found


def ratio(first, second):
    "Median and range of the ratios of neighbours."
    ratios = [a/b for a, b in zip(first, second)]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})'


def print_row(title, name, shape, found, gain='', reference=None):
    "One row of the table."
    times, memory, photo = found
    s = statistics.median(times)
    apart = '' if photo is None or reference is None else f'{np.abs(photo.astype(int) - reference).mean():.2f}'
    print(f'| {title} | {name} | {s:.2f} | {shape[0]*shape[1]/1e6/s:.2f} | {gain} | {memory:.0f} | {apart} |', flush=True)


def variants(graph):
    "What can be measured here."
    from restorer_fastai.nets.blocks import bf16_is_fast
    runtime = [RUNTIME] if graph and importlib.util.find_spec('onnxruntime') else []
    known = [STOCK, TRAINED, *FASTER, *runtime, *(GRAPH if graph else [])]
    return [o for o in known if bf16_is_fast('cpu') or not o.endswith('bf16')]


def export(weights, path):
    "The graph, or None where the extra is missing."
    try: return Restorer.load(weights, device='cpu').export_onnx(path)
    except ImportError as e: print(f'No graph: {e}\n')


def main(
    sizes: Annotated[str, typer.Option(help='Sides of square photos, px, restored in one piece')] = '256,512,1024',
    big: Annotated[float, typer.Option(help='Megapixels of a large photo, restored in tiles; 0: none')] = 24,
    rounds: Annotated[int, typer.Option(help='Photos each, after one that does not count')] = 7,
    quick: Annotated[bool, typer.Option(help='Three rounds; the large photo from four of its tiles')] = False,
    weights: Annotated[str, typer.Option(help='A weight file, or the weights that come with the package')] = 'reference',
    graph: Annotated[Optional[Path], typer.Option(help='Its graph, from export_onnx  [default: write one]')] = None,
    threads: Annotated[Optional[int], typer.Option(help='Threads  [default: as many as cores]')] = None,
):
    threads, rounds = threads or os.cpu_count(), 3 if quick else rounds
    with tempfile.TemporaryDirectory() as tmp:
        graph = graph or export(weights, Path(tmp)/'net.onnx')
        names = variants(graph)
        print(f'{platform.machine()}, {threads} threads, torch {torch.__version__}\n')
        print('| photo | network | seconds | megapixels/s | times stock\'s speed: median (range) | peak memory, MiB | levels apart from fp32, of 255 |')
        print('|---|---|---|---|---|---|---|')
        for side in map(int, sizes.split(',')):
            shape, reference = (side, side), None
            for name in names[1:]:
                pair = measure((STOCK, name), weights, graph, shape, side, 0, rounds, threads)
                if name == TRAINED: print_row(f'{side} × {side}', STOCK, shape, pair[STOCK])
                print_row(f'{side} × {side}', name, shape, pair[name], ratio(pair[STOCK][0], pair[name][0]), reference)
                if name == TRAINED: reference = pair[name][2]
        shape = round((big*1e6*2/3)**.5), round((big*1e6*3/2)**.5)
        for name in names[1:] if big else ():
            found = measure((name,), weights, graph, shape, None, 4 if quick else 0, 1, threads)
            print_row(f'{big:g} MP{", from 4 tiles" if quick else ", tiled"}', name, shape, found[name])
        side = max(map(int, sizes.split(',')))
        if side <= 512: return
        print(f'\nSpeed in tiles, as a share of the speed in one piece, at {side} px (tiles overlap, and each is a start of its own):\n')
        print('| network | share: median (range) | peak memory in one piece, MiB | in tiles, MiB |\n|---|---|---|---|')
        for name in names[-1:] if quick else names[1:]:
            whole, tiles = measure((name, name + TILED), weights, graph, (side, side), side, 0, rounds, threads).values()
            print(f'| {name} | {ratio(whole[0], tiles[0])} | {whole[1]:.0f} | {tiles[1]:.0f} |', flush=True)


if __name__ == '__main__': typer.run(main)
