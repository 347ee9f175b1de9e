"""How steady are the colours of a video, beside how colourful it is and how near to the truth? And what is taken for dust that is none? The tables in the README.

    python benchmarks/video.py --video foreman=video/foreman_cif.mp4 --video bus=video/bus_cif.mp4
    python benchmarks/video.py --video foreman=video/foreman_cif.mp4 --every 1 --every 5 --settle .25 --settle 1 --frames 60
    python benchmarks/video.py --video foreman=video/foreman_cif.mp4 --dust 16

Videos in colour are made grey (luma, 8 bits) and coloured: each frame by itself, and steadily (83a_colourhistory.steady). Steadiness is the warped colour error: mean change of Cb and Cr (8-bit levels) along the flow of
the true brightness, where going there and back agrees; DIS `medium`, while colours are carried by DIS `fast`. Beside it the colour spread (Hasler & Suesstrunk 2003), and PSNR of RGB over all frames. `--dust T` says which
share of the pixels of the clean video is taken for dust (none is). Frames are the first N; nothing is drawn by chance.
"""
import os
import warnings
from itertools import islice
from pathlib import Path
from typing import Annotated

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import numpy as np
import torch
import typer
from restorer_fastai import Restorer
from restorer_fastai.colourhistory.dust import frame_dust
from restorer_fastai.colourhistory.steady import colour_flicker, guesser, steady_colours
from restorer_fastai.colourhistory.video import read_frames, video_info
from restorer_fastai.oldphoto.colorize import colorize, lay_colours
from restorer_fastai.photo.pixels import rgb_to_grey, to_float, to_tensor, to_uint8
from restorer_fastai.photo.progress import with_progress
from restorer_fastai.score.metrics import colour_spread, psnr


def figures(made, truth):
    "The numbers of a coloured video."
    flicker = np.nanmean([colour_flicker(a, b) for a, b in zip(made, made[1:])])
    return dict(flicker=float(flicker), spread=float(np.mean([float(colour_spread(to_tensor(o))) for o in made])), psnr=float(np.mean([psnr(a, b) for a, b in zip(made, truth)])))


def markdown(columns, rows):
    "A table."
    lines = [columns, [' --- ', *[' --: ']*(len(columns) - 1)], *([f'{o:.2f}' if isinstance(o, float) else str(o) for o in row] for row in rows)]
    return '\n'.join(f"| {' | '.join(map(str.strip, o))} |" for o in lines)


def steady(grey, net, setting, every, settle):
    "A whole video, coloured."
    laid = ((o, torch.from_numpy(c).permute(2, 0, 1)[None]) for o, c in steady_colours(grey, guesser(net, setting), every=every, settle=settle))
    return [to_uint8(lay_colours(o, c)) for o, c in laid]


def main(
    video:Annotated[list[str], typer.Option(help='NAME=FILE, in colour; several times')],
    model:Annotated[str, typer.Option(help='Weights with a part that colours')]='reference',
    setting:Annotated[list[str], typer.Option(help='How bold; several times')]=['mild'],
    every:Annotated[list[int], typer.Option(help='The network is asked for one frame in so many; several times')]=[5],
    settle:Annotated[list[float], typer.Option(help='How far colours move towards a new guess; several times')]=[.5],
    dust:Annotated[float, typer.Option(help='Threshold for dust, 8-bit levels; 0: colours')]=0.,
    frames:Annotated[int, typer.Option(help='At most so many of each')]=90,
):
    "Print the tables as Markdown."
    videos = {k: [o.pixels for o in islice(read_frames(video_info(Path(f))), frames)] for k, _, f in (o.partition('=') for o in video)}
    if dust:
        rows = [(k, len(v), *(f'{100*o:.3f} %' for o in (np.mean(m), np.max(m)))) for k, v in videos.items() for m in [[frame_dust(*o, dust)[0].mean() for o in zip(v, v[1:], v[2:])]]]
        return print(markdown(['video', 'frames', 'taken for dust, mean', 'worst frame'], rows))
    net, rows = Restorer.load(model).net.colourer, []
    for name, truth in with_progress(videos.items(), 'videos', len(videos)):
        grey = [to_uint8(rgb_to_grey(to_float(o))) for o in truth]
        rows.append((name, 'truth', *figures(truth, truth).values()))
        for how in setting:
            rows.append((name, f'{how}, frame by frame', *figures([to_uint8(colorize(net, o, how)) for o in grey], truth).values()))
            rows += [(name, f'{how}, every {e}, settle {s}', *figures(steady(grey, net, how, e, s), truth).values()) for e in every for s in settle]
    print(markdown(['video', 'how', 'warped colour error', 'colour spread', 'PSNR, dB'], rows))


if __name__ == '__main__': typer.run(main)
