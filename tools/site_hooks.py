"""Pages for mkdocs (mkdocs.yml): each notebook becomes a page, with its pictures; a room's page ends with its API, by nbdev's `show_doc`.

Links are those that are right in the repository: to a page they lead to the page, to another file of the repository to GitHub. One that leads
nowhere stays as it is, and mkdocs, which is strict, ends with an error. Nothing is executed, and no network is needed.

    python tools/site_hooks.py --quarto     # makes nbs/ ready for nbdev_docs, in a checkout that is thrown away (.github/workflows/docs.yaml)
"""
import base64
import html
import importlib
import inspect
import json
import posixpath
import re
import sys
import types
from functools import cache
from pathlib import Path

import yaml
from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/'tools')]
from check_notebooks import read_settings, rooms_of
NBS = ROOT/'nbs'
OUTSIDE = ('MODEL_CARD.md', 'CHANGELOG.md', 'CONTRIBUTING.md') # pages that lie beside nbs/, not in it
FLOORS = ('photo', 'degrade', 'nets', 'baselines', 'restore', 'data', 'score', 'learn', 'train', 'oldphoto', 'superres', 'colourhistory', 'web', 'cli')
PICTURES = {'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg'}
LINK = re.compile(r'(\]\()([^)\s]+)((?:\s"[^"]*")?\))|((?:src|href)=")([^"]+)(")')
CODE = re.compile(r'(?ms)^(```|~~~).*?^\1|`[^`\n]*`')
RAW = {} # what stands for a piece of HTML in Markdown -> that piece
ANCHORS = {} # an exported name -> where its API is: 'page#name'

@cache
def settings(): return read_settings(ROOT)

def github(path, kind='blob'): return f"{settings()['git_url']}/{kind}/{settings()['branch']}/{path}"

### Links ###

def page_of(path:str):
    "The page, as a path in nbs/, that a file of the repository becomes; None: it becomes none."
    if path == 'README.md': return 'index.md'
    if path in OUTSIDE: return path
    if not path.startswith('nbs/') or path.endswith(('.yml', '.css')): return None
    return re.sub(r'\.ipynb$', '.md', path.removeprefix('nbs/'))

def source_of(page:str)->str:
    "The file of the repository that a page is made of."
    if page in OUTSIDE: return page
    return f'nbs/{page}' if (NBS/page).exists() else f"nbs/{page.removesuffix('.md')}.ipynb"

def lead(link:str, page:str, page_of=page_of)->str:
    "Where a link of the repository leads on the site whose pages `page_of` names."
    if re.match(r'[a-z]+:|#|/', link): return link
    path, hash_, anchor = link.partition('#')
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(page)), path))
    if target.startswith('..') or not (ROOT/target).exists(): return link # mkdocs says so
    to = page_of(target)
    if to is None or (ROOT/target).is_dir(): return github(target, 'tree' if (ROOT/target).is_dir() else 'blob') + hash_ + anchor
    return posixpath.relpath(to, posixpath.dirname(page) or '.') + hash_ + anchor

def outside_code(text:str, change)->str:
    "`change` what is not code."
    parts, end = [], 0
    for m in CODE.finditer(text):
        parts += [change(text[end:m.start()]), m[0]]
        end = m.end()
    return ''.join(parts) + change(text[end:])

def set_links(text:str, page:str, page_of=page_of)->str:
    def new(m): return f'{m[1]}{lead(m[2], page, page_of)}{m[3]}' if m[1] else f'{m[4]}{lead(m[5], page, page_of)}{m[6]}'
    return LINK.sub(new, text) if '](' in text or '="' in text else text

### Notebooks ###

def raw(text:str)->str:
    "A word that stands for HTML until the page is rendered."
    word = f'raw{len(RAW):06d}raw'
    RAW[word] = text
    return f'\n\n{word}\n\n'

def joined(o)->str: return o if isinstance(o, str) else ''.join(o)

def output(o:dict, stem:str, number:int, pictures:dict)->str:
    "One output of a cell as Markdown; its picture goes into `pictures`: path -> bytes."
    data = o.get('data', {})
    mime = next((k for k in PICTURES if k in data), None)
    if mime:
        path = f'{stem}_files/{number}.{PICTURES[mime]}'
        pictures[path] = joined(data[mime]).encode() if mime.endswith('xml') else base64.b64decode(joined(data[mime]))
        return f'\n\n![]({posixpath.basename(stem)}_files/{number}.{PICTURES[mime]})\n\n'
    if 'text/html' in data: return raw(f'<div class="output">{joined(data["text/html"])}</div>')
    if 'text/markdown' in data: return f'\n\n{joined(data["text/markdown"])}\n\n'
    text = joined(o.get('text', data.get('text/plain', '')))
    return raw(f'<pre class="output">{html.escape(text)}</pre>') if text.strip() else ''

def cell_source(cell:dict)->str:
    "A code cell's text without nbdev's words; nothing, where these hide it."
    lines = joined(cell['source']).split('\n')
    words = [o for o in lines if re.match(r'\s*#\s*\|', o)]
    if any(re.search(r'\|\s*(hide|default_exp|include: false|echo: false)\b', o) for o in words): return ''
    return '\n'.join(o for o in lines if o not in words).strip()

def hidden(cell:dict)->bool: return bool(re.search(r'(?m)^\s*#\s*\|\s*(hide\b|include: false)', joined(cell['source'])))

def notebook_page(path:Path, page:str)->tuple:
    "Markdown of a notebook, and its pictures: path -> bytes."
    pictures, parts = {}, []
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if cell['cell_type'] == 'markdown': parts.append(joined(cell['source']))
        if cell['cell_type'] != 'code' or hidden(cell): continue
        if text := cell_source(cell): parts.append(f'```python\n{text}\n```')
        for o in cell.get('outputs', []): parts.append(output(o, page.removesuffix('.md'), len(pictures), pictures))
    return '\n\n'.join(parts), pictures

### The API of a room, as nbdev shows it ###

def methods(cls:type, module:str)->list:
    "Public methods of a class that have a docstring and are written (or patched) in this room."
    found = {k: getattr(v, '__func__', getattr(v, 'fget', v)) for k, v in vars(cls).items() if not k.startswith('_')}
    return [f for f in found.values() if isinstance(f, types.FunctionType) and f.__doc__ and f.__module__ == module]

def room(module:str):
    "A room's module, in which fastcore finds the docments of parameters that a function takes over from a dataclass (`delegates`): there is no source of its `__init__`."
    mod = importlib.import_module(module)
    for o in vars(mod).values():
        init = getattr(o, '__delwrap__', None)
        if getattr(init, '__name__', '') == '__init__': o.__delwrap__ = getattr(sys.modules[init.__module__], init.__qualname__.split('.')[0], init)
    return mod

def shown(o, level:int, name:str)->str:
    "Signature, docments and docstring by nbdev, under a heading whose anchor is the name."
    from nbdev.showdoc import show_doc
    try: text = show_doc(o, title_level=level, name=name)._repr_markdown_().partition('#'*level + ' ')[2].partition('\n')[2]
    except (ValueError, OSError): text = f'```python\n{o.__name__}{inspect.signature(o)}\n```\n\n{o.__doc__}' # a default is an array; a dataclass wrote it
    text = re.sub(r'(?m)^\*(.+)\*$', r'\1', text, count=1) # nbdev slants the first line, not the first sentence
    return f'{"#"*level} {name} {{#{name}}}\n\n{text.strip()}'

def exported(mod)->list:
    "(name, function or class) of what a room exports, in the order of its cells."
    return [(o, getattr(mod, o)) for o in mod.__all__ if callable(getattr(mod, o)) and getattr(getattr(mod, o), '__module__', '') == mod.__name__]

def api(module:str, page:str)->str:
    "What a room exports: for each function and class its signature, what each parameter means, and its methods."
    mod, parts = room(module), []
    for name, o in exported(mod):
        ANCHORS[name] = f'{page}#{name}'
        parts.append(shown(o, 3, name))
        if isinstance(o, type): parts += [shown(f, 4, f'{name}.{f.__name__}') for f in methods(o, module)]
    others = {id(o): o for o in vars(mod).values() if isinstance(o, type) and o.__module__ != module}.values()
    parts += [shown(f, 3, f'{c.__name__}.{f.__name__}') for c in others for f in methods(c, module)] # patched
    if not parts: return ''
    where = module.replace('.', '/') + '.py'
    return f'\n\n## API\n\n`{module}`, [source]({github(where)})\n\n' + '\n\n'.join(parts) + '\n'

def every_name()->str:
    "A page of all exported names, by room."
    parts, by_page = ['# Every name\n\n> What the library exports, by room; `from restorer_fastai.all import *` brings all of it.'], {}
    for name, to in ANCHORS.items(): by_page.setdefault(to.split('#')[0], []).append(f'[`{name}`]({to})')
    for page, names in by_page.items(): parts.append(f"**[{page.removesuffix('.md')}]({page})**: " + ', '.join(names))
    return '\n\n'.join(parts) + '\n'

def module_of(path:Path):
    "The module that a notebook is the source of; None: it is none's."
    found = re.search(r'#\s*\|\s*default_exp ([\w.]+)', path.read_text(encoding='utf-8'))
    return f"{settings()['lib_name']}.{found[1]}" if found else None

### mkdocs asks ###

def on_config(config):
    cfg = settings()
    RAW.clear(); ANCHORS.clear()
    config.site_description, config.copyright = cfg['description'], f"{cfg['copyright']} · Apache-2.0"
    config.nav = navigation()
    return config

def pages()->dict:
    "Page -> notebook, of all of them."
    paths = [p for p in sorted(NBS.rglob('*.ipynb')) if not any(o.startswith(('.', '_')) for o in p.relative_to(NBS).parts)]
    return {p.relative_to(NBS).with_suffix('.md').as_posix(): p for p in paths}

def title_of(path:Path)->str:
    text = path.read_text(encoding='utf-8')
    first = text if path.suffix == '.md' else ''.join(joined(c['source']) + '\n' for c in json.loads(text)['cells'][:3] if c['cell_type'] == 'markdown')
    return re.sub(r'[*`]', '', re.search(r'(?m)^# (.+)', first)[1]).strip()

def section(folder:str, first:str='')->list:
    "The pages of a folder by name; the one called `first` leads."
    found = sorted([*(NBS/folder).glob('*.md'), *(NBS/folder).glob('*.ipynb')], key=lambda p: (p.stem != first, p.name))
    return [{title_of(p): page_of(p.relative_to(ROOT).as_posix())} for p in found]

def rooms(floor:str)->list:
    return [{name: page_of(f'nbs/{p.name}')} for name, p in rooms_of(floor, NBS).items()]

def navigation()->list:
    "From the names of the files: a new notebook or page appears by itself."
    numbered = {p.stem.split('_', 1)[1].split('.')[0] for p in NBS.glob('[0-9]*.ipynb')}
    floors = [o for o in FLOORS if o in numbered] + sorted(numbered - {*FLOORS})
    about = [*section('pages'), *({title_of(ROOT/o): o} for o in OUTSIDE)]
    return [{'Start': 'index.md'}, {'Lessons': [*section('tutorials', '00_contents'), {'En español': section('tutorials/es')}]}, {'How to': section('howto')},
            {'Library': [{'Every name': 'api.md'}, *({o: rooms(o)} for o in floors)]}, {'About': about}, {'Source': settings()['git_url']}]

def on_files(files, config):
    for file in [o for o in files if o.src_uri.endswith('.ipynb')]: files.remove(file) # a link to one that is left is an error then
    for page in OUTSIDE: files.append(File.generated(config, page, content=(ROOT/page).read_text(encoding='utf-8')))
    for page, path in pages().items():
        text, pictures = notebook_page(path, page)
        module = module_of(path)
        files.append(File.generated(config, page, content=text + (api(module, page) if module else '')))
        for name, data in pictures.items(): files.append(File.generated(config, name, content=data))
    files.append(File.generated(config, 'api.md', content=every_name()))
    return files

def on_page_markdown(markdown, page, config, files):
    markdown = re.sub(r'<details>', '<details markdown="1">', markdown)
    return outside_code(markdown, lambda o: set_links(o, page.file.src_uri))

def formula(m)->str:
    "A formula of pymdownx.arithmatex as MathML, which browsers show without a script."
    text, block = html.unescape(m[2]), m[1] == 'div'
    return convert(text.strip().removeprefix('\\[' if block else '\\(').removesuffix('\\]' if block else '\\)'), display='block' if block else 'inline')

def to_api(content:str, page:str)->str:
    "Names of the library in the text lead to their API."
    def new(m):
        if m[1] not in ANCHORS: return m[0]
        to, anchor = ANCHORS[m[1]].split('#')
        link = '' if to == page else posixpath.relpath(to, posixpath.dirname(page) or '.').removesuffix('.md') + '.html'
        return f'<a class="api" href="{link}#{anchor}"><code>{m[1]}</code></a>'
    parts = re.split(r'(?s)(<a [^>]*>.*?</a>|<h\d.*?</h\d>|<pre.*?</pre>)', content)
    return ''.join(o if i%2 else re.sub(r'<code>(\w+)</code>', new, o) for i, o in enumerate(parts))

def on_page_content(content, page, config, files):
    "Formulas, links to the API, and the HTML of outputs. Code waits outside until the search has read the page: it would be most of the index."
    content = re.sub(r'<(div|span) class="arithmatex">(.*?)</\1>', formula, content, flags=re.S)
    content = re.sub(r'<p>(raw\d{6}raw)</p>', r'<!--\1-->', to_api(content, page.file.src_uri))
    return re.sub(r'(?s)<div class="highlight">.*?</pre></div>', lambda m: f'<!--{raw(m[0]).strip()}-->', content)

def on_post_page(output, page, config): return re.sub(r'<!--(raw\d{6}raw)-->', lambda m: RAW[m[1]], output)

### Quarto, which nbdev_docs calls, sees what lies in nbs/ only ###

def quarto_page(path:str):
    "As `page_of`, where notebooks are pages themselves."
    if path == 'README.md': return 'index.ipynb'
    return path if path in OUTSIDE else path.removeprefix('nbs/') if page_of(path) else None

def contents(nav:list)->list:
    "The navigation as a sidebar of Quarto."
    pairs = [pair for entry in nav for pair in entry.items()]
    return [{'section': k, 'contents': contents(v)} if isinstance(v, list) else {'text': k, 'href': v if ':' in v else quarto_page(source_of(v))} for k, v in pairs if v != 'api.md']

def from_module(nb:dict, module:str):
    """Let nbdev_docs take what `show_doc` shows from the module. By itself it runs exported cells, of which Python cannot always find the source again,
    and every cell with an import in it, without the cells before."""
    for cell in nb['cells']:
        if cell['cell_type'] == 'code' and re.search(r'\bimport\b|#\s*\|\s*export', joined(cell['source'])): cell['source'] = '#| eval: false\n' + joined(cell['source'])
    source = f'#| hide\n#| exec_doc\nimport sys\nsys.path.insert(0, {str(ROOT/"tools")!r})\nfrom site_hooks import room\nglobals().update(vars(room({module!r})))'
    nb['cells'].insert(1, dict(cell_type='code', id='room', metadata={}, execution_count=None, outputs=[], source=source))

def for_quarto():
    "Bring the pages from outside into nbs/, lead links to them, write the sidebar; keep nbdev from running what it need not."
    def links(text, page): return outside_code(text, lambda o: set_links(o, page, quarto_page))
    for page, path in pages().items():
        nb = json.loads(path.read_text(encoding='utf-8'))
        for cell in nb['cells']:
            if cell['cell_type'] == 'markdown': cell['source'] = links(joined(cell['source']), page)
        if module := module_of(path): from_module(nb, module)
        path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    for path in [*NBS.glob('pages/*.md'), *NBS.glob('howto/*.md'), *(ROOT/o for o in OUTSIDE)]:
        page = path.name if path.parent == ROOT else path.relative_to(NBS).as_posix()
        (NBS/page).write_text(links(path.read_text(encoding='utf-8'), page), encoding='utf-8')
    (NBS/'sidebar.yml').write_text(yaml.dump({'website': {'sidebar': {'contents': contents(navigation())}}}, sort_keys=False, allow_unicode=True), encoding='utf-8')

if __name__ == '__main__' and '--quarto' in sys.argv[1:]: for_quarto()
