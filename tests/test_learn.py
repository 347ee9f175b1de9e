"""Every learner of ours trains two batches, and a warning out of our own rooms is an error.

fastai warns when a callback sets an attribute that the learner, or the model in it, has too: `self.last` reads the callback's or the network's, depending on who came first.
"""
import inspect

import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import *
from torchvision import models

from restorer_fastai.data.dataset import build_dataset
from restorer_fastai.data.loaders import get_dls
from restorer_fastai.learn import callbacks, colour, critic, frame, gan, generator, holes, losses, texture, watch
from restorer_fastai.learn.callbacks import FastPrecision, HeadOnly, NormsAtRest, WeightEMA
from restorer_fastai.learn.colour import Taught, colour_learner
from restorer_fastai.learn.critic import critic_dls, critic_learner
from restorer_fastai.learn.frame import frame_learner, frame_truth
from restorer_fastai.learn.gan import GanLearner, ThresholdSwitcher, TurnLog, TurnTaker
from restorer_fastai.learn.generator import generator_learner
from restorer_fastai.learn.holes import hole_learner, hole_truth
from restorer_fastai.learn.losses import LossParts
from restorer_fastai.learn.repair import repair_dls
from restorer_fastai.learn.texture import RepairGan, repair_critic_learner, texture_loss
from restorer_fastai.learn.watch import TensorBoardLog
from restorer_fastai.nets.projected import lite_eyes, ProjectedCritic
from restorer_fastai.nets.repair import RepairNet
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.train import checkpoint, kinds, log, run
from restorer_fastai.train.checkpoint import DivergenceGuard
from restorer_fastai.train.recipe import recipe_from_dict
from restorer_fastai.train.run import train

LEARN = callbacks, colour, critic, frame, gan, generator, holes, losses, texture, watch
ROOMS = *LEARN, checkpoint, kinds, log, run # whose callbacks are in the learners below, or in a run
pytestmark = [pytest.mark.filterwarnings(o) for o in ('error:You are shadowing an attribute', *(f'error:::{room.__name__}' for room in ROOMS))]

@pytest.fixture(scope='module')
def data(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp('set')
    build_dataset(samples/'train', folder, mix='archive', pairs='none', valid_share=.2, progress=False)
    return folder

@pytest.fixture
def net():
    torch.manual_seed(0)
    return build_network(NetConfig('resnet18', norm='batch', look=True, residual=True, head=8, holes=8, colours=True))

def squares(data, **kwargs): return get_dls(data, **(dict(size=64, bs=2, samples=4, valid_samples=2) | kwargs))

def parts(data, **kwargs): return squares(data, view='part', **kwargs)

def random_teacher(folder):
    torch.save(models.squeezenet1_1(weights=None).state_dict(), folder/'squeezenet.pth')
    return folder/'squeezenet.pth'

def board(folder):
    pytest.importorskip('tensorboard')
    return TensorBoardLog(folder/'board')

def lessons(): return repair_dls([sample_photo('chelsea')], [sample_photo('china')], 64, 4, 8, device='cpu')

def repairer(): return RepairNet((8, 8), 1, 16)

def with_eyes(): return ProjectedCritic(8, imagenet=False)

def a_critic(): return critic.CriticNet(nf=8, near=True)

LEARNERS = { # name -> what makes it of (data, net, folder)
    'frame': lambda data, net, folder: frame_learner(squares(data, view='frame', truth=frame_truth), net),
    'holes': lambda data, net, folder: hole_learner(parts(data, truth=hole_truth), net),
    'colour': lambda data, net, folder: colour_learner(squares(data, mix='colourless'), net, teacher=random_teacher(folder)),
    'generator': lambda data, net, folder: generator_learner(parts(data), net=net, loss='l1 + mse', cbs=[WeightEMA(), NormsAtRest(), HeadOnly(), board(folder)]),
    'critic': lambda data, net, folder: critic_learner(critic_dls(net, parts(data), n=4, n_valid=2), net=a_critic()),
    'gan': lambda data, net, folder: GanLearner(parts(data), net, a_critic(), critic_thresh=9., cbs=[WeightEMA(), NormsAtRest(), TurnLog(), board(folder)]),
    'repair_critic': lambda data, net, folder: repair_critic_learner(lessons(), repairer(), with_eyes(), n=8, n_valid=2),
    'repair_gan': lambda data, net, folder: RepairGan(lessons(), repairer(), with_eyes(), texture_loss(eyes=lite_eyes(False)), critic_thresh=9., cbs=[WeightEMA(), TurnLog()])}

def fit_two_batches(learn):
    learn.add_cbs([DivergenceGuard('test'), LossParts()])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    return {type(o) for o in learn.cbs}

@pytest.mark.parametrize('name', LEARNERS)
def test_a_learner_trains_and_no_callback_shadows_anything(name, data, net, tmp_path):
    learn = LEARNERS[name](data, net, tmp_path)
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    fit_two_batches(learn)
    assert any(not torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())
    assert all(v.isfinite().all() for v in learn.model.state_dict().values())

def test_every_callback_of_the_learn_floor_was_there(data, net, tmp_path):
    "A new callback has to join the learners above."
    ours = {o for room in LEARN for o in vars(room).values()
            if inspect.isclass(o) and issubclass(o, Callback) and o.__module__ == room.__name__}
    assert {FastPrecision, Taught, TurnTaker, ThresholdSwitcher} <= ours
    met = set()
    for make in LEARNERS.values(): met |= {type(o) for o in make(data, net, tmp_path).cbs}
    assert ours <= met | {LossParts}

class Shadows(Callback):
    def before_fit(self): self.residual = 'of the callback' # a `RestorerNet` has one

def test_shadowing_is_seen(data, net):
    learn = generator_learner(parts(data), net=net, cbs=Shadows())
    with pytest.raises(UserWarning, match='shadowing an attribute .residual'), learn.no_bar(), learn.no_logging(): learn.fit(1)

def test_a_whole_run_shadows_nothing(data, tmp_path):
    "With the callbacks of the training, too: its bar, log, sheets, checkpoints."
    stage = dict(size=64, samples=4, bs=2)
    recipe = recipe_from_dict(dict(network=dict(arch='lite0', norm='batch', residual=True, head=8), critic=dict(nf=8), ema=.9, valid_samples=2, mix='lapaz2021',
        stages=[dict(kind='generator', head_only=True) | stage, dict(kind='critic') | stage, dict(kind='gan', critic_thresh=9.) | stage]))
    train(recipe, data, tmp_path/'run', device='cpu', progress=False)

@pytest.mark.parametrize('within', [True, False])
def test_memories_are_plain_and_can_be_given_back(within, data, net, tmp_path):
    "What a checkpoint keeps of our callbacks: a safe file holds it, and another learner's callbacks go on from it."
    def make(): return GanLearner(parts(data), net, a_critic(), loss='l1 + mse', critic_thresh=9., cbs=[WeightEMA(.9), LossParts()])
    def remembering(learn): return {o.name: o for o in learn.cbs if hasattr(type(o), 'state_dict')}
    first, second = make(), make()
    for learn in (first, second): fit_two_batches(learn)
    first.threshold_switcher.in_a_row, first.weight_ema.steps = 3, 77
    assert set(remembering(first)) >= {'weight_ema', 'loss_parts', 'turn_taker', 'threshold_switcher'}
    torch.save({k: o.state_dict(within) for k, o in remembering(first).items()}, tmp_path/'memories.pt')
    saved = torch.load(tmp_path/'memories.pt', weights_only=True)
    for k, o in remembering(second).items(): o.load_state_dict(saved[k], within)
    assert second.threshold_switcher.in_a_row == 3 and second.weight_ema.steps == 77
    assert set(saved['threshold_switcher']) == {'in_a_row', *(['n_generator', 'n_critic', 'n_capped', 'critic_losses'] if within else [])}
    assert bool(saved['loss_parts']) == within
    if within: assert second.loss_parts.means == first.loss_parts.means
