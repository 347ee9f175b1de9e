"The loaders: one decode a photo, the same crop and flip for both of a pair, chance that can be repeated."
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fastai.torch_core import set_seed

import restorer_fastai.data.loaders as data
from restorer_fastai.data.loaders import SquareView, get_dls, read_reduced
from restorer_fastai.data.dataset import build_dataset, read_manifest
from restorer_fastai.degrade.mixes import load_mix
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.nets.restorer import NetConfig

NOTHING = replace(load_mix('lapaz2021'), base={'none': 1.}, extra={'none': 1.}) # a mix that leaves photos as they are


@pytest.fixture(scope='module')
def root(samples, tmp_path_factory):
    "A built set of a dozen photos whose short side is 256 px, three of them held out."
    folder = tmp_path_factory.mktemp('data')
    for o in find_photos(samples/'train'):
        img = read_photo(o)
        img = cv2.resize(img, [round(n*256/min(img.shape[:2])) for n in img.shape[1::-1]], interpolation=cv2.INTER_AREA)
        write_photo(folder/'photos'/f'{o.stem}.jpg', img)
        write_photo(folder/'photos'/f'{o.stem} turned.jpg', np.rot90(img))
    build_dataset(folder/'photos', folder/'set', valid_share=0.25, progress=False)
    return folder/'set'

def batches(dl): return [[o.cpu() for o in b] for b in dl]

def same(a, b): return len(a) == len(b) and all(torch.equal(p, q) for x,y in zip(a, b) for p,q in zip(x, y))


# The pair

@pytest.mark.parametrize('view', data.VIEWS)
@pytest.mark.parametrize('on_the_fly', [True, False])
def test_a_pair_gets_the_same_view_and_flip(root, tmp_path, view, on_the_fly):
    where, mix = root, NOTHING
    if not on_the_fly: # built pairs whose damage can be undone exactly
        where, mix = tmp_path/'set', None
        inverted = replace(NOTHING, base={'negative': 1.})
        build_dataset(root.parent/'photos', where, mix=inverted, valid_share=0.25, progress=False)
    for x, *_, y in batches(get_dls(where, size=64, bs=8, samples=16, mix=mix, on_the_fly=on_the_fly, view=view).train):
        assert torch.allclose(x if on_the_fly else 1 - x, y, atol=1.01/255)

def test_training_photos_are_flipped_and_validation_photos_are_not(root):
    dls = get_dls(root, size=64, bs=9, samples=9, mix=NOTHING, view='frame') # the frame never moves: only the flip is left
    seen = {}
    for _ in range(8):
        for s in range(9): seen.setdefault(s, []).append(np.asarray(dls.train.do_item(s)[1]))
        dls.train.get_idxs() # another epoch
    for photos in seen.values():
        kinds = {o.tobytes() for o in photos}
        assert kinds <= {photos[0].tobytes(), photos[0][..., ::-1].tobytes()}
    assert sum(len({o.tobytes() for o in photos}) == 2 for photos in seen.values()) >= 7
    valid = read_manifest(root).query("split == 'valid'").source
    for i,o in enumerate(valid):
        want = np.asarray(SquareView(64, view='frame')(read_reduced(root.parent/'photos'/o, 64), split_idx=1)).transpose(2, 0, 1)
        assert (np.asarray(dls.valid.do_item(i)[1]) == want).all()

def test_a_photo_is_decoded_once(root, monkeypatch):
    decoded = []
    def counting(im, name): return decoded.append(name) or from_pil(im, name)
    from_pil = data.from_pil
    monkeypatch.setattr(data, 'from_pil', counting)
    monkeypatch.setattr(data, 'read_photo', None) # not the other way either
    dls = get_dls(root, size=64, bs=3, mix=NOTHING)
    decoded.clear() # fastai has looked at a photo or two by now, to learn their type
    batches(dls.train)
    assert len(decoded) == len(set(decoded)) == len(dls.train_ds) == 9

def test_large_jpegs_are_reduced_while_decoding(tmp_path):
    img = cv2.resize(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8), (2000, 1500), interpolation=cv2.INTER_CUBIC)
    for name, want in (('a.jpg', (188, 250)), ('a.png', (1500, 2000))): # only JPEG can
        assert read_reduced(write_photo(tmp_path/name, img), 154).shape[:2] == want
    assert (read_reduced(tmp_path/'a.jpg', 154) == read_reduced(tmp_path/'a.jpg', 154)).all()
    (tmp_path/'cut.jpg').write_bytes((tmp_path/'a.jpg').read_bytes()[:9000])
    with pytest.raises(PhotoError, match='cut short'): read_reduced(tmp_path/'cut.jpg', 154)

def test_a_photo_that_vanished_is_named(root, tmp_path):
    photos = tmp_path/'photos'
    for o in find_photos(root.parent/'photos'): write_photo(photos/o.name, read_photo(o))
    build_dataset(photos, tmp_path/'set', pairs='none', progress=False)
    dls = get_dls(tmp_path/'set', size=64, bs=2)
    for o in find_photos(photos): o.unlink()
    with pytest.raises(PhotoError, match='photos.*jpg: there is no such file'): dls.one_batch()


# Chance

def test_valid_is_the_same_in_every_epoch_and_order(root):
    dls = get_dls(root, size=64, bs=2, seed=1)
    single = [dls.valid.do_item(i) for i in (2, 0, 1)] # before anything was iterated, in another order
    first = batches(dls.valid)
    batches(dls.train)
    set_seed(99)
    assert same(first, batches(dls.valid))
    x = torch.cat([o[0] for o in first])
    for i,item in zip((2, 0, 1), single): assert torch.allclose(item[0]/255., x[i], atol=1e-6)
    assert same(first, batches(get_dls(root, size=64, bs=2, seed=1).valid))
    assert not same(first, batches(get_dls(root, size=64, bs=2, seed=2).valid))

def test_epochs_are_seeded_with_any_number_of_workers(root):
    def epochs(num_workers, seed=3):
        set_seed(seed)
        dls = get_dls(root, size=64, bs=4, samples=12, mix='archive', num_workers=num_workers)
        return [batches(dls.train) for _ in range(2)] + [batches(dls.valid)]
    alone = epochs(0)
    assert not same(alone[0], alone[1])
    for n in (1, 2):
        for a,b in zip(alone, epochs(n)): assert same(a, b)
    assert not same(alone[0], epochs(0, seed=4)[0])

LOADS_FOR_EVER = """
import multiprocessing, sys
from restorer_fastai.data.loaders import get_dls
if __name__ == '__main__':
    multiprocessing.set_start_method('forkserver') # as newer Pythons do by themselves
    dl = get_dls(sys.argv[1], size=64, bs=2, samples=9999, num_workers=2).train
    batches = iter(dl)
    next(batches)
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    for b in batches: pass
"""

@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
def test_workers_of_a_killed_run_go_home(root, tmp_path):
    (tmp_path/'loads.py').write_text(LOADS_FOR_EVER)
    process = subprocess.Popen([sys.executable, tmp_path/'loads.py', root], stdout=subprocess.PIPE, text=True)
    workers = process.stdout.readline().split()
    process.kill()
    process.wait()
    assert len(workers) == 2
    until = time.monotonic() + 180 # torch's workers look every five seconds whether anybody needs them
    while any(Path(f'/proc/{o}').exists() for o in workers) and time.monotonic() < until: time.sleep(0.2)
    assert not [o for o in workers if Path(f'/proc/{o}').exists()]

def test_an_epoch_can_be_repeated_by_its_rng(root): # what a resumed training run does
    dls = get_dls(root, size=64, bs=4, samples=12)
    def epoch(seed):
        dls.train.rng = random.Random(seed)
        return batches(dls.train)
    first, other, again = epoch(1), epoch(2), epoch(1)
    assert same(first, again) and not same(first, other)

def test_loading_leaves_the_callers_chance_alone(root):
    dls = get_dls(root, size=64, bs=4)
    random.seed(1)
    want = random.random()
    random.seed(1)
    dls.train.do_item(0)
    assert random.random() == want

def test_few_photos_are_repeated_each_with_its_own_damage(root):
    dls = get_dls(root, size=64, bs=27, samples=27)
    x, y = batches(dls.train)[0]
    assert len({o.numpy().tobytes() for o in x}) == 27 # nine photos, three times each


# Views

@pytest.mark.parametrize('size', [64, 128, 192, 256])
def test_a_crop_shows_as_much_of_the_photo_at_every_size(size):
    h, w = 256, 341
    ramp = np.stack(np.broadcast_arrays(np.arange(h)[:, None], np.arange(w)[None]*255/w, 0), -1).astype(np.uint8)
    random.seed(0)
    crops = [np.asarray(SquareView(size)(ramp, split_idx=0)) for _ in range(60)]
    assert all(o.shape == (size, size, 3) for o in crops)
    assert abs(np.mean([np.ptp(o[..., 0]) for o in crops]) - 256/1.2) < 5
    lefts = [int(o[0, 0, 1])*w/255 for o in crops]
    assert min(lefts) < 15 and max(lefts) > w - 256/1.2 - 15 # from one edge to the other

def test_the_frame_shows_all_of_the_photo(root):
    ramp = np.stack(np.broadcast_arrays(np.arange(100)[:, None], np.arange(200)[None], 0), -1).astype(np.uint8)
    frame = np.asarray(SquareView(50, view='frame')(ramp, split_idx=0))
    assert frame[0, 0, :2].max() < 4 and frame[-1, -1, 0] > 96 and frame[-1, -1, 1] > 196
    x, y = get_dls(root, size=32, bs=4, view='frame').one_batch()
    assert x.shape == y.shape == (4, 3, 32, 32)

@pytest.mark.parametrize('shape', [(1, 1), (1, 300), (5, 3), (63, 64), (700, 90)])
@pytest.mark.parametrize('view', data.VIEWS)
def test_any_photo_becomes_a_square(shape, view):
    img = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    for split in (0, 1): assert np.asarray(SquareView(64, view=view)(img, split_idx=split)).shape == (64, 64, 3)

def test_an_unknown_view_is_refused(root):
    with pytest.raises(ValueError, match='crop, frame'): get_dls(root, view='square')


# In a learner

@pytest.fixture
def learn(root): return generator_learner(get_dls(root, size=64, bs=3), NetConfig('lite0'))

def test_fastai_shows_batches_and_results(learn):
    import matplotlib
    import matplotlib.pyplot as plt
    matplotlib.use('agg')
    learn.dls.show_batch(max_n=3)
    assert len(plt.gcf().axes) == 6
    with learn.no_bar(): learn.show_results(max_n=3)
    assert sum(len(ax.images) for ax in plt.gcf().axes) == 9 # degraded, clean, restored
    plt.close('all')

def test_a_learner_with_these_loaders_can_be_saved_whole(learn, tmp_path):
    learn.path = tmp_path
    learn.export('learner.pkl')
    assert (tmp_path/'learner.pkl').stat().st_size > 1e6
