"""Are the Spanish lessons (nbs/tutorials/es) in step with the English ones?

    python tools/translations.py                                  # names the cells that are to be translated (make check does, too)
    python tools/translations.py --translated 03_generator        # all cells of the lesson are translated as they stand
    python tools/translations.py --translated 03_generator a1 b2  # these two are

A Spanish lesson has the name of the English one and its cells, by id. Code, outputs and tags are copied from there (make prepare);
of each translated cell es/translated.json keeps a hash of the English text that was translated. To begin a lesson, add
`"06_film": {}` to that file and run make prepare: it makes the notebook, in English, and names its cells.
"""
import argparse
import hashlib
import json
import re
import sys
from copy import deepcopy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def english_hash(cell:dict)->str:
    "Of the text of a cell, whoever owns the repository that its links lead to: a fork has the same."
    text = re.sub(r'(github\.com/|/github/)[\w.-]+/', r'\1', ''.join(cell['source']))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

def is_code(cell:dict)->bool: return cell['cell_type'] == 'code'
def by_id(notebook:dict)->dict: return {c['id']: c for c in notebook['cells']}

def follow(english:dict, spanish:dict, hashes:dict)->tuple:
    "The Spanish notebook in the order and with the code of the English one, and its hashes. A cell that is not there comes in English and has no hash."
    there, cells, kept = by_id(spanish), [], {}
    for cell in english['cells']:
        translated = not is_code(cell) and cell['id'] in there and not is_code(there[cell['id']])
        cells.append(deepcopy(there[cell['id']] if translated else cell))
        if translated and cell['id'] in hashes: kept[cell['id']] = hashes[cell['id']]
    return dict(deepcopy(english), cells=cells), kept

def to_translate(english:dict, spanish:dict, hashes:dict)->dict:
    "Cell id -> what is wrong with the translation."
    there, wrong = by_id(spanish), {}
    for cell in english['cells']:
        if is_code(cell): continue
        if cell['id'] not in there or cell['id'] not in hashes: wrong[cell['id']] = 'it is not translated yet'
        elif hashes[cell['id']] != english_hash(cell): wrong[cell['id']] = 'the English cell has changed since it was translated'
    return wrong

def hashes_of(english:dict, hashes:dict, ids:list)->dict:
    "`hashes` once the cells `ids` are translated (none named: all)."
    texts = {c['id']: english_hash(c) for c in english['cells'] if not is_code(c)}
    unknown = [o for o in ids if o not in texts]
    if unknown: sys.exit(f"No text cells of this lesson: {', '.join(unknown)}")
    return {o: texts[o] if o in (ids or texts) else hashes[o] for o in texts if o in (ids or texts) or o in hashes}

def read(path:Path)->dict: return json.loads(path.read_text(encoding='utf-8')) if path.exists() else dict(cells=[])
def write(path:Path, content:dict, **kwargs): path.write_text(json.dumps(content, indent=1, ensure_ascii=False, **kwargs) + '\n', encoding='utf-8')
def table(root:Path)->Path: return root/'nbs'/'tutorials'/'es'/'translated.json'

def lessons(root:Path):
    "(name, English notebook, Spanish notebook, hashes) of each lesson that is translated."
    folder = table(root).parent
    for name, hashes in read(table(root)).items() if table(root).exists() else ():
        yield name, read(folder.parent/f'{name}.ipynb'), read(folder/f'{name}.ipynb'), hashes

def follow_english(root:Path):
    "Copy code, outputs and tags into the Spanish lessons, in the English order."
    hashes = {}
    for name, english, spanish, old in lessons(root):
        new, hashes[name] = follow(english, spanish, old)
        if new != spanish: write(table(root).parent/f'{name}.ipynb', new, sort_keys=True)
    if hashes: write(table(root), hashes)

def untranslated(root:Path)->list:
    "A line for each cell that is to be translated, anew or for the first time."
    return [f'es/{name}.ipynb, cell {i}: {wrong}' for name, *rest in lessons(root) for i, wrong in to_translate(*rest).items()]

def mark_translated(root:Path, name:str, ids:list):
    "Write down that the cells `ids` of a lesson (none named: all) are translated from the English text as it stands."
    all_hashes, english = read(table(root)), read(table(root).parent.parent/f'{name}.ipynb')
    if not english['cells']: sys.exit(f'nbs/tutorials/{name}.ipynb is missing or empty')
    new = all_hashes | {name: hashes_of(english, all_hashes.get(name, {}), ids)}
    write(table(root), dict(sorted(new.items())))

def main()->int:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument('--translated', nargs='+', metavar=('LESSON', 'CELL'), help='these cells are translated (no cell named: all of the lesson)')
    args = args.parse_args()
    if args.translated: mark_translated(ROOT, args.translated[0].removesuffix('.ipynb'), args.translated[1:])
    problems = untranslated(ROOT)
    print('\n'.join(problems) or 'The Spanish lessons are in step with the English ones')
    return 1 if problems else 0

if __name__ == '__main__': sys.exit(main())
