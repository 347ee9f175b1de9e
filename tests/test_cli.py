"The commands as a person starts them: real processes, real files, real exit codes."
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo

RESTORER = Path(sys.executable).with_name('restorer')
REPO = Path(__file__).parents[1]

def start(*args, cwd, **env):
    "Start a command in a process group of its own, as a shell does."
    env = {**os.environ, 'NO_COLOR': '1', 'COLUMNS': '200', 'OMP_NUM_THREADS': '1', **env}
    heed_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL) # a background job is started deaf to it
    return subprocess.Popen([RESTORER, *map(str, args)], cwd=cwd, env=env, text=True, start_new_session=True, preexec_fn=heed_ctrl_c,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

def run(*args, cwd, code=0, **env):
    "Run a command to its end: what it wrote to (stdout, stderr). No command ever shows a traceback."
    process = start(*args, cwd=cwd, **env)
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, f'{args}\n{out}\n{err}'
    assert 'Traceback' not in out + err
    return out, err

def error_of(*args, cwd):
    "Run a command that cannot do its work: the one line in which it says why."
    out, err = run(*args, cwd=cwd, code=1)
    line = err.strip().splitlines()[-1]
    assert line.startswith('error: '), err
    return line

def contents(folder): return {o.relative_to(folder).as_posix(): o.read_bytes() for o in sorted(folder.rglob('*')) if o.is_file()}

@pytest.fixture(scope='session')
def small(tmp_path_factory, samples):
    "The sample photos, small, in folders with awkward names."
    home = tmp_path_factory.mktemp('photos')
    for photo in find_photos(samples):
        img = read_photo(photo)
        step = min(img.shape[:2])//96
        write_photo(home/photo.parent.name/'año 1950'/f'{photo.stem} ñ.png', img[::step, ::step])
    return home

@pytest.fixture(scope='session')
def data(tmp_path_factory, small):
    "A data set of the small photos."
    home = tmp_path_factory.mktemp('data')
    run('build', '--photos', small/'train', '--out', 'set', '--valid-share', '0.2', cwd=home)
    return home/'set'

def test_help_names_every_command(tmp_path):
    out, _ = run('--help', cwd=tmp_path)
    from restorer_fastai.cli import app
    names = {o.name or o.callback.__name__ for o in app.registered_commands}
    assert names == {'samples', 'pack', 'unpack', 'build', 'check', 'degrade', 'train', 'report', 'restore', 'upscale', 'video', 'oldphoto', 'evaluate', 'app', 'votes'}
    listed = {line.split()[1] for line in out.splitlines() if line.startswith('│') and len(line.split()) > 3}
    assert names <= listed
    overview = json.loads((REPO/'nbs'/'99_cli.ipynb').read_text(encoding='utf-8'))['cells'][0]['source']
    assert names == {line.split()[1] for line in overview if line.startswith('restorer ')}

def test_version(tmp_path):
    from restorer_fastai import __version__
    assert run('--version', cwd=tmp_path)[0].strip() == f'restorer_fastai {__version__}'

def test_a_wrong_option_shows_the_usage(tmp_path):
    assert '--mux' in run('build', '--mux', 'archive', cwd=tmp_path, code=2)[1]
    assert '--data' in run('evaluate', '--out', 'scores', cwd=tmp_path, code=2)[1]

def test_same_seed_same_bytes_whatever_the_workers(tmp_path, small):
    for out, workers in ('one', 1), ('two', 2): run('build', '--photos', small/'train', '--out', out, '--workers', workers, '--seed', 7, cwd=tmp_path)
    assert contents(tmp_path/'one') == contents(tmp_path/'two')
    run('build', '--photos', small/'train', '--out', 'other', '--seed', 8, cwd=tmp_path)
    assert contents(tmp_path/'one')['manifest.csv'] != contents(tmp_path/'other')['manifest.csv']

def test_build_lists_what_it_cannot_read_and_goes_on(tmp_path, small):
    photos = tmp_path/'photos'
    for photo in find_photos(small/'train')[:2]: write_photo(photos/photo.name, read_photo(photo))
    (photos/'half.png').write_bytes(find_photos(photos)[0].read_bytes()[:3000])
    run('build', '--photos', photos, '--out', 'set', cwd=tmp_path, code=2)
    assert 'half.png' in (tmp_path/'set'/'rejected.csv').read_text()
    assert len(contents(tmp_path/'set'/'input')) == 2

def test_photos_travel_as_a_pack(tmp_path, small):
    shutil.copytree(small, tmp_path/'photos')
    (tmp_path/'photos'/'letter.txt').write_text('Dear grandmother')
    out, _ = run('pack', 'photos', '--out', 'drive/album.tar', '--shard-mb', .05, cwd=tmp_path)
    assert 'packed    8 photos' in out and 'left out  1 no photos' in out
    shards = sorted((tmp_path/'drive').iterdir())
    assert len(shards) > 2 and shards[0].name == 'album-000.tar'
    assert 'album-000.tar: it is there already' in error_of('pack', 'photos', '--out', 'drive/album.tar', cwd=tmp_path)
    line = 'unpack', shards[1], '--out', 'again'
    assert 'again: 8 photos (8 written, 0 already there)' in run(*line, cwd=tmp_path)[0]
    assert contents(tmp_path/'again') == contents(small)
    assert '(0 written, 8 already there)' in run(*line, cwd=tmp_path)[0]
    run('build', '--photos', 'drive/album.tar', '--out', 'set', '--pairs', 'none', cwd=tmp_path)
    assert contents(tmp_path/'set'/'photos') == contents(small) and 'no problems' in run('check', 'set', cwd=tmp_path)[0]
    shards[2].unlink()
    assert 'album-002.tar: this shard is missing' in error_of(*line, cwd=tmp_path)

def test_check_finds_a_changed_pair(data, tmp_path):
    assert 'no problems' in run('check', data, cwd=tmp_path)[0]
    copy = shutil.copytree(data, tmp_path/'copy')
    spoilt = next((copy/'target').rglob('*.png'))
    write_photo(spoilt, 255 - read_photo(spoilt))
    assert spoilt.stem in run('check', copy, cwd=tmp_path, code=1)[0]

def test_data_prep_scripts_are_the_commands(small, tmp_path):
    scripts = Path(__file__).resolve().parent.parent/'data_prep'
    for line in ([scripts/'build_dataset.py', '--photos', small/'train', '--out', 'set', '--pairs', 'none'], [scripts/'check_dataset.py', 'set']):
        done = subprocess.run([sys.executable, *line], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert {'manifest.csv', 'dataset.json'} <= {*contents(tmp_path/'set')}

def test_restore_keeps_names_and_sizes_and_does_nothing_twice(small, tiny_model, tmp_path):
    line = 'restore', small/'held_out', '--out', 'restored', '--model', tiny_model
    run(*line, cwd=tmp_path)
    names = sorted(contents(small/'held_out'))
    assert sorted(contents(tmp_path/'restored')) == names
    for name in names: assert read_photo(tmp_path/'restored'/name).shape == read_photo(small/'held_out'/name).shape
    before = contents(tmp_path/'restored')
    (tmp_path/'restored'/names[0]).write_bytes(b'mine')
    assert '2 skipped' in run(*line, cwd=tmp_path)[0]
    assert (tmp_path/'restored'/names[0]).read_bytes() == b'mine'
    run(*line, '--overwrite', cwd=tmp_path)
    assert contents(tmp_path/'restored') == before

def test_restore_goes_on_after_a_broken_photo(small, tiny_model, tmp_path):
    good = find_photos(small/'held_out')[0]
    (tmp_path/'broken.png').write_bytes(good.read_bytes()[:2000])
    out, err = run('restore', good, 'broken.png', '--out', 'restored', '--model', tiny_model, cwd=tmp_path, code=2)
    assert 'broken.png' in out + err
    assert [*contents(tmp_path/'restored')] == [good.name]

@pytest.fixture(scope='session')
def looking_model(tmp_path_factory):
    "A small network that looks, untrained, and takes everything for black-and-white unless it is told."
    import torch
    from restorer_fastai.nets.restorer import NetConfig, build_network
    from restorer_fastai.nets.weights import save_weights
    torch.manual_seed(0)
    net = build_network(NetConfig('resnet18', norm='batch', look=True, residual=True, head=16))
    net.looker.kind[-1].bias.data[2] = 50
    return save_weights(tmp_path_factory.mktemp('looks')/'looks.safetensors', net)

def test_restore_says_what_it_takes_each_photo_for(small, looking_model, tmp_path):
    line = 'restore', f'{small}/held_out/**/*.png', '--model', looking_model, '--out'
    photos = find_photos(small/'held_out')
    out, _ = run(*line, 'blind', '--side-files', cwd=tmp_path)
    assert [o.split(': ')[-1] for o in out.splitlines()[:2]] == ['black-and-white']*2
    assert 'black-and-white' in (tmp_path/'blind'/'año 1950'/'report.html').read_text(encoding='utf-8')
    out, _ = run(*line, 'told', '--mode', 'negative', '--roll', cwd=tmp_path)
    assert [o.split(': ')[-1] for o in out.splitlines()[:2]] == ['negative']*2
    run(*line, 'luma', '--keep-luma', cwd=tmp_path)
    assert 'black-and-white' in run(*line, 'none', '--keep-luma', '--mode', 'photo', cwd=tmp_path, code=2)[1]
    lost = np.zeros((*read_photo(photos[0]).shape[:2], 4), np.uint8)
    lost[8:-8, 4:-4] = 255, 0, 0, 255
    (tmp_path/'lost'/'año 1950').mkdir(parents=True)
    Image.fromarray(lost).save(tmp_path/'lost'/'año 1950'/f'{photos[0].stem}.png')
    assert 'more than half' in run(*line, 'filled', '--mask', 'lost', cwd=tmp_path)[0]
    def detail(folder): return np.abs(np.diff(read_photo(tmp_path/folder/'año 1950'/photos[0].name)[16:-16, 16:-16].astype(int), axis=1)).mean()
    assert detail('filled') < .5*detail('blind') # nothing was left
    for photo in photos[1:]: assert (read_photo(tmp_path/'filled'/'año 1950'/photo.name) == read_photo(tmp_path/'blind'/'año 1950'/photo.name)).all()
    for also in ((), ('--dry-run',)): assert 'nowhere' in error_of(*line, 'none', '--mask', 'nowhere', *also, cwd=tmp_path)
    for photo in photos:
        blind, told, luma = (read_photo(tmp_path/o/'año 1950'/photo.name).astype(int) for o in ('blind', 'told', 'luma'))
        assert abs(luma - read_photo(photo)).mean() < 8 < abs(told - blind).mean()

def test_restore_tells_what_a_result_lacks(looking_model, tmp_path):
    import numpy as np
    import tifffile
    from restorer_fastai.photo.samples import sample_photo
    deep = sample_photo('china')[:64, :64].astype(np.uint16)*257
    for name, pages in dict(a=1, b=1, c=3).items():
        with tifffile.TiffWriter(tmp_path/f'{name}.tif') as tif:
            for _ in range(pages): tif.write(deep, photometric='rgb')
    out, _ = run('restore', 'a.tif', 'b.tif', 'c.tif', '--out', 'jpeg', '--suffix', '.jpg', '--model', looking_model, cwd=tmp_path)
    each, summary = out.splitlines()[:3], out.splitlines()[3:]
    assert all('16 bits became 8' in o for o in each) and ['3 pictures' in o for o in each] == [False, False, True]
    assert sum('3 photos: 16 bits' in o for o in summary) == 1 and sum('c.tif: 3 pictures' in o for o in summary) == 1
    out, _ = run('restore', 'a.tif', '--out', 'tiff', '--model', looking_model, cwd=tmp_path)
    assert 'bits' not in out and 'pictures' not in out

def test_restore_tells_its_plan_and_does_nothing(small, tmp_path):
    out, _ = run('restore', small/'held_out', '--out', 'restored', '--dry-run', cwd=tmp_path) # no network is needed
    assert out.count(' -> ') == 2 and '2 to restore' in out and not (tmp_path/'restored').exists()

def test_evaluate_a_data_set_on_its_held_out_photos(data, tiny_model, tmp_path):
    out, _ = run('evaluate', '--model', tiny_model, '--data', data, '--out', 'scores', '--short-side', 64, cwd=tmp_path)
    assert 'restored' in out
    assert sorted(contents(tmp_path/'scores')) == ['before_after.jpg', 'scores.csv', 'scores.html', 'scores.md', 'table.csv']

@pytest.mark.parametrize('line, says', [
    ('build --photos nowhere --out set', 'nowhere'),
    ('build --photos . --out ../set --mix archiv', 'lapaz2021'),
    ('check nowhere', 'restorer build'),
    ('degrade nowhere.jpg --out damaged', 'nowhere.jpg'),
    ('restore nowhere.jpg --out restored --model no.safetensors', 'nowhere.jpg'),
    ('train --data nowhere --out run', 'restorer build'),
    ('train --recipe nowhere.yaml --data nowhere --out run', 'nowhere'),
    ('evaluate --photos nowhere --model no.safetensors --out scores', 'no.safetensors')])
def test_an_error_is_one_line_that_helps(line, says, tmp_path):
    before = contents(tmp_path)
    assert says in error_of(*line.split(), cwd=tmp_path)
    assert contents(tmp_path) == before

def test_a_missing_network_is_an_error_that_names_the_remedy(small, tmp_path):
    assert 'restorer train' in error_of('restore', small/'held_out', '--out', 'restored', '--model', 'run/model.safetensors', cwd=tmp_path)

def test_the_reference_network_needs_no_model(small, tmp_path):
    out, _ = run('restore', small/'held_out', '--out', 'restored', cwd=tmp_path)
    assert len(find_photos(tmp_path/'restored')) == len(find_photos(small/'held_out')) == out.count('.png: photo')

TINY = """
network: {arch: lite0}
critic: {nf: 8}
valid_samples: 1
stages:
  - {kind: generator, size: 64, epochs: EPOCHS, samples: 8, bs: 4}
  - {kind: critic, size: 64, samples: 4, bs: 4}
  - {kind: gan, size: 64, samples: 8, bs: 4}
"""

ENLARGES = """
valid_samples: 1
stages: [{kind: superres, size: 96, epochs: EPOCHS, samples: 8, bs: 4, nf: 8, blocks: 1}]
""" # a network of a few weights: for what does not depend on what is trained

def log_rows(run): return (run/'log.csv').read_text().splitlines()[1:] if (run/'log.csv').exists() else []

def test_from_photos_to_a_restored_photo(data, small, tmp_path):
    (tmp_path/'tiny.yaml').write_text(TINY.replace('EPOCHS', '2'))
    line = 'train', '--recipe', 'tiny.yaml', '--data', data, '--out', 'run'
    assert 'run/model.safetensors' in run(*line, cwd=tmp_path)[0]
    before = contents(tmp_path/'run')
    assert {'model.safetensors', 'log.csv', 'checkpoint.pt'} <= {*before} and any(o.startswith('samples/') for o in before)
    assert len(log_rows(tmp_path/'run')) == 4
    run(*line, cwd=tmp_path)
    assert contents(tmp_path/'run')['log.csv'] == before['log.csv']
    run('degrade', small/'held_out', '--out', 'damaged', '--mix', 'archive', cwd=tmp_path)
    run('restore', 'damaged', '--out', 'restored', '--model', 'run/model.safetensors', cwd=tmp_path)
    assert len(find_photos(tmp_path/'restored')) == len(find_photos(small/'held_out'))
    run('evaluate', '--photos', small/'held_out', '--short-side', 64, '--model', 'run/model.safetensors', '--out', 'scores', cwd=tmp_path)
    assert 'PSNR' in (tmp_path/'scores'/'scores.md').read_text()
    (tmp_path/'tiny.yaml').write_text(TINY.replace('EPOCHS', '3'))
    assert 'another recipe' in error_of(*line, cwd=tmp_path)

def test_a_run_stops_on_time_and_goes_on_elsewhere(data, tmp_path):
    (tmp_path/'tiny.yaml').write_text(ENLARGES.replace('EPOCHS', '1'))
    line = 'train', '--recipe', 'tiny.yaml', '--out', 'run', '--data'
    assert 'more than none' in error_of(*line, data, '--minutes', 0, cwd=tmp_path) and not (tmp_path/'run').exists()
    out, _ = run(*line, data, '--minutes', '1e-9', cwd=tmp_path)
    assert 'epoch 1, batch 1; the same command goes on' in out and not (tmp_path/'run'/'model.safetensors').exists() and (tmp_path/'run'/'report.html').exists()
    shutil.copytree(data, tmp_path/'copy')
    out, _ = run(*line, 'copy', '--minutes', 600, cwd=tmp_path)
    assert 'lies in' in out and 'run/model.safetensors: the trained network' in out

PLANTED = """
import restorer_fastai.cli as cli
from restorer_fastai.photo.errors import PhotoError, RestorerError
@cli.app.command()
def planted():
    code = compile("def room(): raise ERROR", cli.__file__, "exec") # as if it were raised in a room of ours
    exec(code, vars(cli))
    cli.room()
cli.app(["planted"])
"""

@pytest.mark.parametrize('raised', ["ValueError('nobody thought of that')", "TypeError('nor of that')", "KeyError('a')", "OSError('no file is named')", '[].pop()',
    "__import__('no_such_module')", "ImportError('cannot import name', name='restorer_fastai')"])
def test_a_bug_shows_its_traceback(raised, tmp_path):
    code = PLANTED.replace('raise ERROR', raised if raised.startswith(('[', '_')) else f'raise {raised}')
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' in done.stderr and 'error: ' not in done.stderr, done.stderr

@pytest.mark.parametrize('raised, said', [("RestorerError('give another')", 'give another'), ("PhotoError('a.jpg', 'it is empty', 'Copy it.')", 'a.jpg: it is empty. Copy it.'),
    ("PermissionError(13, 'denied', 'a.jpg')", "[Errno 13] denied: 'a.jpg'"), ("ImportError('install the extra')", 'install the extra')])
def test_what_is_meant_for_people_is_one_line(raised, said, tmp_path):
    done = subprocess.run([sys.executable, '-c', PLANTED.replace('ERROR', raised)], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f'error: {said}\n')

def test_threads_are_calmed_before_torch_is_imported_unless_somebody_said_how_they_wait(tmp_path):
    from restorer_fastai.cli import WAITING
    code = """
import os, sys
import restorer_fastai.cli as cli
assert not {*cli.WAITING} - {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'}
before = dict(os.environ)
@cli.app.command()
def planted(): print({k: v for k, v in os.environ.items() if before.get(k) != v and k not in ('COLUMNS', 'LINES')}, 'torch' in sys.modules)
cli.app(['planted'])
"""
    def told(**said):
        env = {k: v for k, v in os.environ.items() if k not in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')} | said
        return subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert told() == f'{WAITING} False'
    assert told(OMP_WAIT_POLICY='ACTIVE') == told(GOMP_SPINCOUNT='0') == '{} False'

def test_debug_shows_where_an_error_came_from(tmp_path):
    process = start('check', 'nowhere', cwd=tmp_path, RESTORER_DEBUG='1')
    assert 'Traceback' in process.communicate(timeout=100)[1]

def stop_when(process, begun, seconds=120):
    "Press Ctrl-C as soon as `begun` is true; (exit code, what it wrote)."
    end = time.monotonic() + seconds
    while not begun() and process.poll() is None and time.monotonic() < end: time.sleep(.05)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=100)
    return process.returncode, out + err

@pytest.fixture(scope='session')
def many(tmp_path_factory, samples):
    "Enough photos to be stopped while working on them."
    home, img = tmp_path_factory.mktemp('many'), read_photo(samples/'train'/'coffee.png')
    for i in range(60): write_photo(home/f'{i}.jpg', img[i:300 + i, i:300 + i])
    return home

@pytest.mark.parametrize('workers', [1, 2])
def test_ctrl_c_stops_a_build_which_then_goes_on(many, tmp_path, workers):
    line = 'build', '--photos', many, '--out', 'set', '--workers', workers
    code, said = stop_when(start(*line, cwd=tmp_path), lambda: len(list(tmp_path.glob('set/input/train/*.png'))) > 3)
    assert code == 130 and 'Traceback' not in said and 'stopped' in said
    run(*line, cwd=tmp_path)
    run('build', '--photos', many, '--out', 'whole', cwd=tmp_path)
    assert contents(tmp_path/'set') == contents(tmp_path/'whole')

def test_ctrl_c_stops_training_which_then_goes_on(data, tmp_path):
    (tmp_path/'tiny.yaml').write_text(ENLARGES.replace('EPOCHS', '40'))
    line = 'train', '--recipe', 'tiny.yaml', '--data', data, '--out', 'run'
    code, said = stop_when(start(*line, cwd=tmp_path), lambda: len(log_rows(tmp_path/'run')) > 1)
    assert code == 130 and 'Traceback' not in said and 'stopped' in said
    out, _ = run(*line, cwd=tmp_path)
    assert 'going on' in out
    assert [o.split(',')[3] for o in log_rows(tmp_path/'run')] == [str(i + 1) for i in range(40)]

@pytest.mark.parametrize('about', ['recipe', '=text', ''])
def test_packing_says_what_a_word_for_the_header_looks_like(about, tmp_path):
    "Before the weights are read."
    done = subprocess.run([sys.executable, REPO/'benchmarks'/'pack_weights.py', 'none.safetensors', 'small.safetensors', '--about', about], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and 'is not KEY=TEXT' in done.stderr and 'Traceback' not in done.stderr


def test_how_sure_damage_has_to_be_is_a_wish_that_is_noted(small, tmp_path):
    photo = next(small.rglob('chelsea*'))
    refused = run('restore', photo, '--out', tmp_path, '--worn', '--no-defects', cwd=tmp_path, code=2)
    assert 'leave one of them away' in ' '.join(refused[1].split())
    run('restore', photo, '--out', tmp_path/'out', cwd=tmp_path)
    out, _ = run('restore', photo, '--out', tmp_path/'out', '--worn', cwd=tmp_path)
    assert 'made without --worn' in out # not passed over as if it were what is asked for now
