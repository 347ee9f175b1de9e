"Masks as people and programs make them, and marks of what was filled: all that was told or found, and nothing else."
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from restorer_fastai import Restorer
from restorer_fastai.nets.restorer import NetConfig, plain_restorer
from restorer_fastai.photo.errors import PhotoError, RestorerError
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import save_photo, write_photo
from restorer_fastai.restore.invented import FILLED, read_invented
from restorer_fastai.restore.look import look_at
from restorer_fastai.restore.masks import as_mask, read_mask
from restorer_fastai.restore.pixels import what_to_do

torch.set_num_threads(1)
H, W = 107, 160
LOST = np.zeros((H, W), bool)
LOST[40:60, 20:60] = True # 4.7 %

def picture(paint, ground): return Image.fromarray(np.where(LOST[..., None], np.uint8(paint), np.uint8(ground)))

def palette(key=None):
    "Red on black, as colours of a palette; a key is the number of the colour that stands for nothing."
    im = Image.fromarray(np.uint8(LOST)).convert('P')
    im.putpalette([0, 0, 0, 255, 0, 0])
    if key is not None: im.info['transparency'] = key
    return im

def brush(mode):
    "A stroke with a soft edge: white on black, or black that lets through."
    import cv2
    soft = cv2.GaussianBlur(np.uint8(255*LOST), (0, 0), 1.5)
    return Image.fromarray(soft) if mode == 'L' else Image.merge('LA', [Image.new('L', (W, H), 0), Image.fromarray(soft)])

def turned(im):
    "The picture as a camera held upright stores it: lying, with a note how to turn it."
    im = im.transpose(Image.Transpose.ROTATE_90)
    im.getexif()[0x0112] = 6
    return im

GREY = Image.fromarray(np.uint8(255*LOST))
WAYS = dict( # name of a file -> picture
    white_on_black=GREY, white_on_transparent=picture([255]*4, [0]*4), red_on_transparent=picture([255, 0, 0, 255], [0]*4),
    white_with_alpha=Image.merge('LA', [Image.new('L', (W, H), 255), GREY]), red_on_black=picture([255, 0, 0], [0]*3), zeros_and_ones=Image.fromarray(np.uint8(LOST)),
    black_on_transparent=picture([0, 0, 0, 255], [0]*4), black_on_transparent_white=picture([0, 0, 0, 255], [255, 255, 255, 0]), pale_paint=picture([255, 0, 0, 80], [0]*4),
    navy_on_black=picture([0, 0, 128], [0]*3), opaque_rgba=picture([255]*4, [0, 0, 0, 255]), faint_rgba=picture([255, 255, 255, 128], [0, 0, 0, 128]),
    one_bit=Image.fromarray(LOST), sixteen=Image.fromarray(np.uint16(65535*LOST)), sixteen_ones=Image.fromarray(np.uint16(LOST)), eight_in_sixteen=Image.fromarray(np.uint16(255*LOST)),
    palette=palette(), palette_with_key=palette(0), studio_black=Image.fromarray(np.where(LOST, np.uint8(235), np.uint8(16))), index_of_objects=Image.fromarray(np.uint8(LOST)*np.uint8(3)),
    white_on_grey=Image.fromarray(np.where(LOST, np.uint8(255), np.uint8(90))), soft_brush=brush('L'), soft_brush_on_transparent=brush('LA'),
    turned_on_black=turned(GREY), turned_on_transparent=turned(picture([255, 0, 0, 255], [0]*4)))

@pytest.mark.parametrize('name', WAYS)
def test_painted_is_lost_however_it_is_painted(name, tmp_path):
    im = WAYS[name]
    im.save(tmp_path/'mask.png', **({'exif': im.getexif()} if 'turned' in name else {}))
    lost = read_mask(tmp_path/'mask.png', (H, W))
    if 'brush' in name: assert lost[LOST].mean() > .97 and .04 < lost.mean() < .07
    else: assert (lost == LOST).all()

@pytest.mark.parametrize('suffix,kw', [('.jpg', dict(quality=90)), ('.jpg', dict(quality=30)), ('.webp', dict(quality=50)), ('.webp', dict(lossless=True)), ('.bmp', {}), ('.gif', {}),
    ('.tif', {}), ('.tif', dict(compression='tiff_lzw'))])
@pytest.mark.parametrize('way', ['white_on_black', 'red_on_black'])
def test_painted_is_lost_in_every_format(suffix, kw, way, tmp_path):
    WAYS[way].save(tmp_path/f'mask{suffix}', **kw)
    lost = read_mask(tmp_path/f'mask{suffix}', (H, W))
    assert lost[LOST].mean() > .9 and (lost != LOST).mean() < .01

@pytest.mark.parametrize('name,im,why', [
    ('black_on_white', Image.fromarray(255 - np.uint8(255*LOST)), 'Invert it'), ('red_on_white', picture([255, 0, 0], [255]*3), 'nothing is marked'),
    ('black_on_white_rgba', picture([0, 0, 0, 255], [255]*4), 'Invert it'), ('rubbed_out', picture([9, 9, 9, 0], [99, 99, 99, 255]), 'Invert it'),
    ('black', Image.new('L', (W, H)), 'nothing is marked'), ('white', Image.new('L', (W, H), 255), 'nothing is marked'), ('ones', Image.new('L', (W, H), 1), 'nothing is marked'),
    ('clear', Image.new('RGBA', (W, H)), 'nothing is marked'), ('photo', Image.fromarray(sample_photo('chelsea')[100:100 + H, 100:100 + W]), 'not a mask'),
    ('small', GREY.resize((W//2, H//2)), '80×53 pixels and the photo 160×107'), ('lying', GREY.transpose(Image.Transpose.ROTATE_90), '107×160 pixels')])
def test_what_cannot_be_meant_is_refused(name, im, why, tmp_path):
    im.save(tmp_path/f'{name}.png')
    with pytest.raises(PhotoError, match=why) as e: as_mask(tmp_path/f'{name}.png', (H, W))
    assert name in str(e.value) and e.value.remedy

def test_the_waves_of_an_empty_jpeg_mark_nothing(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 6, (H, W)).astype(np.uint8)).save(tmp_path/'mask.jpg')
    with pytest.raises(PhotoError, match='nothing is marked'): read_mask(tmp_path/'mask.jpg', (H, W))

@pytest.mark.parametrize('mask', [LOST, LOST.astype(np.uint8), np.uint8(255*LOST), LOST*.2, np.float16(LOST), LOST.astype(int) - 1 + LOST, torch.from_numpy(LOST), LOST[..., None], LOST.tolist()])
def test_what_is_above_zero_in_an_array_is_lost(mask): assert (as_mask(mask, (H, W)) == LOST).all()

@pytest.mark.parametrize('mask', [np.where(LOST, np.nan, 0), LOST.astype(str), LOST[1:], LOST.T, np.zeros((H, W, 3)), 7])
def test_arrays_that_are_no_masks_are_refused(mask):
    with pytest.raises(RestorerError): as_mask(mask, (H, W))

class Still(nn.Module):
    "Changes nothing: what changes was filled before."
    def forward(self, x): return x

class Finder(Still):
    "Takes one grey for holes."
    holes = True
    def find_holes(self, x, vector=None): return ((x - 120/255).abs().amax(1, keepdim=True) < .002).float()

class Doubler(nn.Module):
    scale = 2
    def forward(self, x): return nn.functional.interpolate(x, scale_factor=2, mode='nearest')

def restorer(net=None, tile=64): return Restorer(net or Still(), device='cpu', tile=tile, overlap=16)
def photo(dtype=np.uint8): return sample_photo('chelsea')[100:100 + H, 100:100 + W].astype(dtype)*dtype(257 if dtype == np.uint16 else 1)

@pytest.mark.parametrize('share,said', [(0., 'marks nothing'), (.6, 'more than half'), (.1, None)])
def test_who_gets_the_result_is_told(share, said, tmp_path):
    mask = np.arange(H*W).reshape(H, W) < share*H*W
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        restorer().restore(photo(), mask=mask)
    assert [said in str(o.message) for o in caught] == [True]*bool(said)
    if share < .5: return
    write_photo(tmp_path/'a.png', photo())
    Image.fromarray(np.dstack([np.zeros((H, W, 3), np.uint8), np.uint8(255*mask)])).save(tmp_path/'mask.png')
    outcome = restorer().restore_file(tmp_path/'a.png', tmp_path/'out.png', mask=tmp_path/'mask.png')
    assert said in str(outcome) and '60.0%' in str(outcome)
    summary = restorer().restore_folder(tmp_path/'a.png', tmp_path/'out', mask=tmp_path/'mask.png', side_files=True, progress=False)
    assert said in str(summary) and said in summary.reports[0].read_text(encoding='utf-8')

def test_in_an_album_only_the_photo_whose_mask_is_a_mistake_fails(tmp_path):
    for name in 'abc': write_photo(tmp_path/'in'/f'{name}.png', photo())
    (tmp_path/'masks').mkdir()
    WAYS['red_on_transparent'].save(tmp_path/'masks'/'a.png'); Image.new('L', (W, H)).save(tmp_path/'masks'/'b.png')
    s = restorer().restore_folder(tmp_path/'in', tmp_path/'out', mask=tmp_path/'masks', progress=False)
    assert [p.name for p in s.restored] == ['a.png', 'c.png'] and [p.name for p, _ in s.failed] == ['b.png']
    assert 'nothing is marked' in str(s) and str(tmp_path/'masks') in s.failed[0][1]

def marks_of(tmp_path, net=None, dtype=np.uint8, suffix='.png', tile=64, seen=None, img=None, **kw):
    "(share marked as filled of what is told, of the rest; what the record says; result)"
    save_photo(tmp_path/'a.png', photo(dtype) if img is None else img)
    out, marks = tmp_path/f'out{suffix}', tmp_path/'marks.png'
    if kw.pop('told', True):
        WAYS['red_on_transparent'].save(tmp_path/'mask.png')
        kw['mask'] = tmp_path/'mask.png'
    outcome = restorer(net, tile).restore_file(tmp_path/'a.png', out, marks, seen, overwrite=True, **kw)
    codes, record = read_invented(marks)
    filled, scale = codes & FILLED > 0, getattr(net, 'scale', 1)
    lost = LOST.repeat(scale, 0).repeat(scale, 1)
    assert filled.shape == read_photo(out).shape[:2] and record['filled'] == round(filled.mean(), 6)
    return filled[lost].mean(), filled[~lost].mean(), outcome, read_photo(out)

@pytest.mark.parametrize('kw', [{}, dict(tile=512), dict(dtype=np.uint16), dict(suffix='.jpg'), dict(net=Doubler()), dict(strength=.5), dict(strength=.01), dict(mode='photo'),
    dict(mode='black_and_white'), dict(mode='negative')], ids=str)
def test_what_was_told_is_marked_whole_and_nothing_else(kw, tmp_path): assert marks_of(tmp_path, **kw)[:2] == (1, 0)

def test_a_flat_photo_and_a_drawing_are_marked_too(tmp_path):
    "Where filling changes nothing, and where all the rest is left alone."
    drawing = np.full((H, W, 3), 255, np.uint8)
    drawing[::8], drawing[:, ::8] = 0, 0
    for img in (np.full((H, W, 3), 130, np.uint8), drawing): assert marks_of(tmp_path, img=img)[:2] == (1, 0)

def test_strength_0_fills_nothing_marks_nothing_and_says_so(tmp_path):
    inside, outside, outcome, result = marks_of(tmp_path, strength=0)
    assert (inside, outside) == (0, 0) and 'strength 0 fills nothing' in str(outcome) and (result == photo()).all()

@pytest.mark.parametrize('told', [False, True])
def test_what_was_found_is_marked_by_the_map_that_fills(told, tmp_path):
    img = photo()
    img[70:90, 90:130] = 120
    net = Finder()
    treatment = what_to_do(restorer(net), img, look_at(net, img))
    inside, outside, _, result = marks_of(tmp_path, net, img=img, told=told)
    assert inside == told and outside == (treatment.mask > 0)[~LOST].mean() > .04
    changed, marks = (result != img).any(2), read_invented(tmp_path/'marks.png')[0] & FILLED > 0
    assert changed[72:88, 92:128].mean() > .9 and not changed[~marks].any() # nothing was filled that is not marked
    assert marks_of(tmp_path, net, img=img, told=told, strength=0)[:2] == (0, 0)

def tiny(): # an untrained network that looks and looks for holes
    torch.manual_seed(0)
    return plain_restorer(**NetConfig(arch='resnet18', look=True, head=8, holes=8).to_dict())

def test_marks_in_a_roll_and_with_folded_norms(tmp_path):
    net = tiny()
    write_photo(tmp_path/'in'/'a.png', 255 - photo()); write_photo(tmp_path/'in'/'b.png', photo())
    (tmp_path/'masks').mkdir()
    WAYS['white_on_black'].save(tmp_path/'masks'/'a.png')
    for r in (restorer(net), restorer(net).faster(dtype=torch.float32)):
        r.restore_folder(tmp_path/'in', tmp_path/'out', mask=tmp_path/'masks', mode='negative', roll=True, side_files=True, overwrite=True, progress=False)
        filled = [read_invented(tmp_path/'out'/f'{o}.png.invented.png')[0] & FILLED > 0 for o in 'ab']
        assert filled[0][LOST].all() and filled[0][~LOST].mean() < .01 and filled[1].mean() < .01

def test_a_graph_marks_what_the_network_marks(tmp_path):
    for o in ('onnxscript', 'openvino'): pytest.importorskip(o)
    net = tiny()
    quick = restorer(net).faster(restorer(net).export_onnx(tmp_path/'net.onnx'), dtype=torch.float32)
    write_photo(tmp_path/'a.png', photo())
    WAYS['white_on_black'].save(tmp_path/'mask.png')
    for r, name in ((restorer(net), 'plain'), (quick, 'graph')): r.restore_file(tmp_path/'a.png', tmp_path/f'{name}.png', tmp_path/f'{name}.marks.png', mask=tmp_path/'mask.png', mode='photo')
    plain, graph = (read_invented(tmp_path/f'{o}.marks.png')[0] & FILLED > 0 for o in ('plain', 'graph'))
    assert plain[LOST].all() and (plain == graph).all()

def test_the_page_never_says_that_what_is_marked_is_nothing(tmp_path):
    write_photo(tmp_path/'a.png', sample_photo('china'))
    mask = np.zeros(sample_photo('china').shape[:2], np.uint8)
    mask[100:104, 200:210] = 255
    Image.fromarray(mask).save(tmp_path/'mask.png')
    s = restorer(tile=512).restore_folder(tmp_path/'a.png', tmp_path/'out', mask=tmp_path/'mask.png', side_files=True, progress=False)
    assert 'filled &lt;0.1%' in s.reports[0].read_text(encoding='utf-8')
