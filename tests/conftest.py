"What several tests use: the sample photos, small networks, and a browser."
import os
import shutil

os.environ['RESTORER_QUICK'] = '1'
os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'

import pytest

# What does not depend on the versions of other libraries is tested in one lane: minutes saved
_OURS_ALONE = ['test_cli.py', 'test_masks.py', 'test_do_no_harm.py', 'test_defects.py', 'test_inpaint.py', 'test_colorize.py', 'test_film.py', 'test_names.py', 'test_votes.py',
               'test_album.py', 'test_oldphoto.py', 'test_negative.py', 'test_repair.py', 'test_degrade.py', 'test_evaluate.py', 'test_readme.py',
               'test_formats.py', 'test_metadata.py', 'test_imaging.py', 'test_colour_files.py', 'test_odd_files.py', 'test_superres.py', 'test_video.py',
               'test_app.py', 'test_dataset.py', 'test_graph.py', 'test_tutorials.py', 'test_widgets.py', 'test_site.py', 'test_processes.py', 'test_scheduler.py']
# What the notebooks of the first lane, too, try in many ways: in CI in the second lane only
_TWICE = ['test_train.py', 'test_gan.py', 'test_export.py']
collect_ignore = _OURS_ALONE if os.environ.get('RESTORER_LANE') == 'latest' else _TWICE if os.environ.get('CI') and os.environ.get('RESTORER_LANE') == 'dev' else []

@pytest.fixture(scope='session')
def samples(tmp_path_factory):
    "Folder with the sample photos in train/ and held_out/."
    from restorer_fastai.photo.samples import copy_samples
    return copy_samples(tmp_path_factory.mktemp('samples'))

@pytest.fixture(scope='session')
def tiny_model(tmp_path_factory):
    "A saved network, untrained: for what does not depend on its weights."
    import torch
    from restorer_fastai.nets.restorer import NetConfig, build_network
    from restorer_fastai.nets.weights import save_weights
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model')/'model.safetensors'
    save_weights(path, build_network(NetConfig(arch='resnet18')), {})
    return path

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

def missing(what):
    "Skip what needs a browser; where all tests have to run, fail."
    everything = os.environ.get('CI') and os.environ.get('RESTORER_LANE') == 'dev'
    (pytest.fail if everything else pytest.skip)(f'the page is tested in a browser, and {what}')

@pytest.fixture(scope='module')
def browser():
    if CHROMIUM is None: missing('Chromium is not installed: apt-get install chromium')
    try: from playwright.sync_api import sync_playwright
    except ImportError: missing('playwright is not installed: pip install playwright')
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', '--host-resolver-rules=MAP *.test 127.0.0.1'])
        yield browser
        browser.close()
