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
