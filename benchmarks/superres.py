"""Photos made four times smaller and enlarged again, by several methods, as papers on ×4 super-resolution measure it. The table in nbs/pages/larger.md.

    python benchmarks/superres.py --set Set5=bench/Set5 --set Set14=bench/Set14 --weights weights
    python benchmarks/superres.py --set BSD100=BSD100 --set Urban100=Urban100 --net mine=run/model.safetensors
    python benchmarks/superres.py --set Set14=bench/Set14 --ballot ballot
    restorer votes ballot/bicubic ballot/x4 ballot/x4_texture --reference ballot/truth --out votes.csv
    restorer votes ballot/bicubic ballot/x4 ballot/x4_texture ballot/truth --how scores --out scores.csv

Photos are cut to sides that divide by 4, made smaller as MATLAB's imresize does it (bicubic, antialiasing; 75_superres.bicubic), rounded to 8 bits, enlarged, and rounded again. Prints Markdown: PSNR (dB) and
SSIM of Y (MATLAB's, 16-235), 4 px of border left out; LPIPS v0.1 (SqueezeNet) of RGB, whole, lower is better; means over photos. Nothing here is drawn by chance. Published figures stand below, with their
source; their SSIM is of other implementations. `--ballot` keeps the pictures, a folder each, for blind votes: pairs, and scores from 1 to 5 (MOS). `--speed` adds seconds for a megapixel of the small photo.
"""
import os
import time
import warnings
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import numpy as np
import pandas as pd
import typer
from PIL import Image
from restorer_fastai import Restorer
from restorer_fastai.nets.weights import find_weights, load_network
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import to_tensor, to_uint8
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.writing import write_photo
from restorer_fastai.restore.enlarge import enlarged
from restorer_fastai.restore.tiles import TiledNet
from restorer_fastai.score.metrics import lpips_distance, psnr, ssim
from restorer_fastai.superres.bicubic import divisible, enlarged_plainly, shrunk
from skimage.transform import rescale

SCALE, BORDER = 4, 4
PUBLISHED = { # PSNR / SSIM, Y, border 4
    'bicubic (Ledig et al. 2017)': dict(Set5='28.43 / .8211', Set14='25.99 / .7486', BSD100='25.94 / .6935'),
    'SRResNet (Ledig et al. 2017)': dict(Set5='32.05 / .9019', Set14='28.49 / .8184', BSD100='27.58 / .7620'),
    'SRGAN (Ledig et al. 2017)': dict(Set5='29.40 / .8472', Set14='26.02 / .7397', BSD100='25.16 / .6688'),
    'SRResNet (re-implemented by sgrvinod)': dict(Set5='31.93 / .902', Set14='28.59 / .799', BSD100='27.59 / .756')}


def _by_pillow(x): return np.asarray(Image.fromarray(x).resize((SCALE*x.shape[1], SCALE*x.shape[0]), Image.Resampling.LANCZOS))
def _by_opencv(how): return lambda x: cv2.resize(x, None, fx=SCALE, fy=SCALE, interpolation=how)
def _by_skimage(x): return to_uint8(rescale(x, SCALE, order=3, channel_axis=2).astype(np.float32).clip(0, 1))


PLAIN = {'bicubic': enlarged_plainly, 'Lanczos (Pillow)': _by_pillow, 'bicubic (OpenCV)': _by_opencv(cv2.INTER_CUBIC), 'Lanczos (OpenCV)': _by_opencv(cv2.INTER_LANCZOS4), 'bicubic (scikit-image)': _by_skimage}


def methods(model, nets):
    "Name -> what enlarges a photo: plain tools, the part of a restorer without and with texture, and networks from files."
    tiled, out = Restorer.load(model), dict(PLAIN)
    if getattr(tiled.net, 'enlarger', None) is not None: out['x4'] = lambda x: enlarged(tiled, x)
    if getattr(tiled.net, 'textured_enlarger', None) is not None:
        out |= {'x4, texture 0.5': lambda x: enlarged(tiled, x, texture=.5), 'x4, texture 1': lambda x: enlarged(tiled, x, texture=1.)}
    for name, _, path in (o.rpartition('=') for o in nets):
        net = TiledNet(load_network(find_weights(path))[0])
        out[name or Path(path).stem] = lambda x, net=net: enlarged(net, x)
    return out


def score(made, truth, weights):
    "The numbers of one photo."
    a, b = (to_tensor(o) for o in (made, truth))
    return dict(psnr=psnr(made, truth, 'y', BORDER), ssim=ssim(made, truth, 'y', BORDER), lpips=float(lpips_distance(a, b, weights=weights)) if weights else float('nan'))


def table(rows, sets, speed):
    "Markdown."
    out = [f'| method | {" | ".join(f"{o} ({rows[rows.set == o].photo.nunique()})" for o in sets)} |{" s/MP |" if speed else ""}', f'| --- | {" | ".join(["--:"]*len(sets))} |{" --: |" if speed else ""}']
    for name, part in rows.groupby('method', sort=False):
        means = part.groupby('set')[['psnr', 'ssim', 'lpips']].mean()
        cells = [f'{m.psnr:.2f} / {m.ssim:.4f}' + ('' if np.isnan(m.lpips) else f' / {m.lpips:.4f}') for m in (means.loc[o] for o in sets)]
        out.append(f'| {name} | {" | ".join(cells)} |' + (f' {part.seconds.sum()/part.megapixels.sum():.2f} |' if speed else ''))
    for name, cells in PUBLISHED.items(): out.append(f'| *{name}* | {" | ".join(cells.get(o, "") for o in sets)} |' + (' |' if speed else ''))
    return '\n'.join(out)


def main(
    given:Annotated[list[str], typer.Option('--set', help='NAME=FOLDER of whole photos; give it several times')],
    model:Annotated[str, typer.Option(help='Weights of a restorer with a part that enlarges')]='reference',
    nets:Annotated[Optional[list[str]], typer.Option('--net', help='NAME=WEIGHTS of a network that enlarges; give it several times')]=None,
    weights:Annotated[Optional[Path], typer.Option(help="SqueezeNet's ImageNet weights, for LPIPS: a file or folder; without them it is left out")]=None,
    limit:Annotated[int, typer.Option(help='At most so many photos of a set; 0: all')]=0,
    ballot:Annotated[Optional[Path], typer.Option(help='Folder for the pictures, see `restorer votes`')]=None,
    out:Annotated[Optional[Path], typer.Option(help='A CSV file for all scores')]=None,
    speed:Annotated[bool, typer.Option('--speed', help='Add seconds for a megapixel of the small photo')]=False,
):
    "Make photos smaller, enlarge them again, print the table."
    sets, tools, rows = dict(o.split('=', 1) for o in given), methods(model, nets or []), []
    for name, folder in sets.items():
        for path in with_progress(find_photos(folder)[:limit or None], name):
            truth = divisible(to_uint8(read_photo(path)))
            small = shrunk(truth, SCALE)
            if ballot: write_photo(ballot/'truth'/f'{path.stem}.png', truth)
            for method, enlarge in tools.items():
                began = time.perf_counter()
                made = enlarge(small)
                rows.append(dict(set=name, photo=path.name, method=method, seconds=time.perf_counter() - began, megapixels=small.shape[0]*small.shape[1]/1e6) | score(made, truth, weights))
                if ballot: write_photo(ballot/method.replace(', ', '_').replace(' ', '_')/f'{path.stem}.png', made)
    if not rows: raise typer.BadParameter('there are no photos in these folders')
    rows = pd.DataFrame(rows)
    if out: rows.to_csv(out, index=False)
    print(table(rows, sets, speed))


if __name__ == '__main__': typer.run(main)
