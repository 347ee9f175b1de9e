"README.md keeps its word: its commands exist, its Python runs, its links lead somewhere. The Makefile's demo is held to the same."
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
README = (CHECKOUT/'README.md').read_text(encoding='utf-8')

def blocks(language): return re.findall(rf'(?ms)^```{language}\n(.*?)^```', README)

def restorer_lines(text): return [line.split(' #')[0].strip() for line in text.splitlines() if line.strip().startswith('restorer ')]

def assert_is_a_command(line):
    "The command exists, and it has every option that the line uses."
    name, *args = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[name]
    options = {o for p in command.params for o in p.opts}
    assert {a for a in args if a.startswith('--')} <= options, line
    command.make_context(name, args)

def demo_lines():
    shown = subprocess.run(['make', '-n', 'demo', 'VENV=nowhere'], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return restorer_lines(shown.stdout)

@pytest.mark.parametrize('line', restorer_lines('\n'.join(blocks('sh'))))
def test_commands_in_the_readme(line): assert_is_a_command(line)

@pytest.mark.parametrize('line', demo_lines())
def test_commands_of_the_demo(line): assert_is_a_command(line)

def test_the_readme_and_the_demo_show_commands(): assert len(restorer_lines('\n'.join(blocks('sh')))) > 7 and len(demo_lines()) > 5

def test_python_in_the_readme_runs(tmp_path, monkeypatch, tiny_model, samples):
    (tmp_path/'run').mkdir()
    (tmp_path/'run'/'model.safetensors').write_bytes(tiny_model.read_bytes())
    for name in ('old.jpg', 'older.png'): (tmp_path/name).write_bytes((samples/'held_out'/'china.jpg').read_bytes()) # a name does not make a photo
    RestoringLearner(whole_photo_dls('cpu'), load_weights(tiny_model)[0], loss_func=MSELossFlat(), path=tmp_path).export('export.pkl')
    monkeypatch.chdir(tmp_path)
    exec('\n'.join(blocks('python')), {})
    assert (tmp_path/'restored.png').stat().st_size > 10_000

def test_links_to_files_lead_somewhere():
    links = re.findall(r'\]\(([^)\s#]+)\)|(?:src|href)="([^"#]+)"', README)
    files = [a or b for a, b in links if not re.match(r'[a-z]+:', a or b)]
    assert len(files) > 10 and not [f for f in files if not (CHECKOUT/f).exists()]

def test_links_inside_the_page_have_a_heading():
    headings = [re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in re.findall(r'(?m)^#+ (.*)', README)]
    assert set(re.findall(r'\]\(#([^)]+)\)', README)) <= set(headings)

def test_scripts_named_in_the_readme_exist():
    scripts = re.findall(r'(?m)^python (\S+\.py)', '\n'.join(blocks('sh')))
    assert scripts and not [s for s in scripts if not (CHECKOUT/s).exists()]
