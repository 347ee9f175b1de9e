"""Are the outputs that a notebook stores those of its code? What a run printed and drew, beside what is stored.

Texts have to be the same but for the last digit, pictures but for noise. A cell whose output hangs on a training, on time or on the machine has the tag `varies` in its metadata; it is not looked at.
"""
import base64
import io
import re
from itertools import zip_longest

import numpy as np
from check_notebooks import without_widgets
from PIL import Image

VARIES = 'varies'
RELATIVE = .02      # numbers may differ by so much of the larger one, or by one unit of the last digit that is printed
LEVELS = 3.         # pictures may differ by so many of 255 levels on average
NUMBER = re.compile(r'(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?')

def words_and_numbers(line:str)->tuple:
    "What stands between the numbers of a line, its spaces as one, and the numbers as they are printed."
    return [' '.join(o.split()) for o in NUMBER.split(line)], NUMBER.findall(line)

def last_digit(number:str)->float:
    "One unit of the last digit of a printed number."
    digits, _, exponent = number.lower().partition('e')
    return 10.**(int(exponent or 0) - len(digits.partition('.')[2]))

def is_near(a:str, b:str)->bool:
    "Are two printed numbers the same but for noise?"
    x, y = (float(o.replace(',', '')) for o in (a, b))
    return abs(x - y) <= max(RELATIVE*max(abs(x), abs(y)), 1.001*max(last_digit(a), last_digit(b)))

def same_line(a:str, b:str)->bool:
    "Are two lines the same but for the noise in their numbers?"
    (words_a, numbers_a), (words_b, numbers_b) = words_and_numbers(a), words_and_numbers(b)
    return words_a == words_b and all(map(is_near, numbers_a, numbers_b))

def first_difference(stored:str, new:str)->str:
    "The first line in which two texts differ, as `stored -> new`; nothing if there is none."
    for a, b in zip_longest(stored.strip().splitlines(), new.strip().splitlines(), fillvalue=''):
        if not same_line(a, b): return f'{a.strip()[:120]!r} -> {b.strip()[:120]!r}'
    return ''

def pixels(picture:str)->np.ndarray:
    "A picture (H, W, 3) from what a notebook stores of it."
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert('RGB'), np.float32)

def picture_difference(stored:str, new:str)->str:
    "How two pictures differ in size or, on average, in levels; nothing if they do not."
    a, b = pixels(stored), pixels(new)
    if a.shape != b.shape: return f'a picture of {a.shape[1]}×{a.shape[0]} pixels -> {b.shape[1]}×{b.shape[0]}'
    levels = np.abs(a - b).mean()
    return f'a picture differs by {levels:.1f} levels on average' if levels > LEVELS else ''

def texts_and_pictures(cell:dict)->tuple:
    "What a code cell printed, in one piece, and showed: its texts, its pictures. Not its HTML, nor warnings; nor its widgets, which live in a kernel and are not stored."
    outputs = without_widgets(cell.get('outputs', []))
    shown = [{k: ''.join(v) for k, v in o['data'].items() if isinstance(v, (str, list))} for o in outputs if 'data' in o]
    printed = ''.join(''.join(o['text']) for o in outputs if o.get('name') == 'stdout')
    texts = [printed, *(o.get('text/markdown', o.get('text/plain', '')) for o in shown)]
    return [re.sub(r' at 0x[0-9a-fA-F]+', '', o) for o in texts], [v for o in shown for k, v in o.items() if k in ('image/png', 'image/jpeg')]

def cell_difference(stored:dict, new:dict)->str:
    "How a cell's new output differs from the stored one; nothing if it does not, or may."
    if VARIES in stored.get('metadata', {}).get('tags', []): return ''
    (texts, pictures), (new_texts, new_pictures) = texts_and_pictures(stored), texts_and_pictures(new)
    found = filter(None, map(first_difference, texts, new_texts))
    for what, a, b in (('texts', texts[1:], new_texts[1:]), ('pictures', pictures, new_pictures)):
        if len(a) != len(b): return next(found, f'{len(a)} {what} are stored, {len(b)} were made')
    return next(found, '') or next(filter(None, map(picture_difference, pictures, new_pictures)), '')

def differences(stored:dict, new:dict)->list:
    "(id of the cell, its first difference), for each code cell whose stored output is not that of its code."
    made = {o['id']: o for o in new['cells']}
    found = [(o['id'], cell_difference(o, made[o['id']])) for o in stored['cells'] if o['cell_type'] == 'code']
    return [o for o in found if o[1]]
