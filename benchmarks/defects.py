"""How well is damage found? Dice, ROC AUC, average precision, false alarms and seconds, beside classical finders. The table in nbs/pages/old_photos.md.

    python benchmarks/defects.py --weights run/model.safetensors
    python benchmarks/defects.py --weights run/model.safetensors --photos photos --dirt dirt --old-photos old_photos --clean CBSD68=bench/CBSD68 --out scores/defects

What is found is judged on
- drawn wear: crops of held-out photos (`--photos`: folders of clean photos, of which those with CRC-32 of the name divisible by 20 are held out; else the sample photos), worn as in training, with pictures of dirt (`--dirt`) kept for the test;
- semi-real: polygons that people drew around real dust, hair, dirt and scratches (FORMAT of `--dirt`: annotations/*.json), laid over held-out photos of 512 px, half of them grey or sepia;
- real: old photos (`--old-photos`) with the masks of benchmarks/data/defect_masks, drawn by hand;
- false alarms: the share of pixels found in photos without damage: held-out ones, those of `--clean NAME=FOLDER`, and the specimens of 39a_score.material.

Conventions. AUC, AP: all pixels of a group together; the answer is a probability (a network) or a height (top-hat, median). Dice: at the thresholds that the weights file brings,
chosen on other photos; for the classical finders at the threshold that is best for that very group, which is kind to them (false alarms: for the last group). 'best' is the Dice at the best single threshold for that group.
'2 px' counts what lies within two pixels of what it should be (a hand is not more exact than that). Guards (lids, drawings) are at work in Dice and false alarms, and false alarms are counted in the mask
that is handed on, which is a pixel wider. The network is judged twice: with the thresholds of `restorer restore` (sure) and with those of `restorer oldphoto` (likely). Polygons and hand masks are of things that people saw; what is too faint for them counts as a false alarm when it is found.
"""
import hashlib
import json
import os
import time
import warnings
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1') # albumentations asks the network for its version
warnings.simplefilter('ignore') # notes of libraries to each other's developers

import cv2
import numpy as np
import pandas as pd
import torch
import typer
from restorer_fastai.nets.weights import load_network
from restorer_fastai.oldphoto.defects import find_defects, map_defects, mask_from, reduced, tiled_for, top_hat, widened
from restorer_fastai.oldphoto.pixel_scores import average_precision, BINS, dice_curve, PixelScores, pixel_auc
from restorer_fastai.oldphoto.wear import Wear, dirt_in, draw_tone, put_on
from restorer_fastai.oldphoto.worn import cut, look_old, scan_print, worn_crop
from restorer_fastai.photo.disk import write_beside
from restorer_fastai.photo.files import find_photos
from restorer_fastai.photo.pixels import rgb_to_grey, to_uint8
from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import SAMPLES, sample_path, sample_photo
from restorer_fastai.restore.drawing import is_drawing
from restorer_fastai.score.material import specimens

MASKS = Path(__file__).parent/'data'/'defect_masks'


class Network:
    "The network as it is used: an answer is thought over once, for several masks."
    def __init__(self, net, likely=False):
        self.tiled, self.thresholds = tiled_for(net), net.bars(likely)
        self.look = lru_cache(64)(self._look)
    def _look(self, data, shape): return map_defects(self.tiled, np.frombuffer(data, np.uint8).reshape(shape))
    def answer(self, img): return self.look(img.tobytes(), img.shape)
    def mask(self, img, answer, grow=0): return mask_from(answer, img, grow=grow, **self.thresholds) & (not is_drawing(img))
    def handed_on(self, img): return find_defects(self.tiled, img, **self.thresholds) > 127


class Classical:
    "A height, and a threshold, the best for the group that is judged."
    threshold = .15
    def __init__(self, height): self.height = height
    def answer(self, img): return np.clip(self.height(img), 0, 1)
    def mask(self, img, answer): return answer > self.threshold
    def handed_on(self, img): return cv2.dilate(np.uint8(self.answer(img) > self.threshold), np.ones((3, 3), np.uint8)) > 0


def median_difference(img, side=9):
    "How far a pixel is from the median around it: the 'dust and scratches' filter."
    grey = to_uint8(rgb_to_grey(img))[..., 0]
    return np.abs(np.float32(grey) - cv2.medianBlur(grey, side))/255


def held_out(folders):
    "Clean photos that no training of ours has seen."
    found = [o for o in find_photos(folders) if zlib.crc32(o.name.encode()) % 20 == 0] if folders else []
    return sorted(found) or [sample_path(o) for o in SAMPLES]


def chosen(paths, n, seed): return [paths[i] for i in np.random.default_rng(seed).permutation(len(paths))[:n]]


def drawn_wear(photos, dirt, n=80, size=256):
    "(photo, truth) of crops that are worn as in training."
    for i in range(n):
        rng = np.random.default_rng((7, i))
        yield worn_crop(cut(read_photo(photos[i % len(photos)]), size, rng), rng, dirt)


def polygon_windows(folder, rng, side, scale):
    "float32 (side, side): a window of a scan with its polygons, reduced by `scale`."
    path = sorted(Path(folder).glob('annotations/*.json'))[-2:][rng.integers(2)] # the last two are for the test, see `dirt_in`
    d, alpha = json.loads(path.read_text()), np.zeros((side, side), np.uint8)
    x, y = rng.uniform(0, d['width'] - side/scale), rng.uniform(0, d['height'] - side/scale)
    for polygon in d['polygons']:
        points = (np.array(polygon['points']) - (x, y))*scale
        if (points.max(0) > 0).all() and (points.min(0) < side).all(): cv2.fillPoly(alpha, [np.round(points*16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.float32(alpha)/255


def polygons_on_photos(photos, folder, n=40, side=512):
    "(photo, truth): real shapes over held-out photos."
    for i, path in enumerate(chosen(photos, n, 1)):
        rng = np.random.default_rng((8, i))
        photo = look_old(cut(read_photo(path), side, rng, 2.), rng)
        alpha = polygon_windows(folder, rng, side, rng.uniform(.25, .6))
        worn = put_on(photo, Wear(alpha*np.float32(rng.uniform(.35, .95)), draw_tone(rng)))
        covered = alpha > .3
        truth = np.uint8(np.where(covered & (np.abs(worn - photo).max(2) >= 5/255), 1, 2*covered))
        yield to_uint8(scan_print(np.float32(worn), rng)), truth


def masked_by_hand(folder):
    "(photo, truth) of the old photos for which there are masks; a photo whose bytes are others is left out."
    for row in pd.read_csv(MASKS/'masks.csv').itertuples():
        path = Path(folder)/row.photo
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != row.photo_sha256: print(f'{row.photo}: not there, or another file'); continue
        yield read_photo(path), np.uint8(read_photo(MASKS/row.mask)[..., 0] > 127)


def judge(finder, pairs):
    "AUC, AP, best Dice, Dice, Dice with two pixels of tolerance."
    scores, both, found, truths, hit, met = PixelScores(), 0, 0, 0, 0, 0
    for img, truth in pairs:
        answer = finder.answer(img)
        scores.add(answer, truth)
        mask, true = finder.mask(img, answer) & (truth != 2), truth == 1
        both, found, truths = both + (mask & true).sum(), found + mask.sum(), truths + true.sum()
        hit, met = hit + (mask & widened(true, 2)).sum(), met + (true & widened(mask, 2)).sum()
    precision, recall = hit/max(found, 1), met/max(truths, 1)
    return scores, {'AUC': pixel_auc(scores), 'AP': average_precision(scores), 'Dice': 2*both/max(found + truths, 1), 'Dice, 2 px': 2*precision*recall/max(precision + recall, 1e-9),
                    'best Dice': dice_curve(scores).max(), 'damaged, %': 100*scores.damaged.sum()/max((scores.damaged + scores.whole).sum(), 1)}


def false_alarms(finder, photos):
    "Share of the pixels found in photos without damage, %, of all together; and of the worst one."
    masks = [finder.handed_on(o) for o in photos]
    return {'false, %': 100*sum(o.sum() for o in masks)/sum(o.size for o in masks), 'worst photo, %': 100*max(o.mean() for o in masks), 'photos': len(masks)}


def clean_groups(photos, clean, n=60):
    "name -> photos without damage."
    yield 'held-out photos', [read_photo(o) for o in chosen(photos, n, 2)]
    for name, _, folder in (o.partition('=') for o in clean): yield name, [reduced(read_photo(o)) for o in find_photos(folder)]
    yield 'specimens (lids, text, prints ...)', [to_uint8(o.img) for _, _, o in specimens(quick=True) if o.mode != 'negative' and min(o.img.shape[:2]) >= 64]


def seconds(finder, side=1024, times=3):
    "Of one look at side x side, the median."
    img, took = cv2.resize(sample_photo('chelsea'), (side, side), interpolation=cv2.INTER_CUBIC), []
    for _ in range(times):
        start = time.perf_counter()
        finder.handed_on(img)
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def markdown(table):
    "A table in Markdown."
    rows = [table.columns, ['---']*len(table.columns), *table.itertuples(index=False)]
    return '\n'.join('| ' + ' | '.join(map(str, o)) + ' |' for o in rows)


def main(
    weights:Annotated[str, typer.Option(help="Weights file, or manifest with a part 'defects'")]='reference',
    photos:Annotated[Optional[list[Path]], typer.Option(help='Folders of clean photos')]=None,
    dirt:Annotated[Optional[Path], typer.Option(help='Folder with pictures of real dirt')]=None,
    old_photos:Annotated[Optional[Path], typer.Option(help='Folder with the photos that were masked by hand')]=None,
    clean:Annotated[Optional[list[str]], typer.Option(help='NAME=FOLDER of photos without damage')]=None,
    out:Annotated[Optional[Path], typer.Option(help='OUT.csv and OUT.md')]=None,
):
    "Print the tables."
    net, _ = load_network(weights, role='defects')
    finders = {'network, sure': Network(net), 'network, likely': Network(net, likely=True), 'top-hat': Classical(top_hat), 'median': Classical(median_difference)}
    finders['network, likely'].look = finders['network, sure'].look # one look for both
    held, rows = held_out(photos), []
    groups = {'drawn wear': lambda: drawn_wear(held, dirt_in(dirt, 'test'))}
    if dirt: groups['semi-real'] = lambda: polygons_on_photos(held, dirt)
    if old_photos: groups['real'] = lambda: masked_by_hand(old_photos)
    for group, pairs in groups.items():
        pairs = list(pairs())
        for name, finder in finders.items():
            if isinstance(finder, Classical): finder.threshold = dice_curve(judge(finder, pairs)[0]).argmax()/BINS
            rows.append(dict(group=group, finder=name, photos=len(pairs), **judge(finder, pairs)[1]))
    found = pd.DataFrame(rows).round(3)
    alarms = pd.DataFrame([dict(group=group, finder=name, **false_alarms(finder, imgs)) for group, imgs in clean_groups(held, clean or ()) for name, finder in finders.items()]).round(3)
    speed = pd.DataFrame([dict(finder=name, threads=torch.get_num_threads(), seconds=seconds(o)) for name, o in finders.items()]).round(2)
    text = '\n\n'.join(map(markdown, (found, alarms, speed)))
    print(text)
    if out:
        with write_beside(out.with_suffix('.csv')) as tmp: found.to_csv(tmp, index=False)
        with write_beside(out.with_suffix('.md')) as tmp: tmp.write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__': typer.run(main)
