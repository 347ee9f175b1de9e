"""How long an album takes to be planned: seconds for folders of many photos, and how much each photo costs compared with the smallest folder.

The photos are empty files in folders of 500: planning reads no pixels. Twice each: nothing is there yet, and all results are there (empty files, too).
A ratio of about 1 means that the time grows with the number of photos and no faster. `restorer restore --dry-run` plans, looks what is there and prints.

    python benchmarks/album_planning.py                     # 1,000, 5,000 and 20,000 photos
    python benchmarks/album_planning.py --photos 200,2000

Prints a Markdown table.
"""
import contextlib
import io
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated

warnings.simplefilter('ignore') # notes of libraries to each other's developers

import typer
from restorer_fastai.photo.errors import printable
from restorer_fastai.restore.plan import plan_album


def make_album(folder, n):
    "`n` empty files named like photos, 500 in a folder."
    for i in range(n):
        if i % 500 == 0: (folder/f'{i//500:03}').mkdir(parents=True)
        (folder/f'{i//500:03}'/f'IMG_{i:05}.jpg').touch()


def dry_run(scans, out):
    "What `--dry-run` does: plan, look what is there, say each line."
    plan = plan_album(scans, out)
    done = plan.there()
    with contextlib.redirect_stdout(io.StringIO()):
        for job in plan.jobs: print(printable(f'{job.photo} -> {job.result}{" (already there)" if job in done else ""}'))
    return len(plan.jobs), len(done)


def seconds(scans, out, expected, rounds=3):
    "The fastest of a few rounds."
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        assert dry_run(scans, out) == expected
        took.append(time.perf_counter() - start)
    return min(took)


def main(photos:Annotated[str, typer.Option(help='How many, several with commas between')]='1000,5000,20000'):
    print('| photos | seconds, nothing there | ratio per photo | seconds, all there | ratio per photo |\n|---:|---:|---:|---:|---:|')
    first = None
    for n in map(int, photos.split(',')):
        with tempfile.TemporaryDirectory() as tmp:
            scans, out = Path(tmp, 'scans'), Path(tmp, 'out')
            make_album(scans, n)
            fresh = seconds(scans, out, (n, 0))
            make_album(out, n)
            done = seconds(scans, out, (n, n))
        first = first or (fresh/n, done/n)
        print(f'| {n:,} | {fresh:.2f} | {fresh/n/first[0]:.2f} | {done:.2f} | {done/n/first[1]:.2f} |', flush=True)


if __name__ == '__main__': typer.run(main)
