"""How good the restorer is: the tables in nbs/pages/numbers.md, beside damaged photos, classical tools and published figures.

    python benchmarks/quality.py --photos CBSD68=bench/CBSD68 --photos held-out=photos --out scores/benchmark
    python benchmarks/quality.py --photos CBSD68=bench/CBSD68 --model generator=run/pretrained-128.safetensors --model gan=run/model.safetensors
    python benchmarks/quality.py --quick

With `--quick` it takes minutes: two photos a row, of your folders or, without any, the two samples of the installed libraries on which nothing here is trained
(`HELD_OUT` of 08_photo.samples). Two photos say whether the installation works, and in which direction a change goes, not how good a network is.

Photos are folders of clean photos, NAME=FOLDER. CBSD68 are the 68 colour photos of the BSDS300 test set that denoisers are compared on; with a manifest
(`--manifest data/manifest.csv`) only the photos of its validation split are taken from the other folders, or those that a list names (`benchmarks/data/held_out.csv`,
which holds out whole sources; networks from before it have seen some of them: MODEL_CARD.md). LPIPS needs ImageNet's SqueezeNet (`--weights`),
irregular holes NVIDIA's test masks (`--masks`); without them LPIPS is left out, and holes are random strokes. Stopped, it goes on where it was. What is done
to the photos, and what must be reached, are the tasks of 36_score.tasks; what the numbers mean stands under the table.

Writes OUT.csv (every score) and OUT.md (the table), which it also prints.
"""
import os
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import pandas as pd
import torch
import typer
from restorer_fastai.score.benchmark import benchmark_markdown, benchmark_means, run_benchmark
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.samples import copy_samples
from restorer_fastai import Restorer


def named(pairs, what):
    "NAME=VALUE, ... as a dict."
    bad = [o for o in pairs if '=' not in o]
    if bad: raise typer.BadParameter(f'{what} {bad[0]!r}: write NAME=PATH')
    return dict(o.split('=', 1) for o in pairs)


def files_of(manifest, split=None):
    "Paths of the photos that a manifest knows, or of one side of its split; or of a list of photos to hold out."
    rows = pd.read_csv(manifest)
    if 'split' not in rows: return [Path(o) for o in rows.name]
    return [Path(o) for o in (rows if split is None else rows[rows.split == split]).source]


def held_out(folder, manifest, tmp):
    "A folder of links to the photos that are held out."
    names = {o.name for o in files_of(manifest, 'valid')}
    tmp.mkdir()
    for path in find_photos(folder):
        if path.name in names: (tmp/path.name).symlink_to(path.resolve())
    return tmp


def main(
    photos:Annotated[Optional[list[str]], typer.Option(help='NAME=FOLDER of clean photos; give it several times')]=None,
    model:Annotated[Optional[list[str]], typer.Option(help='NAME=FILE of weights; the reference weights when not given')]=None,
    out:Annotated[Path, typer.Option(help='Where OUT.csv and OUT.md go')]=Path('benchmark'),
    tasks:Annotated[Optional[str], typer.Option(help='Names of tasks, with commas between; those of the benchmark when not given')]=None,
    limit:Annotated[Optional[str], typer.Option(help='Photos of each set: a number, or like 20,noise_25=68')]=None,
    manifest:Annotated[Optional[Path], typer.Option(help="A data set's manifest.csv, or a list of held-out photos: only those of folders that it knows")]=None,
    masks:Annotated[Optional[Path], typer.Option(help='Folder of irregular masks, white = hole')]=None,
    weights:Annotated[Optional[Path], typer.Option(help="SqueezeNet's ImageNet weights for LPIPS, a file or folder")]=None,
    seed:int=0,
    tools:Annotated[bool, typer.Option('--tools/--no-tools', help='Score classical tools, too: most of the time')]=True,
    quick:Annotated[bool, typer.Option('--quick', help='Two photos a row, the samples of the installed libraries when no others are given: minutes')]=False,
    fp32:Annotated[bool, typer.Option('--fp32', help='Compute in 32-bit floats also where bf16 is fast')]=False,
):
    "Score networks on clean photos that are damaged here, and print the table."
    if not (photos or quick): raise typer.BadParameter('give clean photos, --photos NAME=FOLDER, or say --quick')
    if quick: limit = limit or '2'
    files = named(model, '--model') if model else {'reference': 'reference'}
    nets = {name: Restorer.load(path).faster(dtype=torch.float32 if fp32 else None) for name, path in files.items()}
    limits = {k if v else '': int(v or k) for k, _, v in (o.partition('=') for o in limit.split(','))} if limit else None
    with tempfile.TemporaryDirectory() as tmp:
        sets = named(photos, '--photos') if photos else dict(samples=copy_samples(Path(tmp)/'samples')/'held_out')
        if manifest:
            known = {o.name for o in files_of(manifest)}
            sets = {k: held_out(v, manifest, Path(tmp)/str(i)) if any(p.name in known for p in find_photos(v)) else v for i,(k,v) in enumerate(sets.items())}
        options = dict(limit=limits, masks=masks, seed=seed, weights=weights, tools=tools)
        rows = run_benchmark(nets, sets, out.with_suffix('.csv'), tasks.split(',') if tasks else None, **options)
    text = benchmark_markdown(rows, list(nets)) + f'\n\nNetworks compute in {"bf16" if next(iter(nets.values())).dtype else "32-bit floats"}; seed {seed}.'
    out.with_suffix('.md').write_text(text + '\n', encoding='utf-8')
    print(text)
    right = benchmark_means(rows).right_mode.dropna().unstack('task')
    print('\nShare of photos whose mode was found:\n' + right.round(3).T.to_string() if not right.empty else '')


if __name__ == '__main__': typer.run(main)
