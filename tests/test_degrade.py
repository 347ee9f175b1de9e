"Any photo, any strength, any registered degradation; then mixes, and what importing costs."
import json, re, subprocess, sys
from pathlib import Path

import numpy as np, pytest
from hypothesis import example, given, settings, strategies as st
from restorer_fastai.degrade import film, mixes
from restorer_fastai.degrade.registry import DEGRADATIONS, DegradeError, draw_step, get_degradation, step_at
from restorer_fastai.photo.errors import RestorerError
from restorer_fastai.photo.pixels import to_float

NAMES = sorted(DEGRADATIONS)
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
    out = mixes.apply_steps(img, steps)
    assert out.shape == img.shape and out.dtype == np.float32
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    assert (img == before).all(), 'the input was changed'
    assert not np.shares_memory(out, img) or (out == img).all()
    assert (out == mixes.apply_steps(img, json.loads(json.dumps(steps)))).all(), 'a replay differs'
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
    step = step_at(name, strength, seed)
    assert step == step_at(name, strength, seed)
    out = check(img, [step])
    mask = mixes.hole_mask(img.shape, [step])
    assert mask.shape == img.shape[:2] and mask.dtype == bool
    if DEGRADATIONS[name].kind == 'heavy': assert (out == img)[~mask].all(), 'more was touched than hole_mask tells'
    elif not DEGRADATIONS[name].mask: assert not mask.any()


@pytest.mark.parametrize('name', [n for n in NAMES if DEGRADATIONS[n].seeded])
@given(strength=st.floats(.3, 1), seed=st.integers(0, 2**31 - 2))
@fast
def test_another_seed_is_another_damage(name, strength, seed):
    step, img = step_at(name, strength, seed), np.full((48, 64, 3), .4, np.float32)
    first, second = (mixes.apply_steps(img, [step | dict(seed=s)]) for s in (step['seed'], step['seed'] + 1))
    assert (first != second).any()


@pytest.mark.parametrize('name', NAMES)
@given(strengths=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted), seed=st.integers(0, 1000))
@fast
def test_strength_goes_from_gentle_to_severe(name, strengths, seed):
    d = DEGRADATIONS[name]
    weak, hard = (step_at(name, s, seed) for s in strengths)
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
    plan = mixes.load_mix(mix).draw(seed)
    out = check(img, plan.steps)
    assert mixes.Plan.from_row(json.loads(json.dumps(plan.to_row()))) == plan
    if not plan.steps: assert (out == img).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', NAMES)
def test_albumentations(name, size, dtype):
    import albumentations as A
    img = a_photo(size, dtype)
    chain = A.Compose([mixes.Degrade(name)], seed=1)
    out = chain(image=img)['image']
    assert out.shape == img.shape and out.dtype == img.dtype


@pytest.mark.parametrize('name', NAMES)
def test_float64_and_views(name):
    step = draw_step(name, np.random.default_rng(0))
    img = a_photo((32, 48))
    assert mixes.apply_steps(img.astype(np.float64), [step]).dtype == np.float64
    flipped = img[:, ::-1]  # negative strides, as a flip gives them
    assert (mixes.apply_steps(flipped, [step]) == mixes.apply_steps(flipped.copy(), [step])).all()


def test_global_random_state_is_not_touched():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    plan = mixes.load_mix('archive').draw(1)
    mixes.apply_steps(a_photo((32, 32)), plan.steps)
    assert (np.random.get_state()[1] == before).all()


def test_same_pixels_in_another_process():
    code = ('import numpy as np, hashlib; from restorer_fastai.degrade import mixes; m = mixes.load_mix("archive"); '
            'img = np.linspace(0, 1, 48*64*3, dtype=np.float32).reshape(48, 64, 3); '
            'print(hashlib.sha256(b"".join(mixes.apply_steps(img, m.draw(i).steps).tobytes() for i in range(30))).hexdigest())')
    first, second = (subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second and len(first.strip()) == 64


@pytest.mark.parametrize('count', [0, 1, 2, 3, 7, 100, 9895])
@pytest.mark.parametrize('mix', ['lapaz2021', 'archive'])
def test_shares_are_exact_at_any_count(mix, count):
    mix = mixes.load_mix(mix)
    plans = mix.assign(range(count), seed=4).values()
    assert len(plans) == count
    for base, share in mix.base.items(): assert abs(sum(p.base == base for p in plans) - share*count) <= 1
    for extra, share in mix.extra.items():
        has = (extra in ('mild', 'both'), extra in ('heavy', 'both'))
        assert abs(sum((len(p.mild) > 0, len(p.heavy) > 0) == has for p in plans) - share*count) <= 1


def fresh(code):
    "What `code` prints in a process that has imported nothing yet."
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()


def test_a_mix_with_film_needs_only_the_room_of_mixes():
    steps = fresh('from restorer_fastai.degrade.mixes import load_mix; m = load_mix("archive"); print(*{s["name"] for i in range(99) for s in m.draw(i).steps})')
    assert 'film_negative' in steps and set(steps) <= set(DEGRADATIONS)


@pytest.mark.parametrize('room', ['degrade.mixes', 'degrade.gallery', 'baselines.classical', 'data.dataset', 'all'])
def test_the_catalogue_is_the_same_whatever_was_imported(room):
    "Also in its order, which decides how pages and tables are sorted."
    assert fresh(f'import restorer_fastai.{room}; from restorer_fastai.degrade.registry import DEGRADATIONS; print(*DEGRADATIONS)') == list(DEGRADATIONS)


def test_nobody_has_to_remember_the_catalogue():
    "Outside of the floor, steps are drawn, placed or applied only by rooms that have imported mixes, and no room imports another for what that does."
    package = Path(mixes.__file__).parents[1]
    for path in sorted(package.rglob('*.py')):
        code = path.read_text(encoding='utf-8')
        if path.name != 'mixes.py': assert 'import restorer_fastai.degrade' not in code, path
        if path.parent.name != 'degrade' and re.search(r'import .*\b(draw_step|step_at|get_degradation|DEGRADATIONS)\b', code): assert 'degrade.mixes import' in code, path


def test_errors_are_meant_for_people():
    assert issubclass(DegradeError, RestorerError)
    with pytest.raises(DegradeError, match='film_negative'): get_degradation('film')


def test_imports_are_light():
    code = ('import sys; import restorer_fastai.baselines.classical, restorer_fastai.degrade.mixes; '
            'print([m for m in ("torch", "fastai", "albumentations", "matplotlib") if m in sys.modules])')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


def test_held_out_film_still_renders():
    img = a_photo((16, 16))
    for stock in film.HELD_OUT_STOCKS:
        step = {'name': 'film_negative', 'stock': stock, 'scanner': 'flatbed'}
        assert np.abs(film.invert_film(mixes.apply_steps(img, [step]), stock, 'flatbed') - img).max() < 1/255
