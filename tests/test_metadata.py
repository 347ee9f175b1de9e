"""What a file says of its photo: EXIF data, IPTC records, XMP, comments and texts, as people's programs write them. Each is found in the result, byte for byte
where it can be, or named among what the result lacks; what became untrue is gone; a damaged piece costs neither the photo nor the other pieces."""
import hashlib
import io
import os
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from restorer_fastai.cli import app
from restorer_fastai.photo.exif import EXIF_CAMERA, EXIF_MAIN, EXIF_PLACE, EXIF_RULES, exif_block, exif_order, has_thumbnail, read_exif
from restorer_fastai.photo.metadata import Captions, png_text, raw_profile, read_resources, resource_block
from restorer_fastai.photo.reading import open_photo, Photo, photo_exif
from restorer_fastai.photo.writing import not_written, save_photo
from restorer_fastai.restore.files import what_is_lacking as all_that_is_lacking

tifffile = pytest.importorskip('tifffile')

# --- Makers of files, each with what is to be tested in it

RGB = np.random.default_rng(0).integers(60, 200, (2, 3, 3)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
SUFFIXES = '.jpg', '.tif', '.png', '.webp'
THUMBNAIL, MAKER = 'not carried over: a thumbnail, which showed the photo as it was', "not carried over: the camera maker's private note (MakerNote)"

def what_is_lacking(photo, out):
    "Without what is said of the pixels of a WebP."
    return tuple(o for o in all_that_is_lacking(photo, out) if '4:2:0' not in o)

def stored(kind, **options):
    Image.fromarray(RGB).save(f := io.BytesIO(), kind, **options)
    return f.getvalue()

def segment(marker, body): return struct.pack('>BBH', 0xff, marker, len(body) + 2) + body
def jpeg(*segments): return (data := stored('JPEG'))[:2] + b''.join(segments) + data[2:]
def chunk(kind, body): return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
def png(*chunks): return (data := stored('PNG'))[:33] + b''.join(chunks) + data[33:]

def tiff(*tags, **options):
    tifffile.imwrite(f := io.BytesIO(), RGB, photometric='rgb', metadata=None, extratags=[(tag, kind, len(raw), raw, True) for tag, kind, raw in tags], **options)
    return f.getvalue()

def exif(main=None, camera=None, place=None, rules=None, order='<'):
    tables = {EXIF_MAIN: {271: (2, b'Zorki\0')} | (main or {}), EXIF_CAMERA: camera or {}, EXIF_PLACE: place or {}, EXIF_RULES: rules or {}}
    return exif_block(tables, order)

def app1(block): return segment(0xe1, block)
def xmp1(packet): return segment(0xe1, b'http://ns.adobe.com/xap/1.0/\0' + packet)

def iptc(dataset, text, record=2): return struct.pack('>BBBH', 0x1c, record, dataset, len(text)) + text
IIM = iptc(90, b'\x1b%G', 1) + iptc(120, 'Großmutter am See'.encode()) + iptc(25, b'family-keyword')
def app13(*resources): return segment(0xed, b'Photoshop 3.0\0' + resource_block([(n, b'\0\0', data) for n, data in resources]))

SPACES = dict(rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#', tiff='http://ns.adobe.com/tiff/1.0/', exif='http://ns.adobe.com/exif/1.0/', dc='http://purl.org/dc/elements/1.1/',
    xmp='http://ns.adobe.com/xap/1.0/', note='http://ns.adobe.com/xmp/note/', crs='http://ns.adobe.com/camera-raw-settings/1.0/', cam='http://ns.google.com/photos/1.0/camera/',
    box='http://ns.google.com/photos/1.0/container/', item='http://ns.google.com/photos/1.0/container/item/', gain='http://ns.adobe.com/hdr-gain-map/1.0/',
    regions='http://www.metadataworkinggroup.com/schemas/regions/', area='http://ns.adobe.com/xmp/sType/Area#', dim='http://ns.adobe.com/xap/1.0/sType/Dimensions#')

def packet(attributes='', elements=''):
    spaces = ' '.join(f'xmlns:{k}="{v}"' for k, v in SPACES.items())
    return (f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {spaces}><rdf:Description rdf:about="" '
            f'xmp:Label="Großmutter" {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>').encode()

# --- There and back

@pytest.fixture
def trip(tmp_path):
    "Write bytes, read them as a photo, write its result: (what was read, the path of the result)."
    def through(data, suffix, name='in'):
        (tmp_path/name).write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            photo = open_photo(tmp_path/name)
        return photo, save_photo(tmp_path/f'out{suffix}', photo.pixels, photo, 'restored')
    return through

def told(path):
    "EXIF tables of a file, as bytes."
    return read_exif(photo_exif(path))

TEXTS = dict(utf8=(270, 2, 'Großmutter, 1957 – 祖母'), artist=(315, 2, 'Müller'), rights=(33432, 2, '© Lucía Peña'), latin1=(270, 2, b'Gro\xdfmutter'),
    type_129=(270, 129, 'Großmutter'), long=(270, 2, 'A long story. '*400), windows=(40091, 1, 'Großmutter'.encode('utf-16le')))

@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('name', TEXTS)
@pytest.mark.parametrize('order', '<>')
def test_exif_texts_are_the_same_bytes(trip, suffix, name, order):
    tag, kind, text = TEXTS[name]
    raw = (text.encode() if isinstance(text, str) else text) + b'\0'
    photo, out = trip(jpeg(app1(exif({tag: (kind, raw)}, order=order))), suffix)
    assert told(out)[EXIF_MAIN][tag] == (2 if kind == 129 and suffix == '.tif' else kind, raw) and photo.lacks == ()

@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('main,place', [({}, {5: (2, b'0\0')}), ({}, {2: (10, struct.pack('<6i', -16, 1, 30, 1, 0, 1))}), ({}, {2: (2, b'16 deg 30\0')}),
    ({}, {0: (2, b'2.3.0.0\0')}), ({282: (2, b'300\0')}, {}), ({296: (2, b'2\0')}, {}), ({274: (2, b'6\0')}, {}), ({}, {7: (7, b'noon')})])
def test_a_tag_of_a_wrong_type_costs_no_other(trip, suffix, main, place):
    _, out = trip(jpeg(app1(exif({270: (2, b'At the lake\0')} | main, {36867: (2, b'1957:10:04 19:28:34\0')}, place))), suffix)
    back = told(out)
    assert (back[EXIF_MAIN][271], back[EXIF_MAIN][270], back[EXIF_CAMERA][36867]) == ((2, b'Zorki\0'), (2, b'At the lake\0'), (2, b'1957:10:04 19:28:34\0'))
    assert back[EXIF_PLACE] == place

@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('source', ['jpeg', 'png', 'raw profile', 'APP1 profile', 'webp', 'tiff'])
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_exif_from_everywhere_to_everywhere(trip, tmp_path, order, source, suffix):
    comment = b'UNICODE\0' + 'Бабушка'.encode('utf-16le' if order == '<' else 'utf-16be')
    camera, place, rules = {37510: (7, comment), 33434: (5, struct.pack('<II', 1, 125))}, {1: (2, b'N\0')}, {1: (2, b'R98\0')}
    block = exif({18246: (3, b'\5\0'), 18249: (3, b'\x63\0'), 36880: (2, b'+01:00\0')}, camera, place, rules, order)
    if source == 'tiff': data = save_photo(tmp_path/'source.tif', RGB, Photo(RGB, exif=block)).read_bytes()
    elif source == 'webp': data = stored('WEBP', exif=block)
    else: data = dict(jpeg=lambda: jpeg(app1(block)), png=lambda: png(chunk(b'eXIf', block[6:]))).get(source, lambda: png(chunk(*raw_profile(source.split()[0].replace('raw', 'exif'), block))))()
    _, out = trip(data, suffix)
    back = told(out)
    assert (back[EXIF_CAMERA], back[EXIF_PLACE], back[EXIF_RULES], exif_order(photo_exif(out))) == (camera, place, rules, order)
    assert [back[EXIF_MAIN][o] for o in (271, 18246, 18249, 36880)] == [(2, b'Zorki\0'), (3, b'\5\0'), (3, b'\x63\0'), (2, b'+01:00\0')]

def test_what_exif_loses_is_named(trip, tmp_path):
    small = stored('JPEG')
    block = exif(camera={37500: (7, b'private'), 40962: (4, bytes(4)), 37396: (3, b'\1\0\2\0')})
    table = struct.pack('<HHHII', 2, 513, 4, 1, len(block) - 6 + 30) + struct.pack('<HHII', 514, 4, 1, len(small)) + bytes(4)
    n, = struct.unpack_from('<H', block, 14)
    block = block[:16 + 12*n] + struct.pack('<I', len(block) - 6) + block[20 + 12*n:] + table + small # a thumbnail behind the main table
    assert has_thumbnail(block)
    photo, out = trip(jpeg(app1(block)), '.jpg')
    assert photo.lacks == (MAKER, THUMBNAIL) and what_is_lacking(photo, out) == photo.lacks
    assert small[20:200] not in out.read_bytes()[:len(block)] and told(out)[EXIF_CAMERA] == {37396: (3, b'\1\0\2\0')}
    again, _ = trip(out.read_bytes(), '.jpg')
    assert again.lacks == () # what is gone is not named twice

def test_exif_longer_than_a_segment_is_named(trip):
    photo, out = trip(png(chunk(b'eXIf', exif(camera={37510: (7, b'ASCII\0\0\0' + b'x'*70000), 36867: (2, b'1957:10:04 19:28:34\0')})[6:])), '.jpg')
    assert photo.lacks == () and what_is_lacking(photo, out) == ('not carried over: EXIF data that do not fit a JPEG (UserComment)',)
    assert told(out)[EXIF_CAMERA] == {36867: (2, b'1957:10:04 19:28:34\0')} and b'restored' in told(out)[EXIF_MAIN][305][1]
    assert [not_written(photo, f'a{o}') for o in ('.png', '.tif', '.webp')] == [(), (), ()]

def test_geotiff_tags_stay_unless_the_photo_turns(trip):
    tags = [(33550, 12, struct.pack('<3d', 1, 1, 0)), (34735, 3, struct.pack('<4H', 1, 1, 0, 0)), (271, 2, b'Zorki\0')]
    photo, out = trip(tiff(*tags), '.tif')
    assert told(out)[EXIF_MAIN][33550] == (12, struct.pack('<3d', 1, 1, 0)) and photo.lacks == ()
    photo, out = trip(tiff(*tags, (274, 3, struct.pack('<H', 6))), '.tif')
    assert 33550 not in told(out)[EXIF_MAIN] and 'GeoTIFF' in photo.lacks[0]

@pytest.mark.parametrize('orientation', [1, 3, 6])
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_resolution_turns(trip, orientation, suffix):
    "Also where EXIF data alone tell it, of which Pillow takes the one across for both."
    block = exif({282: (5, struct.pack('<II', 600, 1)), 283: (5, struct.pack('<II', 300, 1)), 296: (3, b'\2\0'), 274: (3, struct.pack('<H', orientation))})
    said = packet('tiff:XResolution="600/1" tiff:YResolution="300/1" tiff:Orientation="6"')
    photo, out = trip(jpeg(app1(block), xmp1(said)), suffix)
    assert photo.dpi == ((300, 600) if orientation == 6 else (600, 300))
    assert open_photo(out).dpi == pytest.approx(photo.dpi, abs=.5)
    assert (b'tiff:XResolution="300/1"' in photo.xmp) == (orientation == 6) and b'tiff:Orientation="1"' in photo.xmp

def test_a_resolution_without_a_unit(trip):
    block = exif({282: (5, struct.pack('<II', 1, 1)), 283: (5, struct.pack('<II', 2, 1)), 296: (3, b'\1\0')})
    photo, out = trip(jpeg(app1(block)), '.tif')
    with tifffile.TiffFile(out) as tif: assert photo.dpi is None and [tif.pages[0].tags[o].value for o in (282, 283, 296)] == [(1, 1), (2, 1), 1]

# --- IPTC and Photoshop's resources

BOX = resource_block([(0x040a, b'\0\0', b'\1'), (0x0404, b'\0\0', IIM)])
IPTC_FROM = dict(jpeg=lambda: jpeg(app13((0x0404, IIM), (0x040a, b'\1'))), tiff=lambda: tiff((33723, 7, IIM), (34377, 1, resource_block([(0x040a, b'\0\0', b'\1')]))),
    tiff_box=lambda: tiff((34377, 7, resource_block([(0x0404, b'\0\0', IIM), (0x040a, b'\0\0', b'\1')]))),
    png_box=lambda: png(chunk(*raw_profile('iptc', b'Photoshop 3.0\0' + resource_block([(0x0404, b'\0\0', IIM), (0x040a, b'\0\0', b'\1')])))),
    png_8bim=lambda: png(chunk(*raw_profile('8bim', resource_block([(0x0404, b'\0\0', IIM), (0x040a, b'\0\0', b'\1')])))),
    in_two=lambda: jpeg(*(segment(0xed, b'Photoshop 3.0\0' + o) for o in (BOX[:30], BOX[30:]))))

@pytest.mark.parametrize('source', IPTC_FROM)
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_iptc_goes_where_there_is_a_place(trip, source, suffix):
    photo, out = trip(IPTC_FROM[source](), suffix)
    assert photo.captions == Captions(IIM, ((0x040a, b'\0\0', b'\1'),)) and photo.lacks == ()
    if suffix == '.webp': assert [o.split(' ')[3] for o in what_is_lacking(photo, out)] == ['IPTC', "Photoshop's"]
    else: assert open_photo(out).captions == photo.captions and what_is_lacking(photo, out) == ()

def test_iptc_as_numbers_of_four(trip):
    "As old programs wrote it into big-endian TIFFs, each four bytes turned round."
    raw = np.frombuffer(IIM.ljust(-(-len(IIM)//4)*4, b'\0'), '>u4').astype('>u4').tobytes()
    photo, out = trip(tiff((33723, 4, raw), byteorder='>'), '.jpg')
    assert photo.captions.iptc == IIM and IIM in out.read_bytes()

def test_iptc_without_a_box_in_a_png_and_a_plain_jpeg(trip):
    assert trip(png(chunk(*raw_profile('iptc', IIM))), '.jpg')[0].captions.iptc == IIM
    assert trip(jpeg(), '.png')[0].captions == Captions()

def test_a_box_longer_than_a_segment(trip):
    long = IIM + b''.join(iptc(25, f'keyword {i}'.encode()*50) for i in range(200))
    for source in (tiff((33723, 7, long)), png(chunk(*raw_profile('iptc', long)))):
        for suffix in ('.jpg', '.tif', '.png'): assert open_photo(trip(source, suffix)[1]).captions.iptc == long

@pytest.mark.parametrize('suffix', SUFFIXES)
def test_other_resources(trip, suffix):
    "A thumbnail and print settings go; a link and the digest of the IPTC records stay; outlines stay unless the photo is turned."
    box = app13((0x0404, IIM), (0x0425, hashlib.md5(IIM).digest()), (0x040c, b'JPEG'*9), (0x03ed, bytes(16)), (0x040b, b'https://a.example'), (2000, bytes(26)))
    photo, out = trip(jpeg(box), suffix)
    assert [o[0] for o in photo.captions.resources] == [0x0425, 0x040b, 2000] and photo.lacks == (THUMBNAIL,)
    turned, _ = trip(jpeg(app1(exif({274: (3, b'\3\0')})), box), suffix)
    assert 2000 not in {o[0] for o in turned.captions.resources} and any('paths' in o for o in turned.lacks)

# --- Comments and texts

SAYS = 'At the lake, negative no. 12'

@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('text', [SAYS.encode(), 'Großmutter, Бабушка'.encode(), b'Gro\xdfmutter'])
@pytest.mark.parametrize('caption', [b'', b'by hand\0'])
def test_jpeg_comments(trip, suffix, text, caption):
    photo, out = trip(jpeg(app1(exif({270: (2, caption)} if caption else {})), segment(0xfe, text), segment(0xfe, b'second')), suffix)
    assert photo.lacks == () and what_is_lacking(photo, out) == ()
    back = open_photo(out)
    if suffix == '.jpg': assert back.captions.comments == (text, b'second')
    elif suffix == '.png':
        assert {png_text(*o)[0] for o in back.captions.texts} == {'Comment'}
        assert [png_text(*o)[1].decode() for o in back.captions.texts] == [text.decode() if text != b'Gro\xdfmutter' else 'Großmutter', 'second']
    elif not caption: assert told(out)[EXIF_MAIN][270] == (2, text + b'\nsecond\0')
    else:
        kind, raw = told(out)[EXIF_CAMERA][37510]
        assert told(out)[EXIF_MAIN][270] == (2, caption) and (raw[8:] == text + b'\nsecond' if text.isascii() else raw.startswith(b'UNICODE'))

@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('key', ['Title', 'Author', 'Description', 'Copyright', 'Creation Time', 'Comment', 'parameters'])
@pytest.mark.parametrize('kind', [b'tEXt', b'zTXt', b'iTXt', b'squeezed'])
def test_png_texts(trip, suffix, key, kind):
    text = 'Großmutter am See'
    body = {b'tEXt': b'\0' + text.encode('latin-1'), b'zTXt': b'\0\0' + zlib.compress(text.encode('latin-1')), b'iTXt': b'\0\0\0de\0Titel\0' + text.encode(),
            b'squeezed': b'\0\1\0\0\0' + zlib.compress(text.encode())}[kind]
    made = (b'iTXt' if kind == b'squeezed' else kind, key.encode() + body)
    photo, out = trip(png(chunk(*made)), suffix)
    assert photo.captions.texts == (made,) and what_is_lacking(photo, out) == ()
    if suffix == '.png': assert open_photo(out).captions.texts == (made,)
    else: assert text.encode() in out.read_bytes()

def test_two_texts_of_one_keyword_and_one_behind_the_pixels(trip):
    data = png(chunk(b'tEXt', b'Comment\0first'), chunk(b'tEXt', b'Comment\0second'))
    data = data[:-12] + chunk(b'tEXt', b'Comment\0third') + data[-12:]
    photo, out = trip(data, '.jpg')
    assert open_photo(out).captions.comments == (b'first', b'second', b'third')

def test_untrue_and_disguised_texts_go(trip):
    photo, _ = trip(png(*(chunk(b'tEXt', o) for o in (b'Thumb::MTime\0001', b'signature\0ab', b'exif:Orientation\0006', b'exif:Make\0Zorki'))), '.png')
    assert photo.captions.texts == ((b'tEXt', b'exif:Make\0Zorki'),)

def test_no_place_left_is_named(trip):
    block = exif({270: (2, b'by hand\0')}, {37510: (7, b'ASCII\0\0\0this too')})
    photo, out = trip(jpeg(app1(block), segment(0xfe, SAYS.encode())), '.tif')
    assert what_is_lacking(photo, out) == ('not carried over: comments, for which a TIFF has no place left',)
    assert told(out)[EXIF_MAIN][270] == (2, b'by hand\0')

def test_a_comment_that_is_the_description_already(trip):
    photo, out = trip(jpeg(app1(exif({270: (2, SAYS.encode() + b'\0')})), segment(0xfe, SAYS.encode())), '.webp')
    assert what_is_lacking(photo, out) == () and out.read_bytes().count(SAYS.encode()) == 1

def test_the_comment_of_a_gif(trip):
    photo, out = trip(stored('GIF', comment=SAYS.encode()), '.png')
    assert [png_text(*o) for o in open_photo(out).captions.texts] == [('Comment', SAYS.encode())]

# --- XMP

XMP_FROM = dict(jpeg=lambda o: jpeg(xmp1(o)), png=lambda o: png(chunk(b'iTXt', b'XML:com.adobe.xmp\0\0\0\0\0' + o)), webp=lambda o: stored('WEBP', xmp=o), tiff=lambda o: tiff((700, 1, o)),
    squeezed=lambda o: png(chunk(b'iTXt', b'XML:com.adobe.xmp\0\1\0\0\0' + zlib.compress(o))), raw=lambda o: png(chunk(*raw_profile('xmp', o))),
    raw_app1=lambda o: png(chunk(*raw_profile('APP1', b'http://ns.adobe.com/xap/1.0/\0' + o))))

@pytest.mark.parametrize('source', XMP_FROM)
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_xmp_that_is_true_stays_byte_for_byte(trip, source, suffix):
    said = packet('crs:HasSettings="True" crs:AlreadyApplied="True" xmp:Rating="5"', '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Oma &amp; Opa</rdf:li></rdf:Alt></dc:title>')
    photo, out = trip(XMP_FROM[source](said), suffix)
    assert photo.xmp == said and open_photo(out).xmp == said and photo.lacks == ()

UNTRUE = dict(width=('tiff:ImageWidth="4000" exif:PixelXDimension="4000" exif:NativeDigest="36864;ABC"', '', None),
    motion=('cam:MotionPhoto="1" cam:MotionPhotoVersion="1" cam:MicroVideoOffset="123"', '<cam:MotionPhotoPresentationTimestampUs>1</cam:MotionPhotoPresentationTimestampUs>', 'motion photo'),
    container=('', '<box:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><box:Item item:Mime="video/mp4" item:Length="9"/></rdf:li></rdf:Seq></box:Directory>', 'contained'),
    gain_map=('gain:Version="1.0" gain:HDRCapacityMax="2.3"', '', 'gain map'), thumbnail=('', '<xmp:Thumbnails><rdf:Alt><rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>', THUMBNAIL),
    settings=('crs:HasSettings="True" crs:Exposure2012="+1.00"', '<crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li></rdf:Seq></crs:ToneCurve>', 'not been applied'))

@pytest.mark.parametrize('name', UNTRUE)
@pytest.mark.parametrize('source', ['jpeg', 'png', 'webp', 'tiff'])
def test_xmp_that_became_untrue_goes(trip, name, source):
    attributes, elements, lost = UNTRUE[name]
    said = packet(attributes, elements)
    photo, out = trip(XMP_FROM[source](said), '.jpg')
    for word in re.findall(r'(?:cam|box|item|gain|tiff|exif|crs):(\w+)|xmp:(Thumbnails)', attributes + elements): assert ''.join(word).encode() not in out.read_bytes()
    assert 'Großmutter'.encode() in photo.xmp and b'xpacket end="w"' in photo.xmp and open_photo(out).xmp == photo.xmp
    assert [lost in o for o in photo.lacks] == ([True] if lost else [])

@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16le', 'utf-8-sig'])
def test_xmp_in_other_encodings(trip, encoding):
    said = packet('tiff:Orientation="6"').decode().split('?>\n')[1].split('\n<?')[0].encode(encoding)
    photo, _ = trip(jpeg(xmp1(said)), '.png')
    assert 'Großmutter'.encode() in photo.xmp and b'tiff:Orientation="1"' in photo.xmp

@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_is_1_wherever_it_is_told(trip, orientation):
    "In EXIF data and XMP, as attribute and as element; with XMP alone the photo is turned by it, as before."
    for said in (packet(f'tiff:Orientation="{orientation}"'), packet('', f'<tiff:Orientation>{orientation}</tiff:Orientation>')):
        for data in (jpeg(app1(exif({274: (3, struct.pack('<H', orientation))})), xmp1(said)), png(chunk(b'iTXt', b'XML:com.adobe.xmp\0\0\0\0\0' + said))):
            photo, out = trip(data, '.jpg')
            assert photo.pixels.shape == ((36, 24, 3) if orientation > 4 else (24, 36, 3)) and open_photo(out).pixels.shape == photo.pixels.shape
            assert re.search(rb'tiff:Orientation(="|>)1', out.read_bytes()) and (orientation == 1 or not re.search(rb'tiff:Orientation(="|>)%d' % orientation, out.read_bytes()))

def test_names_of_faces_turn_with_the_photo(trip):
    region = '<regions:Regions rdf:parseType="Resource"><regions:AppliedToDimensions dim:w="36" dim:h="24" dim:unit="pixel"/><regions:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">' \
        '<regions:Name>Oma</regions:Name><regions:Area area:x="0.25" area:y="0.5" area:w="0.1" area:h="0.2" area:unit="normalized"/></rdf:li></rdf:Bag></regions:RegionList></regions:Regions>'
    photo, _ = trip(jpeg(app1(exif({274: (3, b'\6\0')})), xmp1(packet('', region))), '.jpg')
    assert b'area:x="0.5" area:y="0.25" area:w="0.2" area:h="0.1"' in photo.xmp and b'dim:w="24" dim:h="36"' in photo.xmp and b'Oma' in photo.xmp and photo.lacks == ()
    assert trip(jpeg(xmp1(packet('', region))), '.jpg')[0].xmp == packet('', region)
    photo, _ = trip(jpeg(app1(exif({274: (3, b'\6\0')})), xmp1(packet('', region.replace('0.25', 'left')))), '.jpg')
    assert b'RegionList' not in photo.xmp and 'named places' in photo.lacks[0]

def extended(story, guid=None, parts=60000):
    "A packet with an extension, as segments."
    guid = guid or hashlib.md5(story).hexdigest().upper().encode()
    head = b'http://ns.adobe.com/xmp/extension/\0' + guid
    return [xmp1(packet(f'note:HasExtendedXMP="{guid.decode()}"')), *(segment(0xe1, head + struct.pack('>II', len(story), i) + story[i:i + parts]) for i in range(0, len(story), parts))]

STORY = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%s"><rdf:Description rdf:about=""><d:t xmlns:d="a:b">%s</d:t></rdf:Description></rdf:RDF></x:xmpmeta>' % (
    SPACES['rdf'].encode(), b'lorem ipsum '*9000)

@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('guid', [None, b'0123456789ABCDEF0123456789ABCDEF'])
def test_extended_xmp_is_joined_and_cut(trip, suffix, guid):
    main, *parts = extended(STORY, guid)
    photo, out = trip(jpeg(main, *parts[::-1]), suffix) # in any order
    assert photo.xmp.count(b'lorem') == 9000 and b'HasExtendedXMP' not in photo.xmp and photo.lacks == ()
    back = open_photo(out)
    assert back.xmp.count(b'lorem') == 9000 and 'Großmutter'.encode() in back.xmp and what_is_lacking(photo, out) == ()

@pytest.mark.parametrize('broken', ['missing', 'foreign', 'no XML', 'nobody asked'])
def test_extended_xmp_that_cannot_be_joined_is_named(trip, broken):
    main, *parts = extended(STORY)
    if broken == 'missing': parts = parts[:1]
    if broken == 'foreign': parts = [o.replace(o[39:71], b'F'*32) for o in parts]
    if broken == 'no XML': main, *parts = extended(b'<!DOCTYPE x []>' + STORY)
    if broken == 'nobody asked': main = xmp1(packet())
    photo, out = trip(jpeg(main, *parts), '.jpg')
    assert any('extended XMP' in o for o in photo.lacks) and 'Großmutter'.encode() in photo.xmp and b'HasExtendedXMP' not in out.read_bytes()

@pytest.mark.parametrize('said', [packet('', f'<dc:description>{"keyword "*9000}</dc:description>'), packet(f'dc:description="{"keyword "*9000}"'),
    packet('', '<dc:subject><rdf:Bag>' + '<rdf:li>keyword </rdf:li>'*9000 + '</rdf:Bag></dc:subject>'), b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>' + b'keyword '*9000 + b'</a></x:xmpmeta>'])
def test_xmp_over_64_kb(trip, said):
    for source in ('tiff', 'png', 'webp'):
        photo, out = trip(XMP_FROM[source](said), '.jpg')
        assert photo.xmp == said and what_is_lacking(photo, out) == () and open_photo(out).xmp.count(b'keyword ') == 9000
    with Image.open(out) as im: assert b'HasExtendedXMP' in im.info['xmp'] and (b'Label' in im.info['xmp']) == (b'Label' in said)

def test_xmp_that_cannot_be_cut_is_named(trip):
    photo, out = trip(tiff((700, 1, b'<x>' + b'keyword '*9000 + b'</x>')), '.jpg')
    assert what_is_lacking(photo, out) == ('not carried over: XMP of 72,007 bytes, which does not fit a JPEG',)

def test_entities_are_not_expanded(trip, tmp_path):
    (tmp_path/'secret').write_text('secret of this disk')
    for entity in (f'SYSTEM "{(tmp_path/"secret").as_uri()}"', '"' + 'ha'*1000 + '"'):
        said = f'<!DOCTYPE x [<!ENTITY e {entity}>]>'.encode() + packet('tiff:ImageWidth="9"', '<dc:title>&e;</dc:title>')
        photo, out = trip(jpeg(xmp1(said)), '.jpg')
        assert b'secret of' not in out.read_bytes() and b'haha' not in out.read_bytes() and any('document type' in o for o in photo.lacks)

# --- Damage costs what is damaged

ALL = [app1(exif({270: (2, SAYS.encode() + b'\0')})), xmp1(packet()), app13((0x0404, IIM)), segment(0xfe, b'a comment')]
LEFT = dict(exif=lambda o: o.exif is not None and SAYS.encode() in o.exif, xmp=lambda o: o.xmp == packet(), iptc=lambda o: o.captions.iptc == IIM, comment=lambda o: o.captions.comments == (b'a comment',))

@pytest.mark.parametrize('place,damage', list(enumerate((app1(b'Exif\0\0rubbish'), xmp1(b'\xff\xfe<not XML'), segment(0xed, b'Photoshop 3.0\0rubbish'), b''))))
def test_a_damaged_piece_costs_no_other(trip, place, damage):
    photo, out = trip(jpeg(*ALL[:place], damage, *ALL[place + 1:]), '.jpg')
    for i, left in enumerate(LEFT.values()):
        for o in (photo, open_photo(out)): assert left(o) == (i != place)
    assert bool(photo.lacks) == (place in (0, 2))

@pytest.mark.parametrize('chunks', [[chunk(b'tEXt', b'a\0b')[:-1] + b'!'], [chunk(b'zTXt', b'a\0\0' + zlib.compress(b' '*10**8))], [chunk(b'zTXt', b'a\0\0rubbish')], [chunk(b'iTXt', b'a')],
    [chunk(*raw_profile('exif', b'rubbish'))], [chunk(b'zTXt', b'Raw profile type iptc\0\0' + zlib.compress(b'\niptc\n 99\nxyz'))], [chunk(b'eXIf', b'rubbish')]])
def test_a_damaged_text_costs_no_photo(trip, chunks):
    photo, out = trip(png(*chunks, chunk(b'tEXt', b'Title\0At the lake')), '.png')
    assert (photo.pixels == RGB).all() and len(photo.lacks) == 1 and 'damaged' in photo.lacks[0]
    assert [png_text(*o) for o in open_photo(out).captions.texts] == [('Title', b'At the lake')]

def test_exif_that_points_nowhere(trip):
    "One tag, and the table of the place, lie outside of the block."
    block = exif({270: (2, SAYS.encode() + b'\0')}, {36867: (2, b'1957:10:04 19:28:34\0')}, {1: (2, b'N\0'), 2: (2, b'16 degrees\0')})
    at = block.index(struct.pack('<HHII', 0x8825, 4, 1, 0)[:8]) + 8
    photo, _ = trip(jpeg(app1(block[:at] + b'\xff\xff\xff\x7f' + block[at + 4:])), '.jpg')
    assert SAYS.encode() in photo.exif and b'1957' in photo.exif
    at = block.index(struct.pack('<HHI', 270, 2, len(SAYS) + 1)) + 8
    photo, out = trip(jpeg(app1(block[:at] + b'\xff\xff\xff\x7f' + block[at + 4:])), '.jpg')
    assert photo.lacks == ('not carried over: damaged EXIF data (ImageDescription)',) and told(out)[EXIF_CAMERA] == {36867: (2, b'1957:10:04 19:28:34\0')}

@pytest.mark.parametrize('seed', range(40))
def test_random_damage_of_what_is_said(trip, seed):
    "Bytes turned, put in and taken out of one piece: the photo is read and written, and the other pieces are there."
    rng = np.random.default_rng(seed)
    place = seed % 4
    body = bytearray(ALL[place][4:])
    for _ in range(rng.integers(1, 5)):
        at, n = int(rng.integers(4, len(body))), int(rng.integers(1, 9))
        body[at:at + int(rng.integers(0, n))] = bytes(rng.integers(0, 256, int(rng.integers(0, n)), dtype=np.uint8))
    photo, out = trip(jpeg(*ALL[:place], segment(ALL[place][1], bytes(body)), *ALL[place + 1:]), SUFFIXES[seed % 3])
    assert [left(photo) for i, left in enumerate(LEFT.values()) if i != place] == [True]*3
    assert open_photo(out).pixels.shape == photo.pixels.shape

def test_what_lies_behind_the_picture_of_a_phone_is_named(trip):
    assert any('Samsung' in o for o in trip(jpeg() + b'MotionPhoto_Data' + bytes(99) + b'SEFT', '.jpg')[0].lacks)

def test_blocks_of_other_programs_are_named(trip):
    photo, _ = trip(jpeg(segment(0xeb, b'JP\0\1c2pa'), segment(0xec, b'[picture info]'), segment(0xec, b'Ducky\0\1\0\4\0\0\0<\0\0')), '.jpg')
    assert photo.lacks == ('not carried over: a block of another program (APP11 JP)', 'not carried over: a block of another program (APP12)')

    photo, out = trip(png(chunk(b'caBX', b'jumb')), '.png')
    assert photo.lacks == ('not carried over: a block of another program (caBX)',) and b'caBX' not in out.read_bytes()
    photo, _ = trip(tiff((271, 2, b'Zorki\0'), (65000, 2, b'a scanner\0')), '.tif')
    assert photo.lacks == ('not carried over: private tags (65000)',)

def test_the_image_resources_of_a_box():
    box = [(0x0404, b'\0\0', IIM), (0x040a, b'\5Uncle', b'\1')]
    assert read_resources(resource_block(box)) == box and read_resources(b'rubbish') == []

# --- Files beside a photo, and the dates of files

@pytest.mark.parametrize('name', ['in.xmp', 'in.jpg.xmp', 'in.jpg.json', 'in.jpg.supplemental-metadata.json'])
def test_captions_beside_a_photo_are_named(trip, tmp_path, name):
    (tmp_path/name).write_text('At the lake')
    photo, out = trip(jpeg(), '.jpg', 'in.jpg')
    assert photo.lacks == () and ['beside the photo' in o for o in what_is_lacking(photo, out)] == [True]

OLD = 10**9 # seconds: September 2001

@pytest.mark.parametrize('keep', [True, False])
def test_the_command_keeps_file_dates_when_asked(tmp_path, tiny_model, keep):
    "And says in its summary what it could not carry over."
    (tmp_path/'in').mkdir()
    for name in 'ab':
        (tmp_path/f'in/{name}.jpg').write_bytes(jpeg(app13((0x0404, IIM))))
        os.utime(tmp_path/f'in/{name}.jpg', (OLD, OLD + 5))
    said = CliRunner().invoke(app, ['restore', str(tmp_path/'in'), '--out', str(tmp_path/'out'), '--suffix', '.webp', '--model', str(tiny_model), *(['--keep-dates'] if keep else [])])
    assert said.exit_code == 0 and '2 photos: not carried over: IPTC records' in said.output
    found = [(tmp_path/f'out/{name}.webp').stat() for name in 'ab']
    assert [(o.st_mtime == OLD + 5) for o in found] == [keep]*2
    if keep: assert [o.st_atime for o in found] == [OLD]*2

def test_dates_that_a_disk_does_not_keep_are_named(tmp_path, monkeypatch, tiny_model):
    (tmp_path/'a.jpg').write_bytes(jpeg())
    def refuse(*args, **kwargs): raise PermissionError(1, 'Operation not permitted')
    monkeypatch.setattr(os, 'utime', refuse)
    from restorer_fastai import Restorer
    outcome = Restorer.load(tiny_model).restore_file(tmp_path/'a.jpg', tmp_path/'b.jpg', keep_dates=True)
    assert outcome.did == 'restored' and outcome.notes == ('file dates not kept: Operation not permitted',)
