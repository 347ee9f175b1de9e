"""Film negatives of a model that nobody trained on: what comes back, by ours and by the classical tools.

    python benchmarks/film.py --photos CBSD68=bench/CBSD68 --photos people=photos/people --model run/film.safetensors --limit 68 --out scores/film

Photos are folders of clean photos, NAME=FOLDER; of those that took part in the training only the held-out ones (`--held-out`: every photo whose crc32 of the name is divisible by 20)
count. Each is put on film of 39c_score.other_film once for each seed. Everybody gets the same scan, told that it is film: 255 - x, negadoctor with its own automatic settings, the classical
inversion of 23b_nets.film, and what its network corrects of that. Without --model those of the parts that are there. Writes OUT.csv and OUT.md, which it also prints: PSNR of RGB in dB / mean CIEDE2000.
"""
import os
import warnings
import zlib
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import torch
import typer
from restorer_fastai.baselines.negadoctor import invert_negadoctor, invert_plain
from restorer_fastai.nets.film import FilmNet, film_vector
from restorer_fastai.nets.frame import Context
from restorer_fastai.nets.weights import load_network, load_weights
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.restore.look import Seen, film_frame, look_at, thumbnail, turn_colours
from restorer_fastai.score.other_film import film_scores, film_table


def by_film(net, corrected=True):
    "A function of a scan: the positive by a `FilmNet`, or the classical print that it starts from."
    @torch.inference_mode()
    def restore(scan):
        look = net(*film_frame(thumbnail(scan)))
        vector = film_vector(*(look if corrected else look._replace(numbers=look.numbers*0)))
        return turn_colours(scan, Seen(Context(vector=vector), 'negative'))
    return restore


def by_frame(net):
    "A function of a scan: the positive by the colour transform of a restorer's own frame network."
    return lambda scan: turn_colours(scan, look_at(net, scan, 'negative'))


def methods_of(model):
    "Name -> function of a scan."
    reference = load_network('reference')[0]
    film = load_weights(model)[0] if model else reference.film
    ours = {'ours': by_film(film)} if film is not None else {}
    reference.film = None
    return {'255 - x': invert_plain, 'negadoctor': invert_negadoctor, 'frame network': by_frame(reference), 'classical': by_film(FilmNet().eval(), False), **ours}


def some_photos(folder, limit, held_out):
    "At most `limit` photos of a folder, evenly spread."
    paths = [o for o in find_photos(Path(folder)) if not held_out or zlib.crc32(o.name.encode()) % 20 == 0]
    return [read_photo(o) for o in (paths[::max(1, len(paths)//limit)][:limit] if limit else paths)]


def markdown(table):
    "A table of means as Markdown: PSNR / delta E of each method."
    methods = list(dict.fromkeys(table.columns.get_level_values(1)))
    lines = [[table.index.name, *methods], ['---', *['--:']*len(methods)]]
    lines += [[str(name), *(f'{row["psnr", m]:.2f} / {row["delta_e", m]:.2f}' for m in methods)] for name, row in table.iterrows()]
    return '\n'.join(f'| {" | ".join(o)} |' for o in lines)


def main(
    photos:Annotated[list[str], typer.Option(help='NAME=FOLDER of clean photos; give it several times')],
    model:Annotated[Optional[Path], typer.Option(help='Weights of a `FilmNet`')]=None,
    held_out:Annotated[Optional[list[str]], typer.Option(help='NAME of a set of which only held-out photos count; give it several times')]=None,
    limit:Annotated[int, typer.Option(help='At most so many photos of each set; 0: all')]=0,
    seeds:Annotated[int, typer.Option(help='How often each photo is put on film')]=3,
    out:Annotated[Path, typer.Option(help='Where OUT.csv and OUT.md go')]=Path('film'),
):
    "Score inversions of film, and print tables."
    if bad := [o for o in photos if '=' not in o]: raise typer.BadParameter(f'--photos {bad[0]!r}: write NAME=FOLDER')
    sets = {name: some_photos(folder, limit, name in (held_out or ())) for name, _, folder in (o.partition('=') for o in photos)}
    scores = film_scores(methods_of(model), sets, range(seeds))
    scores.to_csv(out.with_suffix('.csv'), index=False)
    text = '\n\n'.join(markdown(film_table(scores, by)) for by in ('set', 'seed', 'pipeline', 'stock', 'around'))
    out.with_suffix('.md').write_text(text + '\n', encoding='utf-8')
    print(text)


if __name__ == '__main__': typer.run(main)
