"""First, do no harm: what the restorer does to pictures in which nothing is damaged. The table in nbs/pages/do_no_harm.md.

    python benchmarks/do_no_harm.py --out scores/harm
    python benchmarks/do_no_harm.py --quick --check
    python benchmarks/do_no_harm.py --photos CBSD68=bench/CBSD68 --old prints=old_photos --leave-out '*_mask.png' --negatives film=negatives --check

Pictures of 39a_score.material, made by program (lids, line art, text, screenshots, toned prints, ramps, sizes ...), then real ones, NAME=PATH: PATH is a
folder, a file or a pattern like 'negatives/*_negative.png', and a NAME that comes twice is one group. `--photos` are clean: every pixel counts. `--old` are old or damaged
positives, which may change: none may be inverted. `--negatives` have to be found. Everything is restored as the command `restorer restore` does it, told
nothing. What is measured and what must be kept stands in 39b_score.harm and under the table.

Writes OUT.csv (a row for each picture) and OUT.md (the table), which it also prints; with `--sheets FOLDER` also the worst pictures of each group, before
and after. With `--check` it ends with 1 when a limit is broken.
"""
import glob
import os
import warnings
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import torch
import typer
from restorer_fastai.degrade.chance import name_hash
from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_uint8
from restorer_fastai.photo.progress import progress_bar
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.score.evaluate import load_photo
from restorer_fastai.score.harm import Limits, WorstPictures, do_no_harm, group_broken, harm_markdown
from restorer_fastai.score.material import MATERIAL, QUICK, Specimen, specimens
from restorer_fastai import Restorer


def real_paths(given, leave_out, limit):
    "NAME=PATH, ... -> name -> paths of photos; at most `limit` of a name, those whose names have the lowest hash."
    found = {}
    for o in given or ():
        name, _, path = o.rpartition('=')
        roots = glob.glob(path, recursive=True) if glob.has_magic(path) else [path]
        photos = [p for p in find_photos(roots) if not any(fnmatch(p.name, pattern) for pattern in leave_out or ())]
        found.setdefault(name or Path(path).name, []).extend(photos)
    return {name: sorted(paths, key=lambda p: name_hash(p.stem))[:limit or None] for name, paths in found.items()}


def real_pictures(paths, short_side, **known):
    "(group, name, `Specimen`) of photos on the disk, read when they are asked for."
    for group, files in paths.items():
        for path in files:
            img = to_uint8(load_photo(path, short_side)) if short_side else read_photo(path)
            yield group, path.name, Specimen(img, **known)


def counted(pictures, update):
    "Pictures, one by one, beside a bar."
    for done, (group, name, specimen) in enumerate(pictures):
        update(done, f'{group}: {name}')
        yield group, name, specimen


def write_sheets(worst, folder):
    "A JPEG for each group."
    for group in worst.kept:
        with write_beside(folder/f'{group}.jpg') as beside: worst.figure(group).savefig(beside, format='jpeg', dpi=80, pil_kwargs=dict(quality=85))


def main(
    photos:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of clean photos; give it several times')]=None,
    old:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of old or damaged positives; give it several times')]=None,
    negatives:Annotated[Optional[list[str]], typer.Option(help='NAME=PATH of negatives; give it several times')]=None,
    leave_out:Annotated[Optional[list[str]], typer.Option(help='Names of photos to leave out, such as *_mask.png; give it several times')]=None,
    limit:Annotated[int, typer.Option(help='Of each NAME at most so many photos; 0: all')]=0,
    short_side:Annotated[int, typer.Option(help='Reduce real photos to this short side, px; 0: as they are')]=0,
    groups:Annotated[Optional[str], typer.Option(help=f'Groups of made pictures, with commas between, or none: {", ".join(MATERIAL)}; all when not given')]=None,
    quick:Annotated[bool, typer.Option('--quick', help='Only a choice of small made pictures: less than a minute')]=False,
    check:Annotated[bool, typer.Option('--check', help='End with 1 when a limit is broken')]=False,
    sheets:Annotated[Optional[Path], typer.Option(help='Folder for the worst pictures of each group')]=None,
    out:Annotated[Path, typer.Option(help='Where OUT.csv and OUT.md go')]=Path('do_no_harm'),
    model:Annotated[str, typer.Option(help='Weights')]='reference',
    exact:Annotated[bool, typer.Option('--exact', help='Compute in 32-bit floats also where bf16 is fast')]=False,
    threads:Annotated[int, typer.Option(help='Of PyTorch; 0: as it likes')]=0,
):
    "Restore what needs no restoring, and print the table."
    if threads: torch.set_num_threads(threads)
    restorer, limits, worst = Restorer.load(model), Limits(), WorstPictures()
    restorer = restorer if exact else restorer.faster()
    wanted = [] if groups == 'none' else groups.split(',') if groups else list(QUICK if quick else MATERIAL)
    kinds = [(real_paths(given, leave_out, limit), known) for given, known in ((photos, {}), (old, dict(may_change=True)), (negatives, dict(mode='negative')))]
    def pictures():
        if wanted: yield from specimens(wanted, quick)
        for paths, known in kinds: yield from real_pictures(paths, short_side, **known)
    made = sum(len(QUICK.get(o, ())) if quick else len(MATERIAL[o]()) for o in wanted if o in MATERIAL) # an unknown group is told by `specimens`
    total = made + sum(len(o) for paths, _ in kinds for o in paths.values())
    with progress_bar(total, 'do no harm') as update:
        rows = do_no_harm(restorer, counted(pictures(), update), out.with_suffix('.csv'), worst if sheets else None, limits)
    text = harm_markdown(rows, limits) + f'\n\nNetworks compute in {"bf16" if restorer.dtype else "32-bit floats"}; {rows.seconds.sum():.0f} s.'
    out.with_suffix('.md').write_text(text + '\n', encoding='utf-8')
    print(text)
    if sheets: write_sheets(worst, sheets)
    bad = rows[rows.broken != '']
    if not bad.empty: print('\n' + bad[['group', 'picture', 'taken_for', 'psnr', 'even_mean', 'even_changed', 'step', 'broken', 'failed']].round(3).to_string(index=False))
    if check and any(group_broken(part, limits) for _, part in rows.groupby('group')): raise typer.Exit(1)


if __name__ == '__main__': typer.run(main)
