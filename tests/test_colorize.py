"A network that colorizes as a part of a restorer: by a manifest, in a Python without fastai, beside the shipped one."
import subprocess
import sys

import numpy as np
import pytest
import torch

from restorer_fastai import Restorer
from restorer_fastai.nets.architectures import ARCHITECTURES, resolve
from restorer_fastai.nets.restorer import plain_restorer
from restorer_fastai.nets.weights import describe_part, find_weights, load_network, save_parts, save_weights
from restorer_fastai.oldphoto.article import ArticleNet
from restorer_fastai.oldphoto.colorize import ColorizeNet, SETTINGS
from restorer_fastai.photo.errors import WeightsError
from restorer_fastai.photo.pixels import rgb_to_ycbcr
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo


def red_net(cls=ColorizeNet):
    "A network that answers with one colour, red, whatever it sees."
    net = cls((8, 8, 8), 8) if cls is ColorizeNet else cls('resnet18', 4)
    last = net.last if cls is ColorizeNet else net.last.module
    with torch.no_grad():
        last.weight.zero_(); last.bias.zero_()
        if cls is ColorizeNet: last.bias[7*15 + 10] = 30. # Cb 0, Cr .12
        else: last.bias[1] = .12
    return net.eval()


@pytest.fixture
def manifest(tmp_path):
    "A restorer without learning, and a part that colorizes in its place."
    def make(part):
        torch.manual_seed(0)
        save_weights(tmp_path/'restorer.safetensors', plain_restorer(arch='resnet18', norm='batch', residual=True, look=True, head=8, colours=True))
        save_weights(tmp_path/'colours.safetensors', part, packed=True)
        parts = [describe_part(tmp_path/'restorer.safetensors', 'restorer'), describe_part(tmp_path/'colours.safetensors', 'colours', into='restorer.colourer')]
        return save_parts(tmp_path/'ours.json', parts)
    return make


@pytest.mark.parametrize('cls', [ColorizeNet, ArticleNet])
def test_a_part_colorizes(manifest, cls):
    restorer = Restorer.load(manifest(red_net(cls)), device='cpu')
    assert type(restorer.net.colourer) is cls
    grey = np.repeat(rgb_to_ycbcr(sample_photo('china')[250:346, :128].astype(np.float32)/255)[..., :1], 3, 2)
    y, *colours = np.moveaxis(rgb_to_ycbcr(restorer.restore(grey, mode='black_and_white')), 2, 0)
    middle = (y > .2) & (y < .7) # where there is room for the colour
    assert middle.mean() > .1 and np.abs(np.stack(colours)[:, middle].mean(1) - 128/255 - [0, .12]).max() < .02


def test_it_needs_no_fastai(manifest, tmp_path):
    write_photo(tmp_path/'in.png', sample_photo('china')[:64, :64])
    code = (f"import sys; from restorer_fastai import Restorer; r = Restorer.load('{manifest(red_net()).as_posix()}', device='cpu'); r.restore('in.png', mode='black_and_white'); "
            "print([m for m in ('fastai', 'torchvision', 'timm') if m in sys.modules])")
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == '[]', done.stderr


def test_who_does_not_use_it_does_not_import_it(tmp_path):
    code = "import sys; from restorer_fastai.nets.weights import load_network; load_network(sys.argv[1]); print([m for m in sys.modules if 'oldphoto' in m])"
    alone = find_weights('reference').with_name('reference.safetensors')
    done = subprocess.run([sys.executable, '-c', code, alone], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == '[]', done.stderr


def test_the_shipped_colours_go_on_loading():
    colourer = load_network('reference')[0].colourer
    with torch.inference_mode(): assert colourer.guess(torch.rand(1, 3, 64, 96)).shape[1] == 2


def test_a_damaged_part_is_named(manifest):
    path = manifest(red_net())
    part = path.parent/'colours.safetensors'
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(WeightsError, match='colours.safetensors'): Restorer.load(path, device='cpu')


def test_what_the_header_says_is_enough(tmp_path):
    net = ColorizeNet((8, 16, 24), 0)
    save_weights(tmp_path/'net.safetensors', net)
    again, header = load_network(tmp_path/'net.safetensors')
    assert (again.config, again.sharpen) == (net.config, None) and header['expects'] == 'luma' and header['gives'] == 'chroma'


def test_every_setting_answers():
    net, photo = ColorizeNet((8, 8, 8), 8).eval(), torch.rand(1, 3, 64, 96)
    for setting in (*SETTINGS, (.5, .5, 1.2)): assert torch.isfinite(net.guess(photo, setting)).all()


def test_the_table_names_what_there_is():
    for name in ('colorize', 'colorize-article'): assert resolve(ARCHITECTURES[name]).architecture == name
