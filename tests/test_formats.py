"""Formats beyond the usual: the photo among the pictures of a TIFF, raw files, HEIC, AVIF, JPEG 2000, JPEG XL, WebP without loss, a JPEG without its end; and what is
said of all that is not read. The extras [raw] and [heif] belong to the development lane; what needs them is left out in the other one."""
import os
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from torch import nn

import restorer_fastai.photo.containers
import restorer_fastai.photo.files
import restorer_fastai.photo.raw
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.files import AVIF, can_read, HEIC, JPEG2000, JPEG_XL, PHOTO_SUFFIXES, RAW, READ_ONLY, find_photos, left_out, result_path
from restorer_fastai.photo.reading import open_photo, read_photo
from restorer_fastai.photo.writing import save_photo
from restorer_fastai.restore.files import restore_job
from restorer_fastai.restore.plan import Job, plan_album
from restorer_fastai.restore.tiles import TiledNet

y, x = np.mgrid[0:120, 0:160]/np.array([119, 159])[:, None, None]
PHOTO = np.rint(255*np.dstack([.1 + .7*x, .15 + .6*y, .7 - .5*x*y])).astype(np.uint8)
DEEP = np.rint(65535*np.dstack([.1 + .7*x, .15 + .6*y, .7 - .5*x*y])).astype(np.uint16)
STAMP = PHOTO[::8, ::8][..., ::-1]
DATE = '1957:10:04 19:28:34'

needs_raw = pytest.mark.skipif(not can_read(RAW), reason='without the extra [raw]')
needs_heif = pytest.mark.skipif(not can_read(HEIC), reason='without the extra [heif]')
if can_read(HEIC): import pillow_heif

class Same(nn.Module):
    def look(self, thumb, mode=None): return None
    def forward(self, x, context=None): return x
SAME = TiledNet(Same(), device='cpu')

def tiff(path, *pictures, big=False):
    "A TIFF of (pixels, options) in a row."
    with tifffile.TiffWriter(path, bigtiff=big) as t:
        for a, options in pictures: t.write(a, **{'photometric': 'rgb', 'metadata': None, **options})
    return path

@pytest.fixture
def nothing_installed(monkeypatch):
    for room in (restorer_fastai.photo.files, restorer_fastai.photo.raw, restorer_fastai.photo.containers): monkeypatch.setattr(room, 'can_read', lambda what: False)

# --- The photo among the pictures of a TIFF

DNG = (50706, 1, 4, b'\1\4\0\0', True) # DNGVersion
CFA = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, b'\0\1\1\2', True)]
SMALL, OLD_SMALL = dict(subfiletype=1), dict(extratags=[(255, 3, 1, 2, True)])

@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('depth', [PHOTO, DEEP])
@pytest.mark.parametrize('name', ['a.tif', 'a.dng', 'a.nef', 'a.fff'])
def test_never_the_thumbnail(tmp_path, name, depth, big):
    bits = 8*depth.itemsize
    for pictures in ([(STAMP, SMALL), (depth, {})], [(STAMP, OLD_SMALL), (depth, {})], [(STAMP, SMALL | dict(subifds=1)), (depth, {})],
                     [(STAMP, dict(subfiletype=1, subifds=1, extratags=[DNG])), (depth, {})], [(STAMP, dict(subifds=2)), (STAMP[::2], SMALL), (depth, dict(subfiletype=0))],
                     [(STAMP, SMALL), (STAMP[::2], SMALL), (depth, dict(subfiletype=2))]):
        photo = open_photo(tiff(tmp_path/name, *pictures, big=big))
        assert np.array_equal(photo.pixels, depth) and (photo.bits, photo.pages, photo.lacks) == (bits, 1, ()), pictures

def test_pages_stay_pages(tmp_path):
    photo = open_photo(tiff(tmp_path/'a.tif', (PHOTO, {}), (PHOTO[::-1], {}), (STAMP, SMALL)))
    assert np.array_equal(photo.pixels, PHOTO) and photo.pages == 2
    only = open_photo(tiff(tmp_path/'b.tif', (PHOTO, SMALL))) # marked by mistake: there is no other
    assert np.array_equal(only.pixels, PHOTO)

def test_what_belongs_to_a_photo_behind_its_thumbnail(tmp_path):
    profile = imagecodecs.cms_profile('rgb', whitepoint=(.3127, .3290, 1), primaries=(.64, .33, 1, .21, .71, 1, .15, .06, 1), gamma=2.2)
    photo = open_photo(tiff(tmp_path/'a.tif', (STAMP, SMALL), (PHOTO, dict(iccprofile=profile, resolution=(300, 600), resolutionunit=2, extratags=[(306, 2, 0, DATE, True), (274, 3, 1, 6, True)]))))
    assert photo.profile == profile and np.array_equal(photo.own[1], np.rot90(PHOTO, -1)) and photo.dpi == (600, 300)
    assert Image.open(save_photo(tmp_path/'b.jpg', photo.pixels, photo)).getexif()[306] == DATE

# --- Raw files

def toy_dng(path, light=None, thumb=True, camera_white=(1, 1, 1), flip=1, mosaic=True):
    "A DNG: a mosaic of linear light (or all of it, as scanners store it), below a pink thumbnail or alone."
    a = PHOTO/255 if light is None else light
    light = np.rint(np.where(a <= .04045, a/12.92, ((a + .055)/1.055)**2.4)*np.array(camera_white)*65535).astype(np.uint16)
    seen = np.empty(light.shape[:2], np.uint16)
    for i, j, c in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)): seen[i::2, j::2] = light[i::2, j::2, c]
    from_xyz = np.array([[3.2404542, -1.5371385, -.4985314], [-.9692660, 1.8760108, .0415560], [.0556434, -.2040259, 1.0572252]])
    matrix = tuple(int(v) for o in np.rint(from_xyz.ravel()*10000) for v in (o, 10000))
    white = tuple(v for o in camera_white for v in (round(o*1000), 1000))
    camera = [DNG, (50708, 2, 0, 'Toy', True), (271, 2, 0, 'Toys', True), (272, 2, 0, 'Toy', True), (306, 2, 0, DATE, True), (274, 3, 1, flip, True),
              (50721, 10, 9, matrix, True), (50778, 3, 1, 21, True), (50728, 5, 3, white, True)]
    sensor = CFA + [(50714, 3, 1, 0, True), (50717, 3, 1, 65535, True)] if mosaic else []
    main = (seen, dict(photometric='cfa')) if mosaic else (light, dict(photometric=34892, planarconfig='contig')) # CFA, LinearRaw
    if not thumb: return tiff(path, (main[0], main[1] | dict(extratags=camera + sensor)))
    pink = np.full((15, 20, 3), (255, 0, 255), np.uint8)
    return tiff(path, (pink, dict(subfiletype=1, subifds=1, extratags=camera)), (main[0], main[1] | dict(subfiletype=0, extratags=sensor)))

@needs_raw
@pytest.mark.parametrize('thumb', [True, False])
@pytest.mark.parametrize('name', ['a.dng', 'a.nef', 'a.tif', 'a', 'a.jpg'])
def test_raw_is_developed_whatever_its_name(tmp_path, name, thumb):
    photo = open_photo(toy_dng(tmp_path/name, thumb=thumb))
    assert photo.pixels.dtype == np.uint16 and photo.bits == 16 and photo.format == 'RAW'
    assert np.quantile(np.abs(photo.pixels/257 - PHOTO)[3:-3, 3:-3], .99) < 2 # linear light became sRGB, nothing was brightened
    assert 'raw' in photo.lacks[0] and b'1957' in photo.exif

@needs_raw
@pytest.mark.parametrize('thumb', [True, False])
def test_what_a_film_scanner_calls_raw(tmp_path, thumb):
    photo = open_photo(toy_dng(tmp_path/'scan.dng', thumb=thumb, mosaic=False))
    assert photo.format == 'RAW' and np.abs(photo.pixels/257 - PHOTO).max() < 1

@needs_raw
def test_raw_keeps_the_white_of_the_camera_and_is_turned(tmp_path):
    photo = open_photo(toy_dng(tmp_path/'a.dng', light=PHOTO/255*.8, camera_white=(.5, 1, .6)))
    assert np.abs(photo.pixels/257 - PHOTO*.8)[3:-3, 3:-3].mean() < 3
    assert open_photo(toy_dng(tmp_path/'b.dng', flip=6)).pixels.shape == (160, 120, 3)

@needs_raw
def test_the_frames_of_a_roll_are_developed_alike(tmp_path):
    dark, light = (open_photo(toy_dng(tmp_path/f'{o}.dng', light=PHOTO/255*o)).pixels/65535 for o in (.3, .6))
    for seen, share in ((dark, .3), (light, .6)): assert np.quantile(np.abs(seen*255 - PHOTO*share)[3:-3, 3:-3], .99) < 1

@needs_raw
def test_a_raw_album(tmp_path):
    for name in ('a.dng', 'b.NEF'): toy_dng(tmp_path/'in'/name) if (tmp_path/'in').mkdir(exist_ok=True) is None else None
    plan = plan_album(tmp_path/'in', tmp_path/'out')
    assert [o.result.name for o in plan.jobs] == ['a.tif', 'b.tif'] and not plan.missed
    outcome = restore_job(SAME, plan.jobs[0])
    assert any('raw file is read and not written: the result is a TIF' in o for o in outcome.notes)
    done = open_photo(outcome.result)
    assert done.bits == 16 and np.array_equal(done.pixels, open_photo(tmp_path/'in'/'a.dng').pixels) and b'1957' in done.exif

@needs_heif
def test_without_the_extra_it_is_named(tmp_path, nothing_installed):
    for name in ('a.dng', 'a.tif', 'b.nef'):
        with pytest.raises(PhotoError, match=r'camera raw file.*\[raw\].*pip install'): open_photo(toy_dng(tmp_path/name))
    with pytest.raises(PhotoError, match='raw'): plan_album(tmp_path/'a.dng', tmp_path/'out') and open_photo(tmp_path/'a.dng')
    assert [o.name for o in find_photos(tmp_path)] == ['a.tif']
    assert [(e.path.name, '[raw]' in str(e)) for e in left_out(tmp_path)] == [('a.dng', True), ('b.nef', True)]
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(tmp_path/'a.heic')
    for name in ('a.heic', 'a.jpg'):
        (tmp_path/name).write_bytes((tmp_path/'a.heic').read_bytes())
        with pytest.raises(PhotoError, match=r'HEIC.*\[heif\].*pip install'): open_photo(tmp_path/name)

def test_a_raw_file_that_is_cut(tmp_path):
    data = toy_dng(tmp_path/'a.dng').read_bytes()
    for n in (len(data)//2, 600, 100):
        (tmp_path/'b.dng').write_bytes(data[:n])
        with pytest.raises(PhotoError) as e: open_photo(tmp_path/'b.dng')
        assert 'b.dng' in str(e.value)

# --- Phones, archives, the web

def stored(path, a, kind):
    "An array as a file of a format: without loss, where the format can."
    if kind == HEIC:
        bits = 8*a.itemsize
        heif = pillow_heif.from_pillow(Image.fromarray(a)) if bits == 8 else pillow_heif.from_bytes(mode='RGB;16', size=a.shape[1::-1], data=a.tobytes())
        heif.save(path, quality=-1, chroma=444, matrix_coefficients=0)
    else:
        encode = {AVIF: lambda: imagecodecs.avif_encode(a if a.itemsize == 1 else a >> 6, level=100, pixelformat='444', **({} if a.itemsize == 1 else dict(bitspersample=10))),
                  JPEG2000: lambda: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat='jp2'), JPEG_XL: lambda: imagecodecs.jpegxl_encode(a, lossless=True)}
        path.write_bytes(encode[kind]())
    return path

@pytest.mark.parametrize('kind,suffix,tol', [pytest.param(HEIC, '.heic', 65, marks=needs_heif), (AVIF, '.avif', 600), (JPEG2000, '.jp2', 0), (JPEG_XL, '.jxl', 0)])
@pytest.mark.parametrize('deep', [False, True])
def test_formats_that_are_read(tmp_path, kind, suffix, tol, deep):
    a = DEEP if deep else PHOTO
    path = stored(tmp_path/f'a{suffix}', a, kind)
    photo = open_photo(path)
    assert photo.pixels.dtype == a.dtype and np.abs(photo.pixels.astype(int) - a).max() <= (tol if deep else 3*(kind == AVIF))
    (job,) = plan_album(tmp_path, tmp_path/'out').jobs
    outcome = restore_job(SAME, job)
    assert outcome.result.name == 'a.png' and any('is read and not written: the result is a PNG' in o for o in outcome.notes)
    assert np.array_equal(open_photo(outcome.result).pixels, photo.pixels)
    (tmp_path/'wrong.jpg').write_bytes(path.read_bytes())
    assert np.array_equal(open_photo(tmp_path/'wrong.jpg').pixels, photo.pixels) # the content decides
    (tmp_path/'cut.jpg').write_bytes(path.read_bytes()[:150])
    with pytest.raises(PhotoError, match='cut.jpg'): open_photo(tmp_path/'cut.jpg')

@needs_heif
def test_a_phones_photo_with_all_that_belongs_to_it(tmp_path):
    p3 = imagecodecs.cms_profile('rgb', whitepoint=(.3127, .3290, 1), primaries=(.680, .320, 1, .265, .690, 1, .150, .060, 1), gamma=2.2)
    exif = Image.Exif()
    exif[306], exif[274] = DATE, 6
    heif = pillow_heif.from_pillow(Image.fromarray(PHOTO))
    heif.save(tmp_path/'a.heic', quality=-1, chroma=444, matrix_coefficients=0, exif=exif.tobytes(), icc_profile=p3)
    Image.fromarray(PHOTO).save(tmp_path/'a.avif', quality=100, subsampling='4:4:4', exif=exif, icc_profile=p3)
    for name in ('a.heic', 'a.avif'):
        photo = open_photo(tmp_path/name)
        assert photo.profile == p3 and b'1957' in photo.exif
        assert np.abs(photo.own[1].astype(int) - np.rot90(PHOTO, -1)).max() <= 3
        done = open_photo(restore_job(SAME, Job(tmp_path/name, tmp_path/f'{name}.png')).result)
        assert done.profile == p3 and np.array_equal(done.own[1], photo.own[1]) and b'1957' in done.exif

def test_wide_colours_of_an_avif_without_a_profile(tmp_path):
    data = stored(tmp_path/'a.avif', PHOTO, AVIF).read_bytes()
    at = data.index(b'colrnclx') + 8
    (tmp_path/'p3.avif').write_bytes(data[:at] + struct.pack('>HH', 12, 13) + data[at + 4:])
    plain, wide = (open_photo(tmp_path/o) for o in ('a.avif', 'p3.avif'))
    assert plain.own is None and np.array_equal(wide.own[1], plain.pixels) and np.abs(wide.pixels.astype(int) - plain.pixels).max() > 5

def test_a_jpeg_2000_with_a_profile(tmp_path):
    adobe = imagecodecs.cms_profile('rgb', whitepoint=(.3127, .3290, 1), primaries=(.64, .33, 1, .21, .71, 1, .15, .06, 1), gamma=2.2)
    data = stored(tmp_path/'a.jp2', DEEP, JPEG2000).read_bytes()
    at = data.index(b'colr') - 4
    box = struct.pack('>I4s3B', 11 + len(adobe), b'colr', 2, 0, 0) + adobe
    data = data[:at] + box + data[at + 15:]
    head = data.index(b'jp2h') - 4
    (tmp_path/'b.jp2').write_bytes(data[:head] + struct.pack('>I', struct.unpack_from('>I', data, head)[0] - 15 + len(box)) + data[head + 4:])
    photo = open_photo(tmp_path/'b.jp2')
    assert photo.profile == adobe and np.array_equal(photo.own[1], DEEP)

# --- WebP, JPEG

def test_a_webp_without_loss_stays_one(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path/'exact.webp', lossless=True)
    Image.fromarray(PHOTO).save(tmp_path/'lossy.webp')
    Image.fromarray(PHOTO).save(tmp_path/'moving.webp', lossless=True, save_all=True, append_images=[Image.fromarray(255 - PHOTO)])
    done = {o: restore_job(SAME, Job(tmp_path/f'{o}.webp', tmp_path/'out'/f'{o}.webp')) for o in ('exact', 'lossy', 'moving')}
    for o in ('exact', 'moving'): assert np.array_equal(read_photo(done[o].result), PHOTO) and b'VP8L' in done[o].result.read_bytes()[:40]
    assert done['exact'].notes == () and done['moving'].notes == ('2 pictures in the file, only the first is restored',)
    assert b'VP8 ' in done['lossy'].result.read_bytes()[:40] and '4:2:0' in done['lossy'].notes[0]

@pytest.mark.parametrize('options', [{}, dict(progressive=True), dict(subsampling=0, quality=99), dict(restart_marker_rows=1), dict(optimize=True), dict(mode='L'), dict(mode='CMYK')])
def test_a_jpeg_without_its_end(tmp_path, options):
    noisy = np.clip(PHOTO + np.random.default_rng(0).normal(0, 9, PHOTO.shape), 0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[306] = DATE
    Image.fromarray(noisy).convert(options.get('mode', 'RGB')).save(tmp_path/'whole.jpg', exif=exif, **{k: v for k, v in options.items() if k != 'mode'})
    data = (tmp_path/'whole.jpg').read_bytes()
    whole = open_photo(tmp_path/'whole.jpg')
    for end in (data[:-2], data[:-1]):
        (tmp_path/'a.jpg').write_bytes(end)
        photo = open_photo(tmp_path/'a.jpg')
        assert np.array_equal(photo.pixels, whole.pixels) and 'no end marker' in photo.lacks[0] and b'1957' in photo.exif
    for n in (8, 30, 200, len(data)//2):
        (tmp_path/'a.jpg').write_bytes(data[:-n])
        with pytest.raises(PhotoError, match='cut short'): open_photo(tmp_path/'a.jpg')

@pytest.mark.parametrize('suffix', ['.jpg', '.jpeg', '.jpe', '.jif', '.jfif', '.mpo', '.JFIF'])
def test_a_jpeg_by_any_of_its_names(tmp_path, suffix):
    Image.fromarray(PHOTO).save(tmp_path/'a', 'MPO' if suffix == '.mpo' else 'JPEG', quality=98, **(dict(save_all=True, append_images=[Image.fromarray(255 - PHOTO)]) if suffix == '.mpo' else {}))
    (tmp_path/'in').mkdir()
    (tmp_path/'a').rename(tmp_path/'in'/f'a{suffix}')
    (job,) = plan_album(tmp_path/'in', tmp_path/'out').jobs
    outcome = restore_job(SAME, job)
    assert outcome.result.name == f'a{suffix}' and outcome.result.read_bytes()[:3] == b'\xff\xd8\xff'
    assert np.abs(read_photo(outcome.result).astype(int) - PHOTO).mean() < 4
    assert (len(outcome.notes) == 1) == (suffix == '.mpo')

# --- What is not read is listed, with what it is

LEFT_OUT = dict(psd='Photoshop', psb='Photoshop', xcf='GIMP', ppm='Netpbm', pgm='Netpbm', tga='Targa', exr='OpenEXR', hdr='Radiance', gif='GIF', svg='drawing', pdf='PDF', dpx='film scan', fits='FITS',
    pcd='Photo CD', jxr='JPEG XR', ico='icon', djvu='DjVu', qoi='QOI', apng='PNG')

def test_every_other_picture_is_listed_with_what_it_is(tmp_path):
    for suffix in LEFT_OUT: (tmp_path/f'a.{suffix}').write_bytes(b'\0\1\2\3'*50)
    for name in ('notes.txt', 'list.csv', 'film.mp4', 'Thumbs.db', '._a.psd'): (tmp_path/name).write_bytes(b'x'*50)
    assert {e.path.suffix[1:] for e in left_out(tmp_path)} == set(LEFT_OUT) and not find_photos(tmp_path)
    for e in left_out(tmp_path): assert LEFT_OUT[e.path.suffix[1:]] in e.reason and e.remedy and 'text' not in e.reason.replace('it holds text and lines', '')

@pytest.mark.parametrize('suffix', sorted(READ_ONLY))
def test_what_needs_a_library_is_listed_without_it(tmp_path, suffix, nothing_installed):
    (tmp_path/f'a{suffix}').write_bytes(b'\0'*50)
    (e,) = left_out(tmp_path)
    assert READ_ONLY[suffix] in e.reason and not find_photos(tmp_path)

@pytest.mark.skipif(os.environ.get('RESTORER_LANE') != 'dev', reason='only `make test` installs the extras')
def test_the_development_lane_has_the_extras(): assert can_read(RAW) and can_read(HEIC)

def test_every_suffix_is_a_photo_or_listed_or_neither_never_both():
    from restorer_fastai.photo.files import is_other_photo, is_photo
    for suffix in '.jp2 .jxl .psd .ppm .tga .fff .pef .srw .3fr .iiq .x3f .hif .heic .avif .cr3 .raf .orf .rw2 .gif .jfif .mpo .jpg'.split():
        assert is_photo(f'a{suffix}') != is_other_photo(f'a{suffix}'), suffix

@pytest.mark.parametrize('head,says', [(b'P3\n2 1\n255\n1 2 3 4 5 6\n', 'Netpbm'), (b'P6 2 1 255 abcdef', 'Netpbm'), (b'8BPS\0\1', 'Photoshop'), (b'\0\0\0\x20ftypisom\0\0\2\0', 'a film'), (b'\0\0\0\x14ftypqt  ', 'a film'),
    (b'%PDF-1.4', 'PDF'), (b'FUJIFILMCCD-RAW ', 'raw'), (b'FOVb\0\0', 'raw'), (b'IIU\0\x18\0\0\0', 'raw'), (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'drawing')])
def test_a_wrong_name_hides_nothing(tmp_path, head, says):
    for name in ('a.jpg', 'a.png', 'a.tif'):
        (tmp_path/name).write_bytes(head)
        with pytest.raises(PhotoError, match=says): open_photo(tmp_path/name)
        with pytest.raises(PhotoError) as e: open_photo(tmp_path/name)
        assert 'it holds text,' not in str(e.value)

def test_results_of_what_is_only_read():
    for suffix, what in READ_ONLY.items(): assert result_path(Path(f'a{suffix}'), 'nowhere', 'out').suffix == ('.tif' if what == RAW else '.png')
    for suffix in PHOTO_SUFFIXES: assert result_path(Path(f'a{suffix}'), 'nowhere', 'out').suffix == suffix
