"""Bad and odd photo files. Each is made here, and either read with the right pixels or refused with a `PhotoError` that names the file, the
reason and a remedy; no other exception leaves the reader or the writer, and no half-written file stays behind."""
import contextlib
import errno
import io
import os
import resource
import shutil
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms

from profiles_by_hand import GAMMA18, GAMMA22, grey_profile, icc, LINEAR, rgb_profile, SAMPLED, SRGB_CURVE, table_profile
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.pixels import to_uint8
from restorer_fastai.photo.exif import exif_block, EXIF_CAMERA, EXIF_MAIN, EXIF_PLACE, read_exif
from restorer_fastai.photo.reading import MAX_PIXELS, open_photo, Photo, photo_exif, read_photo
from restorer_fastai.photo.writing import save_photo, write_photo

tifffile = pytest.importorskip('tifffile')
cv2 = pytest.importorskip('cv2')

# --- What the files show: a smooth photo of 24 x 32 pixels, 16 bits a channel

y, x = np.mgrid[0:24, 0:32]/np.array([23, 31])[:, None, None]
DEEP = np.rint(np.dstack([x, y, (2 - x - y)/2])*60000 + 3000 + 16*np.random.default_rng(0).random((24, 32, 3))).astype(np.uint16)
RGB = (DEEP >> 8).astype(np.uint8)
PIL = Image.fromarray(RGB)
GREY, GREY16 = np.asarray(PIL.convert('L')), DEEP[..., 1]
ALPHA = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
ALPHA16 = ALPHA.astype(np.uint16)*257

def turned(a, orientation):
    "How a person sees an array stored with this EXIF orientation."
    how = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.fliplr(np.rot90(a, -1)), 6: lambda a: np.rot90(a, -1),
           7: lambda a: np.fliplr(np.rot90(a)), 8: np.rot90}
    return how[orientation](a) if orientation in how else a

def in_three(a): return np.repeat(a[..., None], 3, 2)
def over_white(a, alpha, top):
    "What `a` looks like on white paper."
    share = (alpha/top)[..., None]
    return a*share + top*(1 - share)

# --- Small makers of files

def saved(kind, im=PIL, exif=b'', **options):
    if exif: options['exif'] = exif if isinstance(exif, bytes) else exif.tobytes()
    im.save(memory := io.BytesIO(), kind, **options)
    return memory.getvalue()

def tiff(a, **options):
    tifffile.imwrite(memory := io.BytesIO(), a, metadata=None, **options)
    return memory.getvalue()

def rgb_tiff(a=DEEP, **options): return tiff(a, photometric='rgb', **options)

def chunk(kind, body): return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

def png(w, h, depth, kind, pixels=b'', extra=b''):
    head = struct.pack('>IIBBBBB', w, h, depth, kind, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + extra + chunk(b'IDAT', zlib.compress(pixels)) + chunk(b'IEND', b'')

def png16(a, kind, extra=b''):
    return png(a.shape[1], a.shape[0], 16, kind, b''.join(b'\0' + row.astype('>u2').tobytes() for row in a), extra)

def lzw16(a=DEEP): return cv2.imencode('.tif', a[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()

def with_orientation(data, orientation):
    "A little-endian TIFF with one more tag: a longer table at its end takes the place of the first."
    at, = struct.unpack_from('<I', data, 4)
    n, = struct.unpack_from('<H', data, at)
    entries = [data[at + 2 + 12*i:at + 14 + 12*i] for i in range(n)] + [struct.pack('<HHII', 274, 3, 1, orientation)]
    table = struct.pack('<H', n + 1) + b''.join(sorted(entries, key=lambda e: struct.unpack('<H', e[:2]))) + b'\0'*4
    return data[:4] + struct.pack('<I', len(data)) + data[8:] + table

def bare_tiff(tags, data=b'', following=0):
    "A TIFF with exactly these `tags`, a dict of number -> (type, value); one value each."
    entries = b''.join(struct.pack('<HHII', tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + struct.pack('<I', following) + data

def grey_tiff(bits, data, w=4, h=1, following=0, **tags):
    "A TIFF of one grey strip."
    tags = {256: (4, w), 257: (4, h), 258: (3, bits), 259: (3, 1), 262: (3, 1), 277: (3, 1), 278: (4, h), 279: (4, len(data))} | {
        int(k[1:]): v for k, v in tags.items()}
    return bare_tiff(tags | {273: (4, 8 + 2 + 12*(len(tags) + 1) + 4)}, data, following)

def exif_of(**tags):
    e = Image.Exif()
    e.update({int(k[1:]): v for k, v in tags.items()})
    return e

RGB_PROFILES = dict(p3=rgb_profile('p3', SRGB_CURVE), adobe=rgb_profile('adobe', GAMMA22), prophoto=rgb_profile('prophoto', GAMMA18),
    linear=rgb_profile('srgb', LINEAR), sampled=rgb_profile('srgb', SAMPLED))
GREY_PROFILES = {k: grey_profile(v) for k, v in dict(gamma22=GAMMA22, gamma18=GAMMA18, linear=LINEAR, srgb=SRGB_CURVE).items()}

# --- Odd, but readable: name -> (bytes, the pixels to expect, how far off each may be, what `Photo` says)

CLEAR = Image.fromarray(np.dstack([RGB, ALPHA]))
DEEP_CLEAR = np.dstack([DEEP, ALPHA16])
PREMULTIPLIED = np.dstack([np.rint(DEEP*(ALPHA16/65535)[..., None]).astype(np.uint16), ALPHA16])
LONG = np.tile(np.uint8([[[10, 200, 90]]]), (20000, 1, 1))
KEY = struct.pack('>HHH', *map(int, DEEP[3, 4]))
KEYED = DEEP.copy()
KEYED[3, 4] = 65535
GREY_KEYED = np.where(GREY16 == GREY16[3, 4], 65535, GREY16)
def frames(): return [Image.fromarray(np.roll(RGB, i, axis=1)) for i in (5, 9)] # new ones: Pillow leaves traces in what it saves
LOUD = exif_of(_270='x'*3000, _315='y'*3000, **{f'_{t}': 'z'*900 for t in range(50000, 50060)})
def many(): return dict(save_all=True, append_images=frames())
PALETTE = PIL.quantize(16)
TWO = Image.new('P', (2, 1)); TWO.putpalette([200, 0, 0, 0, 200, 0]); TWO.putdata([0, 1])
JPEG = saved('JPEG', quality=95, subsampling=0)
BOUNDED = dict(bits=8, grey=False, pages=1)

def good(data, pixels, tol=0, **says): return data, pixels, tol, BOUNDED | says
def deep(data, pixels=DEEP, tol=0, **says): return good(data, pixels, tol, bits=16, **says)

GOOD = {
    'plain.jpg': good(JPEG, RGB, 6, format='JPEG'),
    'progressive.jpg': good(saved('JPEG', quality=95, subsampling=0, progressive=True), RGB, 6),
    'half colour.jpg': good(saved('JPEG', quality=95, subsampling=2), RGB, 14),
    'grey.jpg': good(saved('JPEG', PIL.convert('L'), quality=95), in_three(GREY), 4, grey=True),
    'four inks.jpg': good(saved('JPEG', PIL.convert('CMYK'), quality=95, subsampling=0), RGB, 6, profile=None),
    'more behind.jpg': good(JPEG + b'\0'*5000, RGB, 6),
    'two in one.jpg': good(saved('MPO', quality=95, subsampling=0, **many()), RGB, 6, pages=3, format='MPO'),
    'huge exif.jpg': good(saved('JPEG', quality=95, subsampling=0, exif=LOUD), RGB, 6),
    'no exif after all.jpg': good(saved('JPEG', quality=95, subsampling=0, exif=b'Exif\0\0nonsense'), RGB, 6, exif=None),
    'cut exif.jpg': good(saved('JPEG', quality=95, subsampling=0, exif=exif_of(_271='Zorki', _306='1957').tobytes()[:-9]), RGB, 6),
    'no such turn.jpg': good(saved('JPEG', quality=95, subsampling=0, exif=exif_of(_274=9)), RGB, 6),
    'turn of words.jpg': good(saved('JPEG', quality=95, subsampling=0, exif=exif_of(_271='xyzzy').tobytes().replace(b'\1\x0f', b'\1\x12')),
                              RGB, 6),
    'no icc.jpg': good(saved('JPEG', quality=95, subsampling=0, icc_profile=b'no profile at all'), RGB, 6, profile=None),
    'half an icc.png': good(saved('PNG', icc_profile=RGB_PROFILES['p3'][:200]), RGB, 0, profile=None),
    'icc for grey.png': good(saved('PNG', icc_profile=GREY_PROFILES['linear']), RGB, 0, profile=None),
    'plain.png': good(saved('PNG'), RGB, format='PNG'),
    'grey.png': good(saved('PNG', PIL.convert('L')), in_three(GREY), grey=True),
    'one bit.png': good(saved('PNG', PIL.convert('1')), in_three(np.asarray(PIL.convert('1'))*np.uint8(255)), grey=True),
    'palette.png': good(saved('PNG', PALETTE), np.asarray(PALETTE.convert('RGB'))),
    'hole in palette.png': good(saved('PNG', TWO, transparency=0), np.uint8([[[255]*3, [0, 200, 0]]])),
    'see-through.png': good(saved('PNG', CLEAR), over_white(RGB, ALPHA, 255), 1),
    'see-through grey.png': good(saved('PNG', Image.merge('LA', [PIL.convert('L'), Image.fromarray(ALPHA)])),
                                 in_three(over_white(GREY[..., None], ALPHA, 255)[..., 0]), 1, grey=True),
    'moving.png': good(saved('PNG', **many()), RGB, pages=3),
    'absurd dpi.png': good(saved('PNG', dpi=(1e7, 1e7)), RGB, dpi=None),
    'sixteen.png': deep(png16(DEEP, 2)),
    'sixteen grey.png': deep(png16(GREY16, 0), in_three(GREY16), grey=True),
    'sixteen see-through.png': deep(png16(DEEP_CLEAR, 6), over_white(DEEP, ALPHA16, 65535), 1),
    'sixteen grey see-through.png': deep(png16(DEEP_CLEAR[..., [1, 3]], 4),
        in_three(over_white(GREY16[..., None], ALPHA16, 65535)[..., 0]), 1, grey=True),
    'sixteen with a key.png': deep(png16(DEEP, 2, chunk(b'tRNS', KEY)), KEYED),
    'sixteen grey with a key.png': deep(png16(GREY16, 0, chunk(b'tRNS', KEY[2:4])), in_three(GREY_KEYED), grey=True),
    'sixteen, lying.png': deep(png16(DEEP, 2, chunk(b'eXIf', exif_of(_274=6).tobytes()[6:])), np.rot90(DEEP, -1)),
    'plain.tif': good(saved('TIFF'), RGB, format='TIFF'),
    **{f'{c}.tif': good(saved('TIFF', compression=c), RGB) for c in ('tiff_lzw', 'tiff_deflate', 'packbits', 'tiff_adobe_deflate')},
    'fax.tif': good(saved('TIFF', PIL.convert('1'), compression='group4'), in_three(np.asarray(PIL.convert('1'))*np.uint8(255)), grey=True),
    'jpeg inside.tif': good(saved('TIFF', compression='jpeg', quality=95), RGB, 14),
    'palette.tif': good(saved('TIFF', PALETTE), np.asarray(PALETTE.convert('RGB'))),
    'four inks.tif': good(saved('TIFF', PIL.convert('CMYK')), RGB, 2, profile=None),
    'four inks, sixteen.tif': good(tiff(np.asarray(PIL.convert('CMYK')).astype(np.uint16)*257, photometric='separated'), RGB, 2),
    'lab.tif': good(saved('TIFF', ImageCms.profileToProfile(PIL, ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'),
                                                            outputMode='LAB')), RGB, 25, profile=None),
    'black is 1.tif': good(tiff(255 - GREY, photometric='miniswhite'), in_three(GREY), grey=True),
    'planes.tif': good(rgb_tiff(RGB.transpose(2, 0, 1), planarconfig='separate'), RGB),
    'pages.tif': good(saved('TIFF', **many()), RGB, pages=3),
    'a circle of pages.tif': good(grey_tiff(8, b'\0\1\2\3', following=8), in_three(np.uint8([[0, 1, 2, 3]])), grey=True),
    'twelve bits.tif': deep(grey_tiff(12, b'\x00\x07\xff\xff\xf8\x00'), in_three(np.uint16([[0, 32759, 65535, 32776]])), 1, grey=True),
    'sixteen.tif': deep(rgb_tiff()),
    'sixteen, big-endian.tif': deep(rgb_tiff(byteorder='>')),
    'sixteen, squeezed.tif': deep(rgb_tiff(compression='zlib', predictor=2)),
    'sixteen, lzw.tif': deep(lzw16()),
    'sixteen, tiles.tif': deep(rgb_tiff(tile=(16, 16))),
    'sixteen, planes.tif': deep(rgb_tiff(DEEP.transpose(2, 0, 1), planarconfig='separate')),
    'sixteen, big.tif': deep(rgb_tiff(bigtiff=True)),
    'sixteen, pages.tif': deep(rgb_tiff(np.stack([DEEP, DEEP//2])), pages=2),
    'sixteen grey.tif': deep(tiff(GREY16, photometric='minisblack'), in_three(GREY16), grey=True),
    'sixteen, black is 1.tif': deep(tiff(GREY16, photometric='miniswhite'), in_three(65535 - GREY16), grey=True),
    'sixteen see-through.tif': deep(rgb_tiff(DEEP_CLEAR, extrasamples=['unassalpha']), over_white(DEEP, ALPHA16, 65535), 1),
    'sixteen premultiplied.tif': deep(rgb_tiff(PREMULTIPLIED, extrasamples=['assocalpha']), over_white(DEEP, ALPHA16, 65535), 2),
    'sixteen and more.tif': deep(rgb_tiff(DEEP_CLEAR, extrasamples=['unspecified'])),
    'plain.webp': good(saved('WEBP', lossless=True), RGB, format='WEBP'),
    'see-through.webp': good(saved('WEBP', CLEAR, lossless=True, exact=True), over_white(RGB, ALPHA, 255), 1),
    'moving.webp': good(saved('WEBP', lossless=True, **many()), RGB, pages=3),
    'moving.gif': good(saved('GIF', PALETTE, save_all=True, append_images=[f.quantize(16) for f in frames()]),
                       np.asarray(PALETTE.convert('RGB')), pages=3, format='GIF'),
    'hole.gif': good(saved('GIF', TWO, transparency=0), np.uint8([[[255]*3, [0, 200, 0]]])),
    'plain.bmp': good(saved('BMP'), RGB, format='BMP'),
    'a png in truth.jpg': good(saved('PNG'), RGB, format='PNG'),
    'a jpeg in truth.txt': good(JPEG, RGB, 6, format='JPEG'),
    'no suffix': good(saved('TIFF'), RGB),
    'one pixel.png': good(saved('PNG', PIL.crop((0, 0, 1, 1))), RGB[:1, :1]),
    'one pixel.jpg': good(saved('JPEG', PIL.crop((0, 0, 1, 1)), quality=95, subsampling=0), RGB[:1, :1], 6),
    'long.png': good(saved('PNG', Image.fromarray(LONG)), LONG),
    'long.tif': good(saved('TIFF', Image.fromarray(LONG), compression='tiff_lzw'), LONG),
    'wide.jpg': good(saved('JPEG', Image.fromarray(LONG.transpose(1, 0, 2)), quality=95, subsampling=0), LONG.transpose(1, 0, 2), 6),
    ' spaces  everywhere .png': good(saved('PNG'), RGB),
    '👵🏽 grandma.png': good(saved('PNG'), RGB),
    '-rf.png': good(saved('PNG'), RGB),
    '..png': good(saved('PNG'), RGB),
    'new\nline.png': good(saved('PNG'), RGB),
    '%s{0}$HOME*?.png': good(saved('PNG'), RGB),
    'x'*251 + '.png': good(saved('PNG'), RGB),
    **{f'turned {o}.tif': deep(rgb_tiff(extratags=[(274, 'H', 1, o, True)]), turned(DEEP, o)) for o in range(1, 9)},
    **{f'grey, turned {o}.tif': deep(tiff(GREY16, photometric='minisblack', extratags=[(274, 'H', 1, o, True)]),
        in_three(turned(GREY16, o)), grey=True) for o in (3, 6)},
    'grey, 8 bits, turned.tif': good(tiff(GREY, photometric='minisblack', extratags=[(274, 'H', 1, 6, True)]),
        in_three(turned(GREY, 6)), grey=True),
    **{f'lzw, turned {o}.tif': deep(with_orientation(lzw16(), o), turned(DEEP, o)) for o in (2, 5, 6, 7)},
}

@pytest.mark.parametrize('name', GOOD)
def test_odd_but_readable(tmp_path, name):
    data, pixels, tol, says = GOOD[name]
    (tmp_path/name).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        photo = open_photo(tmp_path/name)
        flat = read_photo(tmp_path/name)
    assert photo.pixels.dtype == (np.uint16 if photo.bits == 16 else np.uint8) and photo.pixels.flags.c_contiguous
    assert photo.pixels.shape == (*pixels.shape[:2], 3)
    assert np.abs(photo.pixels.astype(float) - pixels).max() <= tol
    assert {k: getattr(photo, k) for k in says} == says and photo.path == tmp_path/name
    assert flat.dtype == np.uint8 and (flat == to_uint8(photo.pixels)).all()

# --- Not readable: name -> (bytes, what the reason says)

def damaged(data, at, to=b'\xff'*40): return data[:at] + to + data[at + len(to):]
def bomb(kind):
    "A small file that declares a huge picture."
    if kind == 'png': return png(90000, 90000, 8, 2)
    if kind == 'tif': return grey_tiff(8, b'\0'*99, 100000, 100000)
    if kind == 'bmp': return b'BM' + struct.pack('<IIIIiiHHIIiiII', 99, 0, 54, 40, 50000, 50000, 1, 24, 0, 0, 0, 0, 0, 0) + b'\0'*45
    if kind == 'gif':
        return struct.pack('<6sHHBBB6xcHHHHB', b'GIF89a', 65535, 65535, 0x80, 0, 0, b',', 0, 0, 65535, 65535, 0) + b'\2\1\0;'
    at = JPEG.index(b'\xff\xc0') + 5
    return JPEG[:at] + struct.pack('>HH', 65500, 65500) + JPEG[at + 4:]

FLOAT = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
CUT, NO_PHOTO, TIFF_KIND = 'damaged(,| or) cut short', 'not a photo', 'kind of TIFF is not read'
BAD = {
    'empty.jpg': (b'', 'empty'), 'one byte.jpg': (b'\xff', NO_PHOTO), 'zeros.png': (b'\0'*5000, NO_PHOTO),
    'text.jpg': (b'Dear all, the photo follows.', 'it holds text'), 'page.jpg': (b'<!doctype html><title>404</title>', 'it holds text'),
    'drawing.png': (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'it holds text'),
    'paper.jpg': (b'%PDF-1.7\n%\xe2\xe3\xcf\xd3\n', NO_PHOTO), 'print.tif': (b'%!PS-Adobe-3.0 EPSF-3.0\n', NO_PHOTO),
    'archive.jpg': (b'PK\3\4' + b'\x14\0\0'*40, NO_PHOTO), 'program.jpg': (b'MZ\x90\0'*50, NO_PHOTO),
    'film.jpg': (b'\x1aE\xdf\xa3'*50, NO_PHOTO),
    'phone.jpg': (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'HEIC'), 'web.png': (b'\0\0\0\x1cftypavif\0\0\0\0avifmif1', 'AVIF'),
    'camera.nef': (b'II*\0\x08\0\0\0\0\0', 'raw'), 'camera.cr3': (b'\0'*100, 'raw'),
    'half jpeg 2000.jpg': (saved('JPEG2000')[:99], CUT), 'icon.png': (saved('ICO'), NO_PHOTO), 'noise.png': (bytes(range(256))*20, NO_PHOTO),
    'leading rubbish.jpg': (b'\0\0\0' + JPEG, NO_PHOTO),
    'head.jpg': (JPEG[:30], f'{CUT}|{NO_PHOTO}'), 'half.jpg': (JPEG[:len(JPEG)//2], CUT), 'half.png': (saved('PNG')[:200], CUT),
    'half.tif': (saved('TIFF')[:1200], CUT), 'half lzw.tif': (saved('TIFF', compression='tiff_lzw')[:700], f'{CUT}|{TIFF_KIND}'),
    'half.webp': (saved('WEBP', lossless=True)[:150], f'{CUT}|{NO_PHOTO}'), 'half.gif': (saved('GIF', PALETTE)[:200], CUT),
    'half.bmp': (saved('BMP')[:999], CUT), 'half sixteen.png': (png16(DEEP, 2)[:900], CUT), 'half sixteen.tif': (rgb_tiff()[:3000], CUT),
    'half sixteen squeezed.tif': (rgb_tiff(compression='zlib')[:1500], CUT), 'half sixteen in planes.tif':
        (rgb_tiff(DEEP.transpose(2, 0, 1), planarconfig='separate')[:3000], CUT),
    'head.png': (saved('PNG')[:20], f'{CUT}|{NO_PHOTO}'), 'head.tif': (saved('TIFF')[:6], f'{NO_PHOTO}|{TIFF_KIND}'),
    'wrong sum.png': (damaged(saved('PNG'), 29, b'\0\0\0\0'), f'{CUT}|{NO_PHOTO}'), 'rotten.png': (damaged(saved('PNG'), 150), CUT),
    'rotten sixteen.png': (damaged(png16(DEEP, 2), 400), CUT), 'rotten sixteen.tif': (damaged(rgb_tiff(compression='zlib'), 600), CUT),
    'wrong sum of the pixels.png': (saved('PNG')[:-14] + b'\0\0' + saved('PNG')[-12:], CUT), 'no end.png': (saved('PNG')[:-12], CUT),
    'no pixels.png': (png(4, 4, 8, 2), CUT), 'flat.png': (png(0, 0, 8, 2), f'{CUT}|{NO_PHOTO}'),
    'depth of 3.png': (png(4, 4, 3, 2), f'{CUT}|{NO_PHOTO}'),
    **{f'bomb.{k}': (bomb(k), 'too large') for k in ('png', 'tif', 'bmp', 'gif', 'jpg')},
    'bomb in the profile.png': (png(1, 1, 8, 2, b'\0'*4, chunk(b'iCCP', b'icc\0\0' + zlib.compress(b'\0'*10**8))), CUT),
    'float grey.tif': (tiff(FLOAT, photometric='minisblack'), 'floating'), 'float.tif': (rgb_tiff(np.dstack([FLOAT]*3)), TIFF_KIND),
    'half floats.tif': (rgb_tiff(np.dstack([FLOAT]*3).astype(np.float16)), TIFF_KIND),
    'doubles.tif': (tiff(FLOAT.astype(float)), f'{TIFF_KIND}|floating'),
    '32 bits.tif': (rgb_tiff(DEEP.astype(np.uint32)), TIFF_KIND),
    '32 bits grey.tif': (tiff(GREY16.astype(np.uint32)*9), '16-bit|kind of TIFF'),
    'signed.tif': (tiff(GREY16.astype(np.int16)), 'not 16-bit'),
    'lab, sixteen.tif': (tiff(DEEP, photometric='cielab'), TIFF_KIND), 'complex.tif': (tiff(FLOAT.astype(np.complex64)), TIFF_KIND),
    'no strips.tif': (bare_tiff({256: (4, 4), 257: (4, 4), 258: (3, 8), 262: (3, 1)}), f'{CUT}|{TIFF_KIND}'),
    'strips far away.tif': (grey_tiff(8, b'\0\1\2\3')[:-20] + b'\xff'*8, f'{CUT}|{TIFF_KIND}'),
    'unknown squeeze.tif': (grey_tiff(8, b'1234', t259=(3, 34712)), f'{CUT}|{TIFF_KIND}'),
    'no size.tif': (grey_tiff(8, b'1234', w=0, h=0), f'{CUT}|{TIFF_KIND}|no pixels'),
    'too few strips.tif': (grey_tiff(8, b'1234', h=9, t278=(4, 1)), CUT),
    'no table.tif': (b'II*\0\xff\xff\xff\0', f'{NO_PHOTO}|{TIFF_KIND}|{CUT}'),
}

def refused(path, reason):
    "Whether opening `path` gives the `PhotoError` that a person needs, and leaves the disk alone."
    before = sorted(os.listdir(path.parent)) if path.parent.is_dir() else None
    for read in (open_photo, read_photo):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with pytest.raises(PhotoError, match=reason) as e: read(path)
        assert str(path) in str(e.value) and len(e.value.remedy) > 10 and e.value.path == path
    assert before is None or sorted(os.listdir(path.parent)) == before

@pytest.mark.parametrize('name', BAD)
def test_bad_files_are_refused_with_reason_and_remedy(tmp_path, name):
    data, reason = BAD[name]
    (tmp_path/name).write_bytes(data)
    refused(tmp_path/name, reason)
    photo_exif(tmp_path/name) # tells nothing, or something, but never fails

def test_enough_of_them(): assert len(BAD) >= 50 and len(GOOD) >= 80 and not {*BAD} & {*GOOD}

def test_a_bomb_takes_no_memory(tmp_path):
    with open('/proc/self/statm') as f: now = int(f.read().split()[0])*resource.getpagesize()
    with limited(resource.RLIMIT_AS, now + 2**28):
        for kind in ('png', 'tif', 'bmp', 'gif', 'jpg'):
            (tmp_path/f'b.{kind}').write_bytes(bomb(kind))
            refused(tmp_path/f'b.{kind}', f'pixels, the limit is {MAX_PIXELS:,}')

# --- Places: what the operating system has to say

@contextlib.contextmanager
def limited(what, value):
    "A limit of the operating system on this process, for a while."
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try: yield
    finally: resource.setrlimit(what, (soft, hard))

@contextlib.contextmanager
def ordinary_person():
    "Permissions do not stop an administrator; whoever runs the tests as one is somebody else meanwhile."
    root = os.geteuid() == 0
    if root: os.seteuid(65534)
    try: yield
    finally:
        if root: os.seteuid(0)

@pytest.fixture
def open_place():
    "A folder that everybody can reach."
    place = Path(tempfile.mkdtemp(dir='/tmp'))
    place.chmod(0o777)
    yield place
    for p in (place, *place.rglob('*')):
        if p.is_dir(): p.chmod(0o700)
    shutil.rmtree(place)

def test_places_that_cannot_be_read(open_place):
    (open_place/'closed').mkdir()
    for p in (open_place/'mine.png', open_place/'closed'/'a.png'): p.write_bytes(saved('PNG'))
    open_photo(open_place/'mine.png')
    (open_place/'mine.png').chmod(0); (open_place/'closed').chmod(0)
    with ordinary_person():
        refused(open_place/'mine.png', 'permission')
        refused_in_closed = pytest.raises(PhotoError, match='no such file, or it is hidden')
        with refused_in_closed: open_photo(open_place/'closed'/'a.png')

@pytest.mark.parametrize('path,reason', [('nowhere.jpg', 'no such file'), ('nowhere/a.jpg', 'no such file'), ('a folder.jpg', 'a folder'),
    ('dangling.jpg', 'no such file'), ('loop.jpg', 'no such file'), ('photo.png/inside.png', 'no such file'),
    ('n'*300 + '.jpg', 'no such file'), ('pipe.jpg', 'empty'), ('nul\0byte.jpg', 'no such file'), ('device.jpg', 'empty')])
def test_things_that_are_no_files(tmp_path, path, reason):
    (tmp_path/'a folder.jpg').mkdir()
    (tmp_path/'photo.png').write_bytes(saved('PNG'))
    (tmp_path/'dangling.jpg').symlink_to(tmp_path/'gone.jpg')
    (tmp_path/'loop.jpg').symlink_to(tmp_path/'loop.jpg')
    (tmp_path/'device.jpg').symlink_to('/dev/zero')
    os.mkfifo(tmp_path/'pipe.jpg')
    with pytest.raises(PhotoError, match=reason) as e: open_photo(tmp_path/path)
    assert e.value.remedy

def test_ways_around_to_a_photo(tmp_path, monkeypatch):
    (tmp_path/'a').mkdir()
    (tmp_path/'-f.png').write_bytes(saved('PNG'))
    (tmp_path/'a'/'link.png').symlink_to(tmp_path/'-f.png')
    monkeypatch.chdir(tmp_path)
    for path in ('-f.png', './-f.png', 'a/../-f.png', 'a/link.png', b'-f.png'.decode(), tmp_path/'a'/'..'/'-f.png'):
        assert (open_photo(path).pixels == RGB).all()

def test_a_photo_that_vanishes_or_errs_while_it_is_read(tmp_path, monkeypatch):
    (tmp_path/'a.png').write_bytes(saved('PNG'))
    for error, reason in [(FileNotFoundError(2, 'No such file'), CUT), (OSError(errno.EIO, 'Input/output error'), 'Input/output'),
                          (PermissionError(13, 'Permission denied'), 'permission'), (MemoryError(), 'memory'),
                          (RecursionError('deep'), 'deep')]:
        def load(*_, error=error, **kw): raise error
        with monkeypatch.context() as m:
            m.setattr(Image, 'open', load)
            refused(tmp_path/'a.png', reason)

# --- Writing into places that refuse

def kept(path, act, reason):
    "`act` fails with a `PhotoError`, the old photo at `path` stays, and nothing else is left in its folder."
    old, names = path.read_bytes(), sorted(os.listdir(path.parent))
    with pytest.raises(PhotoError, match=reason) as e: act()
    assert e.value.remedy and path.read_bytes() == old and sorted(os.listdir(path.parent)) == names

@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif', '.webp', '.bmp'])
@pytest.mark.parametrize('bits', [8, 16])
def test_a_full_disk(tmp_path, suffix, bits):
    path, noise = tmp_path/f'a{suffix}', np.random.default_rng(1).integers(0, 65536, (60, 60, 3)).astype(np.uint16)
    save_photo(path, RGB)
    with limited(resource.RLIMIT_FSIZE, 2000): # the operating system takes no byte more
        kept(path, lambda: save_photo(path, noise if bits == 16 else to_uint8(noise)), 'could not be written.*too large.*free space')
    save_photo(path, noise)

def test_no_space_left(tmp_path, monkeypatch):
    save_photo(tmp_path/'a.png', RGB)
    def full(self, data): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(Path, 'write_bytes', full)
    kept(tmp_path/'a.png', lambda: save_photo(tmp_path/'a.png', DEEP), 'No space left')

def test_places_that_cannot_be_written(open_place):
    save_photo(open_place/'closed'/'a.png', RGB)
    (open_place/'closed').chmod(0o555)
    with ordinary_person():
        kept(open_place/'closed'/'a.png', lambda: save_photo(open_place/'closed'/'a.png', DEEP), 'Permission denied.*permissions')
        kept(open_place/'closed'/'a.png', lambda: write_photo(open_place/'closed'/'new'/'b.png', RGB), 'Permission denied')

@pytest.mark.parametrize('path,reason', [
    ('folder.png', 'could not be written'), ('a.png/b.png', 'could not be written'), ('n'*300 + '.png', 'name too long'),
    ('a.xyz', 'no photo format'), ('a', 'no photo format'), ('.png', 'no photo format'),
    ('nul\0.png', 'could not be written'), ('a.gif', 'no photo format')])
def test_names_that_cannot_be_written(tmp_path, path, reason):
    save_photo(tmp_path/'a.png', RGB)
    (tmp_path/'folder.png'/'full').mkdir(parents=True)
    kept(tmp_path/'a.png', lambda: save_photo(tmp_path/path, RGB), f'(?i){reason}')

@pytest.mark.parametrize('name', ['-rf.png', ' a b .png', '👵🏽.png', 'new\nline.png', 'x'*251 + '.png', 'A.PNG', 'a/../b.png', 'deep/er/c.png',
    'ü%s{0}.png'])
def test_names_that_can_be_written(tmp_path, name):
    path = save_photo(tmp_path/name, DEEP)
    assert (open_photo(path).pixels == DEEP).all()
    assert [p.name for p in path.resolve().parent.iterdir() if p.is_file()] == [Path(name).name]

@pytest.mark.parametrize('kind', ['write_bytes', 'replace'])
def test_interrupted_while_writing(tmp_path, monkeypatch, kind):
    save_photo(tmp_path/'a.png', RGB)
    before = (tmp_path/'a.png').read_bytes()
    def stop(*_): raise KeyboardInterrupt
    monkeypatch.setattr(*((Path, 'write_bytes') if kind == 'write_bytes' else (os, 'replace')), stop)
    with pytest.raises(KeyboardInterrupt): save_photo(tmp_path/'a.png', DEEP)
    assert os.listdir(tmp_path) == ['a.png'] and (tmp_path/'a.png').read_bytes() == before

# --- There and back: profiles

def lcms(numbers, profile, back=False):
    "8-bit numbers of a profile in sRGB, or the other way, as LittleCMS has it."
    p, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile('sRGB')
    mode = 'L' if profile[16:20] == b'GRAY' else 'RGB'
    args = (srgb, p) if back else (p, srgb)
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(numbers), *args, outputMode=mode if back else 'RGB')).astype(int)

@pytest.mark.parametrize('name', RGB_PROFILES)
@pytest.mark.parametrize('suffix', ['.png', '.tif', '.jpg', '.webp'])
def test_an_rgb_profile_there_and_back(tmp_path, name, suffix):
    profile = RGB_PROFILES[name]
    numbers = to_uint8(lcms(RGB, profile, back=True).astype(np.uint8)) # colours that sRGB has
    (tmp_path/'a.png').write_bytes(saved('PNG', Image.fromarray(numbers), icc_profile=profile))
    photo = open_photo(tmp_path/'a.png')
    assert photo.profile == profile and not photo.grey
    assert np.abs(photo.pixels.astype(int) - lcms(numbers, profile)).max() <= 1 # two versions of LittleCMS round differently
    assert np.abs(photo.pixels.astype(int) - numbers).mean() > 3 # it is not sRGB
    out = save_photo(tmp_path/f'b{suffix}', photo.pixels, photo)
    with Image.open(out) as im: assert im.info['icc_profile'] == profile and im.mode == 'RGB'
    back = open_photo(out)
    lossy = suffix in ('.jpg', '.webp')
    assert np.abs(back.pixels.astype(int) - photo.pixels).mean() < (4 if lossy else 1)
    if not lossy: assert np.abs(np.asarray(Image.open(out)).astype(int) - numbers).max() <= (2 if name != 'linear' else 4)

@pytest.mark.parametrize('name', RGB_PROFILES)
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_an_rgb_profile_with_16_bits(tmp_path, name, suffix):
    profile = RGB_PROFILES[name]
    photo = Photo(DEEP, bits=16, profile=profile)
    out = save_photo(tmp_path/f'a{suffix}', DEEP, photo)
    read = open_photo(out)
    assert read.bits == 16 and read.profile == profile
    inside = lcms(RGB, profile, back=True) # in a small gamut colours are clipped on the way; here none is
    assert np.abs(read.pixels.astype(int) - DEEP).max() <= 40 # of 65,535
    assert np.abs(lcms(inside.astype(np.uint8), profile) - (read.pixels >> 8)).mean() < 2.5 # LittleCMS agrees, as far as 8 bits go

@pytest.mark.parametrize('name', GREY_PROFILES)
@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('suffix', ['.png', '.tif', '.jpg', '.webp'])
def test_a_grey_profile_there_and_back(tmp_path, name, bits, suffix):
    profile, numbers = GREY_PROFILES[name], GREY if bits == 8 else GREY16
    (tmp_path/'a.png').write_bytes(saved('PNG', Image.fromarray(numbers), icc_profile=profile))
    photo = open_photo(tmp_path/'a.png')
    assert photo.grey and photo.profile == profile and photo.bits == bits and (photo.pixels[..., :1] == photo.pixels).all()
    if bits == 8: assert np.abs(photo.pixels.astype(int) - lcms(numbers, profile)).max() <= 1
    else: assert np.abs((photo.pixels >> 8).astype(int) - lcms((numbers >> 8).astype(np.uint8), profile)).mean() < 2
    out = save_photo(tmp_path/f'b{suffix}', photo.pixels, photo)
    with Image.open(out) as im:
        assert im.mode == {'.webp': 'RGB', '.jpg': 'L'}.get(suffix, 'L' if bits == 8 else 'I;16')
        assert im.info.get('icc_profile') == (None if suffix == '.webp' else profile) # WebP has no grey: it becomes sRGB
        stored = np.asarray(im).astype(int)
    if suffix in ('.png', '.tif'): assert np.abs(stored - numbers).max() <= (3 if bits == 8 else 40)
    again = open_photo(out).pixels.astype(float)/(65535 if bits == 16 and suffix in ('.png', '.tif') else 255)
    assert np.abs(again - photo.pixels.astype(float)/(65535 if bits == 16 else 255)).mean() < 4/255

def test_a_grey_photo_that_was_coloured(tmp_path):
    (tmp_path/'a.png').write_bytes(saved('PNG', PIL.convert('L'), icc_profile=GREY_PROFILES['gamma18']))
    out = save_photo(tmp_path/'b.png', RGB, open_photo(tmp_path/'a.png'))
    with Image.open(out) as im: assert im.mode == 'RGB' and 'icc_profile' not in im.info
    assert (read_photo(out) == RGB).all()

def test_nearly_neutral_is_grey(tmp_path):
    photo = Photo(in_three(GREY), grey=True)
    near, far = in_three(GREY), in_three(GREY)
    near[3, 4, 0] += 1; far[3, 4, 0] += 2
    assert Image.open(save_photo(tmp_path/'a.png', near, photo)).mode == 'L'
    assert Image.open(save_photo(tmp_path/'b.png', far, photo)).mode == 'RGB'
    assert Image.open(save_photo(tmp_path/'c.png', in_three(GREY))).mode == 'RGB' # nobody said that it was grey

def test_an_srgb_profile_changes_nothing_and_stays(tmp_path):
    srgb = rgb_profile('srgb', SRGB_CURVE, text=b'sRGB IEC61966-2.1\0')
    for name, data in {'a.png': saved('PNG', icc_profile=srgb), 'b.tif': rgb_tiff(iccprofile=srgb)}.items():
        (tmp_path/name).write_bytes(data)
        photo = open_photo(tmp_path/name)
        assert photo.profile == srgb
        assert (photo.pixels == (DEEP if photo.bits == 16 else RGB)).all()
        with Image.open(save_photo(tmp_path/name, photo.pixels, photo)) as im: assert im.info['icc_profile'] == srgb

def test_a_profile_without_a_name_still_converts(tmp_path):
    profile = bytearray(RGB_PROFILES['linear'])
    at = profile.index(b'desc', 200) # the text, behind the table
    profile[at:at + 4] = b'dEsc'
    (tmp_path/'a.png').write_bytes(saved('PNG', icc_profile=bytes(profile)))
    photo = open_photo(tmp_path/'a.png')
    assert np.abs(photo.pixels.astype(int) - lcms(RGB, RGB_PROFILES['linear'])).max() <= 1 and photo.profile == bytes(profile)
    save_photo(tmp_path/'b.png', photo.pixels, photo)

def test_a_profile_of_tables(tmp_path):
    (tmp_path/'a.tif').write_bytes(rgb_tiff(iccprofile=table_profile()))
    photo = open_photo(tmp_path/'a.tif')
    assert photo.bits == 16 and photo.profile == table_profile()
    assert np.abs(photo.pixels/257 - lcms(RGB, photo.profile)).mean() < 1
    assert len(np.unique(photo.pixels)) > 3*256 # the steps in between are there, too
    with Image.open(save_photo(tmp_path/'b.tif', DEEP, photo)) as im:
        assert im.tag_v2[258] == (16, 16, 16) and im.info['icc_profile'] == photo.profile
    (tmp_path/'c.png').write_bytes(saved('PNG', icc_profile=table_profile(back=False))) # a scanner's: one way only
    photo = open_photo(tmp_path/'c.png')
    assert photo.profile is None and np.abs(photo.pixels.astype(int) - lcms(RGB, table_profile(back=False))).max() <= 1
    with Image.open(save_photo(tmp_path/'d.png', photo.pixels, photo)) as im: assert 'icc_profile' not in im.info

@pytest.mark.parametrize('broken', ['no tables', 'falling', 'flat', 'cut', 'noise'])
def test_a_broken_profile_with_16_bits(tmp_path, broken):
    falling = b'curv\0\0\0\0' + struct.pack('>I3H', 3, 0, 60000, 9) + b'\0\0'
    profile = {'no tables': icc({}), 'falling': rgb_profile('srgb', falling), 'cut': RGB_PROFILES['p3'][:300], 'noise': bytes(range(256)),
               'flat': rgb_profile('srgb', b'curv\0\0\0\0' + struct.pack('>I2H', 2, 9, 9))}[broken]
    (tmp_path/'a.tif').write_bytes(rgb_tiff(iccprofile=profile))
    with pytest.warns(UserWarning, match='colour profile ignored'): photo = open_photo(tmp_path/'a.tif')
    assert (photo.pixels == DEEP).all() and photo.bits == 16 and photo.profile is None
    assert (open_photo(save_photo(tmp_path/'b.tif', photo.pixels, photo)).pixels == DEEP).all()

# --- There and back: 16 bits

@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('profile', [None, *RGB_PROFILES])
def test_a_ramp_keeps_its_steps(tmp_path, suffix, profile):
    ramp = np.tile(np.arange(0, 65536, 16, dtype=np.uint16)[None, :, None], (3, 1, 3))
    read = open_photo(save_photo(tmp_path/f'a{suffix}', ramp, Photo(ramp, bits=16, profile=profile and RGB_PROFILES[profile])))
    if profile is None: assert (read.pixels == ramp).all()
    assert np.abs(read.pixels.astype(int) - ramp).max() <= 48
    assert len(np.unique(read.pixels[0, :, 1])) > 3900 # of 4,096: 8 bits would leave 256
    assert (np.diff(read.pixels[0, :, 1].astype(int)) >= 0).all()

@pytest.mark.parametrize('suffix,depth', [('.png', 16), ('.tif', 16), ('.jpg', 8), ('.webp', 8), ('.bmp', 8)])
def test_16_bits_go_where_they_fit(tmp_path, suffix, depth):
    for grey in (False, True):
        px = in_three(GREY16) if grey else DEEP
        for pixels in (px, (px/65535).astype(np.float32)):
            read = open_photo(save_photo(tmp_path/f'a{suffix}', pixels, Photo(px, grey, 16)))
            assert read.bits == depth
            if depth == 16: assert (read.pixels == px).all() and read.grey == grey
            elif suffix == '.bmp': assert (read.pixels == to_uint8(px)).all()
    assert open_photo(save_photo(tmp_path/'b.png', (DEEP/65535).astype(np.float32))).bits == 8 # nobody asked for 16
    assert open_photo(write_photo(tmp_path/'b.png', DEEP)).bits == 8

@pytest.mark.parametrize('shape', [(1, 1), (1, 5000), (5000, 1), (700, 900)])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_our_tiffs_are_what_others_read(tmp_path, shape, dtype):
    px = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (*shape, 3)).astype(dtype)
    for a in (px, px[..., 0]):
        path = save_photo(tmp_path/'a.tif', a)
        assert (tifffile.imread(path) == a).all()
        seen = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (seen == (a if a.ndim == 2 else a[..., ::-1])).all()

# --- There and back: what else the file says

def told(path):
    with Image.open(path) as im:
        e = im.getexif()
        return dict(e), dict(e.get_ifd(0x8769)), dict(e.get_ifd(0x8825)), im.info.get('dpi')

@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('source', ['.jpg', '.png', '.tif', '.webp'])
def test_exif_place_and_orientation(tmp_path, orientation, source):
    exif = exif_of(_271='Zorki', _306='1957:10:04 19:28:34', _270='At the lake', _305='Scanner 2', _274=orientation, _33432='the family')
    exif[0x8769] = {36867: '1957:10:04 19:28:34', 33434: 1/125, 40962: 32, 37500: b'private'}
    exif[0x8825] = {1: 'N', 2: (16., 30., 12.5), 3: 'W', 4: (68., 9., 0.)}
    (tmp_path/f'a{source}').write_bytes(saved(dict(zip(('.jpg', '.png', '.tif', '.webp'), ('JPEG', 'PNG', 'TIFF', 'WEBP')))[source],
        exif=exif, **({'lossless': True} if source == '.webp' else {})))
    photo = open_photo(tmp_path/f'a{source}')
    assert np.abs(photo.pixels.astype(int) - turned(RGB, orientation)).mean() < 5
    for suffix in ('.jpg', '.png', '.tif', '.webp'):
        for pixels in (photo.pixels, photo.pixels.astype(np.uint16)*257):
            main, camera, place, _ = told(save_photo(tmp_path/f'b{suffix}', pixels, photo, 'restorer_fastai: restored'))
            assert (main[271], main[270], main[306], main[33432], main.get(274, 1)) == (
                'Zorki', 'At the lake', '1957:10:04 19:28:34', 'the family', 1)
            assert main[305] == 'Scanner 2; restorer_fastai: restored'
            assert camera[36867] == '1957:10:04 19:28:34' and float(camera[33434]) == pytest.approx(1/125)
            assert not {40962, 37500} & {*camera} # width, and the maker's secrets
            assert place[1] == 'N' and tuple(map(float, place[2])) == (16, 30, 12.5) and place[3] == 'W'
            assert open_photo(tmp_path/f'b{suffix}').pixels.shape == photo.pixels.shape # turned once

CAPTIONS = {270: (2, 'Großmutter'.encode('latin-1') + b'\0'), 315: (129, 'Фото: Јован\0'.encode()), 33432: (2, b'\xff'*5000 + b'\0'), 296: (2, b'inch\0')}
PLACE = {1: (2, b'N\0'), 5: (2, b'sea level\0'), 2: (5, struct.pack('<6I', 16, 1, 30, 1, 125, 10))} # 5 and 296 should be numbers

@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp'])
@pytest.mark.parametrize('deep', [False, True])
def test_tags_go_from_file_to_file_as_bytes(tmp_path, suffix, deep):
    block = exif_block({EXIF_MAIN: CAPTIONS | {274: (3, b'\6\0')}, EXIF_CAMERA: {36867: (2, b'1957:10:04\0')}, EXIF_PLACE: PLACE})
    (tmp_path/'a.jpg').write_bytes(saved('JPEG', exif=block))
    photo = open_photo(tmp_path/'a.jpg')
    path = save_photo(tmp_path/f'b{suffix}', DEEP if deep else RGB, photo, 'restored')
    back = read_exif(photo_exif(path))
    kept = {t: v for t, v in CAPTIONS.items() if suffix not in ('.tif', '.webp') or t != 296} # in these two the resolution lies there
    if suffix == '.tif': kept[315] = 2, CAPTIONS[315][1] # type 129 is newer than tifffile
    assert {t: back[EXIF_MAIN].get(t) for t in kept} == kept
    assert (back[EXIF_PLACE], back[EXIF_CAMERA]) == (PLACE, {36867: (2, b'1957:10:04\0')})
    assert back[EXIF_MAIN][305] == (2, b'restored\0') and open_photo(path).pixels.shape == RGB.shape

@pytest.mark.parametrize('byteorder,wide', [('<', False), ('>', False), ('<', True)]) # Pillow reads no big-endian BigTIFF
def test_tags_of_every_kind_of_tiff(tmp_path, byteorder, wide):
    tags = [(271, 2, 6, b'Zorki\0', True), (285, 2, 2, b'7\0', True)]
    (tmp_path/'a.tif').write_bytes(rgb_tiff(RGB, byteorder=byteorder, bigtiff=wide, extratags=tags, resolution=(300, 600), resolutionunit=2))
    main = read_exif(photo_exif(tmp_path/'a.tif'))[EXIF_MAIN]
    assert [main[o] for o in (271, 285, 282)] == [(2, b'Zorki\0'), (2, b'7\0'), (5, struct.pack('<II', 300, 1))]

@pytest.mark.parametrize('orientation', [1, 6])
def test_a_resolution_turns_with_the_photo(tmp_path, orientation):
    exif = exif_of(_282=300., _283=600., _296=2, _274=orientation)
    (tmp_path/'a.png').write_bytes(saved('PNG', exif=exif))
    for suffix in ('.png', '.tif', '.webp'):
        e = told(save_photo(tmp_path/f'b{suffix}', RGB, open_photo(tmp_path/'a.png')))[0]
        assert (e[282], e[283]) == ((300, 600) if orientation == 1 else (600, 300))

def test_a_profile_is_known_by_what_it_does(tmp_path):
    liar = rgb_profile('srgb', LINEAR, text=b'sRGB IEC61966-2.1 (Linear)\0')
    for data in (saved('PNG', icc_profile=liar), rgb_tiff(iccprofile=liar)):
        (tmp_path/'a').write_bytes(data)
        read = open_photo(tmp_path/'a').pixels
        assert np.abs(to_uint8(read).astype(int) - lcms(RGB, liar)).mean() < 1 and np.abs(to_uint8(read).astype(int) - RGB).mean() > 20

def test_grey_profiles_mean_the_same_with_8_and_16_bits(tmp_path):
    for pcs in (b'XYZ ', b'Lab '):
        profile = icc({b'kTRC': GAMMA18}, b'GRAY', pcs)
        for name, im in (('a.png', GREY), ('b.png', GREY.astype(np.uint16)*257)): (tmp_path/name).write_bytes(saved('PNG', Image.fromarray(im), icc_profile=profile))
        a, b = (open_photo(tmp_path/o).pixels for o in ('a.png', 'b.png'))
        assert b.dtype == np.uint16 and np.abs(b/257 - a).max() <= 1

def test_the_note(tmp_path):
    path = save_photo(tmp_path/'a.jpg', RGB, note='first')
    assert told(path)[0] == {305: 'first'}
    path = save_photo(path, RGB, open_photo(path), 'second')
    path = save_photo(path, RGB, open_photo(path), 'second')
    assert told(path)[0][305] == 'first; second'
    assert told(save_photo(tmp_path/'b.png', RGB))[0] == {} and open_photo(tmp_path/'b.png').exif is None

@pytest.mark.parametrize('suffix', ['.jpg', '.webp', '.png', '.tif'])
def test_more_exif_than_fits(tmp_path, suffix):
    exif = exif_of(_271='Zorki')
    exif[0x8769] = {t: 'z'*4000 for t in range(50000, 50030)} | {36867: '1957:10:04 19:28:34'}
    photo = Photo(RGB, exif=exif.tobytes())
    main, camera, *_ = told(save_photo(tmp_path/f'a{suffix}', RGB, photo, 'note'))
    assert main[271] == 'Zorki' and main[305] == 'note' and camera[36867] == '1957:10:04 19:28:34'
    assert (len(camera) == 31) == (suffix != '.jpg') # a JPEG has room for 64 KB
    with pytest.raises(PhotoError, match='damaged EXIF'): save_photo(tmp_path/'b.jpg', RGB, Photo(RGB, exif=b'Exif\0\0rubbish'))
    assert not (tmp_path/'b.jpg').exists()

@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp'])
@pytest.mark.parametrize('deep', [False, True])
def test_resolution_and_captions(tmp_path, suffix, deep):
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" dc:title="Großmutter"/></x:xmpmeta>'.encode()
    (tmp_path/'a.jpg').write_bytes(saved('JPEG', dpi=(600, 300), xmp=xmp, exif=exif_of(_274=6)))
    photo = open_photo(tmp_path/'a.jpg')
    assert photo.dpi == (300, 600) # turned, as the photo is
    path = save_photo(tmp_path/f'b{suffix}', DEEP if deep else RGB, photo)
    back = open_photo(path)
    assert back.xmp == photo.xmp and 'Großmutter' in back.xmp.decode() and b'tiff:Orientation="1"' in back.xmp
    dpi = back.dpi if suffix != '.webp' else tuple(float(told(path)[0][t]) for t in (282, 283))
    assert dpi == pytest.approx((300, 600), abs=.5)

@pytest.mark.parametrize('dpi', [(0, 0), (-5, 9), (float('nan'), 1), ('a', 'b'), (72,), None, (1e9, 1e9)])
def test_resolutions_without_sense_are_no_resolutions(tmp_path, monkeypatch, dpi):
    (tmp_path/'a.png').write_bytes(saved('PNG'))
    load = Image.Image.load
    def odd(self):
        self.info['dpi'] = dpi
        return load(self)
    monkeypatch.setattr(Image.Image, 'load', odd)
    assert open_photo(tmp_path/'a.png').dpi is None

# --- Random damage

EXIF = exif_of(_271='Zorki', _274=6)
EXIF[0x8825] = {1: 'N', 2: (16., 30., 12.5)}
SEEDS = [saved('JPEG', exif=EXIF, icc_profile=RGB_PROFILES['p3'], xmp=b'<x/>', dpi=(300, 300)), saved('JPEG', PIL.convert('CMYK')),
    saved('PNG', CLEAR, exif=EXIF, icc_profile=RGB_PROFILES['adobe']), saved('PNG', PALETTE, transparency=3),
    png16(DEEP, 2, chunk(b'eXIf', EXIF.tobytes()[6:])), saved('PNG', Image.fromarray(GREY16), icc_profile=GREY_PROFILES['gamma18']),
    saved('TIFF', exif=EXIF), saved('TIFF', compression='tiff_lzw'), rgb_tiff(),
    rgb_tiff(compression='zlib', iccprofile=RGB_PROFILES['p3']),
    lzw16(), tiff(GREY16, photometric='miniswhite'), saved('TIFF', **many()), saved('WEBP', CLEAR, exif=EXIF),
    saved('WEBP', lossless=True, **many()),
    saved('GIF', PALETTE), saved('BMP')]

def mutate(data, seed):
    "`data` with one to six changes: bits turned, bytes set, a part doubled, taken out or zeroed, the end cut off."
    rng, data = np.random.default_rng(seed), bytearray(data)
    for _ in range(rng.integers(1, 7)):
        if not data: break
        at = int(rng.integers(len(data)) if rng.random() < .5 else rng.integers(min(len(data), 200))) # heads are where it hurts
        n, how = int(rng.integers(1, 33)), rng.integers(6)
        if how == 0: data[at] ^= 1 << int(rng.integers(8))
        elif how == 1: data[at] = int(rng.choice([0, 1, 127, 128, 255]))
        elif how == 2: data[at:at] = data[at:at + n]
        elif how == 3: del data[at:at + n]
        elif how == 4: data[at:at + n] = bytes(len(data[at:at + n]))
        elif rng.random() < .3: del data[at:]
    return bytes(data)

def with_sums(data):
    "A PNG whose check sums fit again, so that the decoders get to see the damage."
    out, at = data[:8], 8
    while at + 12 <= len(data):
        n = min(struct.unpack_from('>I', data, at)[0], len(data) - at - 12)
        out, at = out + chunk(data[at + 4:at + 8], data[at + 8:at + 8 + n]), at + 12 + n
    return out

def survive(folder, data):
    "Read `data` and write what was read: a photo, or a `PhotoError`. 1 when it was read."
    path = folder/'damaged'
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try: photo = open_photo(path)
        except PhotoError as e:
            assert str(path) in str(e) and e.reason and e.remedy
            return 0
        assert photo.pixels.dtype in (np.uint8, np.uint16) and photo.pixels.ndim == 3 and photo.pixels.shape[2] == 3
        if photo.pixels.size < 10**5: # some declare millions of pixels, and are black
            for suffix in ('.jpg', '.png', '.tif', '.webp'): read_photo(save_photo(folder/f'again{suffix}', photo.pixels, photo, 'note'))
    return 1

@given(number=st.integers(0, len(SEEDS) - 1), seed=st.integers(0, 2**32))
@settings(derandomize=True, deadline=None, max_examples=250)
def test_random_damage(tmp_path_factory, number, seed):
    data = mutate(SEEDS[number], seed)
    survive(tmp_path_factory.getbasetemp(), with_sums(data) if data.startswith(b'\x89PNG') and seed % 2 else data)

def test_the_seeds_themselves_are_read(tmp_path): assert sum(survive(tmp_path, o) for o in SEEDS) == len(SEEDS)
