"The lessons have one form, their links lead somewhere, and the contents page knows them all. (That they run: run_tutorials.py.)"
import base64
import io
import json
import re
import sys
from configparser import ConfigParser
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))
from stored_outputs import differences, first_difference
from translations import english_hash, follow, follow_english, hashes_of, lessons, mark_translated, to_translate, untranslated

TUTORIALS = ROOT/'nbs'/'tutorials'
LESSONS = sorted(o for o in TUTORIALS.glob('[0-9][0-9]_*.ipynb') if not o.name.startswith('00'))
CONTENTS = TUTORIALS/'00_contents.ipynb'
SPANISH = sorted((TUTORIALS/'es').glob('*.ipynb'))
PAGES = [CONTENTS, *LESSONS, *SPANISH, *sorted((ROOT/'nbs').glob('*.ipynb')), *(ROOT/o for o in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'MODEL_CARD.md'))]

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def prose(path):
    if path.suffix == '.md': return path.read_text(encoding='utf-8')
    return '\n\n'.join(''.join(c['source']) for c in cells(path) if c['cell_type'] == 'markdown')
def code(path): return [''.join(c['source']) for c in cells(path) if c['cell_type'] == 'code']

def in_repository(path):
    "A notebook of this project, as GitHub has it: user, repository, branch and path."
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    cfg = config['DEFAULT']
    return f"{cfg['user']}/{cfg['repo']}/blob/{cfg['branch']}/{path.relative_to(ROOT).as_posix()}"

def notebook_url(path):
    "Where Colab opens a notebook of this project."
    return f'https://colab.research.google.com/github/{in_repository(path)}'

def kaggle_url(path):
    "Where Kaggle opens a notebook of this project."
    return f'https://kaggle.com/kernels/welcome?src=https://github.com/{in_repository(path)}'

def minutes(text):
    "(minutes on a CPU in quick mode, minutes on a T4) as a lesson states them."
    found = re.search(r'^\*\*Time\*\*: .*?(\d+) min on a CPU.*?(\d+) min on a T4', text, re.M)
    return found and found.groups()

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_form_of_a_lesson(path):
    text, first = prose(path), ''.join(cells(path)[0]['source'])
    assert re.match(r'# .+\n\n> .+', first), 'a title, then its one-line summary'
    assert f']({notebook_url(path)})' in first, 'a badge that opens this lesson in Colab'
    for part in '## What you will learn', '**You need**', '**Time**', '## What we have seen', '## What to read next': assert part in text, part
    assert re.search(r'\*\*Question\.\*\*.*?<details><summary>Answer</summary>\n\n.+?</details>', text, re.S), 'a question whose answer is folded away'
    assert '**What comes out' in text.split('## What you will learn')[0], 'the result, before anything else'
    assert f']({kaggle_url(path)})' in first, 'a badge that opens this lesson on Kaggle'
    assert minutes(text), 'minutes on a CPU and on a T4'
    assert len(set(re.findall(r'\]\((https?://[^)\s]+)\)', text.split('## What to read next')[1]))) >= 3, 'sources outside of this project'
    assert any(o.get('data', {}).keys() & {'image/png', 'image/jpeg'} for c in cells(path) for o in c.get('outputs', [])), 'executed, with pictures'
    assert text.count('<details>') == text.count('</details>')
    assert any('import google.colab' in o and 'KAGGLE_KERNEL_RUN_TYPE' in o and 'pip install' in o for o in code(path)), 'installs on Colab and Kaggle only'

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_each_try_this_has_a_solution(path):
    "Below its paragraph (a quotation, or a numbered task in the section *Try this*), folded away."
    text, folded = prose(path), r'\n\n<details><summary>Solution</summary>\n\n.+?</details>'
    quoted, (before, _, section) = re.findall(r'^> \*\*Try this', text, re.M), text.partition('## Try this\n')
    numbered = re.findall(r'^\*\*\d+\. ', section.split('\n## ')[0], re.M)
    assert len(quoted) + len(numbered) >= 2
    assert len(re.findall(rf'^> \*\*Try this[^\n]*(?:\n>[^\n]*)*{folded}', text, re.M | re.S)) == len(quoted)
    assert len(re.findall(rf'^\*\*\d+\. [^\n]*{folded}', section, re.M | re.S)) == len(numbered)

@pytest.mark.parametrize('path', [CONTENTS, *LESSONS, *SPANISH], ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_colab_gives_a_gpu(path):
    "Cleaning keeps this (settings.ini, pyproject.toml)."
    metadata = json.loads(path.read_text(encoding='utf-8'))['metadata']
    assert metadata['accelerator'] == 'GPU' and metadata['colab'] == {'provenance': []}

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_a_lesson_says_its_number_and_leads_to_its_neighbours(path):
    i, first = LESSONS.index(path), ''.join(cells(path)[0]['source'])
    assert f'*Lesson {i + 1} of {len(LESSONS)} · [all lessons]({CONTENTS.name})' in first
    for neighbour in LESSONS[max(i - 1, 0):i] + LESSONS[i + 1:i + 2]: assert f']({neighbour.name})' in first, neighbour.name

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_to_files(path):
    "Links to files, not those to the web; and rooms that are only named, as `26_nets.critics`."
    links = re.findall(r'\]\(([^)\s]+)\)', prose(path))
    missing = [o for o in links if not re.match(r'[a-z]+:|#', o) and not (path.parent/o.split('#')[0]).exists()]
    assert not missing
    named = re.findall(r'\b\d\d[a-z]?_[a-z]+\.(?!ipynb|py)[a-z_]+', prose(path))
    assert not [o for o in named if not (ROOT/'nbs'/f'{o}.ipynb').exists()]

def test_contents_lists_every_lesson_in_order():
    text = prose(CONTENTS)
    rows = re.findall(r'^\| (\d+) \| \[[^]]+\]\(([^)]+)\)', text, re.M)
    assert [name for _, name in rows] == [p.name for p in LESSONS]
    assert [int(n) for n, _ in rows] == [int(p.name[:2]) for p in LESSONS]
    for path in LESSONS: assert f']({notebook_url(path)})' in text and f']({kaggle_url(path)})' in text, path.name

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_contents_states_the_minutes_of_a_lesson(path):
    row = re.search(rf'^\| \d+ \| \[[^]]+\]\({path.name}\) .*$', prose(CONTENTS), re.M)[0]
    assert tuple(row.split(' | ')[4:6]) == minutes(prose(path))

def glossary():
    "(names of a term, numbers of the lessons that explain it), from the contents page."
    for names, lessons in re.findall(r'^\| (.+?) \|.*\| ([\d, ]+) \|$', prose(CONTENTS), re.M):
        yield re.sub(r' \(\*.*?\*\)', '', names).split(', '), [int(o) for o in lessons.split(',')]

def test_the_glossary_names_the_right_lessons():
    plain = {int(p.name[:2]): re.sub(r'[*`_-]', ' ', prose(p)).lower() for p in LESSONS}
    terms = list(glossary())
    assert len(terms) > 50
    wrong = [(names, n) for names, lessons in terms for n in lessons if not any(re.sub(r'[*`_-]', ' ', o).lower() in plain[n] for o in names)]
    assert not wrong

### The Spanish lessons ###

def fenced(cell): return re.findall(r'^(?:> )?```.*?^(?:> )?```', ''.join(cell['source']), re.M | re.S)

def test_the_spanish_lessons_are_in_step():
    assert not untranslated(ROOT), 'tools/translations.py says how to go on'
    translated = list(lessons(ROOT))
    assert [f'{name}.ipynb' for name, *_ in translated] == [p.name for p in SPANISH] and len(SPANISH) >= 5
    for name, english, spanish, hashes in translated:
        assert follow(english, spanish, hashes) == (spanish, hashes), f'es/{name}.ipynb: make prepare'
        for e, s in zip(english['cells'], spanish['cells']):
            here = f"es/{name}.ipynb, cell {s['id']}"
            assert s['cell_type'] == 'code' or s['source'] != e['source'] or len(''.join(e['source']).split()) < 6, f'{here} is in English'
            assert fenced(s) == fenced(e), f'{here}: code to paste is as in English'
            for tag in '<details>', '</details>': assert ''.join(s['source']).count(tag) == ''.join(e['source']).count(tag), here

@pytest.mark.parametrize('path', SPANISH, ids=lambda p: p.stem)
def test_form_of_a_spanish_lesson(path):
    i, first = [p.name for p in LESSONS].index(path.name), ''.join(cells(path)[0]['source'])
    assert re.match(r'# .+\n\n> .+', first) and f']({notebook_url(path)})' in first and f']({kaggle_url(path)})' in first
    assert f'*Lección {i + 1} de {len(LESSONS)} · [todas las lecciones](../{CONTENTS.name})' in first and f'](../{path.name})' in first
    for neighbour in LESSONS[max(i - 1, 0):i] + LESSONS[i + 1:i + 2]:
        assert f"]({'' if (path.parent/neighbour.name).exists() else '../'}{neighbour.name})" in first, neighbour.name
    assert re.search(r'<!--\n- skip_exec: true\n-->', first), 'for nbdev_test: the code is that of the English lesson, which is tested'
    assert f'](es/{path.name})' in prose(CONTENTS)

def text(id, source, cell_type='markdown', **more): return dict(id=id, cell_type=cell_type, metadata={}, source=[source], **more)

def two_languages():
    "(English, Spanish, hashes) of a lesson whose translation is in step."
    code = text('c1', 'print(1)', 'code', outputs=[])
    english = dict(cells=[text('t1', '# Title'), code, text('t2', 'The end')], metadata={})
    return english, dict(english, cells=[text('t1', '# Título'), code, text('t2', 'Fin')]), {c['id']: english_hash(c) for c in english['cells'][::2]}

def test_what_changes_in_english_is_noticed():
    english, spanish, hashes = two_languages()
    assert not to_translate(english, spanish, hashes) and follow(english, spanish, hashes) == (spanish, hashes)
    changed = deepcopy(english)
    changed['cells'][2]['source'] = ['The very end']
    assert to_translate(changed, spanish, hashes) == {'t2': 'the English cell has changed since it was translated'}
    assert follow(changed, spanish, hashes) == (spanish, hashes)                                  # the old translation stays until there is a new one
    assert not to_translate(changed, spanish, hashes_of(changed, hashes, ['t2'])) and hashes_of(changed, hashes, []) == hashes_of(changed, hashes, ['t2'])
    longer = dict(english, cells=[*english['cells'], text('t3', 'One more')])
    assert to_translate(longer, spanish, hashes) == {'t3': 'it is not translated yet'}
    new, kept = follow(longer, spanish, hashes)
    assert new['cells'][3] == longer['cells'][3] and kept == hashes and 't3' in to_translate(longer, new, kept)
    shorter = dict(english, cells=english['cells'][:2])
    assert follow(shorter, spanish, hashes) == (dict(spanish, cells=spanish['cells'][:2]), {'t1': hashes['t1']})
    lost = dict(spanish, cells=spanish['cells'][:2])
    assert 't2' in to_translate(english, lost, hashes) and 't2' in to_translate(english, *follow(english, lost, hashes))

def test_code_follows_the_english_lesson():
    english, spanish, hashes = two_languages()
    english['cells'] = [english['cells'][i] for i in (1, 0, 2)]
    english['cells'][0] = text('c1', 'print(2)', 'code', outputs=[dict(output_type='stream', name='stdout', text=['2'])]) | dict(metadata=dict(tags=['varies']))
    new, kept = follow(english, spanish, hashes)
    assert new['cells'] == [english['cells'][0], spanish['cells'][0], spanish['cells'][2]] and kept == hashes

def test_a_fork_has_the_same_hashes():
    badge = 'https://colab.research.google.com/github/{0}/r/blob/main/a.ipynb https://kaggle.com/kernels/welcome?src=https://github.com/{0}/r'
    assert english_hash(text('t1', badge.format('us'))) == english_hash(text('t1', badge.format('them'))) != english_hash(text('t1', badge))

def test_the_tool_keeps_files_in_step(tmp_path):
    english, spanish, hashes = two_languages()
    folder = tmp_path/'nbs'/'tutorials'/'es'
    folder.mkdir(parents=True)
    english['cells'][0]['source'] = ['# New title']
    english['cells'][1] = text('c1', 'print(2)', 'code', outputs=[])
    for path, content in (folder.parent/'01_a.ipynb', english), (folder/'01_a.ipynb', spanish), (folder/'translated.json', {'01_a': hashes}): path.write_text(json.dumps(content))
    follow_english(tmp_path)
    assert code(folder/'01_a.ipynb') == ['print(2)'] and 'Título' in prose(folder/'01_a.ipynb')
    assert untranslated(tmp_path) == ['es/01_a.ipynb, cell t1: the English cell has changed since it was translated']
    mark_translated(tmp_path, '01_a', ['t1'])
    assert untranslated(tmp_path) == []
    with pytest.raises(SystemExit, match='t9'): mark_translated(tmp_path, '01_a', ['t9'])

### Are stored outputs those of the code? ###

def picture(level, width=8):
    "A grey picture, six pixels high, as a notebook stores it."
    file = io.BytesIO()
    Image.fromarray(np.full((6, width, 3), level, np.uint8)).save(file, 'png')
    return base64.b64encode(file.getvalue()).decode()

def ran(printed, level=100, tags=()):
    "A notebook of one cell that printed something and drew something."
    outputs = [dict(output_type='stream', name='stdout', text=[printed]), dict(output_type='display_data', data={'image/png': picture(level), 'text/plain': ['<Figure>']})]
    return dict(cells=[dict(id='a1', cell_type='code', metadata=dict(tags=list(tags)), outputs=outputs)])

@pytest.mark.parametrize('stored, new, same', [
    ('26.54 dB, 1,262 photos', '26.55 dB, 1,270 photos', True), ('gain 0.11', 'gain 0.12', True), ('gain 0.11', 'gain 0.14', False), ('1e-05', '1.5e-05', True),
    ('26.5 dB', '27.5 dB', False), ('photo  0.5', 'photo 0.5', True), ('photo 0.5', 'grey 0.5', False), ('c9d892', 'c9d893', False), ('one', 'one\ntwo', False)])
def test_texts_are_the_same_but_for_the_last_digit(stored, new, same):
    assert (not first_difference(stored, new)) == same

def test_a_stale_output_is_noticed():
    old = ran('recall 0.50')
    assert not differences(old, ran('recall 0.50', 102))                       # noise
    assert differences(old, ran('recall 0.60')) == [('a1', "'recall 0.50' -> 'recall 0.60'")]
    assert 'levels' in differences(old, ran('recall 0.50', 110))[0][1]
    assert not differences(ran('recall 0.50', tags=['varies']), ran('recall 0.60', 110))
    buttons = deepcopy(old)
    buttons['cells'][0]['outputs'].append(dict(output_type='display_data', data={'application/vnd.jupyter.widget-view+json': {}, 'text/plain': ['Button()']}))
    assert not differences(old, buttons)                                       # `make prepare` takes them out of what is stored
    missing = deepcopy(old)
    del missing['cells'][0]['outputs'][1]
    assert differences(missing, old) and differences(old, missing)
    other_size = deepcopy(old)
    other_size['cells'][0]['outputs'][1]['data']['image/png'] = picture(100, 9)
    assert differences(old, other_size) == [('a1', 'a picture of 8×6 pixels -> 9×6')]
