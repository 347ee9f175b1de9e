"The lessons have one form, their links lead somewhere, and the contents page knows them all. (That they run: run_tutorials.py.)"
import json
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT/'nbs'/'tutorials'
LESSONS = sorted(o for o in TUTORIALS.glob('[0-9][0-9]_*.ipynb') if not o.name.startswith('00'))
CONTENTS = TUTORIALS/'00_contents.ipynb'
PAGES = [CONTENTS, *LESSONS, *sorted((ROOT/'nbs').glob('*.ipynb')), *(ROOT/o for o in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'MODEL_CARD.md'))]

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def prose(path):
    if path.suffix == '.md': return path.read_text(encoding='utf-8')
    return '\n\n'.join(''.join(c['source']) for c in cells(path) if c['cell_type'] == 'markdown')
def code(path): return [''.join(c['source']) for c in cells(path) if c['cell_type'] == 'code']

def notebook_url(path):
    "Where Colab opens a notebook of this project."
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    cfg = config['DEFAULT']
    return f"https://colab.research.google.com/github/{cfg['user']}/{cfg['repo']}/blob/{cfg['branch']}/nbs/tutorials/{path.name}"

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_form_of_a_lesson(path):
    text, first = prose(path), ''.join(cells(path)[0]['source'])
    assert re.match(r'# .+\n\n> .+', first), 'a title, then its one-line summary'
    assert f']({notebook_url(path)})' in first, 'a badge that opens this lesson in Colab'
    for part in '## What you will learn', '**You need**', '**Time**', '## What we have seen', '## What to read next': assert part in text, part
    assert re.search(r'\*\*Question\.\*\*.*?<details><summary>Answer</summary>\n\n.+?</details>', text, re.S), 'a question whose answer is folded away'
    assert 'Try this' in text
    assert any(o.get('data', {}).keys() & {'image/png', 'image/jpeg'} for c in cells(path) for o in c.get('outputs', [])), 'executed, with pictures'
    assert text.count('<details>') == text.count('</details>')
    assert any('import google.colab' in o and 'pip install' in o for o in code(path)), 'installs on Colab only'

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_a_lesson_says_its_number_and_leads_to_its_neighbours(path):
    i, first = LESSONS.index(path), ''.join(cells(path)[0]['source'])
    assert f'*Lesson {i + 1} of {len(LESSONS)} · [all lessons]({CONTENTS.name})' in first
    for neighbour in LESSONS[max(i - 1, 0):i] + LESSONS[i + 1:i + 2]: assert f']({neighbour.name})' in first, neighbour.name

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.name)
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
    for path in LESSONS: assert f']({notebook_url(path)})' in text, path.name

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
