"""Run the tutorials whole, as a student on Colab does: each in a fresh kernel, from an empty folder.

    RESTORER_QUICK=1 python tools/run_tutorials.py          # all of them
    RESTORER_QUICK=1 python tools/run_tutorials.py 03 05    # those whose name starts so
    RESTORER_QUICK=1 OMP_NUM_THREADS=1 python tools/run_tutorials.py --workers 2

In quick mode it also says where the stored outputs are not those of the code (see stored_outputs.py), and fails then: execute
the notebook again, or give a cell whose output hangs on a training, on time or on the machine the tag `varies`.
"""
import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from stored_outputs import differences

TUTORIALS = Path(__file__).resolve().parent.parent/'nbs'/'tutorials'
CELL_SECONDS = 1200

def clean_environment(home:Path):
    "The kernel must be this Python, and must not see the checkout or the settings of whoever runs it."
    os.environ.pop('PYTHONPATH', None)
    os.environ.update(JUPYTER_PREFER_ENV_PATH='1', IPYTHONDIR=str(home), JUPYTER_CONFIG_DIR=str(home))

def same_python_cell():
    "A first cell which fails in a kernel of another Python."
    return nbformat.v4.new_code_cell(f'import sys\nassert sys.prefix == {sys.prefix!r}, sys.prefix')

def run_tutorial(path:Path)->tuple:
    "Execute the notebook at `path`: its error, or nothing; where its stored outputs are stale; and the seconds it took."
    start, error = time.perf_counter(), ''
    nb = nbformat.read(path, as_version=4)
    stored = deepcopy(nb)
    nb.cells.insert(0, same_python_cell())
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(nb, timeout=CELL_SECONDS, kernel_name='python3', resources={'metadata': {'path': folder}})
        try: client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as e: error = str(e)
    stale = differences(stored, nb) if not error and os.environ.get('RESTORER_QUICK', '0') != '0' else []
    return error, stale, time.perf_counter() - start

def main()->int:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument('starts', nargs='*', help='how their names start')
    args.add_argument('--workers', type=int, default=1, help='so many at a time')
    args = args.parse_args()
    paths = [p for p in sorted(TUTORIALS.glob('*.ipynb')) if p.name.startswith(tuple(args.starts) or '')]
    if not paths:
        print(f'No tutorial found in {TUTORIALS}', file=sys.stderr)
        return 1
    failed = []
    with tempfile.TemporaryDirectory() as home:
        clean_environment(Path(home))
        with ProcessPoolExecutor(args.workers) as pool:
            for path, (error, stale, seconds) in zip(paths, pool.map(run_tutorial, paths)):
                print(f"{path.name}: {'FAILED' if error else 'STALE' if stale else 'ok'}, {seconds:.0f} s", flush=True)
                for cell, difference in stale: print(f'  {path.name}, cell {cell}: {difference}', flush=True)
                if error: print(error, file=sys.stderr, flush=True)
                if error or stale: failed.append(path.name)
    print(f'{len(paths) - len(failed)} of {len(paths)} tutorials passed')
    return 1 if failed else 0

if __name__ == '__main__': sys.exit(main())
