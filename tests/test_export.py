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
from restorer_fastai.learn.colour import colour_learner
from restorer_fastai.learn.critic import critic_dls, critic_learner
from restorer_fastai.learn.frame import frame_learner, frame_truth
from restorer_fastai.learn.gan import GanLearner
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.learn.holes import hole_learner, hole_truth
from restorer_fastai.learn.learner import WholePhotoLoaders
from restorer_fastai.nets.critics import CriticNet
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.photo.errors import RestorerError
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
    write_photo(folder/'wide.png', sample_photo('china')[240:330, 200:343])
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

every_learner = pytest.mark.parametrize('kind, loaders', [('generator', dict(on_the_fly=True)), ('generator', dict(on_the_fly=False)),
    ('generator', dict(view='part')), ('gan', dict(on_the_fly=True))], ids=['on the fly', 'pairs', 'parts', 'gan'])

def opened(path):
    "`load_learner`, whose warning that a pickle is unsafe everybody here knows."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return load_learner(path)

@every_learner
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
    with learn.no_bar(): own = learn.predict(sample_photo('china')[240:330, 200:343])
    return path, own, opened(path)

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

@every_learner
def test_the_file_tells_nothing_of_the_photos_it_learned_from(kind, loaders, data, samples, tmp_path):
    trained(kind, data, **loaders).export(tmp_path/'export.pkl')
    content = (tmp_path/'export.pkl').read_bytes()
    for folder in (samples, data): assert str(folder).encode() not in content
    for word in (b'china', b'coffee', b'SquareView', b'CutPart', b'DegradeInput'): assert word not in content
    assert type(opened(tmp_path/'export.pkl').dls) is WholePhotoLoaders

@every_learner
def test_photos_in_a_loader_are_restored_whole_by_the_learner_in_memory(kind, loaders, data, photos):
    learn = trained(kind, data, **loaders)
    with learn.no_bar(): wanted = [learn.predict(o)[1] for o in photos]
    made = [learn.test_dl(photos)]
    if 'view' not in loaders: # with parts fastai's own `test_dl` takes no photos at all, and raises
        made += [learn.dls.test_dl([str(o) for o in photos]), learn.dls.test_dl([read_photo(o) for o in photos])]
    for dl in made:
        with learn.no_bar(): restored, truth = learn.get_preds(dl=dl)
        assert truth is None and [o.shape for o in restored] == [o.shape for o in wanted]
        for a, b in zip(restored, wanted): assert (a - b).abs().max() < 1e-5

@every_learner
def test_own_batches_are_answered_as_ever(kind, loaders, data):
    learn = trained(kind, data, **loaders)
    ask = learn.predict_photos if kind == 'gan' else learn.get_preds
    for dl in (None, learn.dls.valid, learn.dls.valid.new(), get_dls(data, size=64, bs=2, valid_samples=2, device='cpu', **loaders).valid):
        with learn.no_bar(): restored, truth = ask(dl=dl)
        assert restored.shape == truth.shape == (len(learn.dls.valid_ds), 3, 64, 64)

PARTS = { # name -> its learner, of the data and the network
    'frame': lambda data, net: frame_learner(get_dls(data, size=64, bs=2, samples=4, valid_samples=2, view='frame', truth=frame_truth, device='cpu'), net),
    'holes': lambda data, net: hole_learner(get_dls(data, size=64, bs=2, samples=4, valid_samples=2, view='part', truth=hole_truth, device='cpu'), net),
    'colour': lambda data, net: colour_learner(get_dls(data, size=64, bs=2, samples=4, valid_samples=2, mix='colourless', device='cpu'), net)}

@pytest.mark.parametrize('part', PARTS)
def test_a_part_that_learned_restores_with_the_whole_network(part, data, photos, tmp_path):
    net = network(look=True, holes=8, colours=True)
    learn = PARTS[part](data, net)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    learn.export(tmp_path/'export.pkl')
    wanted = Restorer(net.eval(), device='cpu').restore(read_photo(photos[0]))
    for one in (learn, opened(tmp_path/'export.pkl')):
        with one.no_bar(): photo, *_ = one.predict(photos[0])
        assert np.abs(photo.permute(1, 2, 0).numpy().astype(int) - wanted).max() <= 1

@pytest.mark.parametrize('part', ['frame', 'colour', 'critic'])
def test_what_restores_nothing_says_what_to_export(part, data, photos, tmp_path):
    net = network(look=True, colours=True)
    if part == 'critic': learn = critic_learner(critic_dls(net, get_dls(data, size=64, bs=2, samples=4, device='cpu'), n=2, n_valid=2), net=CriticNet(8))
    else: learn = PARTS[part](data, dict(frame=net.looker, colour=net.colourer)[part])
    for ask in (lambda: learn.export(tmp_path/'export.pkl'), lambda: learn.predict(photos[0])):
        with pytest.raises(RestorerError, match='export the learner of a whole `RestorerNet`'): ask()
    assert not (tmp_path/'export.pkl').exists()

def test_a_restorer_opens_the_export(exported, photos):
    path, own, _ = exported
    restored = Restorer.load(path, trusted=True, device='cpu').restore(read_photo(photos[0]))
    assert np.abs(restored/255 - own[1].permute(1, 2, 0).numpy()).max() <= .51/255
