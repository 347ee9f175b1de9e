"Film negatives under odd sizes, odd scans and every stock and scanner: properties, not examples."
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from skimage.color import deltaE_ciede2000

from restorer_fastai.baselines import frame_finder, negadoctor
from restorer_fastai.degrade import film
from restorer_fastai.degrade.mixes import apply_steps, hole_mask
from restorer_fastai.degrade.registry import DegradeError, draw_step
from restorer_fastai.photo.pixels import rgb_to_lab

check = settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.tuples(st.integers(1, 33), st.integers(1, 33))
SEEDS = st.integers(0, 2**31 - 1)
BASELINES = (negadoctor.invert_plain, negadoctor.invert_stretch, negadoctor.invert_negadoctor)

def a_photo(size, seed=0): return np.random.default_rng(seed).random((*size, 3), dtype=np.float32)

def scenery(h=120, w=160):
    "A made-up photo with black, white, grey and colours: sky above, patches below."
    y, x = np.mgrid[:h, :w].astype(np.float32) / (h, w)[0]
    img = np.stack([.3 + .5*y, .5 + .3*y, .9 - .3*y], -1)
    for i, c in enumerate(np.eye(3, dtype=np.float32)*.6 + .15): img[h//2:, i*w//6:(i + 1)*w//6] = c
    img[h//2:, w//2:] = np.clip(x[h//2:, w//2:] - .6, 0, 1)[..., None]*1.4
    return np.clip(img, 0, 1).astype(np.float32)

def true_base(stock, scanner, **how):
    return film.scan(np.array([[film.STOCKS[stock].dmin]], np.float32), film.STOCKS[stock], film.SCANNERS[scanner], **how)[0, 0]

def density_error(found, true):
    return np.abs(np.log10(film.srgb_to_linear(np.float64(found)) / film.srgb_to_linear(np.float64(true)))).max()

def chroma(colour): return float(np.hypot(*rgb_to_lab(np.float32(colour)[None, None])[0, 0, 1:]))


@check
@given(size=SIZES, seed=SEEDS)
@example(size=(1, 1), seed=0)
def test_any_drawn_step(size, seed):
    img, step = a_photo(size, seed), draw_step('film_negative', np.random.default_rng(seed))
    out = apply_steps(img, [step])
    assert out.shape == img.shape and out.dtype == img.dtype
    assert np.isfinite(out).all() and 0 <= out.min() and out.max() <= 1
    assert (apply_steps(img, json.loads(json.dumps([step]))) == out).all()
    mask = hole_mask(img.shape, [step])
    assert mask.shape == size and mask.dtype == bool
    bare = apply_steps(img, [step | dict(dust=0, scratches=0, border='none')])
    assert np.abs(out - bare)[~mask].max(initial=0) < 1/128  # nothing outside the mask is covered


@check
@given(size=SIZES, stock=st.sampled_from(sorted(film.STOCKS)), scanner=st.sampled_from(sorted(film.SCANNERS)),
       exposure=st.floats(-2, 2.5), warmth=st.floats(-.6, .6), brightness=st.floats(.5, 1), bits=st.sampled_from([0, 16]), seed=SEEDS)
def test_the_inverse_is_exact(size, stock, scanner, exposure, warmth, brightness, bits, seed):
    img, how = a_photo(size, seed), dict(stock=stock, scanner=scanner, exposure=exposure, warmth=warmth, brightness=brightness)
    if film.STOCKS[stock].mono: img = img[..., :1].repeat(3, -1)
    negative = film.film_negative(img, bits=bits, **how)
    clipped = ((negative <= 0) | (negative >= 1)).any(-1)
    assert np.abs(film.invert_film(negative, **how) - img)[~clipped].max(initial=0) < 1/255


@pytest.mark.parametrize('stock', film.STOCKS)
def test_grain_is_seeded_and_dirt_has_its_sign(stock):
    img = scenery()
    one, again, other = (film.film_negative(img, stock, grain=.03, seed=s) for s in (1, 1, 2))
    assert (one == again).all() and (one != other).any()
    clean = film.film_negative(img, stock)
    dusty, scratched = film.film_negative(img, stock, dust=60, seed=3), film.film_negative(img, stock, scratches=3, seed=3)
    assert (dusty <= clean + 1e-6).all() and (dusty < clean - .05).any()
    assert (scratched >= clean - 1e-6).all() and (scratched > clean + .05).any()


@pytest.mark.parametrize('border', ['rebate', 'holes', 'holder'])
@pytest.mark.parametrize('scanner', film.SCANNERS)
def test_the_base_is_found_in_a_border(scanner, border):
    for i, stock in enumerate(film.STOCKS):
        negative = film.film_negative(scenery(), stock, scanner, exposure=i % 3, grain=.02, dust=10, border=border, border_width=.08, bits=8, seed=i)
        assert density_error(frame_finder.find_film_base(negative), true_base(stock, scanner)) < .02, stock


@pytest.mark.parametrize('scanner', film.SCANNERS)
def test_without_a_border_the_deepest_shadow_stands_for_the_base(scanner):
    for stock in film.STOCKS:
        negatives = [film.film_negative(scenery(), stock, scanner, exposure=e) for e in (0, 1)]
        alone, roll = (density_error(frame_finder.find_film_base(n), true_base(stock, scanner)) for n in (negatives[1], negatives))
        assert roll <= alone < .8  # the phone's contrast makes it so large


@pytest.mark.parametrize('stock', film.STOCKS)
@pytest.mark.parametrize('scanner', ['plain', 'neutral', 'phone'])
def test_scratches_are_not_taken_for_the_base(stock, scanner):
    clean, torn = (frame_finder.find_film_base(film.film_negative(scenery(), stock, scanner, scratches=n, seed=3)) for n in (0, 4))
    assert density_error(torn, clean) < .05


def test_a_known_base_is_used():
    negative = film.film_negative(scenery(), 'gold200', exposure=1)
    base = true_base('gold200', 'plain')
    np.testing.assert_allclose(negadoctor.choose_print_settings(negative, base).base, base, atol=1e-6)
    assert np.abs(negadoctor.invert_negadoctor(negative, base) - negadoctor.invert_negadoctor(negative)).max() > .01


@check
@given(size=SIZES, value=st.sampled_from([0., .001, .2, .5, .99, 1.]), dtype=st.sampled_from([np.float32, np.float64]))
def test_baselines_survive_constants(size, value, dtype):
    img = np.full((*size, 3), value, dtype)
    for f in BASELINES:
        out = f(img)
        assert out.shape == img.shape and out.dtype == img.dtype and np.isfinite(out).all() and 0 <= out.min() and out.max() <= 1
    assert img[frame_finder.find_frame(img)].size and frame_finder.find_film_base(img).shape == (3,)


@check
@given(size=SIZES, seed=SEEDS)
def test_baselines_survive_noise(size, seed):
    img = np.where(a_photo(size, seed) > .5, a_photo(size, seed + 1), a_photo(size, seed).round())
    for f in BASELINES: assert np.isfinite(f(img)).all() and f(img).shape == img.shape
    assert img[frame_finder.find_frame(img)].size and np.isfinite(frame_finder.find_film_base(img)).all()


@pytest.mark.parametrize('stock,scanner', [('portra400', 'plain'), ('gold200', 'lab'), ('maskless', 'plain'), ('fuji_c200', 'neutral')])
@pytest.mark.parametrize('colour', [(.5, .5, .5), (.35, .5, .2), (.2, .4, .6)])
def test_no_cast_on_one_colour(colour, stock, scanner):
    wall = np.tile(np.float32(colour), (96, 128, 1))
    negative = film.film_negative(wall, stock, scanner, grain=.01, border='rebate', border_width=.1, seed=2)
    printed = negadoctor.invert_negadoctor(negative)[frame_finder.find_frame(negative)].mean((0, 1))
    if colour[0] == colour[2]: assert chroma(printed) < 18
    else: assert printed.argmax() == np.argmax(colour) and printed.argmin() == np.argmin(colour) and chroma(printed) > 15


@pytest.mark.parametrize('stock', [s for s in film.STOCKS if not film.STOCKS[s].mono])
@pytest.mark.parametrize('scanner', film.SCANNERS)
def test_negadoctor_beats_the_plain_inverse(stock, scanner):
    img = scenery()
    negative = film.film_negative(img, stock, scanner, exposure=1, border='holder', border_width=.06, seed=1)
    frame = frame_finder.find_frame(negative)
    lab = rgb_to_lab(img)[frame]
    errors = [deltaE_ciede2000(rgb_to_lab(f(negative))[frame], lab).mean() for f in (negadoctor.invert_negadoctor, negadoctor.invert_plain)]
    assert errors[0] < .85*errors[1]


def test_one_setting_for_a_roll_gives_one_look():
    roll = [film.film_negative(np.clip(scenery()*k, 0, 1), 'ultramax400', border='rebate', seed=4) for k in (.5, 1)]
    settings = negadoctor.choose_print_settings(roll)
    np.testing.assert_allclose(settings.base, frame_finder.find_film_base(roll), atol=1e-6)
    assert settings != negadoctor.choose_print_settings(roll[0])
    assert (negadoctor.invert_negadoctor(roll[0], settings=settings) == negadoctor.print_negative(roll[0], settings)).all()


def test_errors_name_what_is_known():
    for how, known in ((dict(stock='velvia'), 'portra400'), (dict(scanner='drum'), 'flatbed'), (dict(border='lace'), 'rebate')):
        with pytest.raises(DegradeError, match=known): film.film_negative(a_photo((4, 4)), **how)


def test_held_out_film_is_never_drawn():
    drawn = [draw_step('film_negative', np.random.default_rng(s)) for s in range(300)]
    assert {s['stock'] for s in drawn} == set(film.TRAIN_STOCKS) and {s['scanner'] for s in drawn} == set(film.TRAIN_SCANNERS)
    assert {'ektar100', 'fuji_c200'} == set(film.HELD_OUT_STOCKS) and film.HELD_OUT_SCANNERS == ('flatbed',)
