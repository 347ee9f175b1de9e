"""Two processes on CPUs, started once by `accelerate launch`, train every kind of stage; what they have afterwards is compared, also with what one process makes of the
whole batches. Run as a program, this file is what each of them does."""
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

def stage(kind, **settings): return dict(kind=kind, size=64, samples=4, bs=1) | settings

TINY, WIDTHS = dict(ema=.9, valid_samples=1), dict(widths=[8, 8, 8, 8], blocks=1)
NET = TINY | dict(network=dict(arch='tiny', head=16), critic=dict(nf=8))
ALL_PARTS = TINY | dict(network=dict(arch='tiny', look=True, holes=16, colours=True, head=16)) # which look at many crops of a photo
LARGE = dict(nf=8, blocks=1)
RECIPES = dict( # together every kind of stage
    whole=NET | dict(critic=dict(form='near', nf=8), stages=[stage('generator', norms_at_rest=True), stage('generator', norms_at_rest=True, head_only=True, samples=2),
                             stage('gan', norms_at_rest=True, critic_thresh=.693, max_critic=1, optimiser='adam')]), # no dropout, norms at rest, losses that are means: one process makes the same (but for rounding, which FINE_ADAM enlarges)
    pixels=TINY | dict(stages=[stage('repair', **WIDTHS)]), enlarged=TINY | dict(stages=[stage('superres', **LARGE, real=.5)]), # of which, too
    parts=ALL_PARTS | dict(stages=[stage('look', mix='archive'), stage('colour', mix='colourless'), stage('holes', mix='painted', zoom=2)]),
    critic=NET | dict(stages=[stage('generator', frozen='unet'), stage('critic')]),
    frame_lite=TINY | dict(stages=[stage('frame_lite', imagenet=False, frozen=True)]), film=TINY | dict(stages=[stage('film', imagenet=False)]),
    repair=NET | dict(stages=[stage('repair', **WIDTHS, every=1), stage('repair_critic', **WIDTHS), stage('repair_gan', **WIDTHS, epochs=2, feature=0., optimiser='sgd')]),
    superres=TINY | dict(stages=[stage('superres', **LARGE), stage('superres_texture', **LARGE, eyes='lite0', imagenet=False),
                                 stage('srgan', **LARGE, critic_nf=8, eyes='lite0', imagenet=False, optimiser='sgd')]),
    defects=TINY | dict(stages=[stage('defects', eyes=False, widths=[8]*6)]), inpaint=TINY | dict(stages=[stage('inpaint')]),
    colorize=TINY | dict(stages=[stage('colorize', imagenet=False)]), colour_history=TINY | dict(stages=[stage('colour_history', imagenet=False, hints=.5)]))
SAME = 'whole', 'pixels', 'enlarged'

def tiny_encoder(pretrained=False):
    from torch import nn
    def half(ni, nf): return nn.Sequential(nn.Conv2d(ni, nf, 3, 2, 1, bias=False), nn.BatchNorm2d(nf), nn.ReLU())
    return nn.Sequential(half(3, 8), half(8, 8), half(8, 16), half(16, 16), half(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))

def go(recipe, data, run, minutes=None, bs=None):
    "Train; the weights that each stage leaves, and the averages: stage -> name -> tensor."
    import torch
    from restorer_fastai.nets.restorer import ARCHS
    from restorer_fastai.score.metrics import psnr_metric
    from restorer_fastai.train import run as room
    from restorer_fastai.train.recipe import recipe_from_dict
    torch.set_num_threads(1)
    ARCHS['tiny'], kept, real = tiny_encoder, {}, room.train_stage
    def kept_stage(recipe, state, *args):
        i, finish = state.stage, type(recipe.stages[state.stage]).finish
        def finished(self, state, meta):
            average = (state.memories or {}).get('weight_ema', dict(average={}))['average']
            kept[i] = {f'own/{net}/{k}': v.clone() for net, o in state.nets.items() for k, v in o.state_dict().items()} | {f'ema/{k}': v.clone() for k, v in average.items()}
            finish(self, state, meta)
        with pytest.MonkeyPatch.context() as m:
            m.setattr(type(recipe.stages[i]), 'finish', finished)
            real(recipe, state, *args)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(room, 'train_stage', kept_stage)
        m.setattr(room, 'write_report', lambda run: None) # is no business of this file, and takes as long as all else
        if 'critic' not in [o['kind'] for o in recipe['stages']]: # there the whole score is asked for, which takes its time
            m.setattr('restorer_fastai.train.kinds.RestoringStage.photo_metrics', lambda self: [psnr_metric])
        if bs: recipe = recipe | dict(stages=[o | dict(bs=bs) for o in recipe['stages']])
        done = room.train(recipe_from_dict(recipe), data, run, device='cpu', progress=False, minutes=minutes)
    return kept, done

def reading():
    "What this process reads of twelve things, in training and held out; and what fastai's own loader says."
    import torch
    from fastai.data.core import DataLoaders
    from fastai.distributed import DistributedDL
    from restorer_fastai.learn.processes import own_rank, share_out
    torch.manual_seed(own_rank()) # the processes would go through them in different orders
    dls = DataLoaders.from_dsets(list(range(12)), list(range(12)), bs=2, device='cpu', num_workers=0)
    try: stock = next(iter(DistributedDL(dls.valid))) is not None
    except Exception as e: stock = type(e).__name__
    return dict(stock=stock, read=[[i for b in dl for i in b.tolist()] for dl in share_out(dls).loaders])

def one_of_two(folder):
    "What each of the two processes does."
    import torch
    from restorer_fastai.learn.processes import join_processes, leave_processes, own_rank
    join_processes('cpu')
    data, rank, out = folder/'set', own_rank(), reading()
    for name, recipe in RECIPES.items(): out[name], _ = go(recipe, data, folder/name)
    stopped, again, starts = {}, None, 0
    while again is None: # after each batch
        kept, again = go(RECIPES['whole'], data, folder/'stopped', minutes=1e-9)
        if starts == 0 and rank == 0: shutil.copytree(folder/'stopped', folder/'half')
        stopped, starts = stopped | kept, starts + 1
    out |= dict(stopped=stopped, starts=starts)
    def broken(*args):
        if rank == 1: raise OSError('a broken photo')
    with pytest.MonkeyPatch.context() as m: # in one process only
        m.setattr('restorer_fastai.train.log.StageProgress.after_batch', broken)
        try: go(RECIPES['enlarged'], data, folder/'broken')
        except Exception as e: out['error'] = f'{type(e).__name__}: {e}'
    torch.save(out, folder/f'rank-{rank}.pt')
    leave_processes()

@pytest.fixture(scope='module')
def two(samples, tmp_path_factory):
    "(folder, what the first process has, what the second one has)"
    import torch
    from restorer_fastai.data.dataset import build_dataset
    folder = tmp_path_factory.mktemp('two')
    build_dataset(samples/'train', folder/'set', pairs='none', valid_share=.2, progress=False)
    env = os.environ | dict(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    launch = [sys.executable, '-W', 'ignore', '-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2', '--num_machines', '1', '--mixed_precision', 'no',
              '--dynamo_backend', 'no', '--main_process_port', '0', __file__, str(folder)]
    done = subprocess.run(launch, env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, *(torch.load(folder/f'rank-{rank}.pt') for rank in (0, 1))

def assert_equal(a, b):
    import torch
    assert a.keys() == b.keys() and a
    for i in a:
        assert a[i].keys() == b[i].keys() and a[i]
        assert not [k for k, v in a[i].items() if not torch.equal(v, b[i][k])], f'stage {i}'

def rows(path):
    with open(path, newline='') as f: return list(csv.DictReader(f))

def test_trap_17_two_processes_on_cpus_share_an_epoch(two):
    _, first, second = two
    assert first['stock'] not in (True, False) and second['stock'] not in (True, False) # fastai's own raises without a GPU
    (train1, valid1), (train2, valid2) = first['read'], second['read']
    assert len(train1) == len(train2) == 6 and sorted(train1 + train2) == list(range(12)) # one order, shared without gap or overlap
    assert valid1 == valid2 == list(range(12))

def test_every_kind_of_stage_is_here():
    from restorer_fastai.train.kinds import STAGE_KINDS
    assert {o['kind'] for recipe in RECIPES.values() for o in recipe['stages']} == set(STAGE_KINDS)

@pytest.mark.parametrize('name', RECIPES)
def test_both_have_the_same_weights_and_averages(two, name):
    _, first, second = two
    assert_equal(first[name], second[name])
    if name != 'parts': assert any(k.startswith('ema/') for k in first[name][0])

@pytest.mark.parametrize('name', SAME)
def test_one_process_makes_the_same_of_whole_batches(two, name, tmp_path):
    folder, first, _ = two
    alone, _ = go(RECIPES[name], folder/'set', tmp_path/'run', bs=2)
    own, average = ({k.split('.', 1)[1]: v for k, v in alone[0].items() if k.startswith(o) and k.endswith('weight')} for o in ('own/', 'ema/'))
    assert any(not v.equal(own[k]) for k, v in average.items() if k in own) # it has learned: the average lags behind
    far = {i: max((float((v.double() - first[name][i][k].double()).abs().max()), k) for k, v in o.items()) for i, o in alone.items()}
    assert far.keys() == first[name].keys() and max(far.values())[0] < 1e-5
    if name == 'whole': assert [o['who'] for o in rows(tmp_path/'run'/'turns.csv')] == [o['who'] for o in rows(folder/name/'turns.csv')]

def test_a_run_that_is_stopped_after_every_batch_goes_on(two):
    folder, first, second = two
    assert first['starts'] == second['starts'] == 5
    assert_equal(first['stopped'], first['whole'])
    assert_equal(second['stopped'], first['whole'])
    assert (folder/'stopped'/'model.safetensors').read_bytes() == (folder/'whole'/'model.safetensors').read_bytes()

def test_one_writes_and_says_how_many_they_are(two):
    folder = two[0]
    log = rows(folder/'whole'/'log.csv')
    assert [(o['stage'], o['epoch'], o['steps'], o['processes']) for o in log if o['epoch'] != '0'] == [
        ('01-generator-64', '1', '2', '2'), ('02-generator-64', '1', '1', '2'), ('03-gan-64', '1', '2', '2')]
    assert json.loads((folder/'whole'/'run.json').read_text())['processes'] == 2
    assert 'kept' in json.loads((folder/'critic'/'run.json').read_text()) and (folder/'critic'/'samples'/'01-generator-64-001.jpg').exists()
    assert not [o for o in (folder/'whole').rglob('.*')] # nothing half-written

def test_an_error_in_one_process_ends_the_other(two):
    _, first, second = two
    assert 'a broken photo' in second['error'] and first['error'].startswith('RestorerError: another process')

def test_within_an_epoch_the_number_of_processes_is_kept(two, tmp_path):
    shutil.copytree(two[0]/'half', tmp_path/'half')
    with pytest.raises(ValueError, match=r'each of 2 process\(es\) has read its share; now there are 1'): go(RECIPES['whole'], two[0]/'set', tmp_path/'half')

if __name__ == '__main__': one_of_two(Path(sys.argv[1]))
