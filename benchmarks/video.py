"""How steady are the colours of a video, beside how colourful it is and how near to the truth? And what is taken for dust that is none? The tables in nbs/pages/videos.md.

    python benchmarks/video.py --video foreman=video/foreman_cif.mp4 --video bus=video/bus_cif.mp4
    python benchmarks/video.py --video foreman=video/foreman_cif.mp4 --every 1 --every 5 --settle .25 --settle 1 --frames 60
    python benchmarks/video.py --video foreman=video/foreman_cif.mp4 --dust 16

Videos in colour are made grey (luma, 8 bits) and coloured: each frame by itself, and steadily (83a_colourhistory.steady). Steadiness is the warped colour error: mean change of Cb and Cr (8-bit levels) along the flow of
the true brightness, where going there and back agrees; DIS `medium`, while colours are carried by DIS `fast`. Beside it the colour spread (Hasler & Suesstrunk 2003), and PSNR of RGB over all frames. `--dust T` says which
share of the pixels of the clean video is taken for dust (none is), and how much is found of dust that is drawn on every frame (20 specks, 2 hairs; light and dark by turns; seed: number of the frame). Frames are the first N; nothing else is drawn by chance.
"""
import os
import warnings
from itertools import islice
from pathlib import Path
from typing import Annotated

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import numpy as np
import typer
from restorer_fastai import Restorer
from restorer_fastai.colourhistory.dust import frame_dust, without_dust
from restorer_fastai.colourhistory.steady import colour_flicker, guesser, steady_colours, with_colours
from restorer_fastai.colourhistory.video import read_frames, video_info
from restorer_fastai.degrade.marks import add_dust, dust_alpha
from restorer_fastai.oldphoto.colorize import colorize
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
    return [to_uint8(with_colours(o, c)) for o, c in steady_colours(grey, guesser(net, setting), every=every, settle=settle)]


def dust_row(name, frames, threshold):
    "What is taken for dust in a clean video, and how much of it is found and mended when some lies on every frame."
    def three(frames): return zip(frames, frames[1:], frames[2:])
    alarms = [frame_dust(*o, threshold)[0].mean() for o in three(frames)]
    lies = [dust_alpha(o.shape, 20, seed=t) for t, o in enumerate(frames)]
    dusty = [to_uint8(add_dust(to_float(o), 20, tone=('light', 'dark')[t % 2], seed=t)) for t, o in enumerate(frames)]
    cleaned = [without_dust(*o, threshold) for o in three(dusty)]
    found = [mask[alpha > .5].mean() for (_, mask), alpha in zip(cleaned, lies[1:])]
    before, after = (np.mean([psnr(a, b) for a, b in zip(made, frames[1:])]) for made in (dusty[1:-1], [o for o, _ in cleaned]))
    return name, len(frames), *(f'{100*o:.3f} %' for o in (np.mean(alarms), np.max(alarms))), f'{100*np.mean(found):.0f} %', float(before), float(after)


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
    if dust: return print(markdown(['video', 'frames', 'clean: taken for dust, mean', 'worst frame', 'dusty: found', 'PSNR before, dB', 'after'], [dust_row(*o, dust) for o in videos.items()]))
    net, rows = Restorer.load(model).net.colourer, []
    for name, truth in with_progress(videos.items(), 'videos', len(videos)):
        grey = [to_uint8(rgb_to_grey(to_float(o))) for o in truth]
        rows.append((name, 'truth', *figures(truth, truth).values()))
        for how in setting:
            rows.append((name, f'{how}, frame by frame', *figures([to_uint8(colorize(net, o, how)) for o in grey], truth).values()))
            rows += [(name, f'{how}, every {e}, settle {s}', *figures(steady(grey, net, how, e, s), truth).values()) for e in every for s in settle]
    print(markdown(['video', 'how', 'warped colour error', 'colour spread', 'PSNR, dB'], rows))


if __name__ == '__main__': typer.run(main)
