"""What the numbers of a file mean, however it says so, and that what nobody touched comes back: profiles of every kind, cameras' Adobe RGB, PNG's four ways,
channels that are no transparency. Each file is made here, and what it should look like is computed by formulas, not by the library under test."""
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from profiles_by_hand import gamma, grey_profile, PRIMARIES, rgb_profile, sampled, SRGB_CURVE, table_profile
from restorer_fastai.photo.exif import EXIF_CAMERA, EXIF_MAIN, EXIF_PLACE, EXIF_RULES, exif_block
from restorer_fastai.photo.pixels import to_uint8
from restorer_fastai.photo.reading import open_photo, read_photo
from restorer_fastai.photo.writing import save_photo
from restorer_fastai.restore.files import restore_job
from restorer_fastai.restore.options import RestoreOptions
from restorer_fastai.restore.plan import Job
from restorer_fastai.restore.tiles import TiledNet

y, x = np.mgrid[0:48, 0:64]/np.array([47, 63])[:, None, None]
MILD = np.rint(255*np.dstack([.3 + .4*x, .35 + .3*y, .6 - .3*x*y])).astype(np.uint8) # colours that every space has
WILD = np.rint(255*np.dstack([.05 + .9*x, .95 - .85*y, .1 + .8*np.abs(x - y)])).astype(np.uint8) # and those that sRGB lacks

# --- Profiles, and what they mean

def light(v): return np.where(v <= .04045, v/12.92, ((v + .055)/1.055)**2.4)
def numbers(v): return np.where(v <= .0031308, v*12.92, 1.055*np.maximum(v, 0)**(1/2.4) - .055)
def by_formula(a, primaries, curve):
    "uint8 numbers of a matrix profile -> sRGB in [0, 255], clipped."
    xyz = curve(a/255) @ np.array(PRIMARIES[primaries])
    return (255*numbers(xyz @ np.linalg.inv(np.array(PRIMARIES['srgb'])))).clip(0, 255)

RGB = {'sRGB (Linear)': ('srgb', lambda v: v, rgb_profile('srgb', gamma(1), text=b'sRGB IEC61966-2.1 (Linear RGB Profile)\0')), 'named sRGB': ('srgb', lambda v: v**1.8, rgb_profile('srgb', gamma(1.8), text=b'sRGB\0')),
    'gamma 1.8': ('srgb', lambda v: v**(round(1.8*256)/256), rgb_profile('srgb', gamma(1.8))), 'Adobe': ('adobe', lambda v: v**(563/256), rgb_profile('adobe', gamma(563/256))),
    'ProPhoto': ('prophoto', lambda v: v**(round(1.8*256)/256), rgb_profile('prophoto', gamma(1.8))), 'Display P3': ('p3', light, rgb_profile('p3', SRGB_CURVE)),
    'sampled': ('srgb', lambda v: v**1.9, rgb_profile('srgb', sampled(lambda v: v**1.9)))}
GREYS = {'gamma 2.2': lambda v: v**2.2, 'dot gain 20 %': lambda v: v**1.75, 'linear': lambda v: v}

def write(path, a, icc=None, **kw):
    "A PNG or TIFF of uint8 or uint16 numbers with a profile."
    if path.suffix == '.tif': tifffile.imwrite(path, a, photometric='rgb' if a.ndim == 3 else 'minisblack', iccprofile=icc, metadata=None, **kw)
    else: Image.fromarray(a).save(path, **(dict(icc_profile=icc) if icc else {}), **kw)
    return path

@pytest.mark.parametrize('name', RGB)
def test_a_profile_means_what_its_curves_and_matrix_say(tmp_path, name):
    primaries, curve, profile = RGB[name]
    want = by_formula(MILD, primaries, curve)
    for a, suffix in ((MILD, '.png'), (MILD, '.tif'), (MILD.astype(np.uint16)*257, '.tif')):
        photo = open_photo(write(tmp_path/f'a{suffix}', a, profile))
        assert np.abs(photo.pixels/(257 if a.dtype == np.uint16 else 1) - want).max() <= 1.6
        assert photo.lacks == () and photo.profile == profile

@pytest.mark.parametrize('pcs', [b'XYZ ', b'Lab '])
@pytest.mark.parametrize('name', GREYS)
def test_a_grey_profile_is_the_same_with_8_and_16_bits(tmp_path, name, pcs):
    profile, g = grey_profile(sampled(GREYS[name]), pcs), np.tile(np.arange(16, 256, dtype=np.uint8), (8, 1))
    eight, sixteen = (open_photo(write(tmp_path/'a.tif', a, profile)).pixels[..., 1] for a in (g, g.astype(np.uint16)*257))
    assert np.abs(eight - sixteen/257).max() <= 1.1
    if pcs == b'XYZ ': assert np.abs(sixteen/257 - 255*numbers(GREYS[name](g/255))).max() <= 1.5

class Net(nn.Module):
    "Changes nothing; or everything by up to two levels; or only the left half, by a lot."
    def __init__(self, how='nothing'):
        super().__init__()
        self.how = how
    def look(self, thumb, mode=None): return None
    def forward(self, x, context=None):
        if self.how == 'little': x = x + .0075*torch.sin(40*x)
        if self.how == 'left': x = torch.cat([1 - x[..., :32], x[..., 32:]], -1)
        return x.clamp(0, 1)

def restored(photo, result, how='nothing', **options):
    outcome = restore_job(TiledNet(Net(how), device='cpu'), Job(photo, result), RestoreOptions(**options))
    return outcome

def stored(path): return tifffile.imread(path) if path.suffix == '.tif' else np.asarray(Image.open(path))

PROFILES = {**{k: v[2] for k, v in RGB.items()}, 'tables': table_profile(True), **{f'grey {k}': grey_profile(sampled(v)) for k, v in GREYS.items()}}

@pytest.mark.parametrize('suffix,bits', [('.png', 8), ('.tif', 8), ('.tif', 16)])
@pytest.mark.parametrize('name', PROFILES)
def test_what_is_not_touched_comes_back_to_the_bit(tmp_path, name, suffix, bits):
    a = WILD[..., 0] if name.startswith('grey') else WILD
    a = a.astype(np.uint16)*257 + np.uint16(3) if bits == 16 else a
    photo = write(tmp_path/f'a{suffix}', a, PROFILES[name])
    for how, options in (('nothing', {}), ('left', dict(strength=0))):
        outcome = restored(photo, tmp_path/f'{how}{suffix}', how, **options)
        assert np.array_equal(stored(outcome.result), a) and outcome.notes == ()
        assert Image.open(outcome.result).info['icc_profile'] == PROFILES[name]

@pytest.mark.parametrize('name', ['Adobe', 'ProPhoto', 'Display P3', 'tables', 'gamma 1.8'])
def test_what_is_hardly_touched_changes_hardly(tmp_path, name):
    outcome = restored(write(tmp_path/'a.png', WILD, PROFILES[name]), tmp_path/'b.png', 'little')
    assert np.abs(stored(outcome.result).astype(int) - WILD).max() <= 8 and np.abs(stored(outcome.result).astype(int) - WILD).mean() < 2

def test_what_is_touched_is_what_the_network_says(tmp_path):
    photo = write(tmp_path/'a.png', WILD, PROFILES['ProPhoto'])
    result = restored(photo, tmp_path/'b.png', 'left').result
    assert np.array_equal(stored(result)[:, 32:], WILD[:, 32:])
    changed = np.abs(255 - 2*read_photo(photo)[:, :32].astype(int)).max(2) > 90 # by that many levels
    assert changed.mean() > .5 and np.abs(read_photo(result)[:, :32].astype(int) + read_photo(photo)[:, :32] - 255)[changed].max() <= 8

def test_a_result_in_8_bits_of_a_scan_in_16(tmp_path):
    photo = write(tmp_path/'a.tif', WILD.astype(np.uint16)*257, PROFILES['Adobe'])
    out = save_photo(tmp_path/'a.bmp', open_photo(photo).pixels, open_photo(photo)) # no profile: sRGB
    assert np.abs(stored(out).astype(int) - by_formula(WILD, 'adobe', RGB['Adobe'][1])).max() <= 2
    jpeg = open_photo(save_photo(tmp_path/'a.jpg', open_photo(photo).pixels, open_photo(photo), quality=100))
    assert np.abs(jpeg.own[1].astype(int) - WILD).mean() < 2 and jpeg.profile == PROFILES['Adobe']

def test_what_has_no_way_back_is_said(tmp_path):
    one_way = open_photo(write(tmp_path/'scan.png', MILD, table_profile(False)))
    assert one_way.profile is None and 'without a way back' in one_way.lacks[0] and 'the result is sRGB' in one_way.lacks[0]
    Image.fromarray(MILD).convert('CMYK').save(tmp_path/'ink.tif')
    Image.fromarray(MILD).convert('CMYK').save(tmp_path/'ink.jpg')
    for name in ('ink.tif', 'ink.jpg'): assert 'CMYK' in open_photo(tmp_path/name).lacks[0]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert 'damaged' in open_photo(write(tmp_path/'torn.png', MILD, b'no profile at all'*20)).lacks[0]

# --- Adobe RGB as cameras say it

def camera_jpeg(path, a, space, index=None, order='<', **kw):
    "A JPEG as a camera makes it: a ColorSpace, and a table of interoperability with this index."
    tables = {EXIF_MAIN: {271: (2, b'Zorki\0')}, EXIF_CAMERA: {40961: (3, struct.pack('<H', space)), 37386: (5, struct.pack('<II', 50, 1))}, EXIF_PLACE: {},
              EXIF_RULES: {1: (2, index + b'\0'), 2: (7, b'0100')} if index else {}}
    Image.fromarray(a).save(path, quality=100, subsampling=0, exif=exif_block(tables, order), **kw)
    return path

@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('space,index,adobe', [(65535, b'R03', True), (2, None, True), (1, b'R98', False), (65535, None, False), (1, b'R03', False)])
def test_a_cameras_adobe_rgb(tmp_path, space, index, adobe, order):
    path = camera_jpeg(tmp_path/'a.jpg', WILD, space, index, order)
    was = stored(path)
    photo = open_photo(path)
    assert np.abs(photo.pixels - (by_formula(was, 'adobe', lambda v: v**(563/256)) if adobe else was)).max() <= 2
    assert ('uncalibrated' in ''.join(photo.lacks)) == (space == 65535 and not index)
    result = restored(path, tmp_path/'b.png').result
    assert np.array_equal(stored(result), was) # the numbers
    again = open_photo(result)
    assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= 1 # and what they mean
    assert (again.profile is not None) == adobe
    back = open_photo(restored(path, tmp_path/'b.jpg').result)
    assert np.abs(back.pixels.astype(int) - photo.pixels).mean() < 2

def test_a_profile_counts_more_than_the_camera(tmp_path):
    path = camera_jpeg(tmp_path/'a.jpg', MILD, 65535, b'R03', icc_profile=PROFILES['gamma 1.8'])
    assert np.abs(read_photo(path) - by_formula(stored(path), 'srgb', RGB['gamma 1.8'][1])).max() <= 2

# --- PNG

def chunk(kind, body): return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
def png(path, a, *chunks, **kw):
    Image.fromarray(a).save(m := io.BytesIO(), 'PNG', **kw)
    path.write_bytes(m.getvalue()[:33] + b''.join(chunk(*o) for o in chunks) + m.getvalue()[33:])
    return path
def gama(v): return b'gAMA', struct.pack('>I', round(v*100000))
def chrm(*v): return b'cHRM', struct.pack('>8I', *(round(o*100000) for o in v))
ADOBE_PLACES, SRGB_PLACES = (.3127, .329, .64, .33, .21, .71, .15, .06), (.3127, .329, .64, .33, .30, .60, .15, .06)
SRGB, CICP_P3, CICP_SRGB, CICP_LINEAR = (b'sRGB', b'\0'), (b'cICP', b'\x0c\x0d\0\1'), (b'cICP', b'\1\x0d\0\1'), (b'cICP', b'\1\x08\0\1')

PNGS = {'linear': ([gama(1)], ('srgb', lambda v: v)), 'gamma 1.8': ([gama(1/1.8)], ('srgb', lambda v: v**1.8)), 'sRGB by gAMA and cHRM': ([gama(.45455), chrm(*SRGB_PLACES)], None),
    'gAMA of sRGB': ([gama(.45455)], None), 'Adobe by gAMA and cHRM': ([gama(1/2.2), chrm(*ADOBE_PLACES)], ('adobe', lambda v: v**2.2)),
    'cHRM only': ([chrm(*ADOBE_PLACES)], ('adobe', light)), 'sRGB before gAMA': ([SRGB, gama(1)], None), 'cICP': ([CICP_P3], ('p3', light)), 'cICP before sRGB': ([SRGB, CICP_P3], ('p3', light)),
    'cICP before gAMA': ([CICP_SRGB, gama(1)], None), 'linear cICP': ([CICP_LINEAR], ('srgb', lambda v: v)), 'cICP nobody knows': ([(b'cICP', b'\xff\x0d\0\1'), gama(1)], ('srgb', lambda v: v))}

@pytest.mark.parametrize('name', PNGS)
def test_what_a_png_says_about_its_colours(tmp_path, name):
    chunks, meant = PNGS[name]
    path = png(tmp_path/'a.png', MILD, *chunks)
    want = by_formula(MILD, *meant) if meant else MILD
    assert np.abs(read_photo(path) - want).max() <= 1.6
    result = restored(path, tmp_path/'b.png').result
    assert np.array_equal(stored(result), MILD) and np.abs(read_photo(result) - want).max() <= 1.6

def test_which_of_several_counts_in_a_png(tmp_path):
    profile = PROFILES['gamma 1.8']
    for chunks, meant in (([gama(1)], ('srgb', RGB['gamma 1.8'][1])), ([SRGB], ('srgb', RGB['gamma 1.8'][1])), ([CICP_P3], ('p3', light))):
        assert np.abs(read_photo(png(tmp_path/'a.png', MILD, *chunks, icc_profile=profile)) - by_formula(MILD, *meant)).max() <= 1.6

def test_a_grey_png_and_a_deep_one(tmp_path):
    g = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    path = png(tmp_path/'g.png', g, gama(1), chrm(*ADOBE_PLACES))
    assert np.abs(read_photo(path)[..., 1] - 255*numbers(g/255)).max() <= 1.5 and np.array_equal(stored(restored(path, tmp_path/'h.png').result), g)
    deep = Image.fromarray(np.tile(np.arange(0, 65536, 64, dtype=np.uint16), (4, 1)))
    deep.save(m := io.BytesIO(), 'PNG')
    (tmp_path/'d.png').write_bytes(m.getvalue()[:33] + chunk(*gama(1)) + m.getvalue()[33:])
    assert np.abs(open_photo(tmp_path/'d.png').pixels[..., 1]/65535 - numbers(np.asarray(deep)/65535)).max() < 2e-3

def test_what_is_made_for_bright_screens_is_said(tmp_path):
    photo = open_photo(png(tmp_path/'a.png', np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (4, 1, 3)), (b'cICP', b'\x09\x10\0\1')))
    assert 'HDR' in photo.lacks[0] and photo.profile is None
    ramp = photo.pixels[0, :, 1].astype(int)
    assert (np.diff(ramp) >= 0).all() and 120 < np.argmax(ramp == 255) < 170 # paper white lies at 58 %

@pytest.mark.parametrize('bits', [8, 16])
def test_a_tiff_with_a_curve_and_primaries(tmp_path, bits):
    curve = np.rint(65535*np.linspace(0, 1, 2**bits)**1.8).astype(np.uint16)
    a = MILD if bits == 8 else MILD.astype(np.uint16)*257
    places = tuple(v for o in (.64, .33, .21, .71, .15, .06) for v in (round(o*10000), 10000))
    for tags, meant in (([(301, 3, len(curve), curve, True)], ('srgb', lambda v: v**1.8)), ([(301, 3, 3*len(curve), np.tile(curve, 3), True)], ('srgb', lambda v: v**1.8)),
                        ([(301, 3, len(curve), curve, True), (319, 5, 6, places, True)], ('adobe', lambda v: v**1.8)), ([(319, 5, 6, places, True)], ('adobe', light))):
        tifffile.imwrite(tmp_path/'a.tif', a, photometric='rgb', metadata=None, extratags=tags)
        assert np.abs(to_uint8(open_photo(tmp_path/'a.tif').pixels) - by_formula(MILD, *meant)).max() <= 2
        assert np.array_equal(stored(restored(tmp_path/'a.tif', tmp_path/'b.tif').result), a)

# --- Channels of which nothing is said

IR = np.where(np.hypot(x - .5, y - .5) < .2, 0, 255).astype(np.uint8) # a speck of dust

@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('said', [None, 'unspecified'])
@pytest.mark.parametrize('planes', [False, True])
def test_infrared_is_no_transparency(tmp_path, bits, said, planes):
    a = np.dstack([MILD, IR])
    a = a.astype(np.uint16)*257 if bits == 16 else a
    with tifffile.TiffWriter(tmp_path/'a.tif') as t:
        t.write(a.transpose(2, 0, 1) if planes else a, photometric='rgb', planarconfig='separate' if planes else 'contig', extrasamples=[said or 'unspecified'], metadata=None)
    if not said: # an older scanner leaves the tag out: here, it becomes one that nobody knows
        data = (tmp_path/'a.tif').read_bytes()
        at = data.index(struct.pack('<HH', 338, 3))
        (tmp_path/'a.tif').write_bytes(data[:at] + struct.pack('<H', 339) + data[at + 2:at + 8] + struct.pack('<I', 1) + data[at + 12:])
    photo = open_photo(tmp_path/'a.tif')
    assert np.array_equal(photo.pixels//(257 if bits == 16 else 1), MILD) and photo.bits == bits
    assert len(photo.lacks) == 1 and 'infrared' in photo.lacks[0]

@pytest.mark.parametrize('bits', [8, 16])
def test_what_is_said_to_be_transparent_is(tmp_path, bits):
    for base, photometric in ((MILD, 'rgb'), (MILD[..., :1], 'minisblack')):
        a = np.concatenate([base, IR[..., None]], 2)
        a = a.astype(np.uint16)*257 if bits == 16 else a
        tifffile.imwrite(tmp_path/'a.tif', a, photometric=photometric, planarconfig='contig', extrasamples=['unassalpha'], metadata=None)
        photo = open_photo(tmp_path/'a.tif')
        seen = photo.pixels//(257 if bits == 16 else 1)
        assert (seen[IR == 0] == 255).all() and np.array_equal(seen[IR == 255], np.broadcast_to(base, MILD.shape)[IR == 255]) and 'see-through' in photo.lacks[0]

@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('kinds,white', [(['unassalpha', 'unspecified'], True), (['unspecified', 'unspecified'], False), (['unspecified', 'unassalpha'], False)])
def test_five_channels(tmp_path, bits, kinds, white):
    a = np.dstack([MILD, IR, IR]).astype(np.uint16)*257
    tifffile.imwrite(tmp_path/'a.tif', a if bits == 16 else (a >> 8).astype(np.uint8), photometric='rgb', extrasamples=kinds, metadata=None)
    photo = open_photo(tmp_path/'a.tif')
    assert 'infrared' in photo.lacks[0] and ((photo.pixels[IR == 0] == (65535 if bits == 16 else 255)).all() == white)

def test_grey_with_infrared_and_deep_ink(tmp_path):
    for a in (np.dstack([MILD[..., 0], IR]), np.dstack([MILD[..., 0], IR]).astype(np.uint16)*257):
        tifffile.imwrite(tmp_path/'a.tif', a, photometric='minisblack', planarconfig='contig', extrasamples=['unspecified'], metadata=None)
        photo = open_photo(tmp_path/'a.tif')
        assert photo.grey and np.array_equal(photo.pixels, np.repeat(a[..., :1], 3, 2)) and 'infrared' in photo.lacks[0]
    tifffile.imwrite(tmp_path/'ink.tif', np.dstack([MILD, IR]).astype(np.uint16)*257, photometric='separated', metadata=None)
    assert '16 bits, read with 8' in open_photo(tmp_path/'ink.tif').lacks[0]

def test_a_palette_with_holes_and_a_scan_of_one_bit(tmp_path):
    pal = Image.new('P', (2, 1))
    pal.putpalette([200, 0, 0, 0, 200, 0])
    pal.putdata([0, 1])
    pal.save(tmp_path/'pal.png', transparency=0)
    assert read_photo(tmp_path/'pal.png').tolist() == [[[255]*3, [0, 200, 0]]]
    for white in (False, True):
        tifffile.imwrite(tmp_path/'fax.tif', IR > 0, photometric='miniswhite' if white else 'minisblack', metadata=None)
        assert np.array_equal(read_photo(tmp_path/'fax.tif')[..., 0], 255 - IR if white else IR)
