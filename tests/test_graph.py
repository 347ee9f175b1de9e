"Exported graphs: two threads at once, other runners, what is refused, and what is said when the extra is missing."
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from restorer_fastai.restore.graph import FoldedNet, GraphNet, _read_label, fold_norms, load_graph
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai import Restorer
from restorer_fastai.nets.weights import load_weights, save_weights
from restorer_fastai.photo.errors import WeightsError

torch.set_num_threads(1)
needs_extra = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnxscript', 'openvino'))), reason='needs the extra [fast]')
PHOTO = sample_photo('china')[240:330, 200:340]


@pytest.fixture(scope='module')
def net():
    "A small network whose U-Net answers something."
    torch.manual_seed(0)
    net = build_network(NetConfig('resnet18', norm='batch', residual=True, look=True, head=16))
    for p in (net.final_layer.weight, net.head.features.weight): torch.nn.init.normal_(p, std=.05)
    return net

@pytest.fixture(scope='module')
def restorer(net): return Restorer(net, device='cpu', tile=128, overlap=32)

@pytest.fixture(scope='module')
def graph(restorer, tmp_path_factory): return restorer.export_onnx(tmp_path_factory.mktemp('graph')/'net.onnx')

def apart(a, b): return np.abs(a.astype(int) - b).mean()


def test_folded_network_restores_the_same_in_tiles(restorer):
    fast = restorer.faster(dtype=torch.float32)
    assert isinstance(fast.net, FoldedNet) and fast.tile == 128 and fast.overlap == 32
    assert apart(fast.restore(PHOTO), restorer.restore(PHOTO)) < .01
    assert apart(restorer.restore(PHOTO), PHOTO) > 1 # there was something to get wrong
    assert apart(restorer.faster(dtype=torch.bfloat16).restore(PHOTO), restorer.restore(PHOTO)) < 1

def test_folding_leaves_weights_that_can_still_be_saved(net, tmp_path):
    before = save_weights(tmp_path/'before.safetensors', net).read_bytes()
    fold_norms(net)
    assert save_weights(tmp_path/'after.safetensors', net).read_bytes() == before
    with pytest.raises(WeightsError, match='cannot be described'): save_weights(tmp_path/'folded.safetensors', fold_norms(net))

def test_other_networks_are_refused():
    with pytest.raises(WeightsError, match='cannot be folded'): fold_norms(torch.nn.Conv2d(3, 3, 1))

@needs_extra
def test_graph_restores_the_same_from_two_threads(restorer, graph):
    fast = restorer.faster(graph, dtype=torch.float32)
    assert isinstance(fast.net, GraphNet)
    photos = [PHOTO, 255 - PHOTO[::-1], PHOTO[:60, :60]]
    with ThreadPoolExecutor(2) as pool: got = list(pool.map(fast.restore, photos))
    for y, photo in zip(got, photos): assert apart(y, restorer.restore(photo)) < .01
    assert apart(restorer.faster(graph, dtype=torch.bfloat16).restore(PHOTO), restorer.restore(PHOTO)) < 1

@needs_extra
def test_graph_goes_with_its_weights_however_they_were_loaded(net, graph, tmp_path):
    load_graph(graph, load_weights(save_weights(tmp_path/'net.safetensors', net))[0])
    with pytest.raises(WeightsError, match='other weights'): load_graph(graph, load_weights(save_weights(tmp_path/'packed.safetensors', net, packed=True))[0])

@needs_extra
def test_graph_is_a_sound_onnx_model(graph):
    import onnx
    model = onnx.load(graph)
    onnx.checker.check_model(model)
    assert [i.name for i in model.graph.input] == ['photo', 'vector'] and [o.name for o in model.graph.output] == ['restored']
    label = json.loads({p.key: p.value for p in model.metadata_props}['restorer_fastai_graph'])
    assert label == _read_label(graph) and label['network']['arch'] == 'resnet18'

@needs_extra
@pytest.mark.parametrize('damage,why', [
    (lambda b: b[:len(b)//2], 'cut short'), (lambda b: b'', 'cut short'), (lambda b: b[:-5], 'label is damaged'), (lambda b: b[:5000] + b[5001:], 'content hash'),
    (lambda b: b[:70000] + bytes([b[70000] ^ 1]) + b[70001:], 'content hash'), (lambda b: b.replace(b'"contract": 2', b'"contract": 9'), 'newer program'),
    (lambda b: b.replace(b'"contract": 2', b'"contract": 1'), 'older program'),
    (lambda b: b.replace(b'"size": ', b'"sizo": '), 'label is damaged')])
def test_damaged_graphs_are_refused(net, graph, tmp_path, damage, why):
    (tmp_path/'bad.onnx').write_bytes(damage(graph.read_bytes()))
    with pytest.raises(WeightsError, match=why) as e: load_graph(tmp_path/'bad.onnx', net)
    assert 'bad.onnx' in str(e.value) and e.value.remedy

def test_a_folder_or_nothing_is_no_graph(net, tmp_path):
    for path in (tmp_path, tmp_path/'none.onnx'):
        with pytest.raises(WeightsError, match='no such file'): load_graph(path, net)

def test_what_is_said_when_the_extra_is_missing(restorer, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'pip install .restorer_fastai\[fast\]'): restorer.export_onnx(tmp_path/'net.onnx')
    assert not list(tmp_path.iterdir())

@needs_extra
def test_openvino_is_imported_without_telling_anybody(tmp_path):
    "It would leave an identifier in the home folder and ask a server, except on machines that say that they are CI."
    code = """
import sys
sys.addaudithook(lambda event, args: event in ('urllib.Request', 'socket.getaddrinfo', 'socket.connect') and print(event, args))
from restorer_fastai.restore.graph import _openvino
assert _openvino().Core().available_devices
assert 'openvino_telemetry' not in sys.modules
import openvino_telemetry # it is not spoiled for others
"""
    env = {k: v for k, v in os.environ.items() if k not in ('CI', 'TF_BUILD', 'JENKINS_URL')} | dict(HOME=str(tmp_path), USERPROFILE=str(tmp_path))
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300, env=env)
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    assert not (tmp_path/'intel').exists()

def test_importing_the_room_is_light():
    code = "import sys, restorer_fastai.restore.graph; print([m for m in sys.modules if m in ('fastai', 'torchvision', 'onnx', 'onnxscript', 'openvino')])"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == '[]', done.stderr
