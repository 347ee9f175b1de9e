"Extremes of size, type and randomness, for every registered degradation."
import json, subprocess, sys
import numpy as np, pytest
from restorer_fastai import degrade, negative

NAMES = sorted(degrade.DEGRADATIONS)
SIZES = [(1, 1), (1, 50), (50, 1), (2, 3), (17, 33), (64, 64), (65, 127)]

def a_photo(size, dtype=np.float32):
    img = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    return np.round(img*255).astype(np.uint8) if dtype == np.uint8 else img.astype(dtype)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', NAMES)
def test_any_size(name, size):
    img = a_photo(size)
    for seed in range(8):
        step = degrade.draw_step(name, np.random.default_rng(seed))
        out = degrade.apply_steps(img, [step])
        assert out.shape == img.shape and out.dtype == img.dtype
        assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
        assert (out == degrade.apply_steps(img, json.loads(json.dumps([step])))).all()
        mask = degrade.hole_mask(img.shape, [step])
        assert mask.shape == size and mask.dtype == bool
        if degrade.DEGRADATIONS[name].kind == 'heavy': assert (out == img)[~mask].all()
        else: assert not mask.any()


@pytest.mark.parametrize('end', [0, -1])
@pytest.mark.parametrize('name', NAMES)
def test_ends_of_the_ranges(name, end):
    d = degrade.DEGRADATIONS[name]
    step = {'name': name, **{k: v[end] for k, v in d.ranges.items()}}
    for size in SIZES: assert degrade.apply_steps(a_photo(size), [step]).shape == (*size, 3)


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
    code = ('import numpy as np, hashlib; from restorer_fastai import degrade, negative; m = degrade.load_mix("archive"); '
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
    code = 'from restorer_fastai.degrade import load_mix; load_mix("archive")'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.returncode and 'import restorer_fastai.negative' in run.stderr


def test_imports_are_light():
    code = ('import sys; from restorer_fastai import degrade, negative; '
            'print([m for m in ("torch", "fastai", "albumentations", "matplotlib") if m in sys.modules])')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


def test_held_out_film_still_renders():
    img = a_photo((16, 16))
    for stock in negative.HELD_OUT_STOCKS:
        step = {'name': 'film_negative', 'stock': stock, 'scanner': 'flatbed'}
        assert np.abs(negative.invert_film(degrade.apply_steps(img, [step]), stock, 'flatbed') - img).max() < 1/255
