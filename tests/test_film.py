"Film, from the scan to the positive: a part of its own, what is around the picture, rolls, graphs, and weights from before it."
import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000

from restorer_fastai.baselines.negadoctor import invert_negadoctor
from restorer_fastai.degrade.any_film import any_film_negative
from restorer_fastai.degrade.film import film_negative
from restorer_fastai.nets.film import FILM_KNOTS, FILM_NUMBERS, FilmNet, film_vector
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.nets.weights import describe_part, find_weights, load_network, load_weights, save_parts, save_weights
from restorer_fastai.photo.errors import RestorerError
from restorer_fastai.photo.pixels import rgb_to_lab, to_float, to_tensor, to_uint8
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.restore.graph import fold_norms
from restorer_fastai.restore.look import Seen, film_frame, look_at, see_film, turn_colours
from restorer_fastai.restore.pixels import restore_array
from restorer_fastai.restore.roll import look_at_roll
from restorer_fastai.restore.tiles import TiledNet


def photo(name='china'): return to_float(sample_photo(name)[:320:2, 60:540:2])

@pytest.fixture(scope='module')
def net():
    "An untrained restorer that takes everything for film, with a part for film that has something to say."
    torch.manual_seed(0)
    made = build_network(NetConfig('resnet18', norm='batch', look=True, residual=True, head=16))
    torch.nn.init.constant_(made.looker.kind[-1].bias, 0)
    made.looker.kind[-1].bias.data[-1] = 50
    film = FilmNet()
    for head in (film.first, film.then): torch.nn.init.normal_(head[-1].weight, std=.02)
    made.put_part('film', film)
    return made

@pytest.fixture()
def parts(net, tmp_path):
    "The same network as a manifest of two files."
    film, net.film = net.film, None
    try: files = [save_weights(tmp_path/'all.safetensors', net), save_weights(tmp_path/'film.safetensors', film)]
    finally: net.film = film
    return save_parts(tmp_path/'both.json', [describe_part(files[0], 'restorer'), describe_part(files[1], 'film', into='restorer.film')])


def test_a_part_of_its_own(net, parts):
    loaded, header = load_network(parts)
    assert [o['role'] for o in header['parts']] == ['restorer', 'film']
    scan = film_negative(photo(), 'portra400', 'plain')
    ours, theirs = (look_at(o, scan).context.vector for o in (net, loaded))
    assert ours.shape == (1, 6*FILM_KNOTS + 15) and torch.allclose(ours, theirs, atol=1e-6)
    assert torch.allclose(look_at(fold_norms(net), scan).context.vector, ours, atol=1e-4) # also when made faster

def test_weights_from_before_go_on(net):
    film, net.film = net.film, None
    try:
        seen = look_at(net, film_negative(photo(), 'portra400', 'plain'))
        assert seen.film is None and seen.context.vector.shape == (1, 6*net.looker.knots + 15)
    finally: net.film = film
    assert load_weights(find_weights('reference').with_name('reference.safetensors'))[0].film is None # one file alone has no parts

def test_only_film_is_a_part_for_film(net):
    with pytest.raises(RestorerError, match='frame of rgb'): net.put_part('film', type(net.looker)())


@pytest.mark.parametrize('border', ['rebate', 'holes', 'holder'])
@pytest.mark.parametrize('stock,scanner', [('portra400', 'plain'), ('gold200', 'lab'), ('fuji_c200', 'flatbed')])
def test_what_is_around_does_not_tint(net, border, stock, scanner):
    "The classical print of a picture is the same with a border, to 4 levels in the mean (the border hides a strip of the picture)."
    alone, framed = (film_negative(photo(), stock, scanner, border=b, border_width=.1, grain=.01, seed=3) for b in ('none', border))
    def printed(scan):
        with torch.no_grad(): look = net.film(*film_frame(to_tensor(scan)))
        vector = film_vector(look.how, look.numbers*0)
        return turn_colours(scan, Seen(see_film(net, film_frame(to_tensor(scan)), look_at(net, scan, 'negative').context).context._replace(vector=vector), 'negative'))
    inside = slice(28, -28), slice(40, -40)
    assert 255*np.abs(printed(alone)[inside] - printed(framed)[inside]).mean() < 6


def test_nothing_that_it_says_makes_a_clown():
    "Whatever the numbers, what was light in the scene stays lighter than what was dark."
    scan = film_negative(photo(), 'portra400', 'plain')
    with torch.no_grad(): look = FilmNet().eval()(to_tensor(scan))
    luma, target = np.array([.299, .587, .114]), photo()
    for seed in range(6):
        numbers = 30*torch.randn(1, FILM_NUMBERS, generator=torch.manual_seed(seed))
        made = turn_colours(scan, Seen(look_at_context(film_vector(look.how, numbers)), 'negative'))
        assert np.isfinite(made).all() and np.corrcoef((made @ luma).ravel(), (target @ luma).ravel())[0, 1] > .6

def look_at_context(vector):
    from restorer_fastai.nets.frame import Context
    return Context(vector=vector)


def test_the_classical_print_alone_beats_negadoctor():
    "On any film: nearer in colour than negadoctor, over a dozen films that chance has made."
    film, apart = FilmNet().eval(), []
    for seed in range(12):
        clean = photo(('china', 'flower', 'coffee', 'chelsea')[seed % 4])
        scan = any_film_negative(clean, exposure=seed % 3, purity=.6, gamma=2.2 - .08*seed, neutral=seed % 4/3, bits=8, seed=seed)
        with torch.no_grad(): look = film(*film_frame(to_tensor(scan)))
        made = turn_colours(scan, Seen(look_at_context(film_vector(*look)), 'negative'))
        apart.append([deltaE_ciede2000(rgb_to_lab(o), rgb_to_lab(clean)).mean() for o in (made, invert_negadoctor(scan))])
    ours, theirs = np.mean(apart, 0)
    assert ours < theirs


def test_a_roll_shares_one_look(net, tmp_path):
    tiled = TiledNet(net, device='cpu')
    paths = [write_photo(tmp_path/f'{n}.png', to_uint8(film_negative(photo(n), 'gold200', 'plain'))) for n in ('china', 'coffee', 'flower')]
    looks = look_at_roll(tiled, paths, 'negative')
    first = looks[paths[0]].context.vector
    assert all(torch.equal(o.context.vector, first) for o in looks.values()) and first.shape[1] == 6*FILM_KNOTS + 15

def test_tiles_do_not_show(net):
    "In tiles as at once: the colours are decided for all of the scan."
    scan = film_negative(np.tile(photo(), (2, 2, 1)), 'portra400', 'plain')
    seen = look_at(net, scan, 'negative')
    class Turn(torch.nn.Module):
        def forward(self, x, context=None):
            from restorer_fastai.nets.frame import colour_transform
            return colour_transform(x, context.vector)
    at_once = turn_colours(scan, seen)
    made = restore_array(TiledNet(Turn(), device='cpu', tile=128), scan, seen)
    assert np.abs(made - at_once).max() < 2/255


@pytest.mark.parametrize('border, film', [(0, False), (150, True)])
def test_a_negative_in_a_holder_is_film_whatever_its_colours(border, film):
    net = load_network('reference')[0]
    scan = np.pad(255 - sample_photo('astronaut')[:300, :400], ((border, border), (border, border), (0, 0)), constant_values=12) # without the orange of film
    assert (look_at(net, scan, 'negative').film is not None) == film
