"First, do no harm: a quick choice of pictures in which nothing is damaged, through the reference weights as the command restores them."
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from restorer_fastai.photo.writing import write_photo
from restorer_fastai.score.harm import Limits, NEGATIVE, do_no_harm, group_broken
from restorer_fastai.score.material import QUICK, specimens

SCRIPT = Path(__file__).resolve().parent.parent/'benchmarks'/'do_no_harm.py'
CASES = [pytest.param(group, name, id=f'{group}-{name}') for group, names in QUICK.items() if group != 'negatives' for name in names]

@pytest.fixture(scope='module')
def rows():
    "What the reference weights do to the pictures, restored once for all tests."
    from restorer_fastai import Restorer
    return do_no_harm(Restorer.load().faster(), specimens(quick=True)).set_index(['group', 'picture'])

@pytest.mark.parametrize(('group', 'name'), CASES)
def test_a_picture_is_left_as_it_was(rows, group, name):
    row = rows.loc[(group, name)]
    seen = row[['taken_for', 'inverted', 'changed', 'psnr', 'even_mean', 'even_changed', 'step', 'failed']].to_dict()
    assert row.broken == '', f'{row.broken}: {seen}'

def test_nothing_is_inverted(rows):
    "The worst harm has a test of its own, whatever else may be wrong with a picture."
    positives = rows[~rows.judged.isin(NEGATIVE)]
    assert not [name for _, name in positives.index[positives.inverted == True]] # None where it failed

def test_negatives_are_found(rows): assert not group_broken(rows.loc['negatives'], Limits())

### The script: real photos, its exit code ###

def script(*args, cwd):
    return subprocess.run([sys.executable, SCRIPT, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300)

@pytest.fixture(scope='module')
def real(tmp_path_factory):
    "A folder with a photo, a mask to leave out, and a file that is no photo."
    root = tmp_path_factory.mktemp('real')
    photo = next(o.img for _, name, o in specimens(['tiny']) if name == 'px_64_cat')
    for name in ('cat.png', 'cat_mask.png'): write_photo(root/'prints'/name, photo)
    (root/'prints'/'notes.txt').write_text('no photo')
    return root

def test_real_photos_are_judged_as_what_they_are(real, tiny_model):
    "By name, folder or pattern; some left out. The same photo as a positive and as a negative breaks a limit, whatever it is taken for: only --check ends with 1."
    args = ['--groups', 'none', '--model', tiny_model, '--exact', '--threads', 1, '--leave-out', '*_mask.png', '--out', real/'scores', '--old', f'prints={real}/prints',
            '--photos', f'{real}/prints', '--negatives', f'film={real}/prints/*.png']
    done = script(*args, '--sheets', real/'sheets', cwd=real)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(real/'scores.csv')
    assert list(zip(rows.group, rows.picture, rows.judged)) == [('prints', 'cat.png', 'pixels'), ('prints', 'cat.png', 'sign'), ('film', 'cat.png', 'found')]
    assert (real/'scores.md').read_text(encoding='utf-8').strip() in done.stdout
    assert sorted(p.name for p in (real/'sheets').iterdir()) == ['film.jpg', 'prints.jpg']
    assert script(*args, '--check', cwd=real).returncode == 1

def test_check_ends_with_0_when_all_limits_are_kept(tmp_path):
    done = script('--quick', '--groups', 'clean', '--threads', 1, '--out', tmp_path/'scores', '--check', cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert '| clean | 2 | 0 | 2 / 0 / 0 |' in done.stdout

def test_an_unknown_group_is_told(tmp_path, tiny_model):
    done = script('--groups', 'posters', '--model', tiny_model, '--out', tmp_path/'scores', cwd=tmp_path)
    assert done.returncode != 0 and 'posters' in done.stderr and 'drawings' in done.stderr

@pytest.mark.parametrize('name, y, x', [('chelsea', 20, 100), ('astronaut', 0, 90), ('coffee', 100, 130)])
def test_a_tiny_photo_is_not_taken_for_blurred(name, y, x):
    "48 px are too few to see blur or noise in: as a JPEG file it gets better, and a clean one stays."
    from restorer_fastai import Restorer
    from restorer_fastai.degrade.damage import compress_jpeg
    from restorer_fastai.photo.pixels import to_float, to_uint8
    from restorer_fastai.photo.samples import sample_photo
    from restorer_fastai.superres.bicubic import shrunk
    tiny, restorer = shrunk(sample_photo(name)[y:y + 192, x:x + 256]), Restorer.load(device='cpu')
    def off(a): return np.square(a/255 - tiny/255).mean()
    assert off(restorer.restore(tiny, 'photo', defects=False)) < 10**-4.2
    for quality in (10, 30, 60):
        jpeg = to_uint8(compress_jpeg(to_float(tiny), quality))
        assert off(restorer.restore(jpeg, 'photo', defects=False)) < off(jpeg)
