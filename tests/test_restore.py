"What a notebook cell tests badly: imports in a fresh process, weight files with faults, many sizes."
import hashlib, importlib.util, json, pickle, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings, strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from restorer_fastai.photo.errors import PhotoError
from restorer_fastai.photo.pixels import to_float
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.nets.architectures import ARCHITECTURES
from restorer_fastai.nets.colour import ColourNet
from restorer_fastai.nets.restorer import NetConfig, build_network
import restorer_fastai
from restorer_fastai import Restorer
from restorer_fastai.restore.graph import weights_hash
from restorer_fastai.restore.tiles import added_before, padded, tiles_along
from restorer_fastai.nets.weights import content_hash, CONTRACT, describe_part, load_network, load_weights, save_parts, save_weights
from restorer_fastai.photo.errors import WeightsError

torch.set_num_threads(1)


def run_python(code):
    "Run `code` in a fresh interpreter and return what it printed."
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Toy(nn.Module):
    "A photo-to-photo network that sees no further than 3 px."
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        convs = [nn.Conv2d(ni, nf, 3, padding=1) for ni, nf in ((3, 8), (8, 8), (8, 3))]
        self.net = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])
        self.looks = []

    def look(self, thumbnail, mode=None):
        self.looks.append(tuple(thumbnail.shape[-2:]))
        return torch.tensor(.25)

    def forward(self, x, context):
        assert x.shape[2] % 32 == 0 and x.shape[3] % 32 == 0 and min(x.shape[2:]) >= 64
        return self.net(x) + context


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A good weight file of a small untrained network."
    torch.manual_seed(0)
    net = build_network(NetConfig(arch='resnet18', norm='batch'))
    return save_weights(tmp_path_factory.mktemp('weights')/'model.safetensors', net, dict(recipe='quick'))


def refused(path, **kwargs):
    "The message with which loading `path` is refused; it names the file."
    with pytest.raises(WeightsError) as e: Restorer.load(path, device='cpu', **kwargs)
    assert str(path) in str(e.value) and e.value.remedy
    return str(e.value)


# --- imports

HEAVY = ('torch', 'fastai', 'albumentations', 'torchvision', 'skimage', 'sklearn', 'cv2', 'matplotlib', 'gradio', 'pandas')

@pytest.mark.parametrize('module, heavy', [('restorer_fastai', (*HEAVY, 'PIL', 'numpy')), ('restorer_fastai.photo.samples', HEAVY),
    ('restorer_fastai.restore.restorer', [h for h in HEAVY if h != 'torch'])])
def test_imports_are_light(module, heavy):
    assert run_python(f'import {module}, sys; print([m for m in {list(heavy)!r} if m in sys.modules])') == '[]'

def test_restoring_loads_no_training_room(weights, tmp_path):
    write_photo(tmp_path/'in.png', sample_photo('china')[:64, :64])
    code = f'''
import sys; from restorer_fastai import Restorer
Restorer.load({str(weights)!r}, device='cpu').restore_folder({str(tmp_path/'in.png')!r}, {str(tmp_path/'out')!r}, progress=False)
floors = {{m.split('.')[1] for m in sys.modules if m.startswith('restorer_fastai.')}}
print(sorted(floors & {{'data', 'score', 'learn', 'train', 'web'}}), [m for m in ('albumentations', 'gradio', 'fastai', 'torchvision') if m in sys.modules])'''
    assert run_python(code) == '[] []'
    assert read_photo(tmp_path/'out'/'in.png').shape == (64, 64, 3)

ONE_RESULT = '''
import hashlib, numpy as np
from restorer_fastai.photo.reading import read_photo
photo = read_photo({path!r})
r = Restorer.load(device='cpu')
print(hashlib.sha256(r.restore(photo).tobytes() + r.restore(photo, mode='negative').tobytes()).hexdigest(), sorted(o for o in dir(Restorer) if o[0] != '_'))
'''

def test_one_call_has_one_result_whatever_was_imported(tmp_path):
    "A negative in a black holder, which is found in a plain call, too; and the class has the same methods."
    from restorer_fastai.degrade.film import film_negative
    film = film_negative(to_float(sample_photo('chelsea'))[:160, :240])
    photo = str(write_photo(tmp_path/'film.png', np.pad(film, ((16, 16), (24, 24), (0, 0)))))
    alone = run_python('from restorer_fastai.restore.restorer import Restorer' + ONE_RESULT.format(path=photo))
    assert all(o in alone for o in ("'load'", "'faster'", "'export_onnx'", "'restore_file'", "'restore_folder'", "'look_at_roll'", "'from_learner'", "'save'"))
    for how in ('from restorer_fastai import Restorer', 'import restorer_fastai.all; from restorer_fastai import Restorer'):
        assert run_python(how + ONE_RESULT.format(path=photo)) == alone, how

def test_no_import_changes_the_class():
    code = """
import restorer_fastai.restore.restorer as room
before = dict(vars(room.Restorer))
import restorer_fastai.all, restorer_fastai.cli
print({k for k, v in vars(room.Restorer).items() if before.get(k) is not v} | (before.keys() - vars(room.Restorer).keys()), restorer_fastai.Restorer is room.Restorer)"""
    assert run_python(code) == 'set() True'

def test_wishes_have_one_order():
    import inspect
    from restorer_fastai.restore.options import RestoreOptions
    order = list(RestoreOptions.__dataclass_fields__)
    assert list(inspect.signature(Restorer.restore).parameters)[2:2 + len(order)] == order == ['mode', 'mask', 'strength', 'keep_luma', 'defects', 'colorize', 'told', 'texture', 'upscale']
    for method in Restorer.restore_file, Restorer.restore_folder: assert [o for o in inspect.signature(method).parameters if o in order] == order


# --- weight files with faults

def test_good_weights_load(weights):
    net, meta = load_weights(weights)
    assert meta['recipe'] == 'quick' and meta['contract'] == CONTRACT and not net.training
    assert load_file(weights).keys() == net.state_dict().keys()

@pytest.mark.parametrize('keep', [0, 5, 9, 1000, 100_000, -1])
def test_truncated(weights, tmp_path, keep):
    p = tmp_path/'cut.safetensors'
    p.write_bytes(weights.read_bytes()[:keep])
    assert 'cut short' in refused(p)

@pytest.mark.parametrize('where', [200, 3000, 500_000, -1])
def test_flipped_bit_anywhere(weights, tmp_path, where):
    data = bytearray(weights.read_bytes())
    data[where] ^= 1
    p = tmp_path/'flipped.safetensors'
    p.write_bytes(data)
    assert 'Copy or download it again' in refused(p)

def test_foreign_files(tmp_path):
    save_file({'w': torch.zeros(3)}, tmp_path/'other.safetensors')
    assert 'another program' in refused(tmp_path/'other.safetensors')
    save_file({'w': torch.zeros(3)}, tmp_path/'format.safetensors', metadata={'format': 'pt'})
    assert 'another program' in refused(tmp_path/'format.safetensors')
    (tmp_path/'photo.safetensors').write_bytes(b'\xff\xd8\xff\xe0' + b'x'*100)
    assert 'no weight file' in refused(tmp_path/'photo.safetensors')
    assert 'no such file' in refused(tmp_path/'missing.safetensors')
    assert 'folder' in refused(tmp_path)

def rewritten(weights, path, rehash=True, **changes):
    "A copy of the weight file with a changed header."
    from safetensors import safe_open
    with safe_open(weights, framework='pt') as f: header = dict(json.loads(f.metadata()['restorer_fastai']), **changes)
    tensors = load_file(weights)
    if rehash: header['sha256'] = content_hash(tensors, header['network'], header['normalize'])
    save_file(tensors, path, metadata={'restorer_fastai': json.dumps(header)})
    return path

def test_headers_that_do_not_fit(weights, tmp_path):
    assert 'pip install -U' in refused(rewritten(weights, tmp_path/'newer.safetensors', contract=CONTRACT + 1))
    assert 'contract' in refused(rewritten(weights, tmp_path/'none.safetensors', contract=None))
    shifted = [[.485, .456, .407], [.229, .224, .225]]
    assert 'content hash' in refused(rewritten(weights, tmp_path/'shifted.safetensors', rehash=False, normalize=shifted))
    other = NetConfig(arch='resnet34', norm='batch').to_dict()
    assert 'does not fit' in refused(rewritten(weights, tmp_path/'other.safetensors', network=other))
    assert 'does not fit' in refused(rewritten(weights, tmp_path/'arch.safetensors', network=dict(other, arch='vgg99')))
    assert 'does not fit' in refused(rewritten(weights, tmp_path/'later.safetensors', network=dict(other, moods=3)))
    assert 'does not fit' in refused(rewritten(weights, tmp_path/'empty.safetensors', network=None))
    save_file(load_file(weights), tmp_path/'list.safetensors', metadata={'restorer_fastai': '[1]'})
    assert 'header is damaged' in refused(tmp_path/'list.safetensors')

class Trap:
    "Unpickled, it writes a file."
    def __init__(self, path): self.path = path
    def __reduce__(self): return open, (str(self.path), 'w')

@pytest.mark.parametrize('protocol', [2, 3, 4, 5, 'torch', 'torch-legacy'])
def test_pickles_are_not_opened(tmp_path, protocol):
    sprung, p = tmp_path/'sprung', tmp_path/'model.safetensors' # the name does not help
    if protocol == 'torch': torch.save(Trap(sprung), p)
    elif protocol == 'torch-legacy': torch.save(Trap(sprung), p, _use_new_zipfile_serialization=False)
    else: p.write_bytes(pickle.dumps(Trap(sprung), protocol=protocol))
    assert 'trusted=True' in refused(p)
    p = p.rename(tmp_path/'model.pkl')
    assert 'trusted=True' in refused(p)
    with pytest.raises(WeightsError): load_weights(p)
    assert not sprung.exists()
    assert 'learn.export()' in refused(p, trusted=True) # opened now, but no learner
    assert sprung.exists() # the trap does work

def test_trusted_means_pickles_only(weights, tmp_path):
    assert Restorer.load(weights, trusted=True, device='cpu').meta['recipe'] == 'quick'
    p = tmp_path/'old.pkl'
    p.write_bytes(pickle.dumps({'a': 1}, protocol=0))
    assert 'no weight file' in refused(p, trusted=True)

@pytest.fixture(scope='module')
def reference(): return Restorer.load(device='cpu')

def test_the_reference_weights_come_with_the_package(reference):
    assert reference.net.config.look and 'MODEL_CARD' in repr(reference)
    assert not any('/' in str(o) for o in reference.meta.values()) # where it was trained is nobody's business
    path = Path(restorer_fastai.__file__).parent/'pretrained'/'reference.safetensors'
    assert path.stat().st_size < 60e6 # what a repository and a download can bear
    card = (Path(__file__).parents[1]/'MODEL_CARD.md').read_text(encoding='utf-8')
    for digest in reference.meta['packed_from'], reference.meta['sha256'], hashlib.sha256(path.read_bytes()).hexdigest(): assert digest in card
    parts = json.loads((path.parent/'reference.json').read_text())['parts']
    assert {o['role'] for o in parts} == {'restorer', 'repair', 'texture', 'frame', 'film', 'defects', 'inpaint', 'colour', 'x4', 'x4_texture'}
    assert sorted(o.name for o in path.parent.iterdir()) == sorted(['reference.json', 'estimate.safetensors', *(o['file'] for o in parts)])
    assert sum(o['size'] for o in parts) < 95e6 and all(o['sha256'] in card for o in parts)

@pytest.mark.parametrize('role, architecture', [('frame', 'frame_lite'), ('film', 'film'), ('defects', 'defects'), ('inpaint', 'inpaint'), ('colour', 'colorize'), ('repair', 'repair'), ('texture', 'repair'), ('x4', 'edsr_lite'), ('x4_texture', 'edsr_lite')])
def test_a_part_may_be_had_alone(role, architecture): assert load_network('reference', role)[1]['architecture'] == architecture

@pytest.mark.parametrize('mode', ['photo', 'negative'])
def test_the_reference_weights_restore(reference, mode):
    clean = to_float(sample_photo('chelsea')[:192, :256])
    given = 1 - clean if mode == 'negative' else clean
    restored = reference.restore(given, mode)
    assert -10*np.log10(((restored - clean)**2).mean()) > 28 # and 5 dB for the negative as it came

def test_weights_that_do_not_come_with_the_package_say_how_to_train(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    with pytest.raises(WeightsError, match='restorer train --recipe quick.*make demo'): Restorer.load(device='cpu')

def test_failed_save_leaves_the_old_file(weights, tmp_path):
    p = tmp_path/'model.safetensors'
    p.write_bytes(weights.read_bytes())
    net, _ = load_weights(p)
    with pytest.raises(TypeError): save_weights(p, net, dict(scores=object()))
    assert hashlib.sha256(p.read_bytes()).digest() == hashlib.sha256(weights.read_bytes()).digest()
    assert [q.name for q in tmp_path.iterdir()] == ['model.safetensors']


# --- sizes and tiles

SIDES = st.one_of(st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129]), st.integers(1, 400))

@settings(max_examples=40, deadline=None, derandomize=True)
@example(h=1, w=3000, dtype='uint8', tile=64, overlap=32, seed=0)
@example(h=3000, w=1, dtype='float32', tile=64, overlap=16, seed=0)
@given(h=SIDES, w=SIDES, dtype=st.sampled_from(['uint8', 'uint16', 'float32', 'float64']), tile=st.sampled_from([64, 128, 160, 512]),
       overlap=st.integers(16, 32), seed=st.integers(0, 9))
def test_any_size_type_and_tiling(h, w, dtype, tile, overlap, seed):
    toy, top = Toy(), dict(uint8=255, uint16=65535).get(dtype, 1)
    img = (np.random.default_rng(seed).random((h, w, 3))*top).astype(dtype)
    before = img.copy()
    tiled = Restorer(toy, device='cpu', tile=tile, overlap=overlap).restore(img)
    whole = Restorer(Toy(), device='cpu', tile=3008).restore(img)
    assert tiled.shape == img.shape and (img == before).all() and np.isfinite(tiled).all()
    assert tiled.dtype == (np.float32 if top == 1 else dtype) and 0 <= tiled.min() and tiled.max() <= top
    assert len(toy.looks) == 1 and max(toy.looks[0]) <= 256
    assert np.abs(tiled.astype(float) - whole).max() <= top/255 # the toy sees less far than what is cut off between tiles

@settings(max_examples=200, deadline=None, derandomize=True)
@given(n=st.integers(1, 20_000), tile=st.integers(2, 40).map(lambda k: 32*k), share=st.floats(0, .5))
def test_tiles_cover_any_side_once(n, tile, share):
    tiles, side = tiles_along(n, tile, int(share*tile)), max(64, -(-n//32)*32)
    total = np.zeros(side)
    for start, length, weights in tiles:
        assert start % 32 == 0 and length % 32 == 0 and start + length <= side and weights.min() >= 0
        total[start:start + length] += weights
    assert np.abs(total - 1).max() < 1e-5

def test_tiles_agree_with_the_whole_photo_in_float():
    img = sample_photo('china').astype(np.float32)/255
    whole = Restorer(Toy(), device='cpu', tile=640).restore(img)
    for tile, overlap in ((64, 32), (160, 32), (256, 128)):
        assert np.abs(Restorer(Toy(), device='cpu', tile=tile, overlap=overlap).restore(img) - whole).max() < 1e-5

def test_same_answer_twice_and_for_every_kind():
    r, img = Restorer(Toy(), device='cpu', tile=128, overlap=32), sample_photo('chelsea')[:150, :200]
    assert (r.restore(img) == r.restore(img.copy())).all()
    t = torch.from_numpy(img).permute(2, 0, 1).float()/255
    out = r.restore(torch.stack([t, t.flip(2)]))
    assert out.shape == (2, 3, 150, 200) and out.dtype == torch.float32 and not out.requires_grad
    assert ((out[0].permute(1, 2, 0).numpy()*255).round() == r.restore(img)).all()

def test_a_folder_with_bad_files_goes_on(tmp_path):
    src, r = tmp_path/'in', Restorer(Toy(), device='cpu', tile=128)
    for i in range(3): write_photo(src/f'{i}.png', sample_photo('coffee')[:40, :50])
    (src/'text.jpg').write_text('hello')
    (src/'zero.png').touch()
    s = r.restore_folder(src, tmp_path/'out', progress=False)
    assert [p.name for p in s.restored] == ['0.png', '1.png', '2.png']
    assert [p.name for p, _ in s.failed] == ['text.jpg', 'zero.png']
    assert 'holds text' in str(s) and 'empty' in str(s) and '3 restored' in str(s)

def test_a_hard_link_is_an_input_too(tmp_path):
    write_photo(tmp_path/'in'/'a.png', sample_photo('coffee')[:40, :50])
    (tmp_path/'out').mkdir()
    (tmp_path/'out'/'a.png').hardlink_to(tmp_path/'in'/'a.png')
    r = Restorer(Toy(), device='cpu')
    with pytest.raises(PhotoError, match='replace'): r.restore_folder(tmp_path/'in', tmp_path/'out', overwrite=True)

def test_progress_is_shown_on_stderr(tmp_path, capsys):
    write_photo(tmp_path/'a.png', sample_photo('coffee')[:40, :50])
    Restorer(Toy(), device='cpu').restore_folder(tmp_path/'a.png', tmp_path/'out')
    shown = capsys.readouterr()
    assert '1/1' in shown.err and shown.out == ''

def test_names_that_differ_in_case_only(tmp_path):
    "The disk of the results is asked whether it keeps them apart."
    r, img = Restorer(Toy(), device='cpu'), sample_photo('coffee')[:40, :50]
    for name in ('one/a.png', 'two/A.png'): write_photo(tmp_path/name, img)
    folders = [tmp_path/'one', tmp_path/'two']
    write_photo(tmp_path/'one'/'A.png', img)
    apart = len(list((tmp_path/'one').iterdir())) == 2
    (tmp_path/'one'/'A.png').unlink()
    if not apart: write_photo(tmp_path/'one'/'a.png', img)
    done = r.restore_folder(folders, tmp_path/'out', progress=False)
    assert (len(done.restored), len(done.failed)) == ((2, 0) if apart else (0, 2))
    assert apart or all('both' in why for _, why in done.failed)


# --- seams, wishes, 24 megapixels

@pytest.fixture(scope='module')
def wild():
    "A small network of the real kind whose last layer is random: worse than any that was trained."
    torch.manual_seed(0)
    net = build_network(NetConfig('resnet18', norm='batch', look=True, residual=True, head=16))
    for p in net.final_layer.parameters(): nn.init.normal_(p, std=.02)
    return net

def ramp(h, w): return (np.linspace(0, 1, h, dtype=np.float32)[:, None, None]*np.linspace(.2, 1, w, dtype=np.float32)[:, None]).repeat(3, 2)

def steps_where_tiles_meet(made, axis, tile=160, overlap=64):
    "The largest step between two lines of a photo, each in the photo's largest colour: where tiles overlap, and elsewhere."
    steps, n = np.abs(np.diff(made, axis=axis)).max(2).max(1 - axis), made.shape[axis]
    covered = np.zeros(padded(n), int)
    for start, length, _ in tiles_along(n, tile, overlap): covered[start:start + length] += 1
    shared = covered[added_before(n):][:n][1:] > 1
    assert 20 < shared.sum() < n - 20
    return steps[shared].max(), steps[~shared].max()

def test_no_seam_on_a_ramp(wild):
    "The largest step across a tile's border is no larger than elsewhere."
    img = ramp(300, 360)
    made = Restorer(wild, device='cpu', tile=160, overlap=64).restore(img, mode='photo') - img
    for axis in 0, 1:
        border, elsewhere = steps_where_tiles_meet(made, axis)
        assert border <= elsewhere and border < .03

@pytest.fixture(scope='module', params=['wild', 'shipped'])
def net(request): return request.getfixturevalue('wild') if request.param == 'wild' else Restorer.load(device='cpu').net

@pytest.mark.parametrize('name', ['china', 'chelsea'])
def test_no_seam_in_a_photo(net, name):
    "Where tiles meet, the largest step is that of the whole photo done at once, to a level of 8 bits."
    img = sample_photo(name)[:300, :360].astype(np.float32)/255
    img = np.clip(img + np.random.default_rng(0).normal(0, .1, img.shape).astype(np.float32), 0, 1) # there is something to do
    tiled, whole = (Restorer(net, device='cpu', tile=t, overlap=64).restore(img, mode='photo') for t in (160, 512))
    assert np.abs(whole - img).max() > 5/255 # this network does change photos
    for axis in 0, 1: assert steps_where_tiles_meet(tiled, axis)[0] <= steps_where_tiles_meet(whole, axis)[0] + 1/255

def test_memory_does_not_grow_with_a_float_copy():
    "Between the pixels that come in and those that go out, no more is held than one row of tiles."
    import tracemalloc
    img = np.zeros((3000, 1000, 3), np.uint8)
    r = Restorer(Toy(), device='cpu', tile=128, overlap=32)
    tracemalloc.start()
    r.restore(img)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < img.nbytes*2.5 # a float copy is four times as large


def test_tensors_keep_their_type():
    restorer, photo = Restorer(Toy(), device='cpu'), torch.from_numpy(sample_photo('coffee')[:64, :96].copy()).permute(2, 0, 1)
    floats = restorer.restore(photo/255)
    assert (restorer.restore(photo) == (floats*255).round().to(torch.uint8)).all() and restorer.restore(photo[None]).dtype == torch.uint8
    for dtype in torch.float16, torch.float64: assert restorer.restore((photo/255).to(dtype)).dtype == dtype
    with pytest.raises(ValueError, match='int64'): restorer.restore(photo.long())


# --- networks that enlarge, networks that are told where

class Doubler(nn.Module):
    "Twice the size; sees 2 px, and every second tile comes out `mood` lighter."
    scale = 2
    def __init__(self, mood=0.): super().__init__(); self.mood, self.tiles = mood, 0
    def look(self, thumbnail, mode=None): return None
    def forward(self, x, context):
        self.tiles += 1
        return nn.functional.interpolate(x, scale_factor=2, mode='bicubic') + self.mood*(self.tiles % 2)

@pytest.mark.parametrize('dtype, top', [('uint8', 255), ('uint16', 65535), ('float32', 1)])
def test_twice_the_size_in_tiles(dtype, top):
    img = (to_float(sample_photo('chelsea'))[:230, :310]*top).round(0 if top > 1 else 7).astype(dtype)
    whole, tiled = (Restorer(Doubler(), device='cpu', tile=t, overlap=32).restore(img) for t in (512, 96))
    assert tiled.shape == (460, 620, 3) and tiled.dtype == img.dtype
    assert np.abs(tiled.astype(float) - whole).max() <= top*1e-5 + (top > 1)
    assert dtype != 'uint16' or (tiled % 257 != 0).any() # all 16 bits count

def test_no_seam_in_twice_the_size():
    flat = np.full((300, 400, 3), 100, np.uint8)
    for overlap, low, high in ((0, 10, 14), (64, 0, 1)):
        made = Restorer(Doubler(.05), device='cpu', tile=160, overlap=overlap).restore(flat).astype(int)
        assert low <= max(np.abs(np.diff(made, axis=a)).max() for a in (0, 1)) <= high

@settings(max_examples=20, deadline=None, derandomize=True)
@given(h=SIDES, w=SIDES, strength=st.sampled_from([0., .5, 1.]))
def test_twice_any_size(h, w, strength):
    img = np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)
    made = Restorer(Doubler(), device='cpu', tile=64, overlap=32).restore(img, strength=strength)
    assert made.shape == (2*h, 2*w, 3) and made.dtype == np.uint8
    if strength == 0: assert np.abs(made - nn.functional.interpolate(torch.from_numpy(img).permute(2, 0, 1)[None].float(), scale_factor=2, mode='bilinear')[0].permute(1, 2, 0).numpy()).max() <= .51

class Stamper(nn.Module):
    "Wants the mask as a fourth channel; blue where it is."
    expects = 'rgb+mask'
    def look(self, thumbnail, mode=None): return None
    def forward(self, x, context): return torch.where(x[:, 3:] > .5, x.new_tensor([0, 0, 1]).view(1, 3, 1, 1), x[:, :3])

@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_a_mask_travels_with_the_tiles(dtype):
    img = sample_photo('chelsea')[:230, :310].astype(dtype)*(257 if dtype == 'uint16' else 1)
    mask = np.random.default_rng(0).random(img.shape[:2]) > .7
    want = np.where(mask[..., None], np.array([0, 0, np.iinfo(dtype).max], dtype), img)
    for tile in 96, 512:
        r = Restorer(Stamper(), device='cpu', tile=tile, overlap=32)
        assert np.abs(r.restore(img, mask=mask).astype(int) - want).max() <= 1 and np.abs(r.restore(img).astype(int) - img).max() <= 1


# --- networks of other rooms, by a line in the table

class Twice(nn.Module):
    "Twice the size, without a look; as a room of somebody else would describe it."
    architecture, scale, expects, gives = 'twice', 2, 'rgb', 'rgb'
    def __init__(self, gives='rgb'): super().__init__(); self.config, self.gives, self.gain = dict(gives=gives), gives, nn.Parameter(torch.tensor(.5))
    def forward(self, x): return nn.functional.interpolate(x, scale_factor=2)*self.gain

@pytest.fixture
def twice(monkeypatch, tmp_path):
    "A manifest with such a network, as the x4 that enlarges and as the restorer."
    monkeypatch.setitem(ARCHITECTURES, 'twice', Twice)
    file = save_weights(tmp_path/'twice.safetensors', Twice())
    return save_parts(tmp_path/'parts.json', [describe_part(file, role) for role in ('restorer', 'x4')])

PHOTO = sample_photo('chelsea')[:150, :210]

def is_twice(img): return np.abs(img.astype(int) - np.repeat(np.repeat(PHOTO, 2, 0), 2, 1)/2).max() <= 1

def test_a_part_of_a_manifest_enlarges_in_tiles(twice):
    enlarger = Restorer.load(twice, device='cpu', role='x4', tile=96, overlap=32)
    tiles = []
    assert is_twice(enlarger.restore(PHOTO, on_tile=lambda done, of: tiles.append(of))) and tiles[0] > 4
    assert enlarger.look(PHOTO) is None and enlarger.meta['parts'][0]['role'] == 'x4'
    with pytest.raises(WeightsError, match='only for restorer, x4'): Restorer.load(twice, device='cpu', role='frame')

def test_the_command_takes_any_described_network(twice, tmp_path, monkeypatch):
    from typer.testing import CliRunner
    from restorer_fastai.cli import app
    monkeypatch.setenv('OMP_WAIT_POLICY', 'PASSIVE')
    write_photo(tmp_path/'photo.png', PHOTO)
    for model in twice, twice.with_name('twice.safetensors'):
        done = CliRunner().invoke(app, ['restore', str(tmp_path/'photo.png'), '--out', str(tmp_path/model.stem), '--model', str(model), '--tile', '128'])
        assert done.exit_code == 0, done.output
        assert is_twice(read_photo(tmp_path/model.stem/'photo.png'))

def test_what_cannot_be_faster_says_so(twice, tmp_path):
    enlarger = Restorer.load(twice, device='cpu', role='x4')
    with pytest.raises(WeightsError, match='Twice cannot be folded'): enlarger.faster()
    with pytest.raises(WeightsError, match='Twice cannot be folded'): weights_hash(enlarger.net)
    with pytest.raises(WeightsError if importlib.util.find_spec('onnxscript') else ImportError): enlarger.export_onnx(tmp_path/'twice.onnx')

def test_load_refuses_what_does_not_restore(twice, tmp_path):
    for net in Twice('luma'), ColourNet((8, 16)): assert 'does not restore' in refused(save_weights(tmp_path/'other.safetensors', net))
