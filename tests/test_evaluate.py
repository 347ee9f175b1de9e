"Scores as they are used: files that repeat to the byte, a page that stands alone, a restorer that fails, numbers against their references."
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from restorer_fastai.score import evaluate as room
from restorer_fastai.score import benchmark, metrics, tables, tasks
from restorer_fastai.degrade.registry import DEGRADATIONS, STRENGTHS
from restorer_fastai.photo.pixels import to_float, to_uint8
from restorer_fastai.photo.samples import sample_path, sample_photo, SAMPLES
from restorer_fastai.photo.writing import write_photo

SHORT = 48

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Six small photos, one of them with a name that is markup, in two folders."
    root = tmp_path_factory.mktemp('clean')
    for i, name in enumerate(list(SAMPLES)[:6]):
        write_photo(root/('a <b>' if i % 2 else 'c & d')/f'{name} "ñ".png', room.load_photo(sample_path(name), SHORT))
    return root

def darker(img): return img*.9

def score(photos, out, restore=darker, names=('noisy_negative', 'holes', 'jpeg_20'), **kwargs):
    "Scores written to `out`, with pictures."
    looker = tables.CasePictures(2, 32)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        scores = room.evaluate(restore, photos, names, short_side=SHORT, each=looker, progress=False, **kwargs)
    tables.write_scores(scores, out, looker)
    return scores

@pytest.fixture(scope='module')
def written(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp('scores')
    return score(photos, out), out

def test_two_runs_write_the_same_bytes(written, photos, tmp_path):
    _, out = written
    score(photos, tmp_path)
    files = sorted(o.name for o in out.iterdir())
    assert files == ['scores.csv', 'scores.html', 'scores.md', 'table.csv']
    for name in files: assert (tmp_path/name).read_bytes() == (out/name).read_bytes(), name

def test_another_seed_changes_the_damage_and_nothing_else(written, photos, tmp_path):
    other = score(photos, tmp_path, seed=1)
    assert list(other.photo) == list(written[0].photo)
    drawn = other.task != 'jpeg_20' # the quality is fixed, nothing is drawn
    assert (other.psnr_degraded != written[0].psnr_degraded)[drawn].all() and (other.psnr_degraded == written[0].psnr_degraded)[~drawn].all()

def test_every_degradation_is_scored_at_every_strength(photos):
    graded = tasks.graded_tasks()
    plain = {d.name for d in DEGRADATIONS.values() if all(isinstance(v[0], str) for v in d.ranges.values())}
    assert {t.group for t in graded} == set(DEGRADATIONS) >= {'jpeg', 'film_negative', 'scratches'}
    assert len(graded) == len(plain) + len(STRENGTHS)*(len(DEGRADATIONS) - len(plain))
    scores = room.evaluate(darker, photos, graded, short_side=SHORT, limit=1, progress=False)
    assert list(scores.task) == [t.name for t in graded] and (scores.failed == '').all()
    finite = scores.filter(regex='^(psnr|ssim|mae|delta_e|colour)').drop(columns=scores.filter(regex='hole').columns)
    assert np.isfinite(finite.to_numpy(float)).all()

def test_stronger_is_worse(photos):
    scores = room.evaluate(darker, photos, tasks.graded_tasks(['gaussian_noise', 'jpeg', 'holes']), short_side=SHORT, progress=False)
    means = tables.score_table(scores).psnr_degraded
    for name in ('gaussian_noise', 'jpeg', 'holes'): assert means[f'{name}_mild'] > means[f'{name}_medium'] > means[f'{name}_strong']

def test_a_photo_that_fails_is_listed_and_the_others_go_on(photos, written, tmp_path):
    bad = written[0].photo[0]
    inputs = {tasks.TASKS['holes'].draw(room.load_photo(path, SHORT), path.stem)[0].tobytes(): name for name, path in room.photos_by_name(photos).items()}
    def moody(img):
        if inputs.get(img.tobytes()) == bad: raise MemoryError('no memory left')
        return darker(img)
    scores = score(photos, tmp_path, moody, ('holes', 'jpeg_20'))
    assert scores.attrs['failed'] == [(f'{bad}, holes', 'MemoryError: no memory left')]
    table, whole = tables.score_table(scores), tables.score_table(written[0])
    assert (table.loc['holes', 'n'], table.loc['holes', 'failed'], table.loc['jpeg_20', 'failed']) == (5, 1, 0)
    assert table.loc['jpeg_20', 'psnr_restored'] == pytest.approx(whole.loc['jpeg_20', 'psnr_restored'])
    for name in ('scores.md', 'scores.html'):
        text = (tmp_path/name).read_text(encoding='utf-8')
        assert '5 + 1 failed' in text and 'no memory left' in text

def test_ctrl_c_is_not_a_failure(photos):
    def stop(img): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): room.evaluate(stop, photos, 'holes', short_side=SHORT, progress=False)

class Network:
    "Stands in for a `Restorer`: breaks off at the photo `until`."
    def __init__(self, until=np.inf): self.left = until
    def look(self, img): return 'photo'
    def restore(self, img, mode=None, **wishes):
        self.left -= 1
        if self.left < 0: raise KeyboardInterrupt
        return img

def test_a_benchmark_that_breaks_off_goes_on_to_the_same_bytes(photos, tmp_path):
    def run(net, out): return benchmark.run_benchmark({'net': net}, {'small': photos}, out, ['salt_and_pepper_5', 'clean'], limit=2, progress=False)
    run(Network(), tmp_path/'whole.csv')
    with pytest.raises(KeyboardInterrupt): run(Network(until=3), tmp_path/'broken.csv')
    begun = pd.read_csv(tmp_path/'broken.csv')
    assert begun.groupby(['task', 'photo']).method.agg(set).map(lambda o: {'damaged', 'net, blind', 'net, told'} <= o).tolist() == [True]*3
    run(Network(until=1), tmp_path/'broken.csv')
    assert (tmp_path/'broken.csv').read_bytes() == (tmp_path/'whole.csv').read_bytes()

def test_a_task_means_the_same_damage_wherever_it_is_scored(photos):
    "The summary and the benchmark damage a photo in the same way, and their scores agree."
    names, path = ['noisy_negative', 'black_and_white', 'holes_30'], next(photos.rglob('*.png'))
    rows = room.evaluate(darker, path, names, short_side=None, progress=False, lpips=False).set_index('task').psnr_degraded
    for name in names:
        task, clean = tasks.TASKS[name], room.load_photo(path, None)
        damaged, told = task.draw(clean, path.stem)
        assert rows[name] == pytest.approx(metrics.psnr(damaged, clean), abs=1e-3)
        assert all(tool(damaged, told).shape == clean.shape for tool in task.tools.values())

PLAIN_CALL = """
import sys, numpy as np
from restorer_fastai.restore.restorer import Restorer
np.save('restored.npy', Restorer.load('reference', device='cpu').restore(np.load('degraded.npy')))
"""

def test_the_command_scores_what_one_plain_call_gives(tmp_path):
    "Frames of film are found, or not, in the command, which knows albums, as in a program that imports nothing but the restorer."
    clean = room.load_photo(sample_path('chelsea'), 128)
    write_photo(tmp_path/'chelsea.png', to_uint8(clean))
    np.save(tmp_path/'degraded.npy', tasks.graded_tasks(['film_negative'], ['strong'])[0].draw(clean, 'chelsea')[0])
    command = 'evaluate --photos chelsea.png --out scores --degradations film_negative --strengths strong --short-side 128'.split()
    for args in ([sys.executable, '-c', PLAIN_CALL], [Path(sys.executable).with_name('restorer'), *command]):
        subprocess.run(args, cwd=tmp_path, check=True, timeout=300)
    restored = tasks.as_file(np.load(tmp_path/'restored.npy'))
    scored = pd.read_csv(tmp_path/'scores'/'scores.csv').psnr_restored[0]
    assert scored == pytest.approx(metrics.psnr(restored, clean), abs=.01)

class Page(HTMLParser):
    "What a reader meets on a page."
    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.hrefs, self.images, self.frames, self.h = [], [], [], [], [], []
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs['id']] if 'id' in attrs else []
        if tag == 'a': self.hrefs.append(attrs['href'])
        if tag == 'img': self.images.append(attrs)
        if attrs.get('class') == 'scroll': self.frames.append(attrs)
        if re.fullmatch('h[1-6]', tag): self.h.append(int(tag[1]))
        assert 'src' not in attrs or attrs['src'].startswith('data:')
        if tag not in ('img', 'meta'): self.open.append(tag)
    def handle_endtag(self, tag): assert self.open.pop() == tag

def test_the_page_stands_alone_and_can_be_read_by_anyone(written):
    text = (written[1]/'scores.html').read_text(encoding='utf-8')
    page = Page(text)
    assert not page.open and {o.removeprefix('#') for o in page.hrefs} <= set(page.ids) and len(page.ids) == len(set(page.ids))
    assert len(page.images) == 3*2*4 and all(o['alt'] for o in page.images)
    assert all(o['tabindex'] == '0' and o['role'] == 'region' and o['aria-label'] for o in page.frames) and page.frames
    assert 'name="viewport"' in text and 'lang="en"' in text and '<script' not in text and 'http' not in text
    assert '<b>' not in text and 'a &lt;b&gt;' in text # a photo's name is text
    assert not re.search(r'>\s*[][,]+\s*<', text) # no Python list was printed
    assert page.h[0] == 1 and all(b <= a + 1 for a, b in zip(page.h, page.h[1:]))

def test_intervals_hold_the_mean_and_count_photos(written):
    scores, out = written
    table = pd.read_csv(out/'table.csv', index_col='task')
    assert (table.psnr_gain_low < table.psnr_gain).all() and (table.psnr_gain < table.psnr_gain_high).all()
    gain = (scores.psnr_restored - scores.psnr_baseline).groupby(scores.photo).mean()
    ends = tables.photo_intervals(gain.to_frame('gain'), gain.index).loc['gain']
    assert table.loc['all', 'psnr_gain_low'] == pytest.approx(ends.low) and table.loc['all', 'psnr_gain_high'] == pytest.approx(ends.high)

@pytest.mark.parametrize('channel', metrics.CHANNELS)
@pytest.mark.parametrize('border', [0, 4])
def test_psnr_and_ssim_in_each_convention_equal_scikit_image(channel, border):
    from skimage.color import rgb2ycbcr
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    truth = to_float(sample_photo('chelsea'))[:90, :120]
    other = (truth + np.random.default_rng(0).normal(0, .08, truth.shape)).clip(0, 1).astype(np.float32)
    y = {'rgb': lambda o: o.astype(float), 'y': lambda o: rgb2ycbcr(o.astype(float))[..., 0]/255, 'y_full': lambda o: o.astype(float) @ [.299, .587, .114]}[channel]
    a, b = (y(o)[border:len(o) - border, border:o.shape[1] - border] for o in (truth, other))
    kwargs = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=2 if channel == 'rgb' else None)
    assert metrics.psnr(other, truth, channel, border) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-3)
    assert metrics.ssim(other, truth, channel, border) == pytest.approx(structural_similarity(a, b, **kwargs), abs=1e-4)

def test_lpips_is_the_package_s_own_number(tmp_path, monkeypatch):
    lpips = pytest.importorskip('lpips', reason='LPIPS is an extra: pip install restorer_fastai[metrics]')
    from torchvision.models import squeezenet1_1
    torch.manual_seed(0)
    net = squeezenet1_1(weights=None)
    torch.save(net.state_dict(), tmp_path/'squeezenet1_1_imagenet.pth')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        theirs = lpips.LPIPS(net='squeeze', pnet_rand=True, verbose=False)
    for mine, layer in zip(net.features, [o for part in theirs.net.children() for o in part]): layer.load_state_dict(mine.state_dict())
    a, b = torch.rand(2, 2, 3, 40, 56)
    assert torch.allclose(metrics.lpips_distance(a, b, weights=tmp_path), theirs(2*a - 1, 2*b - 1).flatten(), atol=1e-6)
    monkeypatch.setenv('RESTORER_WEIGHTS', str(tmp_path))
    metrics.perceptual_measure.cache_clear(); metrics.load_lpips.cache_clear()
    try: assert metrics.RestorationScore().__name__ == 'score_lpips'
    finally: metrics.perceptual_measure.cache_clear(); metrics.load_lpips.cache_clear()

def test_without_weights_the_score_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv('RESTORER_WEIGHTS', str(tmp_path))
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path))
    metrics.perceptual_measure.cache_clear(); metrics.load_lpips.cache_clear()
    try:
        assert metrics.RestorationScore().__name__ == 'score_dssim'
        with pytest.raises(ValueError, match='https://|pip install'): metrics.lpips_distance(*torch.rand(2, 1, 3, 40, 40))
    finally: metrics.perceptual_measure.cache_clear(); metrics.load_lpips.cache_clear()
