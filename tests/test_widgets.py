"The notebook's widgets as a person uses them, with the weights of the package: set, press, look, keep. And the notebook around them."
import io
import json
import re
import struct
import sys
import zlib
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer_fastai.photo.reading import open_photo, read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo

pytest.importorskip('ipywidgets', reason='buttons in a notebook need ipywidgets: pip install "restorer_fastai[notebook]"')
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT/'nbs'/'tutorials'/'restore_your_photo.ipynb'

def sent(name, data): return dict(name=name, content=memoryview(data), type='image/png', size=len(data), last_modified=datetime(2000, 1, 1))

@pytest.fixture(scope='module')
def studio():
    from restorer_fastai.restore.restorer import Restorer
    from restorer_fastai.web.widgets import NotebookStudio
    studio = NotebookStudio(Restorer.load(device='cpu').faster())
    yield studio
    studio.close()
    assert not studio.studio.desk.root.exists()

@pytest.fixture(scope='module')
def negative(tmp_path_factory):
    "A 16-bit negative as a PNG with a date, a camera and a profile: its bytes."
    import cv2
    from PIL import ImageCms
    photo, path = 65535 - sample_photo('china')[:240:2, :320:2].astype(np.uint16)*257, tmp_path_factory.mktemp('negative')/'scan.png'
    cv2.imwrite(str(path), photo[..., ::-1])
    exif = Image.Exif()
    exif[271], exif[306] = 'Nikon', '1957:06:01 12:00:00'
    return with_chunks(path.read_bytes(), exif.tobytes(), ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())

def with_chunks(png, exif, profile):
    "A PNG file with EXIF data and a colour profile put in behind its head."
    def chunk(name, data): return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    head = 8 + 25 # signature and IHDR
    return png[:head] + chunk(b'iCCP', b'sRGB\0\0' + zlib.compress(profile)) + chunk(b'eXIf', exif.removeprefix(b'Exif\0\0')) + png[head:]

def test_uploads_are_restored_as_the_widgets_say(studio, negative, tmp_path):
    "A negative of 16 bits with all its file has, twice as large; a broken file beside it is told and stops nothing."
    w = studio.w
    w['upload'].value = sent('../../scan.png', negative), sent('broken <b>.jpg', b'\xff\xd8\xff' + bytes(99))
    w['mode'].value, w['upscale'].value = 'negative', 2
    w['go'].click()
    told = w['told'].value
    assert 'class=failed><b>broken _b_.jpg</b>: ' in told and 'damaged' in told and told.count('<li') == 2
    file, = studio.keep(tmp_path)
    before, after = Image.open(io.BytesIO(negative)), open_photo(file)
    assert file.name == 'scan.png' and after.bits == 16 and after.pixels.shape == (240, 320, 3)
    with Image.open(file) as im:
        assert im.getexif()[271] == 'Nikon' and im.getexif()[306] == '1957:06:01 12:00:00'
        assert im.info['icc_profile'] == before.info['icc_profile']
    truth = sample_photo('china')[:240:2, :320:2].mean(2)
    assert np.corrcoef(read_photo(file)[::2, ::2].mean(2).ravel(), truth.ravel())[0, 1] > .8 # a positive
    assert w['slider'].value.count('data:image/jpeg;base64,') == 2 and w['bar'].value > 0 and not w['go'].disabled

def test_what_is_taken_for_what_is_told(studio, tmp_path):
    "Grey photos from a folder: found out, coloured, or not coloured."
    w, grey = studio.w, sample_photo('chelsea')[60:220:2, 100:260:2].mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    write_photo(tmp_path/'grey.png', grey)
    w['upload'].value, w['typed'].value, w['mode'].value, w['upscale'].value = (), str(tmp_path), None, 1
    w['go'].click()
    assert 'taken for: black and white' in w['told'].value
    assert np.ptp(read_photo(studio.results[0].file).astype(int), axis=2).max() > 10
    w['colorize'].value = False
    w['go'].click()
    assert np.ptp(read_photo(studio.results[0].file).astype(int), axis=2).max() == 0
    assert (read_photo(tmp_path/'grey.png') == grey).all() and [o.name for o in tmp_path.iterdir()] == ['grey.png'] # photos that are typed are only read

def test_who_lacks_ipywidgets_is_told_what_to_install(monkeypatch):
    from restorer_fastai.web.widgets import NotebookStudio
    monkeypatch.setitem(sys.modules, 'ipywidgets', None)
    with pytest.raises(ImportError, match=r'pip install "restorer_fastai\[notebook\]"'): NotebookStudio(None)

def test_the_notebook_opens_where_it_says_and_shares_nothing_unasked():
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    first, code = ''.join(cells[0]['source']), [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    badges = re.findall(r'\]\((https://[^)]+)\)', first)
    page = re.search(r'github/(.+)', next(o for o in badges if 'colab' in o and 'github' in o))[1]
    assert page.endswith(f'/nbs/tutorials/{NOTEBOOK.name}') and f'https://kaggle.com/kernels/welcome?src=https://github.com/{page}' in badges
    assert code[-1].startswith('SHARE = False\nif SHARE:\n') and 'no password' in ''.join(cells[-2]['source'])
    assert all(o.count('\n') < 8 for o in code)
    assert any('text/html' in o.get('data', {}) for c in cells for o in c.get('outputs', [])), 'executed'

def test_a_fork_changes_both_badges_and_widgets_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT/'tools')
    import check_notebooks
    (tmp_path/'nbs'/'tutorials').mkdir(parents=True)
    for name in 'CONTRIBUTING.md', 'CHANGELOG.md', 'pyproject.toml': (tmp_path/name).touch()
    settings = (ROOT/'settings.ini').read_text(encoding='utf-8')
    (tmp_path/'settings.ini').write_text(re.sub(r'(?m)^user = .+', 'user = ann', settings), encoding='utf-8')
    nb = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    nb['metadata']['widgets'] = {'application/vnd.jupyter.widget-state+json': dict(state={})}
    nb['cells'][-1]['outputs'] = [dict(output_type='display_data', metadata={}, data={check_notebooks.WIDGET: dict(model_id='1'), 'text/plain': 'VBox()'})]
    copy = tmp_path/'nbs'/'tutorials'/NOTEBOOK.name
    copy.write_text(json.dumps(nb), encoding='utf-8')
    check_notebooks.set_links(tmp_path)
    check_notebooks.drop_widgets(tmp_path)
    text = copy.read_text(encoding='utf-8')
    assert 'github/ann/restorer_fastai/blob' in text and 'welcome?src=https://github.com/ann/restorer_fastai/blob' in text and 'restorer-fastai/' not in text
    assert 'widget-' not in text
