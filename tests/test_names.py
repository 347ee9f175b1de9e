"Names as people and disks have them: long ones in any writing, alike ones, another photo under an old name; disks without locks; logs without letters."
import errno
import os
import sys

import pytest

from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from test_album import files, toy # noqa: F401, a fixture
from test_cli import run

CAT, COFFEE = (sample_photo(o)[:40, :60] for o in ('chelsea', 'coffee'))

def restore(toy, paths, out, **kw): return toy.restore_folder(paths, out, progress=False, **kw)

def counts(s): return len(s.restored), len(s.skipped), len(s.failed)

@pytest.mark.parametrize('name', ['写'*83 + 'a.jpg', '👵'*62 + 'ab.jpg', 'e'*250 + '.png'])
def test_names_of_the_longest_kind(name, tmp_path, toy):
    write_photo(tmp_path/'in'/'a.png', CAT)
    os.rename(tmp_path/'in'/'a.png', tmp_path/'in'/name)
    for want in (1, 0, 0), (0, 1, 0): assert counts(restore(toy, tmp_path/'in', tmp_path/'out', side_files=True)) == want
    marks = [o for o in files(tmp_path/'out') if o.endswith('.invented.png')]
    assert sorted(files(tmp_path/'out')) == sorted([name, *marks, 'report.html']) and len(marks) == 1 and len(os.fsencode(marks[0])) <= 255

def test_names_that_some_disks_take_for_one(tmp_path, toy, monkeypatch):
    names = ['A.JPG', 'a.jpg', 'caf\u00e9.jpg', 'cafe\u0301.jpg', 'other.jpg']
    for n in names: write_photo(tmp_path/'in'/n, CAT)
    if len([*(tmp_path/'in').iterdir()]) < 5: pytest.skip('this disk takes them for one')
    assert counts(restore(toy, tmp_path/'in', tmp_path/'out')) == (5, 0, 0)
    monkeypatch.setattr('restorer_fastai.restore.plan._is_one_name', lambda folder, a, b: True) # as on a stick
    s = restore(toy, tmp_path/'in', tmp_path/'stick')
    assert [p.name for p in s.restored] == ['other.jpg'] and sorted(p.name for p, _ in s.failed) == sorted(names[:4])

def test_only_the_pair_is_refused(tmp_path, toy):
    for n in ('a.jpg', 'a.tif', 'b.jpg'): write_photo(tmp_path/'in'/n, CAT)
    s = restore(toy, tmp_path/'in', tmp_path/'out', suffix='.png')
    assert sorted(files(tmp_path/'out')) == ['b.png'] and [p.name for p, _ in s.failed] == ['a.jpg', 'a.tif'] and 'both' in str(s)

@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp'])
def test_another_photo_under_an_old_name_is_not_passed_over_in_silence(suffix, tmp_path, toy):
    photo = write_photo(tmp_path/'in'/f'IMG_0001{suffix}', CAT)
    restore(toy, tmp_path/'in', tmp_path/'out')
    assert 'but' not in str(restore(toy, tmp_path/'in', tmp_path/'out'))
    assert 'made without --strength 0.5' in str(restore(toy, tmp_path/'in', tmp_path/'out', strength=.5))
    write_photo(photo, COFFEE)
    s = restore(toy, tmp_path/'in', tmp_path/'out')
    assert counts(s) == (0, 1, 0) and 'made from another photo: --overwrite' in str(s)
    restore(toy, tmp_path/'in', tmp_path/'out', overwrite=True)
    assert 'made from another' not in str(restore(toy, tmp_path/'in', tmp_path/'out'))

@pytest.mark.skipif(sys.platform == 'win32', reason='flock is of Unix')
@pytest.mark.parametrize('code', ['ENOSYS', 'ENOLCK', 'EOPNOTSUPP', 'EINVAL'])
def test_a_disk_without_locks(code, tmp_path, toy, monkeypatch):
    import fcntl
    def refuse(*a): raise OSError(getattr(errno, code), code)
    monkeypatch.setattr(fcntl, 'flock', refuse)
    write_photo(tmp_path/'in'/'a.jpg', CAT)
    assert counts(restore(toy, tmp_path/'in', tmp_path/'out')) == (1, 0, 0) and [*files(tmp_path/'out')] == ['a.jpg']

def test_logs_in_other_encodings_and_the_star_of_a_shell(tmp_path, tiny_model):
    for n in ('a', '写真', 'new\nline', '\x1b[31mred', '[red]x'): write_photo(tmp_path/f'{n}.jpg', CAT)
    def star(): return sorted(o.name for o in tmp_path.iterdir())
    line = '--out', 'restored', '--model', tiny_model
    for code in 'cp1252', 'cp1252':
        out, err = run('restore', *star(), *line, cwd=tmp_path, PYTHONIOENCODING=code)
        assert '\x1b' not in out + err and r'\x1b[31mred.jpg' in out and r'\u5199\u771f.jpg' in out and r'new\nline.jpg' in out
    assert '5 skipped' in out and 'restored: results of earlier' in out and '5 already there' in run('restore', *star(), *line, '--dry-run', cwd=tmp_path, PYTHONIOENCODING='ascii')[0]
    assert len(files(tmp_path/'restored')) == 5
