"Old photos in three ways: what the ways share is done once, and nothing comes out otherwise for that."
import errno
import os

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from restorer_fastai import cli
from restorer_fastai.oldphoto.inpaint import InpaintNet
from restorer_fastai.oldphoto.pipeline import WISHES, OldPhoto
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.pixels import rgb_to_grey
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.restore import even, masks
from restorer_fastai.restore.look import look_at, uncoloured
from restorer_fastai.restore.options import RestoreOptions
from restorer_fastai.restore.pixels import restore_array, what_to_do
from restorer_fastai.restore.tiles import TiledNet

torch.set_num_threads(1)
CAT = np.ascontiguousarray(sample_photo('chelsea')[:200, 60:300])
CAT[:, :60] = 250 # an even margin
LOST = np.zeros(CAT.shape[:2], bool)
LOST[70:90, 100:160] = LOST[150:156, 30:200] = True
PHOTOS = dict(photo=CAT, black_and_white=rgb_to_grey(CAT), negative=255 - CAT)

class Finder(torch.nn.Module):
    "Knows where something is lost, in the middle surely."
    def find(self, img, likely=False): return np.uint8(180*LOST) + np.uint8(75*np.roll(LOST, 2, 0)*LOST)

class Counting(InpaintNet):
    "Notes in which type it computes, and how often it is asked."
    def fill(self, *args):
        self.calls, self.types = getattr(self, 'calls', 0) + 1, set()
        return super().fill(*args)
    def repaint(self, *args):
        self.types.add(torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else torch.float32)
        return super().repaint(*args)

@pytest.fixture(scope='module')
def oldphoto():
    old = OldPhoto.load(device='cpu', tile=256)
    torch.manual_seed(0)
    old.restorer.net.defects, net = Finder(), Counting((8, 8), (1,), (1,), largest_hole=20.)
    for p in net.last.parameters(): torch.nn.init.normal_(p, std=.02) # it has learned something, whatever that is
    old.restorer.net.inpainter = net.eval()
    return old

def one_by_one(r, img, mode, mask):
    "The three results, each from the beginning."
    seen = look_at(r.net, img, mode, r.device)
    whole = what_to_do(r, img, seen, RestoreOptions(mode, mask, defects=mask is None))
    plain = uncoloured(r.net, img, seen, r.device)
    yield restore_array(r, img, plain, treatment=what_to_do(r, img, plain, RestoreOptions(mask=whole.mask, defects=False)))
    yield restore_array(r, img, seen, treatment=whole)
    yield restore_array(r, img, seen, RestoreOptions(**WISHES['coloured'])) if seen.mode == 'black_and_white' else None

@pytest.mark.parametrize('mask', [None, np.roll(LOST, 30, 1)], ids=['found', 'given'])
@pytest.mark.parametrize('mode', PHOTOS)
def test_the_three_are_as_one_by_one(oldphoto, mode, mask):
    three = oldphoto.restore(PHOTOS[mode], mode, mask)
    for made, alone in zip(three, one_by_one(oldphoto.restorer, PHOTOS[mode], mode, mask)): np.testing.assert_array_equal(made, alone)
    assert (three.coloured is not None) == (mode == 'black_and_white')
    assert np.array_equal(three.mask, LOST if mask is None else mask)
    assert three.repaired is not three.repaired_and_coloured # whoever paints into one leaves the other alone

@pytest.mark.parametrize('mode', PHOTOS)
def test_what_they_share_is_done_once(oldphoto, mode, monkeypatch):
    looked, real = [], even.even_areas
    monkeypatch.setattr(even, 'even_areas', lambda cells: looked.append(1) or real(cells))
    oldphoto.restorer.net.inpainter.calls = 0
    oldphoto.restore(PHOTOS[mode], mode)
    assert (oldphoto.restorer.net.inpainter.calls, len(looked)) == (1, 1)

@pytest.mark.parametrize('dtype', [torch.bfloat16, None])
def test_holes_are_filled_as_the_restorer_computes(oldphoto, dtype):
    r, net = oldphoto.restorer, oldphoto.restorer.net.inpainter
    tiled = TiledNet(r.net, device='cpu', dtype=dtype, tile=128)
    made = restore_array(tiled, CAT, look_at(r.net, CAT, 'photo'), RestoreOptions(mask=LOST))
    assert net.types == {dtype or torch.float32}
    assert made.shape == CAT.shape

def test_a_full_disk_stops_the_search_for_defects_and_keeps_what_is_done(oldphoto, tmp_path, monkeypatch):
    "It is nobody's photo's fault: it is said once, in the words of every file that a disk refuses, and the next run goes on."
    for name in 'abc': write_photo(tmp_path/'box'/f'{name}.png', PHOTOS['black_and_white'])
    real, written = masks.write_png, []
    def full(path, pixels):
        if written: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        return real(path, pixels)
    monkeypatch.setattr(masks, 'write_png', full)
    with pytest.raises(PhotoError, match='could not be written .*No space left.*Check the folder, its permissions and the free space') as e:
        oldphoto.restore_folder(tmp_path/'box', tmp_path/'out', 'black_and_white', progress=False)
    assert e.value.path == tmp_path/'out'/'masks'/'b.png'
    assert [o.relative_to(tmp_path/'out').as_posix() for o in (tmp_path/'out').rglob('*.*')] == ['masks/a.png']
    monkeypatch.setattr(masks, 'write_png', real)
    looked = []
    monkeypatch.setattr(OldPhoto, 'find', lambda self, photo, mode: looked.append(photo.name) or LOST)
    made = oldphoto.restore_folder(tmp_path/'box', tmp_path/'out', 'black_and_white', progress=False)
    assert looked == ['b.png', 'c.png'] and [len(o.restored) for o in made.values()] == [3, 3, 3]

def test_a_wrong_path_is_said_before_the_network_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, '_restorer', lambda *args: pytest.fail('it was loaded'))
    done = CliRunner().invoke(cli.app, ['oldphoto', str(tmp_path/'nowhere'), '--out', str(tmp_path/'out')])
    assert done.exit_code == 1 and 'there is no such file or folder' in done.output


def test_what_either_finder_finds_is_filled(oldphoto, monkeypatch):
    "The network of the defects, and the older one that knows what is painted over in one flat tone."
    painted = np.zeros(CAT.shape[:2], np.uint8)
    painted[20:40, 150:200] = 255
    monkeypatch.setattr('restorer_fastai.restore.pixels.find_holes', lambda *args: (painted, ('painted over',)))
    r, seen = oldphoto.restorer, look_at(oldphoto.restorer.net, CAT, 'photo')
    done = what_to_do(r, CAT, seen, RestoreOptions('photo'))
    assert (done.mask[20:40, 150:200] == 255).all() and (done.mask[LOST] >= 180).all() and 'painted over' in done.notes
    none = what_to_do(r, CAT, seen, RestoreOptions('photo', defects=False))
    assert none.mask is None
