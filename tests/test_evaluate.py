"Scores as they are used: files that repeat to the byte, a page that stands alone, a restorer that fails, numbers against their references."
import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from restorer_fastai.score import evaluate as room
from restorer_fastai.score import metrics
from restorer_fastai.degrade.mixes import apply_steps
from restorer_fastai.degrade.registry import DEGRADATIONS, STRENGTHS
from restorer_fastai.photo.pixels import to_float
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

def score(photos, out, restore=darker, tasks=('noisy_negative', 'holes', 'jpeg'), **kwargs):
    "Scores written to `out`, with pictures."
    looker = room.CasePictures(2, 32)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        scores = room.evaluate(restore, photos, tasks, short_side=SHORT, each=looker, progress=False, **kwargs)
    room.write_scores(scores, out, looker)
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
    drawn = other.task != 'jpeg' # the quality is fixed, nothing is drawn
    assert (other.psnr_degraded != written[0].psnr_degraded)[drawn].all() and (other.psnr_degraded == written[0].psnr_degraded)[~drawn].all()

def test_every_degradation_is_scored_at_every_strength(photos):
    tasks = room.graded_tasks()
    plain = {d.name for d in DEGRADATIONS.values() if all(isinstance(v[0], str) for v in d.ranges.values())}
    assert {t.group for t in tasks} == set(DEGRADATIONS) >= {'jpeg', 'film_negative', 'scratches'}
    assert len(tasks) == len(plain) + len(STRENGTHS)*(len(DEGRADATIONS) - len(plain))
    scores = room.evaluate(darker, photos, tasks, short_side=SHORT, limit=1, progress=False)
    assert list(scores.task) == [t.name for t in tasks] and (scores.failed == '').all()
    finite = scores.filter(regex='^(psnr|ssim|mae|delta_e|colour)').drop(columns=scores.filter(regex='hole').columns)
    assert np.isfinite(finite.to_numpy(float)).all()

def test_stronger_is_worse(photos):
    scores = room.evaluate(darker, photos, room.graded_tasks(['gaussian_noise', 'jpeg', 'holes']), short_side=SHORT, progress=False)
    means = room.score_table(scores).psnr_degraded
    for name in ('gaussian_noise', 'jpeg', 'holes'): assert means[f'{name}_mild'] > means[f'{name}_medium'] > means[f'{name}_strong']

def test_a_photo_that_fails_is_listed_and_the_others_go_on(photos, written, tmp_path):
    bad = written[0].photo[0]
    inputs = {room.as_file(apply_steps(truth, room.TASKS['holes'].draw(path.stem))).tobytes(): name for name, path in room._named(photos).items()
              for truth in [room.load_photo(path, SHORT)]}
    def moody(img):
        if inputs.get(img.tobytes()) == bad: raise MemoryError('no memory left')
        return darker(img)
    scores = score(photos, tmp_path, moody, ('holes', 'jpeg'))
    assert scores.attrs['failed'] == [(f'{bad}, holes', 'MemoryError: no memory left')]
    table, whole = room.score_table(scores), room.score_table(written[0])
    assert (table.loc['holes', 'n'], table.loc['holes', 'failed'], table.loc['jpeg', 'failed']) == (5, 1, 0)
    assert table.loc['jpeg', 'psnr_restored'] == pytest.approx(whole.loc['jpeg', 'psnr_restored'])
    for name in ('scores.md', 'scores.html'):
        text = (tmp_path/name).read_text(encoding='utf-8')
        assert '5 + 1 failed' in text and 'no memory left' in text

def test_ctrl_c_is_not_a_failure(photos):
    def stop(img): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): room.evaluate(stop, photos, 'holes', short_side=SHORT, progress=False)

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
    ends = room.photo_intervals(gain.to_frame('gain'), gain.index).loc['gain']
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
