"A part that repairs and is told what was done: from files, in all the forms in which a network restores, by photo, by command."
import importlib.util
from functools import partial

import numpy as np
import pytest
import torch
from restorer_fastai import Restorer
from restorer_fastai.degrade.damage import add_gaussian_noise
from restorer_fastai.degrade.estimate import Done, estimate_done
from restorer_fastai.nets.mixing import mix_weights
from restorer_fastai.nets.repair import RepairNet
from restorer_fastai.nets.restorer import NetConfig, RestorerNet, build_network
from restorer_fastai.nets.weights import describe_part, save_parts, save_weights
from restorer_fastai.photo.errors import RestorerError
from restorer_fastai.photo.pixels import to_float, to_uint8
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from test_cli import run

torch.set_num_threads(1)
needs_extra = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnxscript', 'openvino'))), reason='needs the extra [fast]')
PHOTO = to_uint8(add_gaussian_noise(to_float(sample_photo('china')[200:380, 200:420]), 12.))

def talkative():
    "A repair network that answers something, and something else for each thing that is told."
    torch.manual_seed(0)
    net = RepairNet((8, 16), blocks=1)
    for p in net.parameters():
        if not p.any(): torch.nn.init.normal_(p, std=.05)
    return net

def saved(folder, repairer, net=None, textured=None, packed=False, **more):
    "A manifest of a repair network, and of what else there is, `more` by the names of its places: nothing when not given."
    save_weights(folder/'main.safetensors', net or build_network(NetConfig(arch=None)))
    parts = [describe_part(folder/'main.safetensors', 'restorer')]
    for role, part in (dict(repairer=repairer, textured=textured) | more).items():
        if part is None: continue
        save_weights(folder/f'{role}.safetensors', part, packed=packed)
        parts.append(describe_part(folder/f'{role}.safetensors', role, into=f'restorer.{role}'))
    return save_parts(folder/'parts.json', parts)

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A manifest of a restorer that is a repair network and nothing else."
    return saved(tmp_path_factory.mktemp('parts'), talkative(), packed=True)

def unet():
    "A U-Net with a head that answers something."
    torch.manual_seed(0)
    net = build_network(NetConfig('resnet18', norm='batch', residual=True, head=16))
    for p in net.head.parameters():
        if not p.any(): torch.nn.init.normal_(p, std=.05)
    return net

@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    "A manifest of a U-Net with a head, and beside it the repair network."
    return saved(tmp_path_factory.mktemp('shared'), talkative(), unet(), packed=True)

def other():
    "The repair network after a lesson that changed it."
    net = talkative()
    with torch.no_grad():
        for p in net.last.parameters(): p.neg_()
    return net

@pytest.fixture(scope='module')
def textured(tmp_path_factory):
    "As `shared`, and with a part that has learned something else."
    return saved(tmp_path_factory.mktemp('textured'), talkative(), unet(), other(), packed=True)

@pytest.fixture(scope='module')
def load(weights): return partial(Restorer.load, weights, device='cpu', tile=128, overlap=32)

@pytest.fixture
def heard(monkeypatch):
    "The numbers that the network was told, tile by tile."
    said, repair = [], RepairNet.repair
    def listen(self, x, numbers):
        said.append(numbers)
        return repair(self, x, numbers)
    monkeypatch.setattr(RepairNet, 'repair', listen)
    return said

def apart(a, b): return np.abs(a.astype(int) - b).mean()

def test_a_photo_is_read_once_and_every_tile_is_told_the_same(load, heard):
    load().restore(PHOTO)
    assert len(heard) > 3
    for o in heard: assert torch.equal(o, torch.from_numpy(estimate_done(PHOTO).numbers())[None])

def test_whoever_knows_better_is_believed(load, heard):
    blind, told = load().restore(PHOTO), load().restore(PHOTO, told=dict(noise=40, quality=10))
    assert apart(blind, told) > .1
    wanted = estimate_done(PHOTO, told=dict(noise=40, quality=10)).numbers()
    assert np.array_equal(heard[-1][0].numpy(), wanted) and wanted[6+2] == 1 # noise: sure
    for wrong, said in ((dict(grain=3), 'noise'), (dict(quality=300), 'quality')):
        with pytest.raises(RestorerError, match=said): load().restore(PHOTO, told=wrong)

def test_nothing_is_told_to_a_network_that_does_not_want_to_know():
    net = build_network(NetConfig('resnet18', norm='batch', residual=True))
    with pytest.warns(UserWarning, match='no part that wants to know'): Restorer(net, device='cpu').restore(PHOTO, told=dict(noise=3))

def test_folded_it_restores_the_same(load):
    plain = load().restore(PHOTO)
    assert apart(plain, PHOTO) > 1 # there was something to get wrong
    assert apart(load().faster(dtype=torch.float32).restore(PHOTO), plain) < .01
    assert apart(load().faster(dtype=torch.bfloat16).restore(PHOTO), plain) < 1

@needs_extra
def test_a_graph_is_told_too(load, tmp_path):
    graph = load().export_onnx(tmp_path/'net.onnx')
    fast = load().faster(graph, dtype=torch.float32)
    for told in (None, dict(noise=40, quality=10)): assert apart(fast.restore(PHOTO, told=told), load().restore(PHOTO, told=told)) < .05

EXACTLY = dict(noise=0, blur=0, impulses=0, quality=100) # nothing is left to chance

@pytest.mark.parametrize('told, unet, repairer', [({}, 0, 1), (dict(quality=20), 0, 1), (dict(noise=30), 1, 0), (dict(blur=2), 1, 0), (dict(impulses=.03), 1, 0), (dict(noise=8), 1, 1), (dict(noise=30, quality=20), 0, 1)])
def test_two_share_the_work_and_nobody_works_in_vain(shared, monkeypatch, told, unet, repairer):
    restorer, asked = Restorer.load(shared, device='cpu', tile=256), dict(unet_repairs=0, told_repairs=0)
    for name in asked:
        def listen(self, *args, name=name, real=getattr(RestorerNet, name), **kwargs):
            asked[name] += 1
            return real(self, *args, **kwargs)
        monkeypatch.setattr(RestorerNet, name, listen)
    restored = restorer.restore(PHOTO, 'photo', told=EXACTLY | told)
    assert apart(restored, PHOTO) > .5 and [o > 0 for o in asked.values()] == [unet, repairer]

WISHES = dict(quality=20), dict(noise=30), dict(noise=8)

def all_restored(restorer): return [restorer.restore(PHOTO, 'photo', told=EXACTLY | o) for o in WISHES]

def test_two_share_the_work_folded_too(shared):
    plain = all_restored(Restorer.load(shared, device='cpu', tile=256))
    for dtype, most in ((torch.float32, .01), (torch.bfloat16, 1)):
        for a, b in zip(all_restored(Restorer.load(shared, device='cpu', tile=256).faster(dtype=dtype)), plain): assert apart(a, b) < most

@needs_extra
def test_two_share_the_work_beside_a_graph(shared, tmp_path):
    restorer = Restorer.load(shared, device='cpu', tile=256)
    plain, graph = all_restored(restorer), restorer.export_onnx(tmp_path/'net.onnx')
    for a, b in zip(all_restored(restorer.faster(graph, dtype=torch.float32)), plain): assert apart(a, b) < .05

def test_one_photo_of_a_batch_is_told_one_thing():
    net, x = talkative().eval(), torch.rand(2, 3, 32, 64)
    with torch.inference_mode():
        both = net(x, [Done(noise=5), Done(quality=20)])
        for i, done in enumerate((Done(noise=5), Done(quality=20))): torch.testing.assert_close(both[i:i + 1], net(x[i:i + 1], done))
    with pytest.raises(RestorerError, match='2 photos need'): net(x, np.zeros((3, 14)))

def test_texture_goes_from_one_part_to_the_other(textured, shared, tmp_path):
    told = dict(told=EXACTLY | dict(quality=20))
    def restored(weights, **wishes): return Restorer.load(weights, device='cpu', tile=256).restore(PHOTO, 'photo', **told | wishes)
    assert np.array_equal(restored(textured), restored(shared)) # nobody asked for any
    assert np.array_equal(restored(textured, texture=1), restored(saved(tmp_path, other(), packed=True)))
    ends, middle = [restored(textured, texture=o).astype(int) for o in (0, 1)], restored(textured, texture=.5)
    assert all(1 < apart(o, middle) < .6*apart(*ends) for o in ends)
    noise = dict(told=EXACTLY | dict(noise=30))
    assert np.array_equal(restored(textured, texture=1, **noise), restored(shared, **noise)) # the U-Net's, which has learned no texture
    with pytest.warns(UserWarning, match='no part that has learned to invent it'): restored(shared, texture=.5)

def test_texture_in_all_forms_of_a_network(textured, tmp_path):
    restorer, wishes = Restorer.load(textured, device='cpu', tile=256), dict(told=EXACTLY | dict(quality=20), texture=.7)
    plain = restorer.restore(PHOTO, 'photo', **wishes)
    for dtype, most in ((torch.float32, .01), (torch.bfloat16, 1)): assert apart(restorer.faster(dtype=dtype).restore(PHOTO, 'photo', **wishes), plain) < most
    if all(map(importlib.util.find_spec, ('onnxscript', 'openvino'))):
        graph = restorer.export_onnx(tmp_path/'net.onnx')
        assert apart(restorer.faster(graph, dtype=torch.float32).restore(PHOTO, 'photo', **wishes), plain) < .05

def test_texture_is_a_wish_that_is_noted(textured, tmp_path):
    write_photo(tmp_path/'a.png', PHOTO)
    def restored(*args, code=0): return ''.join(run('restore', tmp_path/'a.png', '--out', tmp_path/'out', '--model', textured, *args, cwd=tmp_path, code=code))
    assert '1 restored' in restored('--texture', '0.5')
    assert 'made with --texture 0.5' in restored()
    restored('--texture', '2', code=2)

def test_what_is_told_is_a_wish_that_is_noted(weights, tmp_path):
    write_photo(tmp_path/'a.png', PHOTO)
    def restored(*args, code=0): return ' '.join(''.join(run('restore', tmp_path/'a.png', '--out', tmp_path/'out', '--model', weights, *args, cwd=tmp_path, code=code)).replace('│', ' ').split())
    restored()
    assert 'made without --told blur=2 --told noise=9' in restored('--told', 'noise=9', '--told', 'blur=2')
    for wrong, said in (('noise', 'NAME=NUMBER'), ('grain=3', 'nothing can be told about grain'), ('quality=400', '1 to 100')):
        assert said in restored('--told', wrong, code=2)

def test_a_mixed_network_is_a_part_like_any_other(tmp_path):
    "Half way between one that changes nothing and one that does, from a file."
    before = talkative()
    for p in before.last.parameters(): torch.nn.init.zeros_(p)
    changed = {}
    for share in (0., .5, 1.):
        restorer = Restorer.load(saved(tmp_path, mix_weights(before, talkative(), share)), device='cpu', tile=128, overlap=32)
        changed[share] = apart(restorer.restore(PHOTO), PHOTO)
    assert changed[0.] == 0 < changed[.5] < changed[1.]
