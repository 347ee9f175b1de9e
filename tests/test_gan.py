"What the GAN's notebooks cannot test well: two processes, and a command line that lacks ImageNet weights."
import json
import os
import subprocess
import sys

import pytest

SHARE = """
import json, sys, types
try: import accelerate
except ImportError: # fastai's module needs its name alone
    sys.modules['accelerate'] = types.ModuleType('accelerate')
    sys.modules['accelerate'].Accelerator = type('Accelerator', (), {'__init__': lambda self: None})
import torch
from fastai.data.core import DataLoaders
from fastai.distributed import DistributedDL
from restorer_fastai.learn.generator import share_out

torch.manual_seed(int(sys.argv[1])) # the processes would go through their photos in different orders
torch.distributed.init_process_group('gloo', init_method=sys.argv[2], rank=int(sys.argv[1]), world_size=2)
data = list(range(12))
dls = DataLoaders.from_dsets(data, data, bs=2, device='cpu', num_workers=0)
try: stock = next(iter(DistributedDL(dls.valid))) is not None
except Exception as e: stock = type(e).__name__
dls = share_out(dls)
read = [[i for b in dl for i in b.tolist()] for dl in (dls.train, dls.valid)]
print(json.dumps(dict(stock=stock, read=read, again=share_out(dls).train is dls.train)))
torch.distributed.destroy_process_group()
"""

def test_trap_17_two_processes_on_cpus_share_an_epoch(tmp_path):
    env = dict(os.environ, WORLD_SIZE='2', OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    started = [subprocess.Popen([sys.executable, '-W', 'ignore', '-c', SHARE, str(rank), f'file://{tmp_path}/meeting_point'], text=True,
                                env=dict(env, RANK=str(rank)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in (0, 1)]
    done = [p.communicate(timeout=300) for p in started]
    assert [p.returncode for p in started] == [0, 0], done
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in done)
    assert first['stock'] not in (True, False) and second['stock'] not in (True, False) # fastai's own raises without a GPU
    (train1, valid1), (train2, valid2) = first['read'], second['read']
    assert valid1 + valid2 == list(range(12))
    assert len(train1) == len(train2) == 6 and sorted(train1 + train2) == list(range(12)) # one order, shared without gap or overlap
    assert first['again'] and second['again']

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

@pytest.mark.parametrize('critic', [dict(form='near', nf=8), dict(form='projected', nf=8, imagenet=False)])
def test_critics_of_any_form_learn_and_play_by_recipe(tmp_path, critic):
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
    recipe = recipe_from_dict(dict(network=dict(arch='resnet18', norm='batch'), critic=critic, valid_samples=2,
                                   stages=[dict(kind='critic', **tiny), dict(kind='gan', critic_thresh=9., epochs=2, **tiny)]))
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
