"Whole folders as they come: processes that are killed or started twice, a thousand photos, 24 megapixels, links in circles, odd names."
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from restorer_fastai import cli, Restorer
from restorer_fastai.data import dataset
from restorer_fastai.data.dataset import scan_photos
from restorer_fastai.photo import files as photo_files
from restorer_fastai.restore import plan
from restorer_fastai.restore.invented import COLOURED, invented_path, mark_invented, read_invented
from restorer_fastai.restore.look import find_picture, look_at
from restorer_fastai.restore.plan import plan_album
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.pixels import to_float
from restorer_fastai.photo.reading import open_photo, read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import save_photo, write_photo
from restorer_fastai.nets.frame import FRAME_KINDS, MODES, Context
from restorer_fastai.degrade.film import film_negative

torch.set_num_threads(1)

SCRIPT = '''
import json, os, resource, signal, sys, time
import torch
from torch import nn
from restorer_fastai import Restorer
torch.set_num_threads(1)

class Toy(nn.Module):
    "A photo-to-photo network that takes its time."
    pause = 0
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
    def look(self, thumbnail, mode=None): return None
    def forward(self, x, context):
        time.sleep(self.pause)
        return self.conv(x)

def rss(): # MiB now
    with open('/proc/self/statm') as f: return int(f.read().split()[1])*resource.getpagesize()/2**20
'''

def start(code, *args):
    "Run `code` after `SCRIPT` in a process of its own."
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    heed_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL) # a background job is started deaf to it
    return subprocess.Popen([sys.executable, '-c', SCRIPT + code, *map(str, args)], env=env, preexec_fn=heed_ctrl_c,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def finish(process, code=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out

BATCH = '''
Toy.pause = float(sys.argv[3])
s = Restorer(Toy(), device='cpu').restore_folder(sys.argv[1], sys.argv[2], progress=False, on_photo=lambda *a: print(*a, flush=True))
print(json.dumps([len(s.restored), len(s.skipped), len(s.busy), len(s.failed)]))
'''

class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
    def look(self, thumbnail, mode=None): return None
    def forward(self, x, context): return self.conv(x)

@pytest.fixture
def toy(): return Restorer(Toy(), device='cpu')

@pytest.fixture
def few(tmp_path):
    "Ten photos in two folders."
    for i in range(10): write_photo(tmp_path/'in'/f'{i % 2}'/f'{i}.{"jpg" if i % 3 else "png"}', sample_photo('coffee')[i:i + 40, :70])
    return tmp_path/'in'

def files(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


# --- killed, stopped, twice at once

def test_killed_while_it_writes(few, tmp_path, toy):
    "kill -9 just before the seventh result gets its name: what is there is whole, the next run does the rest, nothing is left over."
    code = '''
replace, names = os.replace, []
def replace_or_die(a, b):
    names.append(b)
    if len(names) == 7: os.kill(os.getpid(), signal.SIGKILL)
    replace(a, b)
os.replace = replace_or_die
''' + BATCH
    finish(start(code, few, tmp_path/'out', 0), -signal.SIGKILL)
    there = [n for n in files(tmp_path/'out') if not Path(n).name.startswith('.')]
    assert len(there) == 6 and len(files(tmp_path/'out')) > 6 # the torn temporary file and the lock lie beside them
    want = {n: toy.restore(few/n) for n in files(few)}
    for n in there: assert read_photo(tmp_path/'out'/n).shape == want[n].shape
    s = toy.restore_folder(few, tmp_path/'out', progress=False)
    assert (len(s.restored), len(s.skipped), len(s.failed)) == (4, 6, 0)
    assert sorted(files(tmp_path/'out')) == sorted(want)
    for n in want:
        if n.endswith('png'): assert (read_photo(tmp_path/'out'/n) == want[n]).all()

def test_stopped_with_ctrl_c(few, tmp_path, toy):
    process = start(BATCH, few, tmp_path/'out', .1)
    for _ in range(3): process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    there = files(tmp_path/'out')
    assert 3 <= len(there) < 10 and not any(Path(n).name.startswith('.') for n in there)
    for n in there: read_photo(tmp_path/'out'/n)
    assert len(toy.restore_folder(few, tmp_path/'out', progress=False).skipped) == len(there)
    assert len(files(tmp_path/'out')) == 10 # and no lock

@pytest.mark.skipif(sys.platform == 'win32', reason='the moment is one of Unix')
def test_ctrl_c_while_a_lock_is_made_leaves_none(few, tmp_path, toy, monkeypatch):
    import fcntl
    flock, calls = fcntl.flock, []
    def stop(*a):
        calls.append(a)
        if len(calls) == 5: raise KeyboardInterrupt
        return flock(*a)
    monkeypatch.setattr(fcntl, 'flock', stop)
    with pytest.raises(KeyboardInterrupt): toy.restore_folder(few, tmp_path/'out', progress=False)
    assert 1 <= len(files(tmp_path/'out')) < 10 and not any(Path(n).name.startswith('.') for n in files(tmp_path/'out'))

def test_two_processes_share_a_folder(few, tmp_path, toy):
    runs = [json.loads(finish(p).splitlines()[-1]) for p in [start(BATCH, few, tmp_path/'out', .03) for _ in range(2)]]
    assert sum(r[0] for r in runs) == 10 and all(sum(r) == 10 and r[3] == 0 for r in runs), runs
    toy.restore_folder(few, tmp_path/'alone', progress=False)
    assert files(tmp_path/'out') == files(tmp_path/'alone')


# --- many and large

def test_a_thousand_photos_in_flat_memory(tmp_path):
    write_photo(tmp_path/'in'/'0.png', sample_photo('coffee')[:32, :48])
    for i in range(1, 1000): os.link(tmp_path/'in'/'0.png', tmp_path/'in'/f'{i}.png')
    code = '''
seen = []
def note(*a): seen.append(rss())
s = Restorer(Toy(), device='cpu').restore_folder(sys.argv[1], sys.argv[2], progress=False, on_photo=note)
print(json.dumps([len(s.restored), seen[199], seen[-1]]))
'''
    done, early, late = json.loads(finish(start(code, tmp_path/'in', tmp_path/'out')))
    assert done == 1000 and late - early < 16, (early, late)

def test_memory_for_24_megapixels(tmp_path):
    "At most 1.5 GiB + 24 bytes a pixel; and beyond what a small photo takes, at most 24 bytes a pixel."
    small = sample_photo('china')[:400, :600]
    write_photo(tmp_path/'large.png', np.tile(small, (10, 10, 1)))
    write_photo(tmp_path/'small.png', small)
    code = '''
r = Restorer(Toy(), device='cpu')
for name in ('small', 'large'):
    s = r.restore_folder(f'{sys.argv[1]}/{name}.png', sys.argv[2], suffix='.jpg', progress=False)
    assert len(s.restored) == 1, s
    print(peak_mb())
'''
    small_peak, peak = map(float, finish(start(f'sys.path.append({str(Path(__file__).parent)!r})\nfrom peak import peak_mb\n{code}', tmp_path, tmp_path/'out')).split())
    assert peak < 1536 + 24*24e6/2**20 and peak - small_peak < 24*24e6/2**20, (small_peak, peak)
    assert open_photo(tmp_path/'out'/'large.jpg').pixels.shape == (4000, 6000, 3)


# --- odd places

def test_links_in_circles(tmp_path, toy):
    write_photo(tmp_path/'in'/'a.png', sample_photo('coffee')[:40, :50])
    (tmp_path/'in'/'round.png').symlink_to(tmp_path/'in'/'round.png')
    (tmp_path/'in'/'gone.png').symlink_to(tmp_path/'nowhere.png')
    (tmp_path/'in'/'again').symlink_to(tmp_path/'in')
    (tmp_path/'in'/'b').mkdir()
    (tmp_path/'in'/'b'/'up').symlink_to(tmp_path/'in')
    s = toy.restore_folder([tmp_path/'in', f'{tmp_path}/in/**/*.png'], tmp_path/'out', progress=False)
    assert [p.name for p in s.restored] == ['a.png'] and sorted(p.name for p, _ in s.failed) == ['gone.png', 'round.png']
    assert [*files(tmp_path/'out')] == ['a.png']

@pytest.mark.parametrize('name', ['with space.png', '-rf.png', 'ñ 🎞 ü.png', 'a*b.png', '[1].png', 'x.y.z.jpeg', "it's.png", 'back\\slash.png', 'new\nline.png', '{}$HOME.png',
                                  'e' * 240 + '.png', '[bold]b[x].png', '<b>&amp;.png', '%s%n.png', 'CON.png', 'UPPER.PNG', 'two.jpg.png', '\udcff.png'])
def test_odd_names(name, tmp_path, toy):
    try: write_photo(tmp_path/'a.png', sample_photo('coffee')[:40, :50]); (tmp_path/'in').mkdir(); os.rename(tmp_path/'a.png', tmp_path/'in'/name)
    except OSError: pytest.skip('this disk has no such names')
    s = toy.restore_folder(tmp_path/'in', tmp_path/'out', side_files=True)
    assert [p.name for p in s.restored] == [name], s
    assert sorted(p.name for p in (tmp_path/'out').iterdir()) == sorted([name, invented_path(Path(name)).name, 'report.html'])

def test_results_that_cannot_be_written(few, tmp_path, toy):
    (tmp_path/'out'/'0'/'0.png').mkdir(parents=True)
    (tmp_path/'out'/'0'/'report.html').mkdir()
    (tmp_path/'out'/'1').write_text('a file where a folder should be')
    s = toy.restore_folder(few, tmp_path/'out', progress=False, side_files=True)
    assert len(s.restored) == 4 and len(s.failed) == 7 and not s.skipped and not s.reports
    assert all('could not be written' in why for _, why in s.failed)

def _degrade(album, out): assert CliRunner().invoke(cli.app, ['degrade', str(album), '--out', str(out)]).exit_code == 0
WALKERS = dict(plan=plan_album, dry_run=lambda album, out: CliRunner().invoke(cli.app, ['restore', str(album), '--out', str(out), '--dry-run']), degrade=_degrade,
               scan=lambda album, out: scan_photos(album))

@pytest.mark.parametrize('who', WALKERS)
def test_a_folder_is_searched_once(who, tmp_path, monkeypatch):
    for name in 'ab': write_photo(tmp_path/'album'/'1957'/f'{name}.png', sample_photo('chelsea')[:64, :64])
    real, searched = photo_files.find_photos, []
    def find_photos(roots, *args, **kwargs):
        searched.append(roots)
        return real(roots, *args, **kwargs)
    for room in (photo_files, plan, dataset): monkeypatch.setattr(room, 'find_photos', find_photos)
    WALKERS[who](tmp_path/'album', tmp_path/'out')
    assert [Path(o) for o in searched] == [tmp_path/'album']

def test_a_pattern_keeps_the_folders_below_its_first_star(few, tmp_path, toy):
    s = toy.restore_folder(f'{few}/*/*.png', tmp_path/'out', progress=False)
    assert sorted(files(tmp_path/'out')) == sorted(n for n in files(few) if n.endswith('.png')) and len(s.restored) == 4
    with pytest.raises(PhotoError, match='no photos'): plan_album(f'{few}/*/*.tif', tmp_path/'out')

def test_a_pattern_is_a_name_where_there_is_such_a_file(tmp_path):
    for name in ('[1].png', '1.png'): write_photo(tmp_path/name, sample_photo('coffee')[:40, :50])
    assert [j.photo.name for j in plan_album(tmp_path/'[1].png', tmp_path/'out').jobs] == ['[1].png']

def test_results_in_a_folder_below_are_not_restored_again(few, tmp_path, toy):
    for _ in range(2): s = toy.restore_folder(few, few/'restored', progress=False, side_files=True)
    assert (len(s.restored), len(s.skipped)) == (0, 10)


# --- what is kept, what is marked

def test_16_bits_and_grey_stay(tmp_path, toy):
    ramp = np.linspace(0, 65535, 64*96).reshape(64, 96).astype(np.uint16)
    save_photo(tmp_path/'in'/'deep.tif', np.stack([ramp, ramp[::-1], ramp[:, ::-1]], 2))
    save_photo(tmp_path/'in'/'deep.png', np.stack([ramp, ramp[::-1], ramp[:, ::-1]], 2))
    s = toy.restore_folder(tmp_path/'in', tmp_path/'out', progress=False)
    assert not s.failed
    for n in ('deep.tif', 'deep.png'):
        got = open_photo(tmp_path/'out'/n)
        assert got.bits == 16 and (got.pixels == toy.restore(tmp_path/'in'/n)).all() and (got.pixels % 257 != 0).any()

def test_the_mask_of_a_large_photo_has_no_borders():
    "It is made in strips; a change that crosses them is marked as a whole."
    before = np.full((300, 80, 3), 120, np.uint8)
    after = before.copy()
    after[20:280, 30:50] = 200, 120, 90
    mask = mark_invented(before, after)
    assert (mask[22:278, 32:48] == COLOURED).all() and (mask[:15] == 0).all() and (mask[:, :25] == 0).all()
    assert len(np.unique(mask[20:280], axis=0)) <= 5

def test_a_result_without_a_mask_is_not_taken_for_one(few, tmp_path, toy):
    toy.restore_folder(few/'0', tmp_path/'out', progress=False)
    s = toy.restore_folder(few/'0', tmp_path/'out', progress=False, side_files=True)
    page = s.reports[0].read_text(encoding='utf-8')
    assert len(s.skipped) == 5 and 'without a mask' in page and 'data:image' not in page
    s = toy.restore_folder(few/'0', tmp_path/'out', progress=False, side_files=True, overwrite=True)
    page = s.reports[0].read_text(encoding='utf-8')
    assert page.count('type="range"') == 5 and 'without a mask' not in page
    for p in s.restored: assert read_invented(p.with_name(f'{p.name}.invented.png'))[0].shape == read_photo(p).shape[:2]

def test_a_mask_belongs_to_the_result_beside_it_or_goes(few, tmp_path, toy, monkeypatch):
    photo, result, mask = few/'0'/'0.png', tmp_path/'out'/'0.png', tmp_path/'out'/'0.png.invented.png'
    def restore(**kw): return toy.restore_folder(photo, tmp_path/'out', progress=False, overwrite=True, **kw)
    restore(side_files=True)
    before = files(tmp_path/'out')
    with monkeypatch.context() as m: # the disk is full just before the result gets its name
        def refuse(*a): raise PhotoError(result, 'could not be written', 'Make room.')
        m.setattr('restorer_fastai.restore.files.save_photo', refuse)
        assert len(restore(side_files=True, strength=.5).failed) == 1
    assert {k: v for k, v in files(tmp_path/'out').items() if k != 'report.html'} == {k: v for k, v in before.items() if k != 'report.html'}
    restore() # without a mask, and the earlier one would tell of another result
    assert result.exists() and not mask.exists()
    write_photo(mask, sample_photo('coffee')[:40, :50]) # somebody's own picture
    restore()
    assert mask.exists()

def test_masks_are_not_restored(few, tmp_path, toy):
    toy.restore_folder(few, tmp_path/'out', progress=False, side_files=True)
    s = toy.restore_folder(tmp_path/'out', tmp_path/'again', progress=False, side_files=True)
    assert len(s.restored) == 10 and not s.failed

def test_photos_of_other_formats_are_listed(few, tmp_path, toy):
    (few/'IMG_1.HEIC').write_bytes(b'\0\0\0\x18ftypheic' + bytes(50))
    (few/'0'/'r.dng').write_bytes(b'II*\0' + bytes(50))
    (few/'.Trash').mkdir()
    for folder in few, few/'.Trash': shutil.copy(few/'0'/'0.png', folder/'moves.gif')
    s = toy.restore_folder(few, tmp_path/'out', progress=False)
    assert len(s.restored) == 10 and {p.name: why.split(',')[0].split(':')[0] for p, why in s.failed} == {
        'IMG_1.HEIC': 'this is a HEIC photo', 'moves.gif': 'GIFs in folders are left out', 'r.dng': 'this is a camera raw file'}
    (tmp_path/'drawn').mkdir()
    (tmp_path/'drawn'/'layers.psd').write_bytes(b'8BPS' + bytes(50))
    with pytest.raises(PhotoError, match='Photoshop'): plan_album(tmp_path/'drawn', tmp_path/'out')

def test_the_page_obeys_the_arrow_keys_and_fetches_nothing(few, tmp_path, toy):
    playwright = pytest.importorskip('playwright.sync_api')
    chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if not chromium: pytest.skip('there is no Chromium')
    page_file = toy.restore_folder(few/'0'/'0.png', tmp_path/'out', progress=False, side_files=True).reports[0]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        page, asked, errors = browser.new_page(), [], []
        page.on('request', lambda r: asked.append(r.url))
        page.on('pageerror', lambda e: errors.append(e))
        page.goto(page_file.as_uri())
        page.keyboard.press('Tab') # the link to the content,
        page.keyboard.press('Tab') # the link to the photo,
        page.keyboard.press('Tab') # and its slider
        for _ in range(20): page.keyboard.press('ArrowRight')
        shown = page.evaluate("document.querySelector('input[type=range]').previousElementSibling.style.getPropertyValue('--at')")
        browser.close()
    assert shown == '70%' and not errors and all(o.startswith(('file:', 'data:')) for o in asked)


# --- one file

def test_one_file_says_what_became_of_it(few, tmp_path, toy):
    photo, result = few/'0'/'2.jpg', tmp_path/'new'/'2.png'
    done = toy.restore_file(photo, result)
    assert (done.photo, done.result, done.did, done.mode, done.notes) == (photo, result, 'restored', None, ())
    assert (read_photo(result) == toy.restore(photo)).all() and [*files(tmp_path/'new')] == ['2.png']
    result.write_bytes(b'mine')
    assert toy.restore_file(photo, result).did == 'skipped' and result.read_bytes() == b'mine'
    assert toy.restore_file(photo, result, overwrite=True).did == 'restored' and result.read_bytes() != b'mine'

def test_one_file_never_replaces_its_photo_nor_leaves_half_a_result(few, tmp_path, toy):
    photo = few/'0'/'2.jpg'
    before = files(few)
    (tmp_path/'link.jpg').hardlink_to(photo)
    for result in (photo, few/'1'/'..'/'0'/'2.jpg', tmp_path/'link.jpg'):
        with pytest.raises(PhotoError, match='replace'): toy.restore_file(photo, result, overwrite=True)
    class Enough(Exception): pass
    def stop(done, total): raise Enough
    with pytest.raises(Enough): toy.restore_file(photo, tmp_path/'new'/'2.jpg', invented=tmp_path/'new'/'m.png', on_tile=stop)
    assert files(few) == before and not files(tmp_path/'new')

def test_the_folder_sums_up_what_results_lack(few, tmp_path, toy):
    for photo in list(few.rglob('*.png'))[:2]:
        pixels = read_photo(photo).astype(np.uint16)*257
        save_photo(photo, pixels)
    s = toy.restore_folder(few, tmp_path/'out', suffix='.webp', progress=False)
    assert len(s.restored) == 10 and [note for _, note in s.notes if '16' in note] == ['16 bits became 8, which PNG and TIFF would keep']*2
    assert str(s).count('2 photos: 16 bits became 8') == 1 and str(s).count('10 photos: a WebP of this kind keeps colours at half the resolution') == 1

class NoNegativeInTheDark(nn.Module):
    "Takes for a negative what is light on all sides."
    def look(self, thumb, mode=None):
        edge = torch.cat([thumb[..., :4, :].flatten(), thumb[..., -4:, :].flatten()])
        mode = mode or ('negative' if edge.min() > .1 else 'photo')
        return Context(torch.tensor([[9*float(m == mode) for m in MODES]]), torch.tensor([list(FRAME_KINDS.values()).index(mode)]))
    def forward(self, x, context): return x

def test_a_negative_in_a_black_holder_is_looked_at_without_it():
    film = film_negative(to_float(sample_photo('chelsea'))[:240, :320])
    held = np.pad(film, ((24, 24), (32, 32), (0, 0)))
    restorer = Restorer(NoNegativeInTheDark(), device='cpu')
    assert restorer.look(film) == restorer.look(held) == 'negative'
    assert restorer.look(np.pad(to_float(sample_photo('china'))*0, ((9, 9), (9, 9), (0, 0)))) == 'photo' # all dark
    assert look_at(restorer.net, held, 'photo').mode == 'photo' # told is told

class FilmIfLight(nn.Module):
    "A rim hides from it how film is coloured: dark along the top, and it takes a negative for a plain one."
    def look(self, thumb, mode=None):
        kind = 'plain_negative' if thumb[..., 0, :].mean() < .02 else 'film_negative'
        return Context(torch.tensor([[0., 0., 9.]]), torch.tensor([list(FRAME_KINDS).index(kind)]), torch.zeros(1, 111))
    def forward(self, x, context): return x

def test_how_film_is_coloured_is_asked_without_the_holder_and_where_frames_disagree_film_wins(tmp_path):
    film = film_negative(to_float(sample_photo('chelsea'))[:240, :320])
    restorer, kind = Restorer(FilmIfLight(), device='cpu'), lambda seen: list(FRAME_KINDS)[int(seen.context.kind)]
    assert kind(look_at(restorer.net, np.pad(film, ((24, 24), (32, 32), (0, 0))))) == 'film_negative'
    frames = [write_photo(tmp_path/'a.png', film), write_photo(tmp_path/'b.png', film*0)] # the second is all dark
    assert [kind(look_at(restorer.net, read_photo(o), 'negative')) for o in frames] == ['film_negative', 'plain_negative']
    assert {kind(o) for o in restorer.look_at_roll(frames, 'negative').values()} == {'film_negative'}

def test_the_rim_of_a_found_frame_is_left_off():
    film = film_negative(to_float(sample_photo('chelsea'))[:240, :320])
    assert find_picture(film) == (slice(0, 240), slice(0, 320)) # nothing was cut off
    (top, bottom), (left, right) = ((o.start, o.stop) for o in find_picture(np.pad(film, ((24, 24), (0, 32), (0, 0)))))
    assert 28 <= top <= 36 and 252 <= bottom <= 260 and left == 0 and 304 <= right <= 312


# --- planned once

def test_a_plan_walks_once_and_asks_each_file_a_few_times(tmp_path, monkeypatch, few):
    "What it costs grows with the number of files, not faster: no folder is listed twice, no file is asked more often when there are more of them."
    (few/'0'/'moves.gif').touch()
    listed, asked = [], []
    scandir, stat = os.scandir, os.stat
    monkeypatch.setattr(os, 'scandir', lambda path: listed.append(str(path)) or scandir(path))
    monkeypatch.setattr(os, 'stat', lambda *a, **kw: asked.append(a) or stat(*a, **kw))
    plan = plan_album(few, tmp_path/'out')
    assert sorted(listed) == sorted(map(str, (few, few/'0', few/'1'))) and [e.path.name for e in plan.missed] == ['moves.gif']
    before = len(asked)
    for i in range(90): (few/'0'/f'more {i}.png').touch()
    asked.clear()
    assert len(plan_album(few, tmp_path/'out').jobs) == 100 and len(asked) < 15*before

def test_jobs_that_are_done_are_looked_up_not_searched(tmp_path):
    for i in range(3): write_photo(tmp_path/'in'/f'{i}.png', sample_photo('coffee')[:8, :8])
    write_photo(tmp_path/'out'/'1.png', sample_photo('coffee')[:8, :8])
    done = plan_album(tmp_path/'in', tmp_path/'out').there()
    assert isinstance(done, set) and [job.photo.name for job in done] == ['1.png']

def test_an_album_is_restored_as_planned(few, tmp_path, toy):
    "The command plans, loads the network and restores: what appears in between is left for the next time."
    from restorer_fastai.restore.album import restore_album
    plan = plan_album(few, tmp_path/'out')
    write_photo(few/'0'/'later.png', sample_photo('coffee')[:8, :8])
    s = restore_album(toy, plan, progress=False)
    assert len(s.restored) == 10 and not (tmp_path/'out'/'0'/'later.png').exists()
    assert len(toy.restore_folder(few, tmp_path/'out', progress=False).restored) == 1
