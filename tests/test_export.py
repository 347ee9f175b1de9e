"What people do first: `learn.export()` here, `load_learner(file).predict(photo)` in another program."
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from fastai.learner import load_learner
from PIL import Image
from restorer_fastai import Restorer
from restorer_fastai.data.dataset import build_dataset
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.learn.critic import critic_dls, critic_learner
from restorer_fastai.learn.gan import GanLearner
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.nets.critics import CriticNet
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.pixels import to_float, to_tensor
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo

pytestmark = pytest.mark.filterwarnings('ignore:load_learner', 'ignore::FutureWarning')
PROGRAM = """
import sys, warnings
warnings.simplefilter('ignore')
import numpy as np
from fastai.learner import load_learner
learn = load_learner(sys.argv[1])
with learn.no_bar(): answers = [learn.predict(o) for o in sys.argv[3:]]
np.savez(sys.argv[2], *[photo.permute(1, 2, 0).numpy() for photo, *_ in answers])
"""


@pytest.fixture(scope='module')
def data(samples, tmp_path_factory):
    "Pairs of the sample photos."
    out = tmp_path_factory.mktemp('data')/'set'
    build_dataset(samples/'train', out, mix='lapaz2021', valid_share=.2, progress=False)
    return out

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Two photos as files, of no handy size."
    folder = tmp_path_factory.mktemp('photos')
    write_photo(folder/'wide.png', sample_photo('china')[:90, :143])
    write_photo(folder/'tall.jpg', sample_photo('chelsea')[:150, :77])
    return [folder/'wide.png', folder/'tall.jpg']

def network(**config):
    "Untrained, but no network that leaves photos as they are."
    torch.manual_seed(1)
    net = build_network(NetConfig(arch='resnet18', head=8, detail=1, residual=True, **config))
    with torch.no_grad(): net.head.last.module.weight.normal_(0, .05)
    return net

def trained(kind, data, **loaders):
    "A learner after two batches."
    dls = get_dls(data, size=64, bs=2, samples=4, valid_samples=2, device='cpu', **loaders)
    learn = generator_learner(dls, net=network())
    if kind == 'gan':
        critic = critic_learner(critic_dls(learn.model, dls, n=2, n_valid=2), net=CriticNet(8))
        learn = GanLearner.from_learners(learn, critic)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    return learn

@pytest.mark.parametrize('kind, loaders', [('generator', dict(on_the_fly=True)), ('generator', dict(on_the_fly=False)), ('generator', dict(view='part')),
                                           ('gan', dict(on_the_fly=True))], ids=['on the fly', 'pairs', 'parts', 'gan'])
def test_predict_in_another_program_is_what_restorer_gives(kind, loaders, data, photos, tmp_path):
    learn = trained(kind, data, **loaders)
    learn.export(tmp_path/'export.pkl')
    (tmp_path/'elsewhere').mkdir()
    done = subprocess.run([sys.executable, '-c', PROGRAM, str(tmp_path/'export.pkl'), 'out.npz', *map(str, photos)], cwd=tmp_path/'elsewhere',
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    restorer, answers = Restorer.from_learner(learn, device='cpu'), np.load(tmp_path/'elsewhere'/'out.npz')
    for path, name in zip(photos, answers.files):
        photo, wanted = read_photo(path), restorer.restore(read_photo(path))
        assert answers[name].shape == photo.shape
        assert np.abs(answers[name].astype(int) - wanted).max() <= 1
        assert np.abs(answers[name].astype(int) - photo).mean() > .5 # it does something

@pytest.fixture(scope='module')
def exported(data, tmp_path_factory):
    "(a learner's own answer to the photo china, what was loaded from its export)."
    learn = trained('generator', data)
    path = tmp_path_factory.mktemp('export')/'export.pkl'
    learn.export(path)
    with learn.no_bar(): own = learn.predict(sample_photo('china')[:90, :143])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return path, own, load_learner(path)

KINDS = {'path': lambda p: p, 'text': str, 'Pillow image': Image.open, 'uint8 array': read_photo, 'float array': lambda p: to_float(read_photo(p)),
         '16-bit array': lambda p: read_photo(p).astype(np.uint16)*257, 'tensor': lambda p: to_tensor(read_photo(p))[0],
         'uint8 tensor': lambda p: torch.from_numpy(read_photo(p)).permute(2, 0, 1)}

@pytest.mark.parametrize('kind', KINDS)
def test_predict_takes_every_kind_of_photo(kind, exported, photos):
    _, own, learn = exported
    with learn.no_bar(): photo, pixels, raw = learn.predict(KINDS[kind](photos[0]))
    assert photo.shape == (3, 90, 143) and photo.dtype == torch.uint8 and pixels.dtype == torch.float32
    assert 0 <= pixels.min() and pixels.max() <= 1
    assert (pixels - own[1]).abs().max() < 1e-5
    assert (photo.float()/255 - pixels).abs().max() <= .51/255

def test_get_preds_of_photos_of_several_sizes(exported, photos):
    _, own, learn = exported
    with learn.no_bar(): restored, _ = learn.get_preds(dl=learn.dls.test_dl([photos[1], photos[0]]))
    assert [tuple(o.shape) for o in restored] == [(3, 150, 77), (3, 90, 143)]
    assert (restored[1] - own[1]).abs().max() < 1e-5

def test_the_file_tells_nothing_of_the_photos_it_learned_from(exported, samples, data):
    path, *_ = exported
    content = path.read_bytes()
    for folder in (samples, data): assert str(folder).encode() not in content
    assert b'china' not in content and b'coffee' not in content

def test_a_restorer_opens_the_export(exported, photos):
    path, own, _ = exported
    restored = Restorer.load(path, trusted=True, device='cpu').restore(read_photo(photos[0]))
    assert np.abs(restored/255 - own[1].permute(1, 2, 0).numpy()).max() <= .51/255
