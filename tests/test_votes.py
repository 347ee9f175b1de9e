"A blind vote as people hold it: a real server, a real browser (Chromium, driven by playwright), several voters, a power cut."
import csv
import io
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo

pytest.importorskip('starlette', reason='the page needs a server: pip install "restorer_fastai[votes]"')
RESTORER = Path(sys.executable).with_name('restorer')
SOON = 120_000 # ms: longer than anything here takes on a busy machine
SECRETS = 'zebra', 'walrus', 'heron', 'pelican' # what the folders of the candidates, the original, the reference are called; no such word may be seen

@contextmanager
def running(*args, cwd, end=signal.SIGINT):
    "`restorer votes` as a process on a free port: (its address, the lines it said, process); ended as a person does. Afterwards `said` holds all lines."
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1', 'NO_COLOR': '1', 'COLUMNS': '200'}
    heed_ctrl_c = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) # a background job is started deaf to it
    process = subprocess.Popen([RESTORER, 'votes', *map(str, args), '--port', '0'], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed_ctrl_c)
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r'Open (http\S+?)/? in a browser', line): break
        else: pytest.fail(''.join(said))
        yield found[1], said, process
        if process.poll() is None: process.send_signal(end)
        said += process.communicate(timeout=300)[0].splitlines(keepends=True)
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[end], said
        assert 'Traceback' not in ''.join(said), said
    finally:
        process.kill()
        process.wait()

def refused(*args, cwd, code=1):
    "What the command says when it does not begin."
    done = subprocess.run([RESTORER, 'votes', *map(str, args)], cwd=cwd, text=True, capture_output=True, timeout=300, env={**os.environ, 'NO_COLOR': '1', 'COLUMNS': '300'})
    assert done.returncode == code and 'Traceback' not in done.stderr, done.stderr
    return done.stderr

def votes_in(path):
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))

class Page:
    "A tab in which somebody votes; notes all that it got, and all that went wrong."
    def __init__(self, browser, url, width=1200, height=800):
        self.got, self.wrong = {}, []
        self.page = browser.new_context(viewport=dict(width=width, height=height)).new_page()
        self.page.set_default_timeout(SOON)
        self.page.on('request', lambda r: r.url.startswith((f'{url}/', 'data:')) or self.wrong.append(r.url))
        self.page.on('response', self.note)
        self.page.on('pageerror', lambda e: self.wrong.append(str(e)))
        self.page.on('console', lambda m: m.type == 'error' and 'Security' in m.text and self.wrong.append(m.text))
        self.page.goto(f'{url}/')

    def note(self, response):
        try: self.got[response.url] = f'{response.all_headers()}'.encode() + response.body()
        except Exception: pass # it went with a page that was left

    def enter(self, voter):
        self.page.fill('#name', voter)
        self.page.keyboard.press('Enter')
        return self.ready()

    def ready(self, done=None):
        "Wait for a question; the question."
        self.page.wait_for_function('done => !busy && q && (done === null || q.done == done)', arg=done)
        return self.page.evaluate('q')

    def press(self, key, done):
        "Press a key that answers; the next question."
        self.page.keyboard.press(key)
        return self.ready(done)

    def picture(self, place):
        "The pixels of the picture at a place on the screen, as the server sends them."
        url = self.page.evaluate(f"() => document.querySelector('[data-place={place}] img').src")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as answer: return Image.open(io.BytesIO(answer.read()))

    def close(self):
        self.page.context.close()
        assert not self.wrong

@pytest.fixture
def visit(browser):
    opened = []
    def visit(*args, **kw):
        opened.append(Page(browser, *args, **kw))
        return opened[-1]
    yield visit
    for page in opened: page.close()

def telling(path, img, name):
    "Write a PNG that says who made it, as programs do."
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngImagePlugin.PngInfo()
    info.add_text('Software', f'{name} 1.0')
    exif = Image.Exif()
    exif[0x0131] = f'{name} 1.0'
    Image.fromarray(img).save(path, pnginfo=info, exif=exif)

@pytest.fixture(scope='module')
def album(tmp_path_factory):
    "Three candidates that can be told by their brightness, an original, a reference; one photo is large, one has 16 bits, one an odd name; suffixes differ."
    home = tmp_path_factory.mktemp('album')
    large = np.tile(sample_photo('chelsea'), (7, 5, 1))[:2000, :2200]
    photos = {'año 1950 <b>': sample_photo('china')[::3, ::3], 'large': large, 'flower': sample_photo('flower')[::3, ::3]}
    for stem, img in photos.items():
        telling(home/'zebra'/f'{stem}.png', img//2, 'zebra')
        write_photo(home/'walrus'/f'{stem}.jpg', img//2 + 100)
        telling(home/'pelican'/f'{stem}.png', img, 'pelican')
        telling(home/'heron'/f'{stem}.png', img//4, 'heron')
    write_photo(home/'walrus'/'scan.tif', (photos['flower'].astype(np.uint16)//2 + 100)*257)
    telling(home/'zebra'/'scan.png', photos['flower']//2, 'zebra')
    return home

def is_walrus(im): return np.percentile(im, 2) > 85
PREFERS = {True: 'ArrowLeft', False: 'ArrowRight'} # does the walrus stand on the left?

def test_a_blind_vote_from_the_first_key_to_the_report(visit, album, tmp_path):
    line = album/'zebra', album/'walrus', '--input', album/'heron', '--reference', album/'pelican', '--how', 'both', '--out', tmp_path/'votes.csv'
    with running(*line, cwd=album) as (url, said, _):
        assert url.startswith('http://127.0.0.1:')
        assert 'shown without original: scan' in ''.join(said) and '4 photos, 2 candidates: 12 questions' in ''.join(said)
        page = visit(url)
        q = page.enter('Änn 1')
        for n in range(4):
            assert q['kind'] == 'pair' and (page.page.locator('.pane').count() == 4) == ('original' in q['pictures'])
            assert len(votes_in(tmp_path/'votes.csv') if n else []) == n # each is on the disk before the next is shown
            q = page.press(PREFERS[is_walrus(page.picture('left'))], n + 1)
        for n in range(4, 12):
            assert q['kind'] == 'score' and 'right' not in q['pictures']
            q = page.press('4' if is_walrus(page.picture('left')) else '2', n + 1)
        assert q['finished'] and 'Thank you' in page.page.locator('#thanks').inner_text()
        for url, data in page.got.items(): # addresses, headers, pages, answers, pictures: nobody is named
            for secret in (*SECRETS, 'scan', 'flower', str(album), 'Software', 'Exif', 'last-modified'):
                assert secret.encode() not in data and secret not in url, (secret, url)
        page.page.click('#result')
        page.page.get_by_role('heading', name='What was preferred').wait_for()
        shown = page.page.content()
        assert 'walrus' in shown and 'año 1950 &lt;b&gt;' in shown and page.page.evaluate('() => [...document.images].every(o => o.naturalWidth)')
    rows = votes_in(tmp_path/'votes.csv')
    assert {o['voter'] for o in rows} == {'Änn 1'} and {o['photo'] for o in rows} == {'año 1950 <b>', 'large', 'flower', 'scan'}
    assert all(o[o['answer']] == 'walrus' for o in rows if o['kind'] == 'pair')
    assert {(o['left'], o['answer']) for o in rows if o['kind'] == 'score'} == {('walrus', '4'), ('zebra', '2')}
    assert 'votes.html: the report' in ''.join(said) and 'walrus: won 1, same 0, lost 0' in (tmp_path/'votes.html').read_text(encoding='utf-8')

def test_a_killed_page_loses_nothing_and_several_voters_go_on(visit, album, tmp_path):
    line = album/'zebra', album/'walrus', '--out', tmp_path/'votes.csv'
    with running(*line, cwd=album, end=signal.SIGKILL) as (url, _, process):
        old = visit(url)
        old.enter('anna')
        old.press('ArrowLeft', 1)
        old.press('s', 2)
        process.kill()
        process.wait()
        old.page.keyboard.press('ArrowLeft') # into nothing
        old.page.get_by_text('The server does not answer').wait_for()
    assert [o['answer'] for o in votes_in(tmp_path/'votes.csv')] == ['left', 'skip']
    with open(tmp_path/'votes.csv', 'a') as f: f.write('0123,2026-01-01') # and the power failed
    with running(*line, cwd=album, end=signal.SIGTERM) as (url, said, _):
        assert '2 votes are there already' in ''.join(said)
        one, two = visit(url), visit(url)
        assert one.enter('anna')['done'] == 2 and two.enter('berta')['done'] == 0
        two.press('ArrowDown', 1)
        one.press('ArrowRight', 3)
        assert one.press('Backspace', 2)['total'] == 4 # undo
        one.press('ArrowDown', 3)
        assert 'another process' in refused(*line, cwd=album)
    assert [(o['voter'], o['answer']) for o in votes_in(tmp_path/'votes.csv')] == [('anna', 'left'), ('anna', 'skip'), ('berta', 'same'), ('anna', 'same')]
    assert 'other pictures' in refused(album/'zebra', album/'heron', '--out', tmp_path/'votes.csv', cwd=album)
    assert len(votes_in(tmp_path/'votes.csv')) == 4
    (tmp_path/'votes.html').unlink()
    assert not refused('--out', tmp_path/'votes.csv', cwd=tmp_path, code=0) and (tmp_path/'votes.html').exists()

def test_a_page_that_is_older_than_the_server_finds_its_place(visit, album, tmp_path):
    line = album/'zebra', album/'walrus', '--out', tmp_path/'votes.csv'
    with running(*line, cwd=album) as (url, _, _):
        page = visit(url)
        q = page.enter('anna')
        page.page.evaluate("() => { q.question = '0'.repeat(32) }") # as from another start
        page.page.keyboard.press('ArrowLeft')
        assert page.ready(0)['question'] == q['question']
        assert not (tmp_path/'votes.csv').exists()
        page.page.evaluate("() => { for (let i = 0; i < 3; i++) document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true})) }") # faster than any disk
        assert page.ready(1)['done'] == 1
        page.page.evaluate("() => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', repeat: true, bubbles: true}))") # held down
        page.page.keyboard.press('Shift+ArrowLeft')
        page.page.keyboard.press('Control+ArrowLeft')
        assert page.ready()['done'] == 1
    assert len(votes_in(tmp_path/'votes.csv')) == 1

def find_large(page):
    "Go to the large photo."
    for n in range(4):
        if page.ready(n)['size'] == [2200, 2000]: return
        page.press('s', n + 1)
    pytest.fail('no large photo')

def test_looking_closely_and_in_turn(visit, album, tmp_path):
    with running(album/'zebra', album/'walrus', '--input', album/'heron', '--out', tmp_path/'votes.csv', cwd=album) as (url, _, _):
        page = visit(url)
        page.enter('anna')
        find_large(page)
        assert page.picture('left').size == (1600, 1455) # reduced
        tab = page.page
        tab.keyboard.press('z')
        tab.wait_for_function('() => panes.every(p => !p.near.hidden)')
        x, y, w, h = tab.evaluate("() => panes.find(p => p.place == 'left').part")
        near = tab.evaluate("() => { const i = panes.find(p => p.place == 'left').near; return [i.naturalWidth, i.naturalHeight, i.getBoundingClientRect().width] }")
        assert near == [w, h, w] and w < 2200 # pixel by pixel
        name = 'walrus' if is_walrus(page.picture('left')) else 'zebra'
        file, = (album/name).glob('large.*')
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(tab.evaluate("() => panes.find(p => p.place == 'left').near.src"), timeout=60) as answer: part = np.asarray(Image.open(answer))
        assert np.array_equal(part, read_photo(file)[y:y + h, x:x + w])
        before = tab.evaluate('({...view})')
        tab.keyboard.press('Shift+ArrowRight')
        assert tab.evaluate('view.x') > before['x']
        tab.keyboard.press(' ')
        seen = "() => panes.filter(p => getComputedStyle(p.pane).visibility == 'visible').map(p => [p.place, p.frame.getBoundingClientRect().x, p.frame.getBoundingClientRect().width])"
        (first, *where), = tab.evaluate(seen)
        tab.keyboard.press(' ')
        (second, *there), = tab.evaluate(seen)
        assert (first, second) == ('left', 'right') and where == there and where[1] > 1100 # in one place, and large
        tab.keyboard.press('o')
        assert [o[0] for o in tab.evaluate(seen)] == ['original']
        tab.keyboard.press('Escape')
        assert len(tab.evaluate(seen)) == 3 and tab.evaluate('view.scale') == 0
        box = tab.locator('[data-place=right] .frame').bounding_box()
        tab.mouse.move(box['x'] + 200, box['y'] + 300)
        for _ in range(8): tab.mouse.wheel(0, -100)
        tab.wait_for_function('() => view.scale > .5')
        at = tab.evaluate('view.x')
        tab.mouse.down()
        tab.mouse.move(box['x'] + 100, box['y'] + 250, steps=4)
        tab.mouse.up()
        assert tab.evaluate('view.x') > at
        done = page.ready()['done']
        tab.locator('#turn').focus()
        tab.keyboard.press(' ') # the key, not the button as well
        assert tab.evaluate(seen)[0][0] == 'left'
        assert page.press('ArrowDown', done + 1)['done'] == done + 1

@pytest.mark.parametrize('width, height', [(360, 740), (740, 360), (1000, 700)])
def test_buttons_and_small_screens(visit, album, tmp_path, width, height):
    with running(album/'zebra', album/'walrus', '--input', album/'heron', '--out', tmp_path/'votes.csv', '--most', '2', '--question', 'Whose <i>colours</i>?', cwd=album) as (url, _, _):
        page = visit(url, width, height)
        assert page.enter('7')['total'] == 2
        assert page.page.locator('#text').inner_text() == 'Whose <i>colours</i>?'
        assert page.page.evaluate('document.documentElement.scrollWidth') <= width and page.page.evaluate('document.documentElement.scrollHeight') <= height
        beyond = 'o => o.getBoundingClientRect().right > innerWidth || o.getBoundingClientRect().bottom > innerHeight + 1'
        assert not page.page.evaluate(f"[...document.querySelectorAll('button, .pane')].filter(o => o.offsetParent).filter({beyond}).map(o => o.outerHTML)")
        assert page.page.evaluate("panes.every(p => p.frame.clientHeight > 60)")
        page.page.get_by_role('button', name='Same').click()
        page.ready(1)
        page.page.get_by_role('button', name='Undo').click()
        page.ready(0)
        page.page.get_by_role('button', name='Left is better').click()
        page.ready(1)
    assert [o['answer'] for o in votes_in(tmp_path/'votes.csv')] == ['left']

def ask(url, data=None, **headers):
    "Status and text of the answer to a request that no page of ours would send."
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, data, {k.replace('_', '-'): v for k, v in headers.items()}), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e: return e.code, e.read().decode()

def test_strangers_and_bad_questions(browser, album, tmp_path):
    with running(album/'zebra', album/'walrus', '--out', tmp_path/'votes.csv', cwd=album) as (url, said, _):
        assert ask(f'{url}/', Host='evil.example')[0] == 421
        assert ask(f'{url}/undo', b'{"voter": "anna"}', Origin='http://evil.example')[0] == 403
        assert [ask(f'{url}/{o}')[0] for o in ('result?voter=anna', 'picture/%2e%2e/votes.csv', 'votes.csv', 'docs', 'openapi.json')] == [422, 404, 404, 404, 404]
        assert ask(f'{url}/question', b'{"voter": "=1+1"}')[0] == 422
        page = browser.new_page()
        page.goto(url)
        page.fill('#name', '<script>')
        page.keyboard.press('Enter')
        page.get_by_text('A name or a number, please').wait_for()
        page.close()
    assert 'No votes: nothing was written' in ''.join(said) and not list(tmp_path.iterdir())

def test_one_folder_gets_marks_and_nonsense_is_refused(visit, album, tmp_path):
    with running(album/'heron', '--out', tmp_path/'one.csv', '--most', '1', cwd=album) as (url, _, _):
        page = visit(url)
        assert page.enter('1')['kind'] == 'score'
        assert page.press('5', 1)['finished']
    assert 'Mean opinion scores' in (tmp_path/'one.html').read_text(encoding='utf-8')
    assert 'pairs need two folders' in refused(album/'heron', '--how', 'pairs', '--out', 'x.csv', cwd=tmp_path, code=2)
    assert 'the same folder twice' in refused(album/'heron', album/'heron', '--out', 'x.csv', cwd=tmp_path)
    assert 'no such file or folder' in refused(album/'heron', 'nowhere', '--out', 'x.csv', cwd=tmp_path)
    assert 'ends in .csv' in refused(album/'heron', '--out', 'x.html', cwd=tmp_path)
    assert sorted(o.name for o in tmp_path.iterdir()) == ['one.csv', 'one.html']

def test_without_statsmodels_the_votes_are_kept_and_counted(tmp_path, monkeypatch):
    from restorer_fastai.web.ballot import Question, VoteFile
    from restorer_fastai.web.votes import write_votes_report
    with VoteFile(tmp_path/'votes.csv', 's') as votes:
        for i in range(12): votes.add('anna', Question(f'p{i}', *('ab', 'ba')[i % 2]), ('left', 'right')[i % 2])
    monkeypatch.setitem(sys.modules, 'statsmodels.api', None)
    page = write_votes_report(tmp_path/'votes.csv').read_text(encoding='utf-8')
    assert 'restorer_fastai[votes]' in page and '100%' in page
    monkeypatch.undo()
    assert 'a is preferred' in write_votes_report(tmp_path/'votes.csv').read_text(encoding='utf-8')
