"Photos of any size, type and mode through imaging: pixels, colours, files, folders."
import io, os, subprocess, sys, warnings
import numpy as np, pytest
from hypothesis import example, given, settings, strategies as st
from PIL import Image
from restorer_fastai.photo.errors import PhotoError, RestorerError
from restorer_fastai.photo.files import find_photos, result_path
from restorer_fastai.photo.pixels import from_tensor, lab_to_rgb, rgb_to_grey, rgb_to_lab, rgb_to_ycbcr, to_float, to_tensor, to_uint8, ycbcr_to_rgb
from restorer_fastai.photo.profiles import to_srgb
from restorer_fastai.photo.exif import read_exif
from restorer_fastai.photo.reading import from_pil, open_photo, read_photo
from restorer_fastai.photo.samples import sample_path, show_photos
from restorer_fastai.photo.writing import save_photo, write_photo

fast = settings(derandomize=True, deadline=None, max_examples=40)
EXTREMES = [(1, 1), (1, 200), (200, 1), (2, 2), (7, 1023)]
SIZES = st.one_of(st.sampled_from(EXTREMES), st.tuples(st.integers(1, 60), st.integers(1, 60)))
LEVELS = {np.uint8: 255, np.uint16: 65535, np.float16: 1, np.float32: 1, np.float64: 1, bool: 1}
LOSSLESS, LOSSY = ('.png', '.tif', '.tiff', '.bmp'), ('.jpg', '.jpeg', '.webp')

@st.composite
def photos(draw, dtypes=(np.uint8, np.uint16, np.float32), channels=((3,),)):
    "Pixels of any size and of one of the types: noise, black and white, or even."
    size = (*draw(SIZES), *draw(st.sampled_from(channels)))
    img = np.random.default_rng(draw(st.integers(0, 9))).random(size)
    img = draw(st.sampled_from([lambda o: o, np.round, lambda o: o*0 + .5, lambda o: o*0, lambda o: o*0 + 1]))(img)
    dtype = draw(st.sampled_from(dtypes))
    return np.round(img*LEVELS[dtype]).astype(dtype) if LEVELS[dtype] > 1 else img.astype(dtype)

@pytest.fixture(scope='module')
def folder(tmp_path_factory): return tmp_path_factory.mktemp('photos')


@given(img=photos(tuple(LEVELS), ((3,), (1,), ())))
@fast
def test_pixels(img):
    before = img.copy()
    x, y = to_float(img), to_uint8(img)
    assert (x.shape, x.dtype, y.shape, y.dtype) == (img.shape, np.float32, img.shape, np.uint8)
    assert 0 <= x.min() and x.max() <= 1
    assert (to_uint8(x) == y).all() and (to_uint8(to_float(y)) == y).all()
    assert np.abs(to_float(y) - x).max() <= .5/255 + 1e-6
    assert (img == before).all()


@pytest.mark.parametrize('dtype', [np.int8, np.int16, np.int32, np.int64, np.uint32, complex, object])
def test_other_types_are_refused(dtype):
    with pytest.raises(TypeError, match='uint8'): to_float(np.ones((2, 2, 3), dtype))


@given(img=photos())
@fast
def test_tensors(img):
    t = to_tensor(img)
    assert tuple(t.shape) == (1, 3, *img.shape[:2]) and (from_tensor(t) == to_float(img)).all()


@given(img=photos())
@fast
def test_colour_spaces_there_and_back(img):
    x, grey = to_float(img), rgb_to_grey(img)
    assert np.abs(ycbcr_to_rgb(rgb_to_ycbcr(img)) - x).max() < 1e-5
    assert np.abs(lab_to_rgb(rgb_to_lab(img)) - x).max() < 2e-3
    assert (grey[..., :1] == grey).all() and grey.shape == img.shape
    assert np.abs(rgb_to_grey(grey).astype(float) - grey).max() <= (1 if grey.dtype == np.uint8 else 1e-6)
    assert np.abs(rgb_to_ycbcr(grey)[..., 1:] - 128/255).max() < 1e-6
    assert np.abs(rgb_to_lab(grey)[..., 1:]).max() < .02
    if img.dtype == np.uint8:
        assert (to_uint8(ycbcr_to_rgb(rgb_to_ycbcr(img))) == img).all() and (to_uint8(lab_to_rgb(rgb_to_lab(img))) == img).all()


@pytest.mark.parametrize('suffix', LOSSLESS)
@given(img=photos(tuple(LEVELS), ((3,), (1,), ())))
@settings(fast, max_examples=15)
def test_lossless_files(folder, suffix, img):
    path = write_photo(folder/f'a{suffix}', img)
    want = to_uint8(img).reshape(*img.shape[:2], -1)
    assert (read_photo(path) == want).all() and read_photo(path).shape == (*img.shape[:2], 3)
    assert [p.name for p in folder.glob('.*')] == []


@pytest.mark.parametrize('suffix', LOSSY)
@given(img=photos(channels=((3,), ())), quality=st.integers(1, 100))
@settings(fast, max_examples=10)
def test_lossy_files(folder, suffix, img, quality):
    back = read_photo(write_photo(folder/f'b{suffix}', img, quality=quality))
    assert back.shape == (*img.shape[:2], 3)
    if np.ptp(img) == 0: assert np.abs(back.astype(int) - to_uint8(img).flat[0]).max() <= 4  # nothing to lose in an even photo


@pytest.mark.parametrize('shape', [(0, 5, 3), (5, 0, 3), (4, 4, 2), (4, 4, 4), (1, 4, 4, 3), (4,)])
def test_what_is_no_photo_is_not_written(tmp_path, shape):
    with pytest.raises(PhotoError, match='a.png.*no photo'): write_photo(tmp_path/'a.png', np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name,shape', [('a.webp', (1, 16384, 3)), ('a.jpg', (65501, 1, 3))])
def test_too_long_for_the_format(tmp_path, name, shape):
    with pytest.raises(PhotoError, match='pixels a side.*PNG'): write_photo(tmp_path/name, np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []
    assert read_photo(write_photo(tmp_path/'a.png', np.zeros(shape, np.uint8))).shape == shape


MODES = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I', 'I;16', 'I;16B')

@pytest.mark.parametrize('mode', MODES)
@given(size=SIZES, turn=st.integers(0, 9), value=st.integers(0, 200))
@settings(fast, max_examples=8)
@example(size=(3, 5), turn=6, value=100)
def test_every_mode_of_pillow(mode, size, turn, value):
    bands = len(Image.new(mode, (1, 1)).getbands())
    im = Image.new(mode, size[::-1], value if bands == 1 else (value,)*bands)
    im.getexif()[0x0112] = turn
    out = from_pil(im)
    assert out.dtype == np.uint8 and out.shape == (*(size[::-1] if 5 <= turn <= 8 else size), 3)


@given(size=SIZES, seed=st.integers(0, 9))
@settings(fast, max_examples=20)
def test_sixteen_bit_grey_is_scaled(folder, size, seed):
    img = np.random.default_rng(seed).integers(0, 65536, size).astype(np.uint16)
    for name in ('c.png', 'c.tif'):
        Image.fromarray(img).save(folder/name)
        assert (read_photo(folder/name)[..., 0] == to_uint8(img)).all()


@given(start=st.sampled_from(['JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP', 'GIF']), cut=st.floats(0, 1),
       flips=st.lists(st.floats(0, .999), max_size=4), byte=st.integers(1, 255))
@settings(fast, max_examples=120)
def test_damaged_files_are_read_or_refused(folder, start, cut, flips, byte):
    memory = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 17, 3)).astype(np.uint8)).save(memory, start)
    data = bytearray(memory.getvalue())
    for f in flips: data[int(f*len(data))] ^= byte
    path = folder/'damaged.jpg'
    path.write_bytes(data[:round(cut*len(data))])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try: img = read_photo(path)
        except PhotoError as e: assert 'damaged.jpg' in str(e) and e.remedy
        else: assert img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3


@pytest.mark.parametrize('size', [*EXTREMES, (1, 5000)])
def test_extreme_photos_can_be_shown(size):
    fig = show_photos([np.zeros((*size, 3))]*2, ['a', 'b'])
    assert len(fig.axes) == 2
    fig.canvas.draw()


def test_names_that_people_have(tmp_path):
    img = np.zeros((3, 4, 3), np.uint8)
    names = ['-f.png', 'with space.jpg', 'Фото.png', '写真.JPG', 'a.b.c.tif', "o'neil.png", 'new\nline.png', 'x'*200 + '.png']
    for name in names: write_photo(tmp_path/name, img)
    assert {p.name for p in find_photos(tmp_path)} == set(names)
    for p in find_photos(tmp_path):
        assert read_photo(p).shape == img.shape
        assert result_path(p, tmp_path, tmp_path/'out', '.png') == tmp_path/'out'/f'{p.stem}.png'


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no named pipes here')
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path/'pipe.jpg')
    with pytest.raises(PhotoError, match='pipe.jpg'): read_photo(tmp_path/'pipe.jpg')


def test_links_to_nowhere_and_in_circles(tmp_path):
    write_photo(tmp_path/'a'/'p.png', np.zeros((3, 4, 3), np.uint8))
    (tmp_path/'a'/'loop').symlink_to(tmp_path/'a')
    (tmp_path/'a'/'gone.png').symlink_to(tmp_path/'nowhere.png')
    (tmp_path/'a'/'self.png').symlink_to(tmp_path/'a'/'self.png')
    found = find_photos(tmp_path)
    assert [p.name for p in found] == ['gone.png', 'p.png', 'self.png']
    for p in found[::2]:
        with pytest.raises(PhotoError, match=p.name): read_photo(p)


def test_every_closed_folder_is_told(tmp_path, monkeypatch):
    for name in ('a/p.png', 'b/p.png', 'c/d/p.png'): write_photo(tmp_path/name, np.zeros((3, 4, 3), np.uint8))
    scandir = os.scandir
    def closed(path):
        if os.path.basename(path) in ('b', 'd'): raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', closed)
    told = []
    assert [p.parent.name for p in find_photos([tmp_path], told.append)] == ['a']
    assert sorted(e.path.name for e in told) == ['b', 'd'] and all('Permission denied' in e.reason and e.remedy for e in told)
    with pytest.warns(UserWarning, match='Its photos are left out'): find_photos(tmp_path)


def test_what_reading_cannot_keep_is_said(tmp_path):
    solid, holes = np.full((8, 9, 4), 255, np.uint8), np.full((8, 9, 4), 255, np.uint8)
    holes[2:4, 3:5, 3] = 100
    Image.fromarray(solid).save(tmp_path/'solid.png')
    Image.fromarray(holes).save(tmp_path/'holes.png')
    Image.fromarray(holes).convert('P').save(tmp_path/'gone.png', transparency=Image.fromarray(holes).convert('P').getpixel((0, 0)))
    assert [open_photo(tmp_path/f'{o}.png').lacks for o in ('solid', 'holes', 'gone')] == [(), *[('see-through parts became white',)]*2]


def test_hidden_folders_are_left_out_unless_named(tmp_path):
    for name in ('a.png', '.Trash/b.png', 'x/.thumbs/c.png'): write_photo(tmp_path/name, np.zeros((3, 4, 3), np.uint8))
    assert [p.name for p in find_photos(tmp_path)] == ['a.png'] and [p.name for p in find_photos(tmp_path/'.Trash')] == ['b.png']


def test_tifffile_s_note_of_the_shape_does_not_outlive_the_shape(tmp_path):
    tifffile = pytest.importorskip('tifffile')
    for name, text in (('plain.tif', None), ('told.tif', 'Grandmother')):
        tifffile.imwrite(tmp_path/name, np.zeros((8, 9, 3), np.uint8), description=text, metadata=None if text else {})
        photo = open_photo(tmp_path/name)
        save_photo(tmp_path/'out.tif', np.zeros((9, 8, 3), np.uint8), photo)
        with Image.open(tmp_path/'out.tif') as im: assert im.tag_v2.get(270) == text


def test_rooms_for_photos_import_no_decoders():
    rooms = ', '.join(f'restorer_fastai.photo.{o}' for o in ('files', 'pixels', 'profiles', 'reading', 'writing', 'samples', 'page'))
    heavy = "{'torch', 'cv2', 'tifffile', 'imagecodecs', 'skimage', 'matplotlib'} & {*sys.modules}"
    done = subprocess.run([sys.executable, '-c', f'import sys, {rooms}; print({heavy})'], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'


def test_what_is_wrong_is_a_restorer_error():
    for wrong in (lambda: to_float(np.ones((2, 2, 3), int)), lambda: from_tensor(to_tensor(np.zeros((2, 2, 3))).repeat(2, 1, 1, 1)),
                  lambda: sample_path('lena'), lambda: to_srgb(np.zeros((2, 2, 3), np.uint8), b'no profile'), lambda: read_exif(b'rubbish')):
        with pytest.raises(RestorerError): wrong()
