"Data sets as they go wrong in life: broken files, killed runs, edited folders. And the scripts in data_prep/."
import errno
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from restorer_fastai.data.dataset import DatasetError, build_dataset, check_dataset, photos_root, read_manifest, render_pair, scan_photos
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pack import PackError, pack_photos, unpack_photos
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo

DATA_PREP = Path(__file__).parents[1]/'data_prep'
quiet = dict(progress=False)

@pytest.fixture
def photos(samples, tmp_path):
    "Twelve small photos, two pieces of each sample photo, some of them in a folder of their own."
    for o in find_photos(samples/'train'):
        img = read_photo(o)
        h, w = img.shape[:2]
        write_photo(tmp_path/'photos'/f'{o.stem}.jpg', img[h//2-60:h//2, w//2-80:w//2])
        write_photo(tmp_path/'photos'/'more'/f'{o.stem}.jpg', img[h//2:h//2+60, w//2:w//2+80])
    return tmp_path/'photos'

def all_bytes(root): return {o.relative_to(root).as_posix(): o.read_bytes() for o in root.rglob('*') if o.is_file()}

def names(root): return {o.relative_to(root).as_posix() for o in root.rglob('*')}


# Same bytes

def test_workers_do_not_change_a_byte(photos, tmp_path):
    one = build_dataset(photos, tmp_path/'one', mix='archive', seed=5, workers=1, **quiet)
    two = build_dataset(photos, tmp_path/'two', mix='archive', seed=5, workers=2, **quiet)
    assert one.written == two.written == 12
    assert all_bytes(tmp_path/'one') == all_bytes(tmp_path/'two')
    build_dataset(photos, tmp_path/'other', mix='archive', seed=6, **quiet)
    assert all_bytes(tmp_path/'one') != all_bytes(tmp_path/'other')
    assert check_dataset(tmp_path/'two', workers=2) == []

def test_quotas_and_split_come_out_exactly(photos, tmp_path):
    summary = build_dataset(photos, tmp_path/'set', pairs='none', valid_share=0.3, **quiet)
    counts = summary.counts
    assert (counts['train'], counts['valid']) == (9, 3)
    assert counts['base'] == dict(black_and_white=6, negative=6)
    assert (counts['mild'], counts['heavy'], counts['plain']) == (8, 3, 1)
    assert names(tmp_path/'set') == {'manifest.csv', 'dataset.json', 'rejected.csv'}
    for line in ('12: 9 train, 3 valid', 'negative 6', 'mild 8, heavy 3, neither 1'): assert line in str(summary)

def test_pairs_only_for_valid(photos, tmp_path):
    build_dataset(photos, tmp_path/'set', pairs='valid', valid_share=0.3, **quiet)
    rows = read_manifest(tmp_path/'set')
    assert set(rows.split[rows.input != '']) == {'valid'}
    assert len(find_photos(tmp_path/'set')) == 2 * 3
    assert check_dataset(tmp_path/'set') == []

def test_the_bar_tells_the_time_left(photos, tmp_path, capfd):
    build_dataset(photos, tmp_path/'set')
    err = capfd.readouterr().err
    assert 'reading photos' in err and 'writing pairs' in err and 'left' in err and '12/12' in err
    build_dataset(photos, tmp_path/'quiet', **quiet)
    assert capfd.readouterr().err == ''


# Photos as people have them

def test_bad_files_are_listed_and_the_run_goes_on(photos, tmp_path):
    good = (photos/'coffee.jpg').read_bytes()
    (photos/'cut.jpg').write_bytes(good[:len(good)//2])
    (photos/'letter.jpg').write_text('Dear grandmother')
    (photos/'empty.png').write_bytes(b'')
    shutil.copy(photos/'coffee.jpg', photos/'zz copy.jpg')
    (photos/'more'/'loop').symlink_to(photos)
    (photos/'nowhere.jpg').symlink_to(photos/'gone.jpg')
    write_photo(photos/'dot.png', np.zeros((1, 1, 3), np.uint8))
    write_photo(photos/'strip.png', np.zeros((300, 8, 3), np.uint8))
    frames = [Image.fromarray(read_photo(o)).convert('P') for o in (photos/'coffee.jpg', photos/'rocket.jpg')]
    for name in ('dance.gif', 'dance.jpg'): frames[0].save(photos/name, format='GIF', save_all=True, append_images=frames[1:])
    (photos/'IMG_1.HEIC').write_bytes(b'\0\0\0\x18ftypheic' + bytes(99))
    (photos/'notes.txt').write_text('no photo, and not called one') # not listed
    why = {'cut.jpg': 'cut short', 'letter.jpg': 'text', 'empty.png': '0 bytes', 'more/loop': 'links to folders', 'nowhere.jpg': 'no such file',
           'dot.png': '1 x 1 pixels', 'strip.png': '8 x 300 pixels', 'dance.gif': '256 colours', 'dance.jpg': '256 colours',
           'IMG_1.HEIC': 'HEIC', 'zz copy.jpg': 'duplicate of coffee.jpg: equal pixels'}
    summary = build_dataset(photos, tmp_path/'set', **quiet)
    rejected = pd.read_csv(tmp_path/'set'/'rejected.csv').set_index('source').reason
    assert set(rejected.index) == set(why)
    for name, reason in why.items(): assert reason in rejected[name], name
    assert not rejected.str.contains(str(tmp_path)).any()
    assert (summary.unreadable, summary.counts['duplicates'], summary.written) == (10, 1, 12)
    assert check_dataset(tmp_path/'set') == []

def test_print_and_scanner_files_are_photos(photos, tmp_path):
    rgb = Image.open(photos/'coffee.jpg').transpose(Image.Transpose.ROTATE_90)
    rgb.convert('CMYK').save(photos/'print.jpg', quality=95)
    deep = np.asarray(rgb.convert('L')).astype(np.uint16)*257
    Image.fromarray(deep).save(photos/'scan.tif')
    Image.fromarray(deep[::-1]).save(photos/'scan.png')
    assert build_dataset(photos, tmp_path/'set', **quiet).written == 15
    rows = read_manifest(tmp_path/'set').set_index('source')
    def target(name): return read_photo(tmp_path/'set'/rows.target[name]).astype(int)
    assert np.abs(target('print.jpg') - np.asarray(rgb)).mean() < 5
    assert (target('scan.tif')[..., 0] == deep//257).all() and (target('scan.png')[..., 2] == deep[::-1]//257).all()
    assert check_dataset(tmp_path/'set') == []

@contextmanager
def as_somebody_without_rights():
    "Root may read everything; nobody may not."
    if os.geteuid(): return (yield)
    os.seteuid(65534)
    try: yield
    finally: os.seteuid(0)

@pytest.mark.skipif(not hasattr(os, 'geteuid'), reason='no such permissions on this system')
def test_what_may_not_be_read_is_listed(photos):
    with tempfile.TemporaryDirectory(dir='/tmp') as folder: # everybody may go there; pytest's own folder, and perhaps $TMPDIR, are closed to others
        album = Path(folder)/'album'
        shutil.copytree(photos, album)
        os.chmod(folder, 0o755)
        shutil.copytree(photos/'more', album/'locked')
        scan_photos(album) # whatever is imported late is imported now
        closed = album/'locked', album/'more', album/'rocket.jpg'
        for o,mode in zip(closed, (0o000, 0o444, 0o000)): o.chmod(mode) # more: its names can be read, its files cannot
        with as_somebody_without_rights(): reasons = {o['source']: o['reason'] for o in scan_photos(album)}
        for o in closed: o.chmod(0o755)
    assert len(reasons) == 13 and sum(o == '' for o in reasons.values()) == 5
    for name, why in {'locked': 'ermission', 'rocket.jpg': 'ermission', 'more/rocket.jpg': 'hidden from you'}.items(): assert why in reasons[name]
    assert folder not in str(reasons)

def test_names_do_not_collide_or_confuse(photos, tmp_path):
    img = read_photo(photos/'coffee.jpg')
    odd = ['coffee.png', '-v.jpg', 'Großmutter 1950.jpg', '写真/a b.JPG', 'a,"b".jpg', 'NA.jpg']
    for i,o in enumerate(odd): write_photo(photos/o, (img//(i + 2)).clip(0, 255))
    build_dataset(photos, tmp_path/'set', **quiet)
    rows = read_manifest(tmp_path/'set')
    assert set(odd) < set(rows.source) and len(set(rows.input)) == len(rows) == 12 + len(odd)
    for o in rows.to_dict('records'):
        degraded, clean = render_pair(tmp_path/'set', o)
        assert (read_photo(tmp_path/'set'/o['input']) == degraded).all()
        assert (read_photo(photos/o['source']) == clean).all()
    assert check_dataset(tmp_path/'set') == []

@pytest.mark.skipif(sys.platform != 'linux', reason='other systems allow no such file names')
def test_names_that_cannot_be_written_are_rejected(photos, tmp_path):
    for name in (b'caf\xe9.jpg', b'x'*250 + b'.jpg'): shutil.copy(photos/'rocket.jpg', os.fsencode(photos) + b'/' + name)
    summary = build_dataset(photos, tmp_path/'set', **quiet)
    rejected = (tmp_path/'set'/'rejected.csv').read_text()
    assert 'UTF-8' in rejected and 'too long' in rejected and summary.unreadable == 2

def test_nothing_to_build_from(tmp_path):
    (tmp_path/'empty').mkdir()
    for folder, what in ((tmp_path/'gone', 'not a folder'), (tmp_path/'empty', 'no photos')):
        with pytest.raises(DatasetError, match=what): build_dataset(folder, tmp_path/'set', **quiet)
    (tmp_path/'empty'/'letter.jpg').write_text('Dear grandmother')
    with pytest.raises(DatasetError, match='letter.jpg'): build_dataset(tmp_path/'empty', tmp_path/'set', **quiet)
    assert not (tmp_path/'set').exists()


# Packs

def test_a_pack_builds_what_its_folder_builds(photos, tmp_path):
    pack_photos(photos, tmp_path/'album.tar', shard_mb=.01, **quiet)
    assert len(list(tmp_path.glob('album-*.tar'))) > 2
    build_dataset(photos, tmp_path/'plain', mix='archive', **quiet)
    build_dataset(tmp_path/'album.tar', tmp_path/'set', mix='archive', **quiet)
    packed = all_bytes(tmp_path/'set')
    assert {k.removeprefix('photos/'): v for k, v in packed.items() if k.startswith('photos/')} == all_bytes(photos)
    assert {k: v for k, v in packed.items() if not k.startswith('photos/') and k != 'dataset.json'} \
        == {k: v for k, v in all_bytes(tmp_path/'plain').items() if k != 'dataset.json'}
    inodes = {o: o.stat().st_ino for o in find_photos(tmp_path/'set')}
    again = build_dataset(tmp_path/'album-001.tar', tmp_path/'set', mix='archive', **quiet) # by a shard, too
    assert (again.written, again.kept) == (0, 12) and all_bytes(tmp_path/'set') == packed
    assert {o: o.stat().st_ino for o in find_photos(tmp_path/'set')} == inodes # nothing was written anew

def test_a_data_set_of_a_pack_may_be_moved(photos, tmp_path):
    pack_photos(photos, tmp_path/'album.tar', **quiet)
    build_dataset(tmp_path/'album.tar', tmp_path/'set', pairs='valid', **quiet)
    shutil.rmtree(photos)
    (tmp_path/'album.tar').unlink()
    moved = (tmp_path/'set').rename(tmp_path/'moved')
    assert photos_root(moved) == moved/'photos' and check_dataset(moved) == []
    for o in read_manifest(moved).to_dict('records'): render_pair(moved, o)

def test_an_unpacked_photo_that_changed_or_joined_is_no_surprise(photos, tmp_path):
    pack, out = *pack_photos(photos, tmp_path/'album.tar', **quiet).files, tmp_path/'set'
    build_dataset(pack, out, **quiet)
    before = all_bytes(out)
    shutil.copy(out/'photos'/'coffee.jpg', out/'photos'/'rocket.jpg')
    with pytest.raises(PackError, match='rocket.jpg: something else is there'): build_dataset(pack, out, **quiet)
    build_dataset(pack, out, overwrite=True, **quiet)
    assert all_bytes(out) == before
    write_photo(out/'photos'/'stranger.jpg', read_photo(photos/'coffee.jpg')//2)
    with pytest.raises(DatasetError, match='stranger.jpg is not in the pack'): build_dataset(pack, out, **quiet)
    (out/'photos'/'stranger.jpg').unlink()
    with pytest.raises(DatasetError, match='another photos'): build_dataset(photos, out, **quiet) # the folder is not the pack

def test_a_pack_that_cannot_be_used_builds_nothing(photos, tmp_path):
    with pytest.raises(PackError, match='no such file'): build_dataset(tmp_path/'gone.tar', tmp_path/'set', **quiet)
    first, second, *_ = pack_photos(photos, tmp_path/'album.tar', shard_mb=.01, **quiet).files
    data = second.read_bytes()
    second.unlink()
    with pytest.raises(PackError, match='album-001.tar: this shard is missing'): build_dataset(first, tmp_path/'set', **quiet)
    second.write_bytes(data[:len(data)//2])
    with pytest.raises(PackError, match='album-001.tar: it is damaged, cut short'): build_dataset(first, tmp_path/'set', **quiet)
    assert not (tmp_path/'set').exists()
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'letter.txt').write_text('Dear grandmother')
    with pytest.raises(DatasetError, match='no data set'): build_dataset(tmp_path/'album.tar', tmp_path/'mine', **quiet)
    assert names(tmp_path/'mine') == {'letter.txt'}

def test_unpacking_that_was_killed_goes_on(photos, tmp_path):
    "Killed in the middle of a photo: what is there is whole, and the next run writes the others and sweeps."
    pack, = pack_photos(photos, tmp_path/'album.tar', **quiet).files
    code = """if True:
        import os, sys
        from pathlib import Path
        from restorer_fastai.photo.pack import unpack_photos
        write, left = Path.write_bytes, [5]
        def dies(self, data):
            left[0] -= 1
            if left[0]: return write(self, data)
            write(self, data[:len(data)//2])
            os._exit(9)
        Path.write_bytes = dies
        unpack_photos(sys.argv[1], sys.argv[2], progress=False)"""
    assert subprocess.run([sys.executable, '-c', code, pack, tmp_path/'out']).returncode == 9
    there = all_bytes(tmp_path/'out')
    whole = {k: v for k, v in there.items() if not Path(k).name.startswith('.')}
    assert len(there) == 5 and len(whole) == 4 and whole.items() <= all_bytes(photos).items()
    assert unpack_photos(pack, tmp_path/'out', **quiet).written == 8
    assert all_bytes(tmp_path/'out') == all_bytes(photos)

def test_packing_on_a_full_disk_leaves_nothing(photos, tmp_path):
    with small_disk(tmp_path/'disk', 48):
        with pytest.raises(PhotoError, match='could not be written .*No space left'): pack_photos(photos, tmp_path/'disk'/'album.tar', shard_mb=.01, **quiet)
        assert not names(tmp_path/'disk')


# Stopped and started again

@contextmanager
def half_built(photos, out, workers=1):
    "A process that builds for a while and has written some pairs."
    for i in range(75):
        for o in ('flower', 'rocket'): write_photo(photos/'many'/f'{o}{i}.jpg', np.roll(read_photo(photos/f'{o}.jpg'), i + 1, axis=1))
    code = "import sys; from restorer_fastai.data.dataset import build_dataset as b; b(*sys.argv[1:3], workers=int(sys.argv[3]), progress=False)"
    process = subprocess.Popen([sys.executable, '-c', code, photos, out, str(workers)])
    try:
        while len(list(out.glob('input/train/*/*.png'))) < 5 and process.poll() is None: time.sleep(0.01)
        yield process
    finally:
        process.kill() # with -9
        process.wait()

@pytest.mark.parametrize('workers', [1, 2])
def test_killed_and_started_again(photos, tmp_path, workers):
    with half_built(photos, tmp_path/'set', workers): pass
    again = build_dataset(photos, tmp_path/'set', **quiet)
    assert again.kept >= 5 and again.written > 0 and again.written + again.kept == again.counts['photos'] == 162
    build_dataset(photos, tmp_path/'fresh', **quiet)
    assert all_bytes(tmp_path/'set') == all_bytes(tmp_path/'fresh')

def test_two_builds_at_once(photos, tmp_path):
    with half_built(photos, tmp_path/'set') as process:
        process.send_signal(signal.SIGSTOP) # it cannot get ready before we are
        before = all_bytes(tmp_path/'set')
        for overwrite in (False, True):
            with pytest.raises(DatasetError, match='another run is building .*set'):
                build_dataset(photos, tmp_path/'set', overwrite=overwrite, **quiet)
        assert all_bytes(tmp_path/'set') == before
        build_dataset(photos, tmp_path/'other', pairs='none', **quiet) # elsewhere nobody minds
    build_dataset(photos, tmp_path/'set', **quiet) # the dead one's lock is no obstacle
    assert check_dataset(tmp_path/'set') == [] and '.lock' not in names(tmp_path/'set')

def test_going_on_after_photos_came_and_went(photos, tmp_path):
    build_dataset(photos, tmp_path/'set', **quiet)
    (photos/'coffee.jpg').unlink()
    for i in (2, 3): write_photo(photos/'new'/f'{i}.jpg', read_photo(photos/'rocket.jpg')//i)
    again = build_dataset(photos, tmp_path/'set', **quiet)
    assert again.kept > 0 and again.written >= 2
    build_dataset(photos, tmp_path/'fresh', **quiet)
    assert all_bytes(tmp_path/'set') == all_bytes(tmp_path/'fresh')
    assert names(tmp_path/'set') == names(tmp_path/'fresh')

def test_a_disk_that_refuses(photos, tmp_path):
    build_dataset(photos, tmp_path/'set', **quiet)
    shutil.rmtree(tmp_path/'set'/'target')
    (tmp_path/'set'/'target').write_text('in the way')
    with pytest.raises(DatasetError, match='cannot write'): build_dataset(photos, tmp_path/'set', workers=2, **quiet)
    (tmp_path/'set'/'target').unlink()
    build_dataset(photos, tmp_path/'set', **quiet)
    assert check_dataset(tmp_path/'set') == []

@contextmanager
def small_disk(folder, kilobytes):
    "A disk of its own. A function that mounts it again with other options; skips the test where we may not."
    def mount(*options): return subprocess.run(['mount', '-t', 'tmpfs', '-o', ','.join(options), 'tmpfs', folder], capture_output=True)
    folder.mkdir()
    if not shutil.which('mount') or mount(f'size={kilobytes}k').returncode: pytest.skip('needs the right to mount a disk')
    try: yield lambda option: mount('remount', option)
    finally: subprocess.run(['umount', '-l', folder], check=True)

def assert_only_whole_files(root):
    "Nothing half-written, and nothing left lying beside."
    assert not [o for o in names(root) if Path(o).name.startswith('.')]
    for o in root.rglob('*.png'): read_photo(o)

@pytest.mark.parametrize('workers', [1, 2])
def test_a_full_disk(photos, tmp_path, workers):
    build_dataset(photos, tmp_path/'fresh', **quiet)
    with small_disk(tmp_path/'disk', 256) as remount:
        out = tmp_path/'disk'/'set'
        with pytest.raises(DatasetError, match='No space left on device. Mend that and start again'):
            build_dataset(photos, out, workers=workers, **quiet)
        assert_only_whole_files(out)
        remount('size=20m') # somebody makes room
        assert build_dataset(photos, out, workers=workers, **quiet).kept > 0
        assert all_bytes(out) == all_bytes(tmp_path/'fresh')

def test_a_disk_that_fills_up_in_the_middle_of_each_file(photos, tmp_path, monkeypatch):
    "As above where no disk can be mounted: each write in turn stops half-way."
    build_dataset(photos, tmp_path/'fresh', **quiet)
    write, out, room = Path.write_bytes, tmp_path/'set', [0]
    def full(self, data):
        room[0] -= 1
        if room[0] >= 0: return write(self, data)
        write(self, data[:len(data)//2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(Path, 'write_bytes', full)
    for room[0] in (0, 1, 2, 3, 4, 9):
        with pytest.raises(DatasetError, match='No space left'): build_dataset(photos, out, **quiet)
        if out.exists(): assert_only_whole_files(out)
    monkeypatch.undo()
    build_dataset(photos, out, **quiet)
    assert all_bytes(out) == all_bytes(tmp_path/'fresh')

def test_a_read_only_disk(photos, tmp_path):
    with small_disk(tmp_path/'disk', 20_000) as remount:
        out = tmp_path/'disk'/'set'
        build_dataset(photos, out, **quiet)
        (photos/'coffee.jpg').unlink() # so that there is something to do
        before = all_bytes(out)
        remount('ro')
        for o in (out, tmp_path/'disk'/'new'):
            with pytest.raises(DatasetError, match='cannot write .*Read-only'): build_dataset(photos, o, **quiet)
        assert all_bytes(out) == before and not (tmp_path/'disk'/'new').exists()
        remount('rw')
        build_dataset(photos, out, **quiet)
        assert check_dataset(out) == []

@pytest.mark.parametrize('change,what', [(dict(seed=1), 'seed .was 0, now 1'), (dict(mix='archive'), 'mix .was lapaz2021'),
                                         (dict(pairs='none'), 'pairs'), (dict(valid_share=0.2), 'valid_share')])
def test_other_settings_are_refused(photos, tmp_path, change, what):
    build_dataset(photos, tmp_path/'set', **quiet)
    before = all_bytes(tmp_path/'set')
    with pytest.raises(DatasetError, match=what): build_dataset(photos, tmp_path/'set', **change, **quiet)
    assert all_bytes(tmp_path/'set') == before
    build_dataset(photos, tmp_path/'set', **change, overwrite=True, **quiet)
    build_dataset(photos, tmp_path/'fresh', **change, **quiet)
    assert all_bytes(tmp_path/'set') == all_bytes(tmp_path/'fresh')

def test_a_folder_that_is_not_ours_is_left_alone(photos, tmp_path):
    (tmp_path/'thesis').mkdir()
    (tmp_path/'thesis'/'manifest.csv').write_text('mine')
    with pytest.raises(DatasetError, match='no data set'): build_dataset(photos, tmp_path/'thesis', overwrite=True, **quiet)
    assert names(tmp_path/'thesis') == {'manifest.csv'}
    build_dataset(photos, tmp_path/'set', **quiet)
    clean = tmp_path/'set'/'target'/'train' # what if somebody takes these photos to build from, and overwrites?
    for source, out in ((photos, photos/'set'), (photos, tmp_path), (clean, tmp_path/'set')):
        with pytest.raises(DatasetError, match='inside the other'): build_dataset(source, out, overwrite=True, **quiet)
    assert check_dataset(tmp_path/'set') == []


# Checking

def test_leaks_are_found(photos, tmp_path):
    build_dataset(photos, tmp_path/'set', valid_share=0.3, pairs='none', **quiet)
    rows = read_manifest(tmp_path/'set')
    shown = rows[rows.split == 'valid'].iloc[0]
    copy = photos/'copy.tif'
    write_photo(copy, read_photo(photos/shown.source))
    leak = shown.to_dict() | dict(source='copy.tif', sha256=hashlib.sha256(copy.read_bytes()).hexdigest(), split='train')
    pd.concat([rows, pd.DataFrame([leak])]).to_csv(tmp_path/'set'/'manifest.csv', index=False)
    problems = check_dataset(tmp_path/'set')
    assert f'copy.tif (train) and {shown.source} (valid): the same photo on both sides of the split' in problems

def test_a_smaller_copy_on_the_other_side_is_a_leak(photos, tmp_path):
    write_photo(photos/'album'/'small.jpg', np.asarray(Image.open(photos/'coffee.jpg').resize((48, 36))))
    build_dataset(photos, tmp_path/'set', pairs='none', **quiet)
    assert check_dataset(tmp_path/'set') == []
    rows = read_manifest(tmp_path/'set')
    rows.loc[rows.source == 'coffee.jpg', 'split'] = 'valid'
    rows.loc[rows.source == 'album/small.jpg', 'split'] = 'train'
    rows.to_csv(tmp_path/'set'/'manifest.csv', index=False)
    assert any('album/small.jpg (train) and coffee.jpg (valid)' in o for o in check_dataset(tmp_path/'set'))

def test_an_empty_side_is_told(photos, tmp_path):
    few = build_dataset(photos, tmp_path/'set', valid_share=0.05, pairs='none', **quiet) # 12 photos, 0.6 of one to hold out
    assert few.counts['valid'] == 0 and 'no photo is held out' in str(few) and '--valid-share' in str(few)
    assert 'no photo is held out' not in str(build_dataset(photos, tmp_path/'two', valid_share=0.1, pairs='none', **quiet))

def test_near_duplicates_stay_together(photos, tmp_path):
    (photos/'zz backup').mkdir()
    for o in list(photos.glob('*.jpg')):
        shutil.copy(o, photos/'zz backup') # rejected, and no reason for the next one to go elsewhere
        write_photo(photos/'saved again'/o.name, read_photo(o), quality=70)
    for seed in range(8):
        build_dataset(photos, tmp_path/'set', seed=seed, pairs='none', valid_share=0.5, overwrite=True, **quiet)
        rows = read_manifest(tmp_path/'set')
        side = dict(zip(rows.source, rows.split))
        for o in photos.glob('*.jpg'): assert side[o.name] == side[f'saved again/{o.name}']

def test_check_names_what_is_wrong(photos, tmp_path):
    root = tmp_path/'set'
    build_dataset(photos, root, **quiet)
    rows = read_manifest(root).to_dict('records')
    (photos/rows[0]['source']).unlink()
    write_photo(photos/rows[1]['source'], read_photo(photos/rows[2]['source']))
    (root/rows[3]['input']).unlink()
    write_photo(root/rows[4]['target'], 255 - read_photo(root/rows[4]['target']))
    (root/rows[5]['input']).write_bytes((root/rows[5]['input']).read_bytes()[:200])
    problems = dict(o.split(': ', 1) for o in check_dataset(root))
    wrong = rows[:2] + rows[3:6]
    assert set(problems) == {o['source'] for o in wrong}
    expected = 'source is missing', 'source has changed', 'input is missing', 'target is not what', 'input is damaged'
    for row, what in zip(wrong, expected): assert what in problems[row['source']]

def test_damaged_tables_are_errors_with_a_remedy(photos, tmp_path):
    root = tmp_path/'set'
    with pytest.raises(DatasetError, match='restorer build'): read_manifest(root)
    build_dataset(photos, root, pairs='none', **quiet)
    (root/'manifest.csv').write_text('a,b\n1,2\n')
    with pytest.raises(DatasetError, match='columns'): check_dataset(root)
    photos.rename(tmp_path/'moved')
    with pytest.raises(DatasetError, match='dataset.json'): photos_root(root)
    (root/'dataset.json').write_text('{')
    with pytest.raises(DatasetError, match='damaged'): photos_root(root)


# data_prep/

def script(name, *args, code=0):
    "Run a script of data_prep to its end: its output."
    env = dict(os.environ, NO_COLOR='1', COLUMNS='200')
    done = subprocess.run([sys.executable, DATA_PREP/name, *map(str, args)], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == code and 'Traceback' not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr

def test_build_and_check_scripts(photos, tmp_path):
    assert '12: 11 train, 1 valid' in script('build_dataset.py', '--photos', photos, '--out', tmp_path/'set', '--pairs', 'none')
    build_dataset(photos, tmp_path/'same', pairs='none', **quiet)
    assert all_bytes(tmp_path/'set') == all_bytes(tmp_path/'same')
    script('check_dataset.py', tmp_path/'set')
    (photos/'coffee.jpg').unlink()
    assert 'coffee.jpg: its source is missing' in script('check_dataset.py', tmp_path/'set', code=1)

JPEGS = 'VOCdevkit/VOC2012/JPEGImages'

def make_tar(path, **members):
    "A tar with the photos of VOC2012's first years, and `members` (name -> bytes, or None for a symbolic link)."
    files = {f'{JPEGS}/2007_000027.jpg': b'one', f'{JPEGS}/2007_000032.jpg': b'two' * 10**6,
             'VOCdevkit/VOC2012/Annotations/2007_000027.xml': b'<a/>', **members}
    with tarfile.open(path, 'w') as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if data is None: info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
            else: info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if data else None)
    return ['--tar', path, '--md5', hashlib.md5(path.read_bytes()).hexdigest()]

def test_voc2012_from_a_tar_already_there(tmp_path):
    args = make_tar(tmp_path/'voc.tar')
    assert '2 photos' in script('get_voc2012.py', '--out', tmp_path/'voc', *args)
    assert names(tmp_path/'voc') == {'2007_000027.jpg', '2007_000032.jpg'} # photos only, no annotations
    assert (tmp_path/'voc'/'2007_000032.jpg').read_bytes() == b'two' * 10**6
    assert (tmp_path/'voc.tar').exists() # a tar that the user brought stays
    assert 'checksum' in script('get_voc2012.py', '--out', tmp_path/'new', *args[:2], code=1) # it is not the official one
    assert not (tmp_path/'new').exists()

@pytest.mark.parametrize('name,data', [(f'{JPEGS}/../../../../evil.jpg', b'evil'), ('/tmp/evil.jpg', b'evil'),
                                       ('../evil.jpg', b'evil'), (f'{JPEGS}/..\\evil.jpg', b'evil'), (f'{JPEGS}/link.jpg', None)])
def test_a_tar_that_reaches_outside_is_refused(tmp_path, name, data):
    (tmp_path/'in').mkdir()
    args = make_tar(tmp_path/'in'/'voc.tar', **{name: data})
    assert 'not VOC2012' in script('get_voc2012.py', '--out', tmp_path/'in'/'voc', *args, code=1)
    assert names(tmp_path) == {'in', 'in/voc.tar'} # not even the good photos were unpacked

def test_a_tar_that_is_none(tmp_path):
    (tmp_path/'voc.tar').write_bytes(b'no tar' * 1000)
    md5 = hashlib.md5(b'no tar' * 1000).hexdigest()
    assert 'damaged' in script('get_voc2012.py', '--out', tmp_path/'voc', '--tar', tmp_path/'voc.tar', '--md5', md5, code=1)
    assert 'no such file' in script('get_voc2012.py', '--out', tmp_path/'voc', '--tar', tmp_path/'gone.tar', code=1)

class Host(BaseHTTPRequestHandler):
    "A host that cuts the first connection half-way and then answers requests for the rest."
    data, asked = b'', []

    def do_GET(self):
        self.asked.append(self.headers.get('Range'))
        start = int(self.asked[-1][len('bytes='):-1]) if self.asked[-1] else 0
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', len(self.data) - start)
        self.end_headers()
        self.wfile.write(self.data[start:] if start else self.data[:len(self.data)//2])

    def log_message(self, *args): pass

def test_a_download_that_was_cut_goes_on(tmp_path):
    _, tar, *md5 = make_tar(tmp_path/'voc.tar')
    Host.data, Host.asked = tar.read_bytes(), []
    server = HTTPServer(('127.0.0.1', 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    args = ['--out', tmp_path/'voc', '--url', f'http://127.0.0.1:{server.server_port}/voc.tar', *md5]
    try:
        assert 'goes on from here' in script('get_voc2012.py', *args, code=1)
        assert '2 photos' in script('get_voc2012.py', *args)
    finally:
        server.shutdown()
        server.server_close()
    assert Host.asked == [None, f'bytes={len(Host.data)//2}-']
    assert names(tmp_path/'voc') == {'2007_000027.jpg', '2007_000032.jpg'} # the tar is not kept
