"Any photo, any strength, any registered degradation; then mixes, and what importing costs."
import json, subprocess, sys
import numpy as np, pytest
from hypothesis import example, given, settings, strategies as st
from restorer_fastai.degrade import damage as degrade
from restorer_fastai.degrade import film as negative
from restorer_fastai.photo.pixels import to_float

NAMES = sorted(degrade.DEGRADATIONS)
SIZES = [(1, 1), (1, 50), (50, 1), (2, 3), (17, 33), (64, 64), (65, 127)]
EXTREMES = [(1, 1), (1, 200), (200, 1), (2, 2), (7, 1023)]
fast = settings(derandomize=True, deadline=None, max_examples=12)

def a_photo(size, dtype=np.float32):
    img = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    return np.round(img*255).astype(np.uint8) if dtype == np.uint8 else img.astype(dtype)

@st.composite
def photos(draw):
    "A photo as imaging hands it over: any size, what was 8 or 16 bit or float, in colour or grey, noisy, flat or black and white."
    size = draw(st.one_of(st.sampled_from(EXTREMES), st.tuples(st.integers(1, 70), st.integers(1, 70))))
    size = draw(st.sampled_from([size, size[::-1]]))
    levels = {np.uint8: 255, np.uint16: 65535, np.float32: 1}
    dtype = draw(st.sampled_from(sorted(levels, key=str)))
    img = np.random.default_rng(draw(st.integers(0, 9))).random((*size, 3))
    img = draw(st.sampled_from([lambda o: o, np.round, lambda o: o*0 + .5, lambda o: o*0, lambda o: o*0 + 1]))(img)
    if draw(st.booleans()): img = img[..., :1].repeat(3, -1)  # grey
    return to_float((img*levels[dtype]).astype(dtype))


def check(img, steps):
    "What every degradation promises; the damaged photo."
    before = img.copy()
    out = degrade.apply_steps(img, steps)
    assert out.shape == img.shape and out.dtype == np.float32
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    assert (img == before).all(), 'the input was changed'
    assert not np.shares_memory(out, img) or (out == img).all()
    assert (out == degrade.apply_steps(img, json.loads(json.dumps(steps)))).all(), 'a replay differs'
    return out


@pytest.mark.parametrize('name', NAMES)
@given(img=photos(), strength=st.floats(0, 1), seed=st.integers(0, 2**40))
@example(img=a_photo((1, 1)), strength=0, seed=0)
@example(img=a_photo((1, 200)), strength=1, seed=1)
@example(img=a_photo((200, 1)), strength=1, seed=2)
@example(img=a_photo((2, 2)), strength=.5, seed=3)
@example(img=a_photo((7, 1023)), strength=1, seed=4)
@fast
def test_any_photo_any_strength(name, img, strength, seed):
    step = degrade.step_at(name, strength, seed)
    assert step == degrade.step_at(name, strength, seed)
    out = check(img, [step])
    mask = degrade.hole_mask(img.shape, [step])
    assert mask.shape == img.shape[:2] and mask.dtype == bool
    if degrade.DEGRADATIONS[name].kind == 'heavy': assert (out == img)[~mask].all(), 'more was touched than hole_mask tells'
    elif not degrade.DEGRADATIONS[name].mask: assert not mask.any()


@pytest.mark.parametrize('name', [n for n in NAMES if degrade.DEGRADATIONS[n].seeded])
@given(strength=st.floats(.3, 1), seed=st.integers(0, 2**31 - 2))
@fast
def test_another_seed_is_another_damage(name, strength, seed):
    step, img = degrade.step_at(name, strength, seed), np.full((48, 64, 3), .4, np.float32)
    first, second = (degrade.apply_steps(img, [step | dict(seed=s)]) for s in (step['seed'], step['seed'] + 1))
    assert (first != second).any()


@pytest.mark.parametrize('name', NAMES)
@given(strengths=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted), seed=st.integers(0, 1000))
@fast
def test_strength_goes_from_gentle_to_severe(name, strengths, seed):
    d = degrade.DEGRADATIONS[name]
    weak, hard = (degrade.step_at(name, s, seed) for s in strengths)
    for k, options in d.ranges.items():
        gentle = d.gentle.get(k, 0)
        if isinstance(options[0], str) or gentle is None: assert weak[k] == hard[k]
        else:
            start = min(max(gentle, options[0]), options[1])
            assert options[0] <= weak[k] <= options[1] and options[0] <= hard[k] <= options[1]
            assert abs(weak[k] - start) <= abs(hard[k] - start)
    assert weak.get('seed') == hard.get('seed')


@pytest.mark.parametrize('mix', ['lapaz2021', 'archive'])
@given(img=photos(), seed=st.integers(0, 2**40))
@settings(fast, max_examples=60)
def test_any_draw_of_a_mix(mix, img, seed):
    plan = degrade.load_mix(mix).draw(seed)
    out = check(img, plan.steps)
    assert degrade.Plan.from_row(json.loads(json.dumps(plan.to_row()))) == plan
    if not plan.steps: assert (out == img).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', NAMES)
def test_albumentations(name, size, dtype):
    import albumentations as A
    img = a_photo(size, dtype)
    chain = A.Compose([degrade.Degrade(name)], seed=1)
    out = chain(image=img)['image']
    assert out.shape == img.shape and out.dtype == img.dtype


@pytest.mark.parametrize('name', NAMES)
def test_float64_and_views(name):
    step = degrade.draw_step(name, np.random.default_rng(0))
    img = a_photo((32, 48))
    assert degrade.apply_steps(img.astype(np.float64), [step]).dtype == np.float64
    flipped = img[:, ::-1]  # negative strides, as a flip gives them
    assert (degrade.apply_steps(flipped, [step]) == degrade.apply_steps(flipped.copy(), [step])).all()


def test_global_random_state_is_not_touched():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    plan = degrade.load_mix('archive').draw(1)
    degrade.apply_steps(a_photo((32, 32)), plan.steps)
    assert (np.random.get_state()[1] == before).all()


def test_same_pixels_in_another_process():
    code = ('import numpy as np, hashlib; from restorer_fastai.degrade import damage as degrade, film as negative; m = degrade.load_mix("archive"); '
            'img = np.linspace(0, 1, 48*64*3, dtype=np.float32).reshape(48, 64, 3); '
            'print(hashlib.sha256(b"".join(degrade.apply_steps(img, m.draw(i).steps).tobytes() for i in range(30))).hexdigest())')
    first, second = (subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second and len(first.strip()) == 64


@pytest.mark.parametrize('count', [0, 1, 2, 3, 7, 100, 9895])
@pytest.mark.parametrize('mix', ['lapaz2021', 'archive'])
def test_shares_are_exact_at_any_count(mix, count):
    mix = degrade.load_mix(mix)
    plans = mix.assign(range(count), seed=4).values()
    assert len(plans) == count
    for base, share in mix.base.items(): assert abs(sum(p.base == base for p in plans) - share*count) <= 1
    for extra, share in mix.extra.items():
        has = (extra in ('mild', 'both'), extra in ('heavy', 'both'))
        assert abs(sum((len(p.mild) > 0, len(p.heavy) > 0) == has for p in plans) - share*count) <= 1


def test_archive_without_the_negative_room():
    code = 'from restorer_fastai.degrade.damage import load_mix; load_mix("archive")'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.returncode and 'import restorer_fastai.degrade.film' in run.stderr


def test_imports_are_light():
    code = ('import sys; from restorer_fastai.degrade import damage as degrade, film as negative; '
            'print([m for m in ("torch", "fastai", "albumentations", "matplotlib") if m in sys.modules])')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


def test_held_out_film_still_renders():
    img = a_photo((16, 16))
    for stock in negative.HELD_OUT_STOCKS:
        step = {'name': 'film_negative', 'stock': stock, 'scanner': 'flatbed'}
        assert np.abs(negative.invert_film(degrade.apply_steps(img, [step]), stock, 'flatbed') - img).max() < 1/255
