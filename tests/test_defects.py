"Finding defects: faint lines, photos of odd sizes and types, large photos in little memory, the benchmark's masks and tables."
import resource
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from restorer_fastai.degrade.registry import DegradeError
from restorer_fastai.nets.architectures import ARCHITECTURES, builder_of
from restorer_fastai.nets.weights import describe_part, load_network, load_weights, save_parts, save_weights
from restorer_fastai.oldphoto.defects import DefectNet, find_defects, lids, map_defects, reduced, sure_defects
from restorer_fastai.oldphoto.lines import LENGTHS, line_planes, standing_out
from restorer_fastai.oldphoto.wear import WEAR, dirt_in, wear_photo
from restorer_fastai.photo.pixels import to_float, to_tensor, to_uint8
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.restore.tiles import TiledNet
from restorer_fastai.train.kinds import STAGE_KINDS, make_stage
from restorer_fastai.train.recipe import load_recipe, networks_of, recipe_from_dict

BENCHMARKS = Path(__file__).resolve().parent.parent/'benchmarks'
TINY = (4, 4, 4, 4, 4, 4)


class Bright(nn.Module):
    "Stands for a network: what is nearly white is damaged."
    def forward(self, x): return 60*(x.float().mean(1, keepdim=True) - .9)


def grainy(h, w, sigma=10, seed=0):
    "Grain and nothing else, (h, w, 3) float."
    rng = np.random.default_rng(seed)
    return np.clip(.5 + sigma/255*rng.standard_normal((h, w, 1), dtype=np.float32).repeat(3, 2), 0, 1)


@pytest.mark.parametrize('upright', [True, False])
@pytest.mark.parametrize('levels', [3, -3])
def test_a_line_below_the_grain_stands_out_along_its_length(upright, levels):
    "Three levels in grain of ten: a third of a standard deviation at any one pixel."
    img = grainy(512, 384) if upright else grainy(384, 512)
    where = np.s_[:, 200:202] if upright else np.s_[200:202]
    img[where] += levels/255
    planes = line_planes(to_tensor(img))[0].numpy()
    alone = standing_out(to_tensor(img))[0, 0].numpy()
    long = planes[4 if levels > 0 else 5]
    rest = np.ones(img.shape[:2], bool)
    rest[np.s_[:, 185:217] if upright else np.s_[185:217]] = False
    assert np.median(long[where]) > np.quantile(long[rest], .999) # the whole line above all grain
    assert np.abs(alone[where]).mean() < 1.2*np.abs(alone[rest]).mean() # no pixel of it does
    assert np.median(planes[5 if levels > 0 else 4][where]) < np.median(long[where])/3 # light is not dark


def test_longer_lines_see_fainter_ones():
    img = grainy(512, 512)
    img[:, 300:302] += 4/255
    planes = line_planes(to_tensor(img))[0].numpy()
    seen = [np.median(planes[2*i][:, 300:302])/np.quantile(planes[2*i][:, 20:280], .99) for i in range(len(LENGTHS))]
    assert seen[0] < seen[1] < seen[2]


@pytest.mark.parametrize('shape', [(32, 32), (64, 320), (320, 64), (600, 32)])
def test_planes_of_any_shape(shape):
    planes = line_planes(torch.rand(2, 3, *shape))
    assert planes.shape == (2, 6, *shape) and torch.isfinite(planes).all() and (planes >= 0).all()


def test_planes_turn_with_the_photo():
    torch.manual_seed(1) # of two directions that are equally good either may be taken: not in this picture
    x = torch.rand(1, 3, 96, 160)
    assert torch.allclose(line_planes(x.mT).mT, line_planes(x), atol=1e-5)


def test_a_wall_without_grain_has_no_lines(): assert line_planes(torch.full((1, 3, 64, 64), .7)).abs().max() < 1e-3


def test_the_network_is_in_the_tables_and_comes_back_from_a_file_with_its_thresholds(tmp_path):
    assert builder_of('defects') is DefectNet and isinstance(ARCHITECTURES['defects'], str)
    net = DefectNet(TINY).eval()
    net.threshold.copy_(torch.tensor([.3, .7]))
    again, header = load_weights(save_weights(tmp_path/'d.safetensors', net, {}))
    assert header['gives'] == 'mask' and again.threshold.tolist() == net.threshold.tolist()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad(): assert torch.equal(again(x), net(x))


def test_a_recipe_finds_the_stage():
    assert isinstance(STAGE_KINDS['defects'], str)
    assert make_stage('defects', size=64, widths=list(TINY)).trains == ('defects',)


def test_the_recipe_that_comes_with_the_package():
    recipe = load_recipe('defects')
    assert [o.kind for o in recipe.stages] == ['defects', 'defects']
    assert list(networks_of(recipe)) == ['defects'] # no restorer is built for it
    told = recipe_from_dict(recipe.to_dict() | dict(stages=[dict(kind='defects', dirt='/home/somebody/dirt')])).without_folders()
    assert told['stages'][0]['dirt'] == 'dirt' # a weights file does not tell where somebody's files lie


def test_a_part_of_a_manifest(tmp_path):
    net = DefectNet(TINY).eval()
    part = describe_part(save_weights(tmp_path/'defects-1.safetensors', net, {}), 'defects')
    again, header = load_network(save_parts(tmp_path/'all.json', [part]), role='defects')
    assert header['architecture'] == 'defects' and again.state_dict().keys() == net.state_dict().keys()


def test_a_folder_without_dirt_is_told():
    with pytest.raises(DegradeError, match='no pictures of dirt'): dirt_in(BENCHMARKS)


@pytest.mark.parametrize('shape', [(1, 1), (3, 500), (47, 61), (100, 64), (1500, 40)])
def test_photos_of_odd_shapes(shape):
    img = np.full((*shape, 3), 90, np.uint8)
    mask = find_defects(DefectNet(TINY), img)
    assert mask.shape == shape and mask.dtype == np.uint8


def test_the_type_of_the_photo_makes_no_difference():
    img = sample_photo('coffee')[:150, :200].copy()
    img[40:44, 20:180] = 255
    masks = [find_defects(Bright(), o) for o in (img, np.uint16(img)*257, to_float(img))]
    assert masks[0][41, 30:170].all() and all(np.array_equal(o, masks[0]) for o in masks)


def test_tiles_and_mirror_images_agree_with_one_look():
    net = DefectNet(TINY).eval()
    img = to_uint8(wear_photo(to_float(sample_photo('astronaut')), np.random.default_rng(0))[0])
    whole, tiled = (map_defects(TiledNet(net, tile=o, device='cpu'), img, mirrored=False) for o in (512, 256))
    assert np.abs(whole - tiled).mean() < .02 # lines are cut at the tiles
    both = map_defects(TiledNet(net, tile=512, device='cpu'), img)
    other = map_defects(TiledNet(net, tile=512, device='cpu'), img[:, ::-1])[:, ::-1]
    assert np.allclose(both, other, atol=1e-4) # so the mirror image has the mirrored mask


def test_hysteresis_keeps_what_hangs_together():
    found = np.zeros((20, 40), np.float32)
    found[5, 2:30], found[5, 10], found[15, 2:30] = .4, .95, .4
    assert sure_defects(found, .3, .9)[5].sum() == 28 and not sure_defects(found, .3, .9)[15].any()
    assert np.array_equal(sure_defects(found, .3, .3), found > .3)


@pytest.mark.parametrize('tone', [255, 0])
def test_a_lid_is_no_damage_and_a_hole_is(tone):
    "Both are even and clipped; a lid goes on to the frame."
    img = np.uint8(np.random.default_rng(0).normal(120, 12, (256, 256, 3)).clip(0, 255))
    img[:60], img[150:190, 100:160] = tone, tone
    assert lids(img)[:50].all() and not lids(img)[155:185, 105:155].any()

    class Everything(nn.Module):
        def forward(self, x): return torch.full_like(x[:, :1], 9.)
    mask = find_defects(Everything(), img)
    assert not mask[:56].any() and mask[155:185, 105:155].all()


def test_a_page_of_a_book_is_left_alone():
    page = np.full((400, 600, 3), 250, np.uint8)
    for i in range(9): cv2.putText(page, 'Lines of a letter, in black ink', (20, 40*i + 40), cv2.FONT_HERSHEY_SIMPLEX, .9, (20, 20, 20), 2)
    assert not find_defects(Bright(), 255 - (255 - page)).any()


def test_a_large_photo_needs_little_memory():
    "24 megapixels; the photo itself has 72 MB, its mask 24."
    img = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mask = find_defects(DefectNet(TINY), img)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)*(1 if sys.platform == 'darwin' else 1024)
    assert mask.shape == img.shape[:2] and grown < 600e6, grown


def test_thin_things_survive_where_the_photo_is_small_enough():
    img = np.full((1000, 700, 3), 90, np.uint8)
    img[:, 300] = 255
    assert reduced(img) is img or np.array_equal(reduced(img), img)
    assert (find_defects(Bright(), img)[50:-50, 300] > 0).all()


@pytest.mark.parametrize('name', sorted(WEAR))
def test_each_kind_of_wear_covers_what_it_changes(name):
    photo = cv2.GaussianBlur(grainy(160, 200, 60, 1), (0, 0), 2)
    for seed in range(4):
        worn, mask, _ = wear_photo(photo, np.random.default_rng(seed), names=[name])
        changed = np.abs(worn - photo).max(2)
        assert worn.min() >= 0 and worn.max() <= 1 and worn.dtype == np.float32
        assert {*np.unique(mask)} <= {0, 1, 2}
        assert (changed[mask == 0] > .2).mean() < .02 # hardly anything that is clearly changed is called whole


def test_masks_made_by_hand_belong_to_their_photos():
    table = pd.read_csv(BENCHMARKS/'data'/'defect_masks'/'masks.csv')
    assert len(table) == 8 and table.photo_sha256.str.fullmatch('[0-9a-f]{64}').all()
    for row in table.itertuples():
        path = BENCHMARKS/'data'/'defect_masks'/row.mask
        mask = read_photo(path)
        assert mask.shape == (row.height, row.width, 3) and {*np.unique(mask)} == {0, 255}
        assert .01 < (mask > 0).mean() < .3 and path.stat().st_size < 20_000


def test_the_benchmark_prints_its_tables(tmp_path, monkeypatch):
    "On the sample photos, with a network that has learned nothing, and fewer of everything."
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import defects
    save_weights(tmp_path/'d.safetensors', DefectNet(TINY), {})
    monkeypatch.setattr(defects, 'drawn_wear', lambda photos, dirt, make=defects.drawn_wear: make(photos, dirt, n=3, size=96))
    monkeypatch.setattr(defects, 'clean_groups', lambda photos, clean: [('a photo', [sample_photo('chelsea')[:96, :128]])])
    monkeypatch.setattr(defects, 'seconds', lambda finder: 1.)
    defects.main(weights=str(tmp_path/'d.safetensors'), photos=None, dirt=None, old_photos=None, clean=None, out=tmp_path/'scores')
    table = pd.read_csv(tmp_path/'scores.csv')
    assert table.finder.tolist() == ['network, sure', 'network, likely', 'top-hat', 'median'] and table.AUC.between(0, 1).all()
    assert (table['damaged, %'] > 0).all() and table['best Dice'].between(0, 1).all()
    text = (tmp_path/'scores.md').read_text()
    assert 'false, %' in text and 'seconds' in text

@pytest.mark.parametrize('height,looks', [(.6, 1), (.9, 2)])
def test_a_second_look_is_taken_only_where_it_can_change_something(height, looks):
    class Sees(nn.Module):
        "One line, with this probability."
        seen = 0
        def forward(self, x):
            self.seen += 1
            y = torch.full_like(x[:, :1], -9.)
            y[..., 40, 20:60] = float(np.log(height/(1 - height)))
            return y
    img, net = np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8), Sees()
    mask = find_defects(TiledNet(net, tile=512, device='cpu'), img, (.3, .85))
    assert net.seen == looks and mask.any() == (height > .85)
