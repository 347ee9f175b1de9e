"The site: links of the repository become links of the site, notebooks become pages, a broken link stays one. (That it builds, and that no link is broken: `make docs`.)"
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip('mkdocs')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
import site_hooks as site

@pytest.mark.parametrize('link,page,to', [
    ('61_restore.look.ipynb', 'index.md', '61_restore.look.md'), ('../61_restore.look.ipynb#a', 'pages/house.md', '../61_restore.look.md#a'),
    ('../MODEL_CARD.md#what-it-is', 'index.md', 'MODEL_CARD.md#what-it-is'), ('../../README.md', 'tutorials/03_generator.md', '../index.md'),
    ('nbs/pages/numbers.md', 'MODEL_CARD.md', 'pages/numbers.md'), ('images/app.jpg', 'index.md', 'images/app.jpg'), ('#here', 'index.md', '#here'),
    ('../Makefile', 'index.md', site.github('Makefile')), ('../benchmarks', 'index.md', site.github('benchmarks', 'tree')),
    ('https://docs.fast.ai', 'index.md', 'https://docs.fast.ai'), ('61_restore.lok.ipynb', 'index.md', '61_restore.lok.ipynb'), ('../../elsewhere.md', 'index.md', '../../elsewhere.md')])
def test_where_links_lead(link, page, to): assert site.lead(link, page) == to

def test_links_in_text_and_not_in_code():
    text = '[`find`](00_photo.errors.ipynb) `[a](00_photo.errors.ipynb)` <img src="images/app.jpg">\n```\n[b](00_photo.errors.ipynb)\n```\n'
    assert site.outside_code(text, lambda o: site.set_links(o, 'index.md')) == text.replace('](00_photo.errors.ipynb) `', '](00_photo.errors.md) `')

def test_a_notebook_as_a_page(tmp_path):
    def code(text, *outputs): return dict(cell_type='code', source=text, outputs=list(outputs))
    picture, table = dict(data={'image/jpeg': '/9j/', 'text/plain': 'x'}), dict(data={'text/html': ['<table>', '</table>'], 'text/plain': 'y'})
    cells = [dict(cell_type='markdown', source=['# Title\n', 'words']), code('#| default_exp a.b'), code('#| hide\nimport os', picture), code('#| export\ndef f(): pass'), code('f()', picture, table, dict(text='<said>\n'))]
    (tmp_path/'a.ipynb').write_text(json.dumps(dict(cells=cells)))
    text, pictures = site.notebook_page(tmp_path/'a.ipynb', 'tutorials/a.md')
    assert '# Title\nwords' in text and '```python\ndef f(): pass\n```' in text and 'default_exp' not in text and 'import os' not in text
    assert '![](a_files/0.jpg)' in text and pictures == {'tutorials/a_files/0.jpg': b'\xff\xd8\xff'}
    shown = site.on_post_page(site.on_page_content(''.join(f'<p>{o}</p>' for o in text.split() if o in site.RAW), type('P', (), dict(file=type('F', (), dict(src_uri='a.md')))), None, None), None, None)
    assert '<table></table>' in shown and '&lt;said&gt;' in shown

def test_formulas_become_mathml():
    page = type('P', (), dict(file=type('F', (), dict(src_uri='a.md'))))
    assert '<math' in site.on_page_content(r'<span class="arithmatex">\(x^2\)</span>', page, None, None)

def test_every_notebook_and_page_is_in_the_navigation():
    def flat(nav): return [o for entry in nav for v in entry.values() for o in (flat(v) if isinstance(v, list) else [v])]
    there = {o for o in flat(site.navigation()) if ':' not in o}
    assert there == {*site.pages(), 'api.md', *site.OUTSIDE, *(p.relative_to(site.NBS).as_posix() for d in ('howto', 'pages') for p in (site.NBS/d).glob('*.md'))}
    assert all((site.NBS/p['href']).exists() for s in site.contents(site.navigation()) if 'contents' in s for p in s['contents'] if 'href' in p and p['href'] not in site.OUTSIDE)

def test_the_api_of_a_room_is_nbdevs():
    pytest.importorskip('nbdev')
    text = site.api('restorer_fastai.photo.page', '09_photo.page.md')
    import restorer_fastai.photo.page as room
    for name, o in site.exported(room): assert f'### {name} {{#{name}}}' in text and site.ANCHORS[name] == f'09_photo.page.md#{name}'
