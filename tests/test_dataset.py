"Data sets as they go wrong in life: broken files, killed runs, edited folders. And the scripts in data_prep/."
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest

from restorer_fastai.dataset import DatasetError, build_dataset, check_dataset, photos_root, read_manifest, render_pair
from restorer_fastai.imaging import find_photos, read_photo, write_photo

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
    (photos/'loop').symlink_to(photos)
    (photos/'nowhere.jpg').symlink_to(photos/'gone.jpg')
    summary = build_dataset(photos, tmp_path/'set', **quiet)
    rejected = pd.read_csv(tmp_path/'set'/'rejected.csv').set_index('source').reason
    assert set(rejected.index) == {'cut.jpg', 'letter.jpg', 'empty.png', 'zz copy.jpg', 'nowhere.jpg'}
    assert rejected['zz copy.jpg'] == 'duplicate of coffee.jpg: equal pixels'
    assert 'cut short' in rejected['cut.jpg'] and '0 bytes' in rejected['empty.png'] and 'text' in rejected['letter.jpg']
    assert not rejected.str.contains(str(tmp_path)).any()
    assert (summary.unreadable, summary.counts['duplicates'], summary.written) == (4, 1, 12)
    assert check_dataset(tmp_path/'set') == []

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


# Stopped and started again

def test_killed_and_started_again(photos, tmp_path):
    for i in range(150): write_photo(photos/'many'/f'{i}.jpg', read_photo(photos/'flower.jpg')//(1 + i/50))
    code = "import sys; from restorer_fastai.dataset import build_dataset; build_dataset(*sys.argv[1:], progress=False)"
    process = subprocess.Popen([sys.executable, '-c', code, photos, tmp_path/'set'])
    while len(list(tmp_path.glob('set/input/train/*/*.png'))) < 5 and process.poll() is None: time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = build_dataset(photos, tmp_path/'set', **quiet)
    assert again.kept >= 5 and again.written + again.kept == again.counts['photos']
    build_dataset(photos, tmp_path/'fresh', **quiet)
    assert all_bytes(tmp_path/'set') == all_bytes(tmp_path/'fresh')

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

def test_near_duplicates_stay_together(photos, tmp_path):
    for o in list(photos.glob('*.jpg')): write_photo(photos/'saved again'/o.name, read_photo(o), quality=70)
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
