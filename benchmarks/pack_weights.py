"""Make a small weights file to ship: 8 bits a weight, and say what it costs.

    python benchmarks/pack_weights.py run/model.safetensors restorer_fastai/pretrained/reference.safetensors --photos photos/held_out

The header (recipe, stages, scores) is carried over; weights that learned in several runs know only the last of them, so that `--about KEY=TEXT` puts other
words in its place. With --photos, both files restore the same damaged photos (the summary of 36_score.tasks), and the difference
in PSNR against the truth is printed.
"""
import warnings
from pathlib import Path
from typing import Annotated, Optional

warnings.simplefilter('ignore') # notes of libraries to each other's developers

import typer
from restorer_fastai.score.evaluate import evaluate
from restorer_fastai import Restorer
from restorer_fastai.nets.weights import load_weights, save_weights

WRITTEN_ANEW = ('contract', 'versions', 'network', 'normalize', 'sha256')


def main(
    source:Annotated[Path, typer.Argument(help='Weights that training wrote')],
    target:Annotated[Path, typer.Argument(help='File to write')],
    photos:Annotated[Optional[Path], typer.Option(help='Clean photos to measure the loss on')]=None,
    about:Annotated[Optional[list[str]], typer.Option(help='KEY=TEXT for the header, instead of what SOURCE tells about its training; give it several times')]=None,
    limit:int=12,
):
    "Pack and measure."
    for o in about or ():
        if not o.partition('=')[0].strip() or '=' not in o: raise typer.BadParameter(f'{o!r} is not KEY=TEXT, such as --about recipe=reference')
    net, meta = load_weights(source)
    told = dict(o.split('=', 1) for o in about) if about else {k: v for k,v in meta.items() if k not in WRITTEN_ANEW}
    save_weights(target, net, told | dict(packed_from=meta['sha256']), packed=True)
    print(f'{source.stat().st_size/1e6:.1f} MB -> {target.stat().st_size/1e6:.1f} MB')
    if photos is None: return
    scores = [evaluate(Restorer.load(o).restore, photos, limit=limit) for o in (source, target)]
    lost = (scores[0].psnr_restored - scores[1].psnr_restored)
    print(f'{len(lost)} scores: {lost.mean():.4f} dB lost in the mean, {lost.max():.3f} at most')


if __name__ == '__main__': typer.run(main)
