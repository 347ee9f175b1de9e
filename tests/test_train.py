"""Training that is killed, at moments that a notebook cell cannot choose, and a disk that is full.

Each attempt is a process of its own and dies by SIGKILL: no `finally`, no `atexit`, nothing flushed. The processes are forked from one that has
only imported the package, so that starting a dozen of them takes seconds."""
import csv
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
import warnings

import pytest
import yaml

from restorer_fastai.train.checkpoint import RunState, TrainingError, read_checkpoint
from restorer_fastai.data.dataset import build_dataset

TINY = dict(ema=0.9, tensorboard=importlib.util.find_spec('tensorboard') is not None, loss='l1 + mse', network=dict(arch='tiny'), critic=dict(nf=8), valid_samples=2, stages=[
    dict(kind='generator', size=64, epochs=2, samples=10, bs=2), dict(kind='critic', size=64, epochs=1, samples=8, bs=4),
    dict(kind='gan', size=64, epochs=2, samples=8, bs=2, lr=1e-4, critic_thresh=0.69, max_critic=2)])
STEPS = {'01-generator-64': 10, '02-critic-64': 4, '03-gan-64': 8}

def tiny_encoder(pretrained=False):
    "In place of a ResNet: checkpoints of kilobytes, so that one can be written after every batch."
    from torch import nn
    def half(ni, nf): return nn.Sequential(nn.Conv2d(ni, nf, 3, 2, 1, bias=False), nn.BatchNorm2d(nf), nn.ReLU())
    return nn.Sequential(half(3, 8), half(8, 8), half(8, 16), half(16, 16), half(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))

def die(): os.kill(os.getpid(), signal.SIGKILL)

def die_at(module, name, call, before=lambda *args: None):
    "Replace a function by one that dies at its `call`-th call."
    import importlib
    *owner, name = name.split('.')
    where = importlib.import_module(f'restorer_fastai.{module}')
    for o in owner: where = getattr(where, o)
    real, calls = getattr(where, name), []
    def mine(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            before(*args)
            die()
        return real(*args, **kwargs)
    setattr(where, name, mine)

def half_file(obj, f):
    f.write(b'half a checkpoint')
    f.flush()

MOMENTS = { # name -> how to arrange it, in the process that will die
    'before the first checkpoint': lambda: die_at('train.log', 'EpochLog.after_loss', 1),
    'while a checkpoint is written': lambda: die_at('train.checkpoint', 'torch.save', 3, half_file),
    'in an epoch, between checkpoints': lambda: die_at('train.log', 'EpochLog.after_loss', 3),
    'after the log, before the checkpoint': lambda: die_at('train.log', 'KeepBest.end_of_epoch', 1),
    'while the best network is written': lambda: die_at('train.kinds', 'save_weights', 1),
    'between two stages': lambda: die_at('train.checkpoint', 'RunState.next_stage', 1),
    'while the critic gets its photos': lambda: die_at('learn.critic', '_as_8bit', 3),
    'in the critic': lambda: die_at('train.log', 'EpochLog.after_loss', 3),
    'in the GAN': lambda: die_at('train.log', 'EpochLog.after_loss', 4),
    'while the turns are written': lambda: die_at('train.log', 'TurnTable.end_of_epoch', 1),
    'while the report is written': lambda: die_at('train.run', 'write_report', 1),
    'while the model is written': lambda: die_at('train.run', 'finish_run', 1)}

def run(recipe, data, out, moment=None, minutes=10.):
    import torch
    torch.set_num_threads(1) # sums in the same order in every process
    warnings.filterwarnings('error', message='You are shadowing') # fastai's word on a callback that takes a name the learner or the model has
    if moment: MOMENTS[moment]()
    from restorer_fastai.nets.restorer import ARCHS
    from restorer_fastai.train.run import train
    ARCHS['tiny'] = tiny_encoder
    train(recipe, data, out, progress=False, checkpoint_minutes=minutes)

@pytest.fixture(scope='module')
def process():
    "Start `run` in a process of its own."
    if 'forkserver' not in multiprocessing.get_all_start_methods(): pytest.skip('needs processes that can be forked')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['restorer_fastai.train.run', 'torch.utils.tensorboard'])
    def start(*args, target=run, **kwargs):
        p = context.Process(target=target, args=args, kwargs=kwargs)
        p.start()
        return p
    return start

@pytest.fixture(scope='module')
def task(samples, tmp_path_factory):
    "(recipe, data set)"
    folder = tmp_path_factory.mktemp('train')
    build_dataset(samples/'train', folder/'set', pairs='none', valid_share=0.2, progress=False)
    (folder/'tiny.yaml').write_text(yaml.safe_dump(TINY))
    return folder/'tiny.yaml', folder/'set'

LOST = 255 # what Python says when it could not learn how a forked process ended; one that raised an error ends with 1

def finish(process):
    process.join(300)
    return process.exitcode

@pytest.fixture(scope='module')
def undisturbed(process, task, tmp_path_factory):
    "The folder of a run that nobody disturbed."
    out = tmp_path_factory.mktemp('undisturbed')/'run'
    assert finish(process(*task, out)) == 0
    return out

def rows(path, *without):
    with open(path, newline='') as f: return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(f)]

def assert_same_run(a, b):
    "The same steps, the same log, the same network, to the last digit and bit; and nothing left lying about."
    times = 'photos_per_s', 'seconds'
    assert rows(b/'log.csv', *times) == rows(a/'log.csv', *times)
    assert rows(b/'turns.csv') == rows(a/'turns.csv')
    assert (b/'model.safetensors').read_bytes() == (a/'model.safetensors').read_bytes()
    assert sorted(o.name for o in b.iterdir()) == sorted(o.name for o in a.iterdir())
    ours, theirs = (json.loads((o/'run.json').read_text()) for o in (a, b))
    assert theirs['model'] == ours['model'] and theirs['kept'] == ours['kept']

def test_an_undisturbed_run_does_what_its_recipe_says(undisturbed):
    last = {row['stage']: int(row['steps']) for row in rows(undisturbed/'log.csv')}
    assert last == STEPS
    assert {row['who'] for row in rows(undisturbed/'turns.csv')} == {'generator', 'critic'}
    if TINY['tensorboard']: assert sorted(o.name for o in (undisturbed/'tensorboard').iterdir()) == ['01-generator-64', '03-gan-64']
    assert json.loads(rows(undisturbed/'log.csv')[0]['loss_weights']) == {'l1': 1, 'mse': 1}

def test_killed_at_chosen_moments(process, task, undisturbed, tmp_path):
    out = tmp_path/'run'
    for moment in MOMENTS:
        assert finish(process(*task, out, moment, minutes=0.)) in (-signal.SIGKILL, LOST), moment
    assert finish(process(*task, out)) == 0
    assert_same_run(undisturbed, out)

def test_killed_at_random_moments(process, task, undisturbed, tmp_path):
    out, rng, kills = tmp_path/'run', random.Random(3), 0
    def saved(): return (out/'checkpoint.pt').stat().st_mtime_ns if (out/'checkpoint.pt').exists() else 0
    while True:
        p, left, before = process(*task, out, minutes=0.), rng.randint(4, 9), saved() # lives for so many checkpoints, and a moment more
        while left and p.exitcode is None:
            if (now := saved()) != before: left, before = left - 1, now
            time.sleep(0.002)
        p.join(rng.uniform(0, 0.2))
        if p.exitcode is not None: break
        p.kill()
        p.join()
        kills += 1
    assert finish(p) == 0 and kills >= 2
    assert finish(process(*task, out)) == 0 # nothing left to train; the weights file notes how often was saved
    assert_same_run(undisturbed, out)

def hurry(recipe, data, out):
    "Train with no time at all, again and again; after each start the run's folder, and after the first the data set, have moved."
    import torch
    torch.set_num_threads(1)
    from restorer_fastai.nets.restorer import ARCHS
    from restorer_fastai.train.run import train
    ARCHS['tiny'] = tiny_encoder
    starts, here = 0, out.with_name('moving 0')
    while not train(recipe, data, here, progress=False, minutes=1e-9):
        if starts == 0: data = shutil.copytree(data, out.with_name('set elsewhere'))
        starts += 1
        here = here.rename(out.with_name(f'moving {starts}'))
    here.rename(out)
    (out.with_name('starts')).write_text(str(starts))

def test_stopped_by_the_clock_after_every_batch_and_moved(process, task, undisturbed, tmp_path):
    "In generator, critic and GAN, within epochs and between them, and between stages."
    assert finish(process(*task, tmp_path/'run', target=hurry)) == 0
    assert int((tmp_path/'starts').read_text()) == sum(STEPS.values()) - 1 # each batch but the very last
    assert_same_run(undisturbed, tmp_path/'run')

def test_no_photo_is_held_out(process, samples, tmp_path):
    "What the README's own lines come to with six photos: every kind of stage trains, nothing is scored, the last network is kept; also killed, gone on, and once more when all is done."
    summary = build_dataset(samples/'train', tmp_path/'set', pairs='none', progress=False)
    assert summary.counts['valid'] == 0 and 'no photo is held out' in str(summary)
    small, stages = dict(size=64, samples=4, bs=2), [dict(kind='look', mix='archive'), dict(kind='colour', mix='colourless'), dict(kind='holes', mix='painted', zoom=2),
        dict(kind='generator', epochs=2), dict(kind='critic', bs=4), dict(kind='gan', epochs=2, lr=1e-4), dict(kind='generator', size=96)]
    recipe = TINY | dict(network=dict(arch='tiny', look=True, holes=16, colours=True), valid_samples=1, stages=[small | o for o in stages])
    (tmp_path/'all.yaml').write_text(yaml.safe_dump(recipe))
    assert finish(process(tmp_path/'all.yaml', tmp_path/'set', tmp_path/'run')) == 0
    for moment in 'in an epoch, between checkpoints', 'in the GAN':
        assert finish(process(tmp_path/'all.yaml', tmp_path/'set', tmp_path/'killed', moment, minutes=0.)) in (-signal.SIGKILL, LOST), moment
    for _ in range(2): assert finish(process(tmp_path/'all.yaml', tmp_path/'set', tmp_path/'killed')) == 0
    runs = [json.loads((tmp_path/o/'run.json').read_text()) for o in ('run', 'killed')]
    assert all('kept' not in o and 'no photo is held out' in o['model']['why'] and o['model']['stage'] == '07-generator-96' for o in runs)
    assert not [*(tmp_path/'run').glob('best-*')] and (tmp_path/'run'/'report.html').exists()
    assert (tmp_path/'killed'/'model.safetensors').read_bytes() == (tmp_path/'run'/'model.safetensors').read_bytes()

@pytest.mark.parametrize('kind', ['frame_lite', 'film', 'colorize'])
def test_stages_that_begin_with_imagenet(process, task, tmp_path, kind):
    "Killed in either stage they go on as if nothing had happened, and without ImageNet's weights: what these taught is in the checkpoint."
    import torch
    from restorer_fastai.nets.lite import LiteEncoder
    torch.save(LiteEncoder().state_dict(), tmp_path/'lite0.pth')
    stage = dict(kind=kind, size=64, samples=8, bs=2, imagenet=str(tmp_path/'lite0.pth'))
    (tmp_path/'recipe.yaml').write_text(yaml.safe_dump(dict(ema=.9, valid_samples=2, stages=[stage | dict(frozen=True), stage])))
    go = tmp_path/'recipe.yaml', task[1]
    assert finish(process(*go, tmp_path/'run')) == 0
    assert finish(process(*go, tmp_path/'killed', 'in an epoch, between checkpoints', minutes=0.)) in (-signal.SIGKILL, LOST)
    (tmp_path/'lite0.pth').unlink()
    assert finish(process(*go, tmp_path/'killed', 'in the GAN', minutes=0.)) in (-signal.SIGKILL, LOST) # at its fourth step: in the second stage
    assert json.loads((tmp_path/'killed'/'run.json').read_text())['stages'].keys() == {f'01-{kind}-64', f'02-{kind}-64'}
    assert finish(process(*go, tmp_path/'killed')) == 0
    assert (tmp_path/'killed'/'model.safetensors').read_bytes() == (tmp_path/'run'/'model.safetensors').read_bytes()
    assert finish(process(*go, tmp_path/'never')) == 1 and not (tmp_path/'never').exists() # a new run asks before it begins

@pytest.fixture
def state(tmp_path):
    import torch
    return RunState(tmp_path/'run', dict(generator=torch.nn.Linear(300, 300), critic=torch.nn.Linear(2, 1)))

def test_a_full_disk_leaves_the_checkpoint_before_it(state):
    resource = pytest.importorskip('resource') # not on Windows
    state.save()
    before, limits = state.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    state.epoch = 1
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(TrainingError, match='checkpoint.pt: could not be written .*Make room'): state.save()
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert state.path.read_bytes() == before and read_checkpoint(state.run)['epoch'] == 0
    assert [o.name for o in state.run.iterdir()] == ['checkpoint.pt']
