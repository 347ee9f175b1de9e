"README.md, the pages and the how-tos keep their word: their commands exist, their Python runs, their links lead somewhere. The Makefile's demo is held to the same."
import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from fastai.losses import MSELossFlat
from restorer_fastai.cli import app
from restorer_fastai.learn.learner import RestoringLearner, whole_photo_dls
from restorer_fastai.nets.weights import load_weights

CHECKOUT = Path(__file__).resolve().parent.parent
README = CHECKOUT/'README.md'
PAGES = [README, *(CHECKOUT/o for o in ('CONTRIBUTING.md', 'MODEL_CARD.md', 'CHANGELOG.md')), *sorted((CHECKOUT/'nbs').glob('pages/*.md')), *sorted((CHECKOUT/'nbs').glob('howto/*.md'))]
RUN = [README, CHECKOUT/'nbs'/'pages'/'commands.md'] # whose Python is run; that of the others can be read

CLI = typer.main.get_command(app)

def text(path): return path.read_text(encoding='utf-8')

def blocks(language, paths=PAGES): return [o for path in paths for o in re.findall(rf'(?ms)^```{language}\n(.*?)^```', text(path))]

def commands(text):
    "Lines with our command, without what stands before it (variables, a launcher) and its comment; a `\\` at the end goes on."
    lines = re.sub(r'\\\n\s*', ' ', text).splitlines()
    found = [re.match(r'\s*(?:[A-Z_]+=\S* )*(restorer .*)', o.split(' #')[0]) for o in lines]
    return [o[1].strip() for o in found if o]

def spoken(path):
    "Commands inside a sentence: `restorer ...`, at least one option in it."
    prose = re.sub(r'(?ms)^```.*?^```', '', text(path))
    return [o for o in re.findall(r'`(?:[A-Z_]+=\S* )?(restorer [a-z][^`…]+)`', prose) if ' --' in o and '...' not in o and 'NAME' not in o]

def check_command(line, whole=True):
    "The command exists, and it has every option that the line uses, with such values; `whole`: nothing that it needs is missing."
    name, *args = shlex.split(line)[1:]
    command = CLI.commands[name]
    options = {o for p in command.params for o in p.opts}
    assert {a.split('=')[0] for a in args if a.startswith('--')} <= options, line
    command.make_context(name, args, resilient_parsing=not whole)

def demo_lines():
    shown = subprocess.run(['make', '-n', 'demo', 'VENV=nowhere'], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return commands(shown.stdout)

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.name)
def test_commands_of_the_pages(path):
    for line in commands('\n'.join(blocks('sh', [path]))): check_command(line)
    for line in spoken(path): check_command(line, whole=False)

def test_commands_of_the_demo():
    for line in demo_lines(): check_command(line)

def test_there_are_commands():
    shown = {p.name: len(commands('\n'.join(blocks('sh', [p])))) for p in PAGES}
    assert shown['README.md'] >= 2 and shown['commands.md'] > 8 and shown['train_on_your_photos.md'] > 10 and len(demo_lines()) > 5
    assert sum(len(spoken(p)) for p in PAGES) > 15

@pytest.mark.parametrize('line', ['restorer restore a --out b --mood photo', 'restorer restor a --out b', 'restorer restore a', 'restorer restore a --out b --mode sepia'])
def test_a_command_that_there_is_not_is_seen(line):
    with pytest.raises((AssertionError, KeyError, typer.BadParameter)): check_command(line)

def test_python_runs(tmp_path, monkeypatch, tiny_model, samples):
    (tmp_path/'run').mkdir()
    (tmp_path/'run'/'model.safetensors').write_bytes(tiny_model.read_bytes())
    for name in ('old.jpg', 'older.png'): (tmp_path/name).write_bytes((samples/'held_out'/'china.jpg').read_bytes()) # a name does not make a photo
    RestoringLearner(whole_photo_dls('cpu'), load_weights(tiny_model)[0], loss_func=MSELossFlat(), path=tmp_path).export('export.pkl')
    monkeypatch.chdir(tmp_path)
    exec('\n'.join(blocks('python', RUN)), {})
    assert (tmp_path/'restored.png').stat().st_size > 10_000
    for code in blocks('python'): ast.parse(code)

def links(path): return [a or b for a, b in re.findall(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"', re.sub(r'(?ms)^```.*?^```', '', text(path)))]

def anchors(path):
    "Anchors of a page's headings, as GitHub makes them."
    return [re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in re.findall(r'(?m)^#+ (.*)', text(path))]

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    "To files of this checkout, and to headings of its pages."
    for link in links(path):
        if re.match(r'[a-z]+:', link): continue
        file, _, anchor = link.partition('#')
        to = path.parent/file if file else path
        assert to.exists(), link
        assert not anchor or to.suffix != '.md' or anchor in anchors(to), link

def test_there_are_links(): assert len(links(README)) > 30

def test_a_readme_is_short(): assert 8_000 < README.stat().st_size < 16_000

def test_the_house_has_every_room():
    there = set(re.findall(r'\]\(\.\./(\d\w*\.?\w*\.ipynb)\)', text(CHECKOUT/'nbs'/'pages'/'house.md')))
    assert there == {p.name for p in (CHECKOUT/'nbs').glob('[0-9]*.ipynb')}

def test_scripts_that_are_named_exist():
    scripts = {o for path in PAGES for o in re.findall(r'\b((?:benchmarks|data_prep|tools)/\w+\.py)', text(path))}
    assert len(scripts) > 10 and not [s for s in scripts if not (CHECKOUT/s).exists()]
