"Photos made larger: by the part of a restorer, by a network of one's own, from files, by command."
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from restorer_fastai import Restorer
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.nets.weights import save_weights
from restorer_fastai.photo.errors import PhotoError, RestorerError
from restorer_fastai.photo.reading import open_photo, read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.restore.enlarge import enlarged
from restorer_fastai.restore.invented import invented_path, read_invented, TEXTURED
from restorer_fastai.superres.bicubic import divisible, enlarged_plainly, shrunk
from restorer_fastai.superres.srresnet import EDSRLite, SRResNet
from test_cli import run
from test_repair import saved, talkative

torch.set_num_threads(1)
ROOT, PHOTO = Path(__file__).resolve().parent.parent, sample_photo('china')[200:290, 200:331]

def net(seed=0):
    "A network that enlarges and adds something of its own."
    torch.manual_seed(seed)
    made = EDSRLite(8, 1)
    for p in made.last.parameters(): torch.nn.init.normal_(p, std=.03)
    return made

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A manifest of a restorer that repairs a little, and enlarges, with texture or without."
    return saved(tmp_path_factory.mktemp('x4'), talkative(), packed=True, enlarger=net(), textured_enlarger=net(1))

@pytest.fixture(scope='module')
def restorer(weights): return Restorer.load(weights, device='cpu')

def apart(a, b): return np.abs(a.astype(np.float64) - b).max()

def test_restored_first_then_larger(restorer):
    whole = restorer.restore(PHOTO, 'photo')
    assert apart(whole, PHOTO) > 3
    for upscale in 2, 4:
        large = restorer.restore(PHOTO, 'photo', upscale=upscale)
        assert large.shape == (90*upscale, 131*upscale, 3) and np.array_equal(large, enlarged(restorer, whole, upscale))
    assert np.array_equal(restorer.restore(PHOTO, 'photo', strength=0, upscale=4), enlarged(restorer, PHOTO)) # and nothing else is done to it

@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_depth_stays(restorer, dtype):
    deep = {np.uint8: PHOTO, np.uint16: PHOTO.astype(np.uint16)*257, np.float32: PHOTO.astype(np.float32)/255}[dtype]
    large, plain = restorer.restore(deep, strength=0, upscale=4), restorer.restore(PHOTO, strength=0, upscale=4)
    assert large.dtype == dtype and apart(large*{np.uint8: 1, np.uint16: 1/257, np.float32: 255}[dtype], plain) <= .51

def test_of_any_kind_and_shape(restorer):
    assert restorer.restore(Image.fromarray(PHOTO), strength=0, upscale=2).size == (262, 180)
    assert restorer.restore(torch.rand(2, 3, 20, 31), 'photo', upscale=4).shape == (2, 3, 80, 124)
    for h, w in (1, 1), (1, 70), (513, 3): assert restorer.restore(np.full((h, w, 3), 90, np.uint8), 'photo', strength=0, upscale=4).shape == (4*h, 4*w, 3)
    grey = restorer.restore(np.repeat(PHOTO[..., :1], 3, 2), 'photo', strength=0, upscale=4)
    assert np.ptp(grey, axis=2).max() == 0
    with pytest.raises(RestorerError, match='give 1, 2 or 4'): restorer.restore(PHOTO, upscale=3)
    cannot = Restorer(build_network(NetConfig(arch=None)))
    with pytest.raises(RestorerError, match='no part that enlarges'): cannot.restore(PHOTO, upscale=4)

def test_a_negative_that_is_only_turned_is_turned_before_it_is_enlarged(restorer):
    assert np.array_equal(restorer.restore(255 - PHOTO, 'negative', strength=0, upscale=4), enlarged(restorer, restorer.restore(255 - PHOTO, 'negative', strength=0)))

def test_in_all_forms_of_a_network(restorer):
    plain = restorer.restore(PHOTO, 'photo', upscale=4, texture=.6)
    for dtype, most in ((torch.float32, 1), (torch.bfloat16, 16)): assert apart(restorer.faster(dtype=dtype).restore(PHOTO, 'photo', upscale=4, texture=.6), plain) <= most

@pytest.mark.parametrize('made', [net, lambda: SRResNet(8, 1)])
def test_a_network_of_ones_own(tmp_path, made):
    save_weights(tmp_path/'mine.safetensors', made())
    mine = Restorer.load(tmp_path/'mine.safetensors', device='cpu')
    large = mine.restore(PHOTO)
    assert large.shape == (360, 524, 3) and apart(mine.restore(PHOTO, upscale=4), large) <= 1
    assert mine.restore(PHOTO, upscale=2).shape == (180, 262, 3)
    photo = write_photo(tmp_path/'a.png', PHOTO)
    for upscale, n in (1, 4), (2, 2), (4, 4):
        result = tmp_path/f'{upscale}'/'a.png'
        mine.restore_file(photo, result, invented_path(result), upscale=upscale)
        assert read_invented(invented_path(result))[0].shape == read_photo(result).shape[:2] == (90*n, 131*n)

def test_marks_of_texture(restorer, tmp_path):
    photo = write_photo(tmp_path/'a.png', PHOTO)
    for texture in 0., 1.:
        result = tmp_path/f'{texture}'/'a.png'
        restorer.restore_file(photo, result, invented_path(result), mode='photo', upscale=4, texture=texture)
        marks, record = read_invented(invented_path(result))
        assert marks.shape == (360, 524) and record['upscale'] == 4 and (marks & TEXTURED > 0).any() == bool(texture)
        assert record['textured'] == pytest.approx((marks & TEXTURED > 0).mean(), abs=1e-6)

def test_a_scan_keeps_what_it_was(restorer, tmp_path):
    "16 bits, its profile, its date: only larger."
    import tifffile
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    tifffile.imwrite(tmp_path/'scan.tif', PHOTO.astype(np.uint16)*257, photometric='rgb', iccprofile=profile, resolution=(300, 300), resolutionunit=2, datetime='1957:10:04 19:28:34')
    outcome = restorer.restore_file(tmp_path/'scan.tif', tmp_path/'out.tif', mode='photo', strength=0., upscale=4)
    scan, large = open_photo(tmp_path/'scan.tif'), open_photo(tmp_path/'out.tif')
    assert (large.bits, large.profile, large.dpi) == (16, scan.profile, scan.dpi) and large.pixels.shape == (360, 524, 3) and not outcome.notes
    with tifffile.TiffFile(tmp_path/'out.tif') as tif:
        assert tif.pages[0].tags.valueof(306) == '1957:10:04 19:28:34' and 'upscale 4' in tif.pages[0].tags.valueof(305)

def test_too_long_for_its_format_is_said_before_the_work(tmp_path):
    class Never(EDSRLite):
        def forward(self, x): raise AssertionError('it should not have begun')
    whole = build_network(NetConfig(arch=None))
    whole.put_part('enlarger', Never(8, 1))
    photo = write_photo(tmp_path/'strip.png', np.zeros((2, 5000, 3), np.uint8))
    with pytest.raises(PhotoError, match='at most 16,383 pixels a side, not 20,000'): Restorer(whole, device='cpu').restore_file(photo, tmp_path/'strip.webp', mode='photo', upscale=4)
    assert not (tmp_path/'strip.webp').exists()

def test_an_album_that_cannot_be_enlarged_is_not_begun(tmp_path):
    write_photo(tmp_path/'in'/'a.png', PHOTO)
    with pytest.raises(RestorerError, match='no part that enlarges'):
        Restorer(build_network(NetConfig(arch=None)), device='cpu').restore_folder(tmp_path/'in', tmp_path/'out', upscale=2, progress=False)
    assert not (tmp_path/'out').exists()

def test_by_command(weights, tmp_path):
    write_photo(tmp_path/'in'/'a.jpg', PHOTO)
    def said(*args, code=0): return ' '.join(''.join(run(*args, '--out', tmp_path/'out', '--model', weights, cwd=tmp_path, code=code)).split())
    assert '1 restored' in said('upscale', 'in', '--times', 2)
    assert read_photo(tmp_path/'out'/'a.jpg').shape == (180, 262, 3)
    assert 'made with --mode photo --strength 0 --upscale 2' in said('upscale', 'in')
    assert '1 restored' in said('upscale', 'in', '--overwrite', '--texture', .5, '--side-files')
    assert read_photo(tmp_path/'out'/'a.jpg').shape == (360, 524, 3) and '4 times as large, texture invented on' in (tmp_path/'out'/'report.html').read_text()
    assert '1 restored' in said('restore', 'in', '--upscale', 4, '--overwrite')
    assert 'give 2 or 4' in said('upscale', 'in', '--times', 3, code=2) and 'give 1, 2 or 4' in said('restore', 'in', '--upscale', 8, code=2)

def test_memory_for_24_megapixels(tmp_path):
    "Of a photo that becomes as large, at most 24 bytes a pixel more than of a small one."
    code = f'''
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT/'tests')!r}]
from peak import peak_mb
import numpy as np, torch
torch.set_num_threads(1)
from restorer_fastai import Restorer
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.superres.srresnet import EDSRLite
net = build_network(NetConfig(arch=None))
net.put_part('enlarger', EDSRLite(8, 1))
for name in 'small', 'large':
    Restorer(net, device='cpu').restore_file(f'{{name}}.png', f'{{name}}.jpg', mode='photo', strength=0., upscale=4)
    print(peak_mb())
'''
    write_photo(tmp_path/'small.png', sample_photo('china')[:96, :128])
    write_photo(tmp_path/'large.png', np.tile(sample_photo('china')[:400, :600], (3, 2, 1))[:1000, :1200])
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    small, large = map(float, done.stdout.split())
    assert large - small < 24*19.2e6/2**20 + 512, (small, large, done.stderr) # 512 MiB: one row of tiles, and the maps of a tile
    assert open_photo(tmp_path/'large.jpg').pixels.shape == (4000, 4800, 3)

@pytest.fixture(scope='module')
def shipped(): return Restorer.load(device='cpu')

def db(a, b): return -10*np.log10(np.square(a/255 - b/255).mean())

@pytest.mark.parametrize('name', ['chelsea', 'astronaut', 'coffee'])
def test_the_shipped_part_is_better_than_bicubic(shipped, name):
    truth = divisible(sample_photo(name))[:256, :320]
    small = shrunk(truth)
    made = {t: shipped.restore(small, 'photo', strength=0, upscale=4, texture=t) for t in (0., 1.)}
    plain = db(enlarged_plainly(small), truth)
    assert db(made[0.], truth) > plain + .6 and db(made[1.], truth) > plain - 1.5
    def detail(x): return np.abs(np.diff(x.astype(float), axis=1)).mean() # a critic likes detail
    assert detail(made[0.]) < detail(made[1.]) < 1.2*detail(truth)

def test_the_shipped_part_has_no_seam(shipped):
    photo = sample_photo('china')[:200, :300]
    tiled = Restorer(shipped.net, device='cpu', tile=64, overlap=32)
    assert apart(enlarged(tiled, photo), enlarged(shipped, photo)) <= 2

def test_a_result_that_no_program_opens_is_said(tmp_path, monkeypatch):
    from restorer_fastai.photo import reading
    from restorer_fastai.restore import files, report
    whole = build_network(NetConfig(arch=None))
    whole.put_part('enlarger', EDSRLite(8, 1))
    photo = write_photo(tmp_path/'in'/'a.png', PHOTO)
    monkeypatch.setattr(files, 'MAX_PIXELS', 50_000); monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50_000)
    summary = Restorer(whole, device='cpu').restore_folder(photo, tmp_path/'out', progress=False, mode='photo', strength=0., upscale=4, side_files=True)
    assert len(summary.restored) == 1 and any('megapixels' in note for _, note in summary.notes)
    assert 'megapixels' in (tmp_path/'out'/'report.html').read_text() # and the page is there
