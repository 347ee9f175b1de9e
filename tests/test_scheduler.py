"Building and restoring on the workers of a Dask scheduler: the same bytes as alone, whatever dies on the way, and clear words when it cannot be."
import dataclasses
import functools
import logging
import re
from types import SimpleNamespace

import dask
import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from restorer_fastai import cli, Restorer
from restorer_fastai.data import dataset
from restorer_fastai.data.dataset import build_dataset, DatasetError
from restorer_fastai.photo import machines as rooms_machines
from restorer_fastai.photo.errors import RestorerError
from restorer_fastai.photo.machines import machines_at, SchedulerError
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.restore import album
from restorer_fastai.restore.files import FileOutcome
from restorer_fastai.restore.options import AlbumOptions, RestoreOptions

# What a worker is told, so that it dies with the next file of a kind that gets its name: just before, or just after
DIE = '''
import os, signal
from pathlib import Path
rename = os.whole = getattr(os, 'whole', os.replace)
def replace(a, b):
    fatal = str(b).endswith(ending) and not os.path.exists(flag)
    if fatal: open(flag, 'w').close()
    if fatal and when == 'before': os.kill(os.getpid(), signal.SIGKILL)
    rename(a, b)
    if fatal: os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
'''

def files(folder): return {o.relative_to(folder).as_posix(): o.read_bytes() for o in folder.rglob('*') if o.is_file()}

def in_process(n): return LocalCluster(n_workers=n, threads_per_worker=1, processes=False, protocol='tcp', dashboard_address=None, silence_logs=logging.CRITICAL)

@pytest.fixture(scope='module')
def cluster():
    "Two worker processes; a photo may kill one worker, with the second it is given up."
    with dask.config.set({'distributed.scheduler.allowed-failures': 1}):
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster:
            with Client(cluster, set_as_default=False) as client: yield SimpleNamespace(address=cluster.scheduler_address, client=client)

@pytest.fixture
def die_once(cluster, tmp_path):
    "Call it to have one worker killed; afterwards it is asked whether one was."
    flag = tmp_path/'killed'
    def die(ending, when): cluster.client.run(exec, DIE, dict(ending=ending, when=when, flag=str(flag)))
    yield die
    cluster.client.run(exec, 'import os; os.replace = getattr(os, "whole", os.replace)') # the worker that lives on
    assert flag.exists()

@pytest.fixture
def few(tmp_path):
    "Eight photos in two folders, and two files that are none."
    for i in range(8): write_photo(tmp_path/'in'/f'{i % 2}'/f'{i}.{"jpg" if i % 3 else "png"}', sample_photo('coffee')[5*i:5*i + 40, :70])
    (tmp_path/'in'/'0'/'letter.jpg').write_text('Dear grandmother')
    (tmp_path/'in'/'1'/'cut.jpg').write_bytes((tmp_path/'in'/'1'/'1.jpg').read_bytes()[:300])
    return tmp_path/'in'

@pytest.fixture(scope='module')
def restorer(tiny_model): return Restorer.load(tiny_model, device='cpu')

def build(photos, out, **kw): return build_dataset(photos, out, mix='archive', seed=3, valid_share=.3, progress=False, **kw)

def told(summary):
    "What a summary says, without the folder of the results."
    short = lambda o: o.relative_to(summary.out).as_posix()
    return sorted(map(short, summary.restored)), sorted(map(short, summary.skipped)), summary.failed, summary.busy, {short(k): v for k, v in summary.modes.items()}, summary.notes


def test_a_data_set_is_the_same_though_a_worker_is_killed_while_it_writes(cluster, few, tmp_path, die_once):
    alone = build(few, tmp_path/'alone')
    die_once('3.png.png', 'before')
    many = build(few, tmp_path/'many', scheduler=cluster.address)
    assert files(tmp_path/'many') == files(tmp_path/'alone') # nothing half-written is left
    assert 'letter.jpg' in files(tmp_path/'many')['rejected.csv'].decode()
    assert (many.counts, many.written) == (alone.counts, 8)
    assert build(few, tmp_path/'many', scheduler=cluster.address).kept == 8

def test_an_album_is_the_same_though_a_worker_is_killed_with_its_result_written(cluster, few, tmp_path, restorer, die_once):
    wishes = dict(progress=False, side_files=True, roll=True, mode='negative')
    alone = restorer.restore_folder(few, tmp_path/'alone', **wishes)
    die_once('3.png', 'after')
    seen = []
    many = restorer.restore_folder(few, tmp_path/'many', scheduler=cluster.address, on_photo=lambda *a: seen.append(a), **wishes)
    assert files(tmp_path/'many') == files(tmp_path/'alone')
    assert told(many) == told(alone) and len(many.restored) == 8 and len(many.failed) == 2
    assert [o.name for o in many.restored] == [o.name for o in alone.restored] # in the order of the plan
    assert sorted(became for _, became in seen) == ['failed']*2 + ['negative']*8

def test_by_command_with_paths_below_the_working_folder(cluster, few, tmp_path, tiny_model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ['restore', 'in', '--out', 'out', '--model', str(tiny_model), '--exact', '--scheduler', cluster.address])
    assert done.exit_code == 2 and '8 restored, 0 skipped (already there), 2 failed' in done.output and 'in/0/letter.jpg: failed' in done.output
    assert len(files(tmp_path/'out')) == 8 # no locks, no halves

def test_ctrl_c_leaves_nothing_behind(cluster, few, tmp_path, restorer):
    def stop(photo, became): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): restorer.restore_folder(few, tmp_path/'out', progress=False, scheduler=cluster.address, on_photo=stop)
    left = files(tmp_path/'out')
    assert not [o for o in left if re.search(r'(^|/)\.', o)] and len(left) < 8
    assert not any(cluster.client.run(rooms_machines._how_busy).values())
    assert len(restorer.restore_folder(few, tmp_path/'out', progress=False, scheduler=cluster.address).restored) == 8 - len(left)
    assert len(restorer.restore_folder(few, tmp_path/'out', progress=False, scheduler=cluster.address).skipped) == 8

def test_what_kills_every_worker_is_given_up_and_the_others_are_done(cluster, tmp_path):
    with machines_at(cluster.address, tmp_path/'out') as machines:
        made = dict(machines.each(exec, ['1', 'import os; os._exit(9)', '2']))
        assert made[0] is made[2] is None and isinstance(made[1], SchedulerError) and 'too little memory' in str(made[1])
        assert machines.lost()

def test_workers_that_differ_are_named(cluster, few, tmp_path, monkeypatch, restorer):
    def refused(contains, attribute, value):
        with monkeypatch.context() as m:
            m.setattr(rooms_machines, attribute, value)
            with pytest.raises(SchedulerError, match=contains) as e: build(few, tmp_path/'out', scheduler=cluster.address)
        assert 'tcp://' in str(e.value) and not (tmp_path/'out').exists()
    terms = rooms_machines.Terms
    refused('its restorer_fastai is .* Install the same there', 'what_runs_here', lambda: (('restorer_fastai', '0.0'),))
    refused('does not see the folder', 'Terms', lambda *a: terms(a[0], a[1], 'another disk', *a[3:]))
    refused('does not see the photo', 'Terms', lambda *a: terms(*a[:3], (('/none.jpg', 7),), a[4]))
    late = functools.partial(rooms_machines._check_all, cluster.client)
    late(rooms_machines.Terms(rooms_machines.what_runs_here(), str(few/'0'/'letter.jpg'), 'Dear grandmother')) # these do not

def test_a_worker_that_comes_late_keeps_to_the_terms_too(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms_machines, '_check_all', lambda *a: None)
    with machines_at(cluster.address, tmp_path/'out', [], functools.partial(str, 'it is tired')) as machines:
        with pytest.raises(SchedulerError, match='the worker on .*: it is tired'): list(machines.each(exec, ['1']))

def test_no_scheduler_no_worker_no_file(few, tmp_path, monkeypatch, restorer):
    monkeypatch.setattr(rooms_machines, '_WAIT', .3)
    said = CliRunner().invoke(cli.app, ['build', '--photos', str(few), '--out', str(tmp_path/'out'), '--scheduler', 'tcp://127.0.0.1:9'])
    assert said.exit_code == 1 and 'tcp://127.0.0.1:9: no Dask scheduler answers there' in said.output and '`dask scheduler`' in said.output
    for nonsense in ('none.json', 'nobody', 'ftp://127.0.0.1:9'):
        with pytest.raises(SchedulerError, match=nonsense): restorer.restore_folder(few, tmp_path/'out', progress=False, scheduler=nonsense)
    with in_process(0) as empty:
        with pytest.raises(SchedulerError, match='has no workers.*dask worker') as e: build(few, tmp_path/'out', scheduler=empty.scheduler_address)
        assert empty.scheduler_address in str(e.value)
    assert not (tmp_path/'out').exists()
    with pytest.raises(DatasetError, match='one of the two'): build(few, tmp_path/'out', scheduler='tcp://127.0.0.1:9', workers=2)

@pytest.mark.parametrize('what, says', [('scheduler', 'the scheduler has gone'), ('worker', 'no worker is left')])
def test_all_machines_go(what, says, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms_machines, '_PATIENCE', .5)
    monkeypatch.setattr(rooms_machines, '_WAIT', 2)
    with in_process(1) as cluster, dask.config.set({'distributed.comm.timeouts.connect': '1s'}):
        with pytest.raises(SchedulerError, match=f'{says}.*goes on from here'), machines_at(cluster.scheduler_address, tmp_path/'out') as machines:
            for _ in machines.each(exec, ['import time; time.sleep(.05)']*40): cluster.close() if what == 'scheduler' else cluster.scale(0)
    assert not (tmp_path/'out').exists()

def test_a_network_that_others_cannot_load(few, tmp_path, restorer):
    with pytest.raises(RestorerError, match='only in memory'): Restorer(restorer.net, device='cpu').restore_folder(few, tmp_path/'out', progress=False, scheduler='tcp://127.0.0.1:9')

def test_a_photo_that_kills_is_listed_and_what_a_killed_worker_had_done_is_done_again(tmp_path):
    "Without machines: what is made of their answers."
    first = [(0, SchedulerError('one worker after the other died')), (1, FileOutcome('b', 'B', 'skipped')), (2, FileOutcome('c', 'C', 'skipped')), (3, 'it holds text')]
    def each(fn, items): return [(0, FileOutcome('b', 'B', 'restored'))] if fn.args[2].overwrite and items == ['b'] else first
    machines = SimpleNamespace(each=lambda fn, items: each(fn, items) if items else [], lost=lambda: True)
    got = dict(album._outcomes_there(machines, None, ['a', 'b', 'c', 'd'], RestoreOptions(), AlbumOptions(), {2}))
    assert got == {0: 'one worker after the other died.', 1: FileOutcome('b', 'B', 'restored'), 2: first[2][1], 3: 'it holds text'}
    machines.lost = lambda: False # then it was another run
    assert dict(album._outcomes_there(machines, None, ['a', 'b', 'c', 'd'], RestoreOptions(), AlbumOptions(), {2}))[1].did == 'skipped'
