"What the GAN's notebooks cannot test well: a command line that lacks ImageNet weights, and recipes that are killed. (Two processes: test_processes.py.)"
import pytest

@pytest.mark.parametrize('weights', ['missing.pth', 'damaged.pth'])
def test_unusable_imagenet_weights_are_one_line_on_the_command_line(tmp_path, weights):
    from typer.testing import CliRunner
    from restorer_fastai.cli import app
    from restorer_fastai.data.dataset import build_dataset
    from restorer_fastai.photo.samples import copy_samples
    copy_samples(tmp_path/'photos')
    build_dataset(tmp_path/'photos'/'train', tmp_path/'set', pairs='none', valid_share=0.2, progress=False)
    (tmp_path/'damaged.pth').write_bytes(b'no weights')
    (tmp_path/'recipe.yaml').write_text(f"network: {{arch: resnet18}}\npretrained: {tmp_path/weights}\nstages: [{{kind: generator, samples: 4, bs: 2}}]\n")
    done = CliRunner().invoke(app, ['train', '--recipe', str(tmp_path/'recipe.yaml'), '--data', str(tmp_path/'set'), '--out', str(tmp_path/'run')])
    assert done.exit_code == 1
    assert weights in done.output and 'ownload' in done.output and 'Traceback' not in done.output

@pytest.mark.parametrize('critic, optimiser', [(dict(form='near', nf=8), 'sgd'), (dict(form='projected', nf=8, imagenet=False), 'fine_adam')])
def test_critics_of_any_form_learn_and_play_by_recipe(tmp_path, critic, optimiser):
    "A critic stage, a GAN stage, killed between them and gone on: the same weights as in one go."
    from unittest.mock import patch
    import torch
    from restorer_fastai.data.dataset import build_dataset
    from restorer_fastai.photo.samples import copy_samples
    from restorer_fastai.train.checkpoint import read_checkpoint
    from restorer_fastai.train.recipe import recipe_from_dict
    from restorer_fastai.train.run import train
    copy_samples(tmp_path/'photos')
    build_dataset(tmp_path/'photos'/'train', tmp_path/'set', mix='archive', pairs='none', valid_share=0.2, progress=False)
    tiny = dict(size=64, samples=8, bs=4)
    recipe = recipe_from_dict(dict(network=dict(arch='lite0', norm='batch'), critic=critic, valid_samples=2,
                                   stages=[dict(kind='critic', **tiny), dict(kind='gan', critic_thresh=9., epochs=2, optimiser=optimiser, **tiny)]))
    def go(run): return train(recipe, tmp_path/'set', tmp_path/run, device='cpu', progress=False)
    go('whole')
    with patch('restorer_fastai.train.kinds.GanStage.loaders', side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt): go('killed')
    begun = read_checkpoint(tmp_path/'killed')['nets']['critic']
    go('killed')
    one, other = (read_checkpoint(tmp_path/o)['nets'] for o in ('whole', 'killed'))
    assert all(torch.equal(v, other[name][k]) for name in one for k, v in one[name].items())
    assert not all(torch.equal(v, begun[k]) for k, v in one['critic'].items())
    if critic['form'] == 'projected': assert {k.split('.')[0] for k in begun} == {'heads', 'eyes'} # what is frozen is in no file

def test_a_saved_projected_critic_answers_the_same(tmp_path):
    import torch
    from restorer_fastai.nets.projected import ProjectedCritic
    from restorer_fastai.nets.weights import load_weights, save_weights
    from restorer_fastai.photo.errors import WeightsError
    x, critic = torch.rand(2, 3, 64, 96), ProjectedCritic(8, seed=3, imagenet=False).eval()
    path = save_weights(tmp_path/'critic.safetensors', critic)
    assert path.stat().st_size < 50_000 # heads alone
    again, header = load_weights(path)
    with torch.inference_mode(): assert torch.equal(critic(x), again(x))
    assert header['architecture'] == 'critic_projected' and header['gives'] == 'opinions'
    critic.eyes *= 1.0001 # as if it had learned with other eyes
    with pytest.raises(WeightsError, match='other weights of EfficientNet-Lite0'): load_weights(save_weights(tmp_path/'other.safetensors', critic))

def test_a_projected_critic_needs_imagenet_and_says_so(tmp_path, monkeypatch):
    from typer.testing import CliRunner
    from restorer_fastai.cli import app
    from restorer_fastai.data.dataset import build_dataset
    from restorer_fastai.photo.samples import copy_samples
    copy_samples(tmp_path/'photos')
    build_dataset(tmp_path/'photos'/'train', tmp_path/'set', pairs='none', valid_share=0.2, progress=False)
    (tmp_path/'recipe.yaml').write_text(f"network: {{arch: resnet18}}\ncritic: {{form: projected, imagenet: {tmp_path/'none.pth'}}}\nstages: [{{kind: critic, samples: 4, bs: 2}}]\n")
    done = CliRunner().invoke(app, ['train', '--recipe', str(tmp_path/'recipe.yaml'), '--data', str(tmp_path/'set'), '--out', str(tmp_path/'run')])
    assert done.exit_code == 1 and 'none.pth' in done.output and 'pip install' in done.output and 'Traceback' not in done.output
    assert not (tmp_path/'run'/'checkpoint.pt').exists()

def test_the_network_that_repairs_plays_against_a_patch_critic_too():
    "In each turn one side moves, the other not by a bit; the critic's norms rest; and both can be trained again afterwards."
    import torch
    from fastai.callback.core import Callback
    from fastai.torch_core import set_seed
    from restorer_fastai.learn.repair import repair_dls
    from restorer_fastai.learn.texture import RepairGan, texture_loss
    from restorer_fastai.nets.projected import new_critic
    from restorer_fastai.nets.repair import RepairNet
    from restorer_fastai.photo.samples import sample_photo
    class Moves(Callback):
        "Which side's weights differ after each batch from those before it."
        order = 70
        def __init__(self): self.seen = []
        def now(self): return [torch.cat([p.detach().flatten().clone() for p in o.parameters()]) for o in (self.model.generator, self.model.critic)]
        def before_batch(self): self.turn, self.before = self.turn_taker.gen_mode, self.now()
        def after_batch(self):
            if self.training: self.seen.append((self.turn, *(not torch.equal(a, b) for a, b in zip(self.before, self.now()))))
    set_seed(0)
    photos = [sample_photo(o) for o in ('chelsea', 'china')]
    gan = RepairGan(repair_dls(photos[:1], photos[1:], 64, 4, 24, device='cpu'), RepairNet((8, 8, 8, 8), 1, 16), new_critic('near', nf=8), texture_loss(0),
                    critic_thresh=9., lr=1e-3, cbs=Moves())
    norms = {k: v.clone() for k, v in gan.model.critic.state_dict().items() if 'running' in k}
    with gan.no_bar(), gan.no_logging(): gan.fit(1)
    assert gan.moves.seen == [(False, False, True), (True, True, False)]*3
    assert norms and all(torch.equal(v, gan.model.critic.state_dict()[k]) for k, v in norms.items())
    assert all(p.requires_grad for p in gan.model.parameters()) and not gan.model.critic.norms_at_rest
