"The page as a person uses it: a real server, a real browser (Chromium, driven by playwright), an untrained network."
import http.client
import http.server
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from restorer_fastai.photo.reading import read_photo
from restorer_fastai.photo.samples import sample_photo
from restorer_fastai.photo.writing import write_photo

pytest.importorskip('gradio', reason='the page needs Gradio: pip install "restorer_fastai[app]"')
RESTORER = Path(sys.executable).with_name('restorer')
SOON = 120_000 # ms: longer than anything here takes on a busy machine

@pytest.fixture(scope='module')
def home(tmp_path_factory): return tmp_path_factory.mktemp('home')

LISTEN_IN = """
import os, sys
def note(event, args):
    if event == 'socket.connect' and isinstance(args[1], tuple): host = args[1][0]
    elif event == 'socket.getaddrinfo': host = args[0]
    else: return
    if host not in ('127.0.0.1', 'localhost', '::1', None):
        with open(os.environ['CALLS'], 'a') as f: f.write(f'{event} {host}\\n')
sys.addaudithook(note)
"""
KILLED = 'import os, signal; from restorer_fastai.web.desk import Desk; desk = Desk(); os.kill(os.getpid(), signal.SIGKILL)'

@contextmanager
def running(*args, env=(), **kw):
    "`restorer app` with some arguments as a process, on a free port: (address that it tells, lines it said, process)."
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'http_proxy': '', 'PYTHONUNBUFFERED': '1', **dict(env)}
    args = [RESTORER, 'app', '--port', 0, *args]
    process = subprocess.Popen([*map(str, args)], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r'Open (http\S+?)/? in a browser', line): break
        else: pytest.fail(''.join(said))
        yield found[1], ''.join(said), process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143, process.stdout.read()
    finally:
        process.kill()
        process.wait()

@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "An untrained network that looks at its photos."
    import torch
    from restorer_fastai.nets.restorer import NetConfig, build_network
    from restorer_fastai.nets.weights import save_weights
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model')/'model.safetensors'
    save_weights(path, build_network(NetConfig('resnet18', norm='batch', look=True, residual=True, head=16)), {})
    return path

@pytest.fixture(scope='module')
def server(home, model, tmp_path_factory):
    "`restorer app` with small limits, as a process that notes whom it calls, where another was killed before; its address."
    ears = tmp_path_factory.mktemp('ears')
    (ears/'sitecustomize.py').write_text(LISTEN_IN)
    path = os.pathsep.join(filter(None, [str(ears), os.environ.get('PYTHONPATH')])) # the package that is tested, wherever it lies
    env = dict(TMPDIR=str(home), PYTHONPATH=path, CALLS=str(ears/'calls'))
    subprocess.run([sys.executable, '-c', KILLED], env={**os.environ, **env})
    killed, = home.glob('restorer-app-*')
    with running('--model', model, '--max-mb', 1, '--max-megapixels', 1, env=env) as (url, _, _):
        assert url.startswith('http://127.0.0.1:')
        root, = home.glob('restorer-app-*') # everything lies there
        assert root != killed # and what another left does not
        yield url
    assert not list(home.iterdir()) # nothing stays
    assert not (ears/'calls').exists(), (ears/'calls').read_text()

@pytest.fixture
def visit(server, browser):
    "Open the page in a browser of its own; afterwards no request may have gone elsewhere or wanted to, and no script failed."
    opened, wrong = [], []
    def visit(width=1000, height=900, url=server, **how):
        page = browser.new_context(viewport=dict(width=width, height=height), **how).new_page()
        page.on('request', lambda r: r.url.startswith((f'{url}/', 'data:', 'blob:')) or r.url == url or wrong.append(r.url))
        page.on('console', lambda m: 'Content Security Policy' in m.text and wrong.append(m.text))
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.set_default_timeout(SOON)
        page.goto(f'{url}/')
        page.get_by_role('button', name='Restore').wait_for()
        opened.append(page)
        return page
    yield visit
    for page in opened: page.context.close()
    assert not wrong

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Small photos, and a letter that is called one."
    folder = tmp_path_factory.mktemp('photos')
    roof = sample_photo('china')[::4, ::4]
    write_photo(folder/'roof & <b>sky<b>.jpg', 255 - roof)
    write_photo(folder/'scan.tif', roof)
    (folder/'letter.jpg').write_text('Dear grandmother')
    return folder

def drop(page, *files):
    "Give photos to the page and wait until it lists them."
    page.locator('input[type=file]').first.set_input_files([*map(str, files)])
    page.get_by_text(Path(files[-1]).suffix, exact=False).first.wait_for()

def restore(page, said):
    page.get_by_role('button', name='Restore').click()
    page.locator('#told').get_by_text(said).wait_for()

def download(page, button):
    "What a download button gives: name and bytes."
    with page.expect_download() as waiting: page.get_by_role('button', name=button).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()

def test_restore_compare_and_download(visit, photos):
    page = visit()
    drop(page, photos/'roof & <b>sky<b>.jpg', photos/'letter.jpg', photos/'scan.tif')
    page.get_by_label('Negative').check()
    restore(page, '2 of 3 restored.')
    told = page.locator('#told')
    assert 'this is not a photo: it holds text' in told.locator('.failed').inner_text()
    assert 'sky' in told.inner_text() and told.locator('li b').count() == 3 # the name is no HTML
    pictures = page.get_by_test_id('imageslider-image')
    assert pictures.count() == 2 and all(o.evaluate('o => o.decode().then(() => o.naturalWidth)') == 160 for o in pictures.all())
    name, data = download(page, 'Download this photo')
    assert name == 'scan.tif'
    name, whole = download(page, 'Download all (ZIP)')
    with zipfile.ZipFile(io.BytesIO(whole)) as z:
        assert len(z.namelist()) == 2 and z.read('scan.tif') == data
        (photos/'out.tif').write_bytes(data)
    assert read_photo(photos/'out.tif').shape == (107, 160, 3)
    page.get_by_label('Photo to compare').click()
    page.get_by_role('option').first.click()
    page.wait_for_function('() => [...document.querySelectorAll("a[download]")].length > 0')
    before = pictures.first.get_attribute('src')
    assert '/before.jpg' in before

def border(page):
    "Where the slider's handle stands, in pixels."
    return page.get_by_test_id('slider').bounding_box()['x']

def drop_folder(page, folder, where='#photos'):
    "Drag a folder from outside the browser onto a part of the page."
    page.locator(where).scroll_into_view_if_needed()
    box = page.locator(where).bounding_box()
    devtools = page.context.new_cdp_session(page)
    data = dict(items=[], files=[str(folder)], dragOperationsMask=1)
    for kind in 'dragEnter', 'dragOver', 'drop':
        devtools.send('Input.dispatchDragEvent', dict(type=kind, x=box['x'] + box['width']/2, y=box['y'] + box['height']/2, data=data))

def test_a_folder_is_dropped_and_taken_for_one_roll(visit, tmp_path):
    for name in ('a.png', '1957/b.jpg', '1957/.hidden.jpg'): write_photo(tmp_path/'roll'/name, 255 - sample_photo('china')[::8, ::8])
    (tmp_path/'roll'/'notes.txt').write_text('two frames')
    write_photo(tmp_path/'more'/'c.png', 255 - sample_photo('chelsea')[::8, ::8])
    (tmp_path/'empty').mkdir()
    page = visit()
    drop_folder(page, tmp_path/'empty')
    page.locator('#said', has_text='No photos').wait_for(state='attached')
    drop_folder(page, tmp_path/'roll')
    page.locator('#photos').get_by_text('.jpg', exact=True).wait_for()
    page.get_by_label('One roll of film').check()
    restore(page, '2 of 2 restored.')
    assert sorted(o.split(':')[0] for o in page.locator('#told li').all_inner_texts()) == ['a.png', 'b.jpg']
    drop_folder(page, tmp_path/'more', '#told') # beside the box, which now shows a list: three photos
    page.locator('#photos').get_by_text('c', exact=True).wait_for()
    restore(page, '3 of 3 restored.')

def test_wishes_are_offered_where_they_fit_and_losses_are_told(visit, tmp_path):
    from PIL import Image
    page, roof = visit(), Image.fromarray(sample_photo('china')[::8, ::8]).convert('L')
    roof.save(tmp_path/'pages.tif', save_all=True, append_images=[roof])
    luma, roll = page.get_by_label('Only add colour'), page.get_by_label('One roll of film')
    for mode, fits in {'Black and white': (True, False), 'Colour photo': (False, False), 'Negative': (False, True), 'Find out': (False, True)}.items():
        page.get_by_label(mode).check()
        for wish, fit in zip((luma, roll), fits): wish.wait_for(state='visible' if fit else 'hidden')
    page.get_by_label('Black and white').check()
    luma.check()
    drop(page, tmp_path/'pages.tif')
    restore(page, '1 of 1 restored.')
    assert '2 pictures in the file, only the first is restored' in page.locator('#told').inner_text()
    (tmp_path/'out.tif').write_bytes(download(page, 'Download this photo')[1])
    before, after = (read_photo(tmp_path/o).astype(float) @ (.299, .587, .114) for o in ('pages.tif', 'out.tif'))
    assert abs(before - after).max() < 2

def test_a_screen_reader_is_told_once_what_became_of_each_photo(visit, photos):
    page = visit()
    page.evaluate("""() => {
        window.heard = []
        const said = document.querySelector('#said')
        new MutationObserver(() => window.heard.push(said.textContent)).observe(said, {childList: true, characterData: true, subtree: true})
    }""")
    assert page.locator('#said').get_attribute('role') == 'status'
    drop(page, photos/'letter.jpg', photos/'scan.tif')
    restore(page, '1 of 2 restored.')
    page.wait_for_function("() => window.heard.at(-1) == '1 of 2 restored.'")
    heard = page.evaluate('window.heard')
    assert len(heard) == len(set(heard)) <= 3 and not any('%' in o for o in heard)

def test_the_slider_by_mouse_and_by_keyboard_at_phone_width(visit, photos):
    page = visit(360, 740)
    page.get_by_role('button', name='Example: film').focus()
    page.keyboard.press('Enter')
    page.get_by_text('film china').wait_for()
    page.get_by_role('button', name='Clear').click()
    drop(page, photos/'scan.tif')
    page.get_by_role('button', name='Restore').focus()
    page.keyboard.press('Enter')
    page.locator('#told').get_by_text('1 of 1 restored.').wait_for()
    page.get_by_test_id('imageslider-image').last.evaluate('o => o.decode()')
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    at = border(page)
    page.get_by_label(re.compile('range slider for Border')).focus()
    for _ in range(20): page.keyboard.press('ArrowRight')
    page.wait_for_function(f'() => document.querySelector("[data-testid=slider]").getBoundingClientRect().x > {at + 20}')
    at = border(page)
    box = page.get_by_test_id('slider').bounding_box()
    x, y = box['x'] + box['width']/2, box['y'] + box['height']/2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 80, y, steps=4)
    page.mouse.up()
    assert border(page) < at - 60

@pytest.mark.parametrize('width', [320, 390, 768])
def test_nothing_sticks_out_on_a_small_screen_and_the_tab_key_reaches_all(visit, width):
    page = visit(width, 700)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    beyond = "o => o.getBoundingClientRect().right > innerWidth || o.getBoundingClientRect().left < 0"
    assert not page.evaluate(f"[...document.querySelectorAll('button, input')].filter(o => o.offsetParent).filter({beyond}).map(o => o.outerHTML)")
    reached = set()
    for _ in range(30):
        page.keyboard.press('Tab')
        reached.add(page.evaluate('document.activeElement.innerText || document.activeElement.ariaLabel || document.activeElement.value || ""'))
    for name in 'Choose a whole folder', 'Example: film', 'auto', 'range slider for Strength', 'range slider for Texture', 'As it is', 'Restore', 'Stop':
        assert any(name in o for o in reached), (name, reached)

def test_what_a_proxy_says_to_a_photo_that_it_does_not_let_through_is_shown(visit, photos):
    page = visit()
    page.route('**/gradio_api/upload*', lambda route: route.fulfill(status=413, content_type='text/html', body='<h1>413 Request Entity Too Large</h1>'))
    page.locator('input[type=file]').first.set_input_files(photos/'scan.tif') # as a proxy answers to what is too large for it
    page.get_by_test_id('toast-body').get_by_text('413').first.wait_for()

def test_too_much_is_refused_with_a_reason(visit, tmp_path):
    page = visit()
    (tmp_path/'large.jpg').write_bytes(bytes(1_100_000))
    page.locator('input[type=file]').first.set_input_files(tmp_path/'large.jpg')
    page.get_by_text('exceed the maximum allowed size').first.wait_for()
    write_photo(tmp_path/'wide.png', np.zeros((1000, 1100, 3), np.uint8))
    page = visit()
    drop(page, tmp_path/'wide.png')
    restore(page, '0 of 1 restored.')
    assert '1.1 megapixels, the limit is 1' in page.locator('#told').inner_text()
    write_photo(tmp_path/'small.png', np.zeros((400, 400, 3), np.uint8))
    page = visit()
    page.get_by_label('Four times as large').check()
    drop(page, tmp_path/'small.png')
    restore(page, '0 of 1 restored.')
    assert '0.2 megapixels would become 3' in page.locator('#told').inner_text()
    page = visit()
    page.get_by_role('button', name='Restore').click()
    page.get_by_text('No photo yet').first.wait_for()

def test_two_at_once_keep_their_photos_apart_and_leave_nothing(visit, photos, home):
    root, = home.glob('restorer-app-*')
    pages = visit(), visit()
    for page in pages: drop(page, photos/'scan.tif')
    for page, mode in zip(pages, ('Negative', 'Colour photo')):
        page.get_by_label(mode).check()
        page.get_by_role('button', name='Restore').click()
    for page in pages: page.locator('#told').get_by_text('1 of 1 restored.').wait_for()
    one, two = (download(page, 'Download this photo')[1] for page in pages)
    assert one != two
    def there(): return sorted(Path(folder).name == 'result' for folder, _, names in os.walk(root) if 'scan.tif' in names) # while folders go
    assert there() == [False, True, True] # sent by both, and a result for each
    pages[0].close()
    wait_until(lambda: there() == [False, True])
    assert download(pages[1], 'Download this photo')[1] == two
    pages[1].close()
    wait_until(lambda: not there())

def wait_until(true):
    import time
    for _ in range(300):
        if true(): return
        time.sleep(.1)
    assert true()

def ask(url, data=None, **headers):
    "Status and body of the answer to a request that no browser would send."
    if data is not None: data, headers = json.dumps(data).encode(), {'Content-Type': 'application/json', **headers}
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, data, headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e: return e.code, e.read()

def test_nobody_reads_or_writes_elsewhere(server, home, photos, tmp_path):
    root, = home.glob('restorer-app-*')
    secret = tmp_path/'secret.png'
    secret.write_bytes(b'secret')
    for path in (secret, '/etc/passwd', f'{root}/../../{secret.name}', f'{root}/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd', 'file:///etc/passwd',
                 'https://example.com/', root):
        assert ask(f'{server}/gradio_api/file={path}')[0] == 403, path
    for path in ('proxy=http://127.0.0.1:1/', 'call/work', 'info', 'monitoring', 'file/etc/passwd'): assert ask(f'{server}/gradio_api/{path}')[0] == 404
    for path in (str(secret), 'https://example.com/a.png', str(root/'..'/'x')):
        file = dict(path=path, meta={'_type': 'gradio.FileData'})
        for where in 'queue/join', 'run/predict':
            for fn in range(9): assert ask(f'{server}/gradio_api/{where}', dict(data=[[file], 'auto', 1], fn_index=fn, session_hash='x'))[0] == 403
    assert b'secret' not in b''.join(o.read_bytes() for o in root.rglob('*') if o.is_file())
    assert ask(f'{server}/', Host='evil.example')[0] == 421
    assert ask(f'{server}/gradio_api/queue/join', dict(data=[]), Origin='http://evil.example')[0] == 403
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../../evil.png"\r\n\r\nhello\r\n--x--\r\n'
    request = urllib.request.Request(f'{server}/gradio_api/upload', body, {'Content-Type': 'multipart/form-data; boundary=x'})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer: path, = json.load(answer)
    assert root in Path(path).resolve().parents and not list(home.glob('evil.png')) and not list(home.parent.glob('evil.png'))
    assert ask(f'{server}/gradio_api/file={path}')[1] == b'hello'

### A mask by hand ###

@pytest.fixture(scope='module')
def shipped(tmp_path_factory):
    "The address of a page with the weights that come with the package."
    with running(env=dict(TMPDIR=str(tmp_path_factory.mktemp('shipped')))) as (url, _, _): yield url

def open_editor(page, *files, mode='Colour photo', said=None):
    "Restore photos and unfold the editor; its canvas, with the mask of the last photo."
    drop(page, *files)
    page.get_by_label(mode).check()
    restore(page, said or f'{len(files)} of {len(files)} restored.')
    page.get_by_role('button', name='What was taken for damage').click()
    return on_easel(page)

def on_easel(page, marked='marked.'):
    "The canvas, as soon as it says how much is marked."
    page.locator('#marked', has_text=marked).wait_for()
    canvas = page.locator('#easel canvas')
    canvas.scroll_into_view_if_needed()
    return canvas

def draw(page, canvas, shape, *points):
    "A stroke by mouse through points (x, y) of a photo (H, W)."
    box = canvas.bounding_box()
    (x, y), *others = [(box['x'] + x/shape[1]*box['width'], box['y'] + y/shape[0]*box['height']) for x, y in points]
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in others: page.mouse.move(x, y, steps=5)
    page.mouse.up()

def again(page):
    old = page.get_by_test_id('imageslider-image').first.get_attribute('src')
    page.get_by_role('button', name='Again, with this mask').click()
    page.wait_for_function('old => document.querySelector("[data-testid=imageslider-image]")?.getAttribute("src") !== old', arg=old)
    page.locator('#told li', has_text='restored again').wait_for()

def downloaded(page, button, path):
    path.write_bytes(download(page, button)[1])
    return read_photo(path)

def apart(a, b): return np.abs(a.astype(int) - b).mean()

def test_what_is_rubbed_out_stays_and_what_is_painted_is_filled(visit, shipped, tmp_path):
    photo = sample_photo('china')[::2, ::2].copy()
    label, tear = np.s_[140:164, 40:76], np.s_[88:93, 62:108] # painted over, which the network finds; a part of the tower, which it leaves alone
    photo[label] = 128
    write_photo(tmp_path/'scan.png', photo)
    page = visit(url=shipped)
    canvas = open_editor(page, tmp_path/'scan.png')
    first, mask = (downloaded(page, o, tmp_path/'out.png') for o in ('Download this photo', 'Download the mask'))
    assert (mask[label] == 255).mean() > .8 and (mask[tear] == 0).all() and mask.shape == photo.shape
    assert apart(first[label], 128) > 20
    page.get_by_role('radio', name='Eraser').check()
    page.get_by_role('radio', name='Broad').check()
    found = page.locator('#marked').inner_text()
    for y in 138, 148, 158, 166: draw(page, canvas, photo.shape, (34, y), (82, y))
    page.wait_for_function('before => document.querySelector("#marked").innerText != before', arg=found)
    page.get_by_role('radio', name='Brush').check()
    page.get_by_role('radio', name='Medium').check()
    draw(page, canvas, photo.shape, (60, 90), (110, 90))
    again(page)
    was, (second, mask) = mask, (downloaded(page, o, tmp_path/'out.png') for o in ('Download this photo', 'Download the mask'))
    assert (mask[tear] == 255).all() and not mask[label].any()
    assert np.array_equal(mask[180:], was[180:]) and np.array_equal(mask[:, 130:], was[:, 130:]) # far from both
    assert apart(second[label], photo[label]) < 4 # as it was
    assert apart(second[tear], first[tear]) > 10
    assert apart(second[180:, 120:], first[180:, 120:]) < 1 # far from both
    painted = page.locator('#marked').inner_text()
    page.get_by_role('button', name='Back to what was found').click()
    on_easel(page, re.compile(f'^(?!{painted})'))
    again(page)
    assert (downloaded(page, 'Download the mask', tmp_path/'out.png')[label] == 255).mean() > .8

def test_brush_and_eraser_by_finger_and_by_keyboard_at_phone_width(visit, photos):
    page = visit(360, 740, has_touch=True)
    canvas, marked = open_editor(page, photos/'scan.tif'), page.locator('#marked')
    assert marked.inner_text() == 'Nothing is marked.' and marked.get_attribute('role') == 'status'
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    beyond = "o => o.getBoundingClientRect().right > innerWidth || o.getBoundingClientRect().left < 0"
    assert not page.evaluate(f"[...document.querySelectorAll('#damage button, #damage input, canvas')].filter(o => o.offsetParent).filter({beyond}).map(o => o.outerHTML)")
    def share(): return float(re.findall(r'[\d.]+(?= % of the photo)', marked.inner_text())[0])
    box = canvas.bounding_box()
    page.touchscreen.tap(box['x'] + 60, box['y'] + 60)
    on_easel(page, 'of the photo is marked')
    dot = share()
    page.get_by_role('radio', name='Broad').check()
    page.touchscreen.tap(box['x'] + 160, box['y'] + 60)
    assert share() > 3*dot
    for text in f'{dot} %', 'Nothing is marked', 'nothing to undo': # step by step
        page.get_by_role('button', name='Undo a stroke').click()
        marked.get_by_text(text).wait_for()
    canvas.focus()
    assert 'Arrow keys' in canvas.get_attribute('aria-label')
    page.keyboard.press('ArrowRight')
    assert 'from the left' in marked.inner_text() # told, and nothing painted
    page.keyboard.press(' ')
    at_once = share()
    for _ in range(3): page.keyboard.press('Shift+ArrowRight')
    assert share() > 1.5*at_once > 0
    page.get_by_role('radio', name='Eraser').check()
    canvas.focus()
    for _ in range(4): page.keyboard.press('Shift+ArrowLeft')
    assert marked.inner_text() == 'Nothing is marked.'
    for _ in range(4): page.keyboard.press('Control+z')
    marked.get_by_text('of the photo').wait_for()
    page.get_by_role('radio', name='2×').check()
    page.wait_for_function('() => {const o = document.querySelector(".board"); return o.scrollWidth > 1.9*o.clientWidth}')
    assert page.evaluate('document.documentElement.scrollWidth') <= 360

def test_a_mask_that_does_not_come_is_said(visit, photos):
    page = visit()
    canvas = open_editor(page, photos/'scan.tif')
    page.evaluate("() => {HTMLImageElement.prototype.decode = () => Promise.reject(new Error('the server is gone'))}")
    draw(page, canvas, (160, 214), (20, 20), (60, 60))
    page.get_by_role('button', name='Again, with this mask').click()
    on_easel(page, 'could not be loaded')

def test_one_of_two_photos_again_with_a_mask_from_a_file(visit, tmp_path):
    from PIL import Image
    roof = sample_photo('china')[::4, ::4]
    for name in 'a.png', 'b.png': write_photo(tmp_path/name, roof)
    lost = np.zeros(roof.shape[:2], np.uint8)
    lost[40:60, 20:90] = 255
    for name, o in {'lost.png': lost, 'turned.png': lost.T, 'small.png': lost[::2, ::2]}.items(): Image.fromarray(o).save(tmp_path/name)
    page = visit()
    open_editor(page, tmp_path/'a.png', tmp_path/'b.png')
    def zipped():
        with zipfile.ZipFile(io.BytesIO(download(page, 'Download all (ZIP)')[1])) as z: return z.read('a.png'), z.read('b.png')
    a, b = zipped()
    page.get_by_label('Photo to compare').click()
    page.get_by_role('option').first.click()
    page.get_by_test_id('imageslider-image').first.and_(page.locator('[src*="/0/before"]')).wait_for()
    def send(name): page.locator('#damage input[type=file]').set_input_files(tmp_path/name)
    send('turned.png')
    page.get_by_text('their shapes differ').first.wait_for()
    send('lost.png')
    on_easel(page, f'{lost.mean()/2.55:.1f} %')
    again(page)
    assert (downloaded(page, 'Download the mask', tmp_path/'out.png')[..., 0] == lost).all()
    page.wait_for_function('() => document.querySelector("#told").innerText.includes("a.png")')
    new, same = zipped()
    assert same == b and new != a
    (tmp_path/'out.png').write_bytes(new)
    (tmp_path/'old.png').write_bytes(a)
    changed = np.abs(read_photo(tmp_path/'out.png').astype(int) - read_photo(tmp_path/'old.png'))
    assert changed[lost > 0].mean() > 2*changed[80:].mean()
    page.get_by_role('button', name='Back to what was found').click()
    on_easel(page, 'Nothing is marked')
    page.get_by_role('button', name='Undo a stroke').click()
    on_easel(page, f'{lost.mean()/2.55:.1f} %')

def test_what_nobody_wants_is_not_done(visit, photos):
    page = visit()
    page.get_by_label('Black and white').check()
    luma = page.get_by_label('Only add colour')
    luma.wait_for()
    page.get_by_label('Colours for black-and-white photos').uncheck()
    luma.wait_for(state='hidden')
    page.get_by_label('Colours for black-and-white photos').check()
    luma.check()
    canvas = open_editor(page, photos/'scan.tif', mode='Black and white')
    draw(page, canvas, (10, 10), (2, 2), (8, 8))
    page.get_by_role('button', name='Again, with this mask').click()
    page.get_by_text('keeps the brightness of every pixel').last.wait_for()

@pytest.mark.parametrize('wish, marked', [('Leave them', 'Nothing is marked'), ('Fill what is likely, too', '%')])
def test_who_says_how_sure_damage_has_to_be(visit, shipped, tmp_path, wish, marked):
    photo = sample_photo('china')[::2, ::2].copy()
    photo[140:164, 40:76] = 128
    write_photo(tmp_path/'scan.png', photo)
    page = visit(url=shipped)
    page.get_by_label(wish).check()
    open_editor(page, tmp_path/'scan.png')
    on_easel(page, marked)

### Behind a proxy ###

class Proxy(http.server.BaseHTTPRequestHandler):
    "A small reverse proxy: shows what lies at `inside` in the folder /old/photos, by the habits of one kind of proxy."
    protocol_version = 'HTTP/1.0' # an answer ends with its connection, and so may come bit by bit
    def do_GET(self):
        path, headers = self.path, {k: v for k, v in self.headers.items() if k.lower() not in ('connection', 'accept-encoding', 'host')}
        if self.strips: path = path.removeprefix('/old/photos')
        host = self.headers['Host']
        headers |= {'told': {'Host': host}, 'beside': {'Host': self.inside, 'X-Forwarded-Host': host, 'X-Forwarded-Proto': 'http'},
                    'silent': {'Host': self.inside}}[self.habit]
        inside = http.client.HTTPConnection(self.inside, timeout=120)
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        try:
            inside.request(self.command, path, body, headers)
            answer = inside.getresponse()
            self.send_response(answer.status)
            for k, v in answer.getheaders():
                if k.lower() not in ('connection', 'transfer-encoding', 'date', 'server'): self.send_header(k, v)
            self.end_headers()
            while data := answer.read1(65536): self.wfile.write(data)
        except OSError: pass # the browser left
        finally: inside.close()
    do_POST = do_HEAD = do_GET
    def log_message(self, *args): pass

@contextmanager
def proxy(habit, strips):
    "Such a proxy: its address, by a name that this computer does not have, and its handler, which wants to be told what is `inside`."
    handler = type('Handler', (Proxy,), dict(habit=habit, strips=strips))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as outside:
        outside.daemon_threads = True
        threading.Thread(target=outside.serve_forever, daemon=True).start()
        yield f'http://www.photos.test:{outside.server_port}/old/photos', handler
        outside.shutdown()

@pytest.fixture(scope='module')
def behind(model, tmp_path_factory):
    "The address of a page that is made for a proxy."
    with running('--model', model, '--root-path', '/old/photos', '--allowed-host', 'other.example', '--allowed-host', '*.photos.test',
                 env=dict(TMPDIR=str(tmp_path_factory.mktemp('behind')))) as (url, _, _): yield url

def use(page, photos):
    "Send, restore, look and fetch, as far as a proxy could be in the way."
    drop(page, photos/'scan.tif', photos/'roof & <b>sky<b>.jpg')
    page.get_by_label('Negative').check()
    restore(page, '2 of 2 restored.') # told by events
    pictures = page.get_by_test_id('imageslider-image')
    assert all(o.evaluate('o => o.decode().then(() => o.naturalWidth)') == 160 for o in pictures.all())
    with zipfile.ZipFile(io.BytesIO(download(page, 'Download all (ZIP)')[1])) as z: assert len(z.namelist()) == 2
    page.get_by_role('button', name='What was taken for damage').click()
    draw(page, on_easel(page), (10, 10), (2, 2), (8, 8))
    again(page)

@pytest.mark.parametrize('habit,strips', [('told', True), ('told', False), ('beside', True)])
def test_the_page_works_behind_a_proxy(visit, behind, photos, habit, strips):
    with proxy(habit, strips) as (url, handler):
        handler.inside = behind.removeprefix('http://')
        use(page := visit(url=url), photos)
        if strips: return
        page.goto(url) # without the slash at the end
        page.get_by_role('button', name='Restore').wait_for()

def test_a_proxy_that_says_nothing_needs_the_whole_address(visit, model, photos, tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as s: port = s.getsockname()[1]
    with proxy('silent', True) as (url, handler), running('--model', model, '--port', port, '--root-path', url, env=dict(TMPDIR=str(tmp_path))) as (told, _, _):
        assert told == url
        handler.inside = f'127.0.0.1:{port}'
        use(page := visit(url=url), photos)
        page.context.close() # before the server

def test_only_allowed_names_pass(behind):
    assert [ask(f'{behind}/', Host=o)[0] for o in ('www.photos.test', 'WWW.photos.test:81', 'other.example', 'localhost', 'photos.test', 'evil.example',
        'www.photos.test.evil.example')] == [200]*4 + [421]*3
    assert b'--allowed-host' in ask(f'{behind}/', Host='evil.example')[1]
    assert ask(f'{behind}/', **{'X-Forwarded-Host': 'evil.example'})[0] == 421
    wish = dict(data=[], fn_index=99, session_hash='x')
    def status(**headers): return ask(f'{behind}/old/photos/gradio_api/queue/join', wish, **headers)[0]
    assert status(Origin='https://evil.example') == status(Origin='http://127.0.0.1:81') == status(Host='www.photos.test', Origin='null') == 403
    assert status(Host='www.photos.test', Origin='https://www.photos.test:8443') not in (403, 421)
    assert ask(f'{behind}/old/photos/gradio_api/file=/etc/passwd')[0] == 403
    page = ask(f'{behind}/old/photos/', Host='www.photos.test', **{'X-Forwarded-Proto': 'https'})[1].decode()
    assert '"root":"https://www.photos.test/old/photos"' in page.replace(' ', '')

def test_the_page_has_an_ipv6_address(model, tmp_path):
    try: socket.create_server(('::1', 0), family=socket.AF_INET6).close()
    except OSError: pytest.skip('this computer has no IPv6')
    with running('--model', model, '--host', '::1', env=dict(TMPDIR=str(tmp_path))) as (url, said, _):
        assert url.startswith('http://[::1]:') and 'network' not in said
        assert ask(f'{url}/')[0] == 200 and ask(f'{url}/', Host='evil.example')[0] == 421
        port = url.rpartition(':')[2]
        again = subprocess.run([RESTORER, 'app', '--model', model, '--host', '[::1]', '--port', port], capture_output=True, text=True)
        assert again.returncode == 1 and f'cannot listen on ::1, port {port}' in again.stderr + again.stdout

FRPC = """#!{python}
import os, sys, time
open(os.environ['FRPC_CALLED'], 'w').write(str(os.getpid()) + ' ' + ' '.join(sys.argv[1:]))
print('start proxy success: http://abc.share.test', flush=True)
time.sleep(600)
"""

def test_a_shared_page_says_that_photos_leave(model, tmp_path):
    from gradio.tunneling import BINARY_FILENAME
    for o in 'home/gradio/frpc', 'tmp', 'cwd': (tmp_path/o).mkdir(parents=True)
    program = tmp_path/'home/gradio/frpc'/BINARY_FILENAME # stands in for the program that calls the server
    program.write_text(FRPC.format(python=sys.executable))
    program.chmod(0o755)
    env = dict(TMPDIR=str(tmp_path/'tmp'), HF_HOME=str(tmp_path/'home'), GRADIO_SHARE_SERVER_ADDRESS='127.0.0.1:9', FRPC_CALLED=str(tmp_path/'called'))
    with running('--model', model, '--share', env=env, cwd=tmp_path/'cwd') as (url, said, _):
        assert url == 'http://abc.share.test' and 'a server on the internet that is not yours' in said and 'no password' in said
        pid, *args = (tmp_path/'called').read_text().split()
        here = f'http://127.0.0.1:{args[args.index("-l") + 1]}'
        assert b'through a server on the internet' in ask(f'{here}/', Host='abc.share.test')[1]
        assert [ask(f'{here}/', Host=o)[0] for o in ('localhost', 'abd.share.test')] == [200, 421]
    assert not list((tmp_path/'tmp').iterdir()) and not list((tmp_path/'cwd').iterdir())
    wait_until(lambda: not Path(f'/proc/{pid}').exists())

def test_without_internet_nothing_is_shared(model, tmp_path):
    env = {**os.environ, 'TMPDIR': str(tmp_path), 'HF_HOME': str(tmp_path/'home'), 'https_proxy': 'http://127.0.0.1:9', 'HTTPS_PROXY': 'http://127.0.0.1:9'}
    env.pop('GRADIO_SHARE_SERVER_ADDRESS', None)
    done = subprocess.run([RESTORER, 'app', '--model', model, '--port', '0', '--share'], env=env, capture_output=True, text=True, timeout=300)
    said = ' '.join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and 'no public address could be had for --share' in said and 'Traceback' not in said
    assert not list(tmp_path.glob('restorer-app-*'))
