"""How fast is `restorer build --pairs all`, beside the least that any program would have to do?

The least is: decode each photo once, encode the clean and the damaged picture as PNG, write both files (same pixels, same format,
same compression level). `restorer build` decodes each photo twice (once to hash it, because the split must be known before anything
is written), hashes it two ways, damages it, and writes each file beside and renames it. Its share of the bare speed says what all
that costs. Both are measured in turn, in one run, on the same photos; worker processes are started before.

    python benchmarks/dataset_speed.py                        # crops of the sample photos that installed packages carry
    python benchmarks/dataset_speed.py ~/photos --count 500   # your own

Prints Markdown tables.
"""
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('OMP_NUM_THREADS', '1') # before the libraries start: one thread a worker

import cv2
import numpy as np
import typer
from joblib import Parallel, delayed
from PIL import Image

from restorer_fastai.data.dataset import PNG_LEVEL, build_dataset, look_hash, pixel_hash, read_manifest
from restorer_fastai.degrade.mixes import apply_steps
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_float, to_uint8
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import sample_photo, SAMPLES
from restorer_fastai.photo.writing import write_photo


def sample_crops(folder, count, seed, shape=(375, 500)):
    "Write `count` different crops of the sample photos as JPEG, in the usual size of VOC2012."
    rng, photos = np.random.default_rng(seed), [sample_photo(o) for o in SAMPLES]
    for i in range(count):
        img = photos[i % len(photos)]
        side = rng.uniform(0.5, 1) * min(img.shape[0]/shape[0], img.shape[1]/shape[1])
        h, w = (round(n*side) for n in shape)
        y, x = (rng.integers(n - m + 1) for n,m in zip(img.shape, (h, w)))
        write_photo(folder/f'{i:05}.jpg', cv2.resize(img[y:y+h, x:x+w], shape[::-1], interpolation=cv2.INTER_AREA), quality=92)
    return folder


def first_photos(photos, folder, count):
    "A folder with links to `count` photos, spread evenly over all that are below `photos`."
    found = find_photos(photos)
    folder.mkdir()
    for i in np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)):
        (folder/f'{i:05}{found[i].suffix}').symlink_to(found[i].absolute())
    return folder


def encode(img): return cv2.imencode('.png', img[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1]


def bare(out, files):
    "Seconds to decode sources and encode pairs, nothing else. What the damaged photos look like is read before the clock starts."
    cv2.setNumThreads(1)
    seconds = 0
    for source, damaged in files:
        pixels = read_photo(damaged)
        start = time.perf_counter()
        clean = np.asarray(Image.open(source).convert('RGB'))
        for name, img in (('target', clean), ('input', pixels)): (out/f'{Path(source).name}.{name}.png').write_bytes(encode(img))
        seconds += time.perf_counter() - start
    return seconds


def bare_seconds(files, workers):
    "Wall-clock seconds of the bare work, shared evenly by `workers` processes."
    with tempfile.TemporaryDirectory() as out:
        parts = Parallel(n_jobs=workers)(delayed(bare)(Path(out), files[i:i+8]) for i in range(0, len(files), 8))
    return sum(parts) / workers


def build_seconds(photos, mix, seed, workers):
    "Wall-clock seconds of a build from nothing."
    with tempfile.TemporaryDirectory() as out:
        return build_dataset(photos, Path(out)/'set', mix, seed, workers, progress=False).seconds


def stages(photos, rows):
    "Milliseconds a photo that the parts of a build take in one process."
    spent = {}
    def clock(name, f):
        start = time.perf_counter()
        result = f()
        spent[name] = spent.get(name, 0) + time.perf_counter() - start
        return result
    for row in rows:
        for name in ('decode, to hash', 'decode, to damage'): img = clock(name, lambda: read_photo(photos/row['source']))
        clock('hash pixels', lambda: pixel_hash(img))
        clock('hash looks', lambda: look_hash(img))
        damaged = clock('damage', lambda: to_uint8(apply_steps(to_float(img), json.loads(row['parameters']))))
        for name, o in (('encode target', img), ('encode input', damaged)): clock(name, lambda: encode(o))
    return {k: v/len(rows)*1000 for k,v in spent.items()}


def main(
    photos: Annotated[Optional[Path], typer.Argument(help='Folder of photos; crops of the sample photos when not given')] = None,
    count: Annotated[int, typer.Option(help='Photos to use, at most')] = 200,
    mix: Annotated[str, typer.Option(help='Degradation mix')] = 'lapaz2021',
    workers: Annotated[Optional[list[int]], typer.Option(help='Processes; several times for several rows  [default: 1 2]')] = None,
    rounds: Annotated[int, typer.Option(help='Measure so often, in turn, and take the median')] = 3,
    seed: Annotated[int, typer.Option(help='Of the crops and of the damage')] = 0,
):
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        folder = first_photos(photos, tmp/'photos', count) if photos else sample_crops(tmp/'photos', count, seed)
        build_dataset(folder, tmp/'set', mix, seed, progress=False)
        rows = read_manifest(tmp/'set').to_dict('records')
        files = [(folder/o['source'], tmp/'set'/o['input']) for o in rows]
        megapixels = statistics.mean(np.prod(Image.open(o).size) for o,_ in files) / 1e6
        print(f"{len(files)} photos of {megapixels:.2f} megapixels, mix {mix}, {platform.machine()}, {os.cpu_count()} cores, "
              f"median of {rounds} rounds\n\n| workers | bare decode + encode, photos/s | `restorer build`, photos/s | share |\n|--:|--:|--:|--:|")
        for n in workers or (1, 2):
            bare_seconds(files[:8*n], n) # starts the processes
            times = [(bare_seconds(files, n), build_seconds(folder, mix, seed, n)) for _ in range(rounds)]
            least, real = (statistics.median(o) for o in zip(*times))
            print(f'| {n} | {len(files)/least:.0f} | {len(files)/real:.0f} | {least/real:.0%} |', flush=True)
        cv2.setNumThreads(1)
        parts = stages(folder, rows)
        print('\n| part | ms a photo |\n|:--|--:|')
        for name, ms in parts.items(): print(f'| {name} | {ms:.2f} |')
        print(f'| all of these | {sum(parts.values()):.2f} |')


if __name__ == '__main__':
    main.__doc__ = __doc__
    typer.run(main)
