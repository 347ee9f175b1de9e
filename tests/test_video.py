"Videos by command: coloured as a stream, taken up after kill -9, with other people's files."
import os
import signal
import struct
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from restorer_fastai import Restorer
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.nets.weights import load_network
from restorer_fastai.photo.pixels import rgb_to_grey, to_float
from restorer_fastai.photo.samples import sample_photo
from test_cli import run

av = pytest.importorskip('av')
from restorer_fastai.colourhistory import video # noqa: E402
from restorer_fastai.colourhistory.video import Frame, is_grey_video, read_frames, restore_video, video_info, VideoError, VideoInfo, write_part # noqa: E402: what needs PyAV is imported where it is there

ROOT = Path(__file__).resolve().parent.parent

def made_video(path, n=40, size=(96, 128), grey=True, sound='aac', codec='libx264', pix_fmt='yuv420p', rate=25, trc=None, options=None, **metadata):
    "A pan over a city, a cut, a flower; a tone beside it."
    photos = [sample_photo(o)[::3, ::3] for o in ('china', 'flower')]
    with av.open(str(path), 'w') as out:
        video = out.add_stream(codec, rate=rate, options=options or (dict(crf='8') if codec == 'libx264' else {}))
        video.height, video.width, video.pix_fmt = *size, pix_fmt
        if trc: video.codec_context.color_trc = trc
        out.metadata.update(metadata)
        if sound:
            audio = out.add_stream(sound, rate=48000)
            audio.layout = 'mono'
            resampler = av.AudioResampler(format=audio.codec_context.format, layout='mono', rate=48000)
        for t in range(n):
            img = photos[t >= 2*n//3][10:10 + size[0], 2*t % 60:2*t % 60 + size[1]]
            if grey: img = np.repeat(img.mean(2, keepdims=True).round().astype(np.uint8), 3, 2)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(img), format='rgb24')
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = t, 1/Fraction(rate)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound:
            wave = .2*np.sin(np.arange(48000*n//25)*.06).astype(np.float32)
            for i in range(0, len(wave) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(wave[None, i:i + 1024], format='fltp', layout='mono')
                block.sample_rate, block.pts, block.time_base = 48000, i, Fraction(1, 48000)
                for ready in resampler.resample(block): out.mux(audio.encode(ready))
            out.mux(audio.encode(None))
    return path

@pytest.fixture(scope='module')
def reel(tmp_path_factory): return made_video(tmp_path_factory.mktemp('reel')/'reel.mp4')

def said(*args, cwd, code=0): return ' '.join(''.join(run('video', *args, cwd=cwd, code=code)).split())

@pytest.fixture(scope='module')
def restorer():
    net = build_network(NetConfig(arch=None))
    net.put_part('colourer', load_network('reference', 'colour')[0])
    return Restorer(net, device='cpu')

def frames_of(path): return list(read_frames(video_info(path)))
def seconds_of(path): return [float(o.pts*video_info(path).time_base) for o in frames_of(path)]
def sound_of(path):
    with av.open(str(path)) as file: return b''.join(bytes(o) for o in file.demux(file.streams.audio[0]) if o.size)

@pytest.mark.parametrize('n', [1, 2, 7])
def test_a_few_frames(restorer, tmp_path, n):
    "They once gave no file: NUT keeps silent about when the first frames are decoded."
    made_video(tmp_path/'in.mp4', n, sound=None)
    assert restore_video(restorer, tmp_path/'in.mp4', tmp_path/'out.mp4', progress=False).frames == n == len(frames_of(tmp_path/'out.mp4'))

FILES = { # what other people have: name -> how it is made
    'tape.avi': dict(codec='mjpeg', pix_fmt='yuvj420p', sound='pcm_s16le'), 'disc.mpg': dict(codec='mpeg2video', sound='mp2'), 'page.webm': dict(codec='libvpx-vp9', sound='libopus'),
    'studio.mov': dict(codec='prores_ks', pix_fmt='yuv422p10le', sound='pcm_s16le', rate=24), 'archive.mkv': dict(codec='ffv1', pix_fmt='gray', size=(97, 131), sound='flac'),
    'deep.mkv': dict(codec='ffv1', pix_fmt='gray16le', sound=None), 'american.mp4': dict(rate=Fraction(30000, 1001))}

@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
@pytest.mark.parametrize('name', FILES)
def test_other_peoples_files(restorer, tmp_path, name, suffix):
    "Rate, times, sound, depth and what is seen stay."
    source, out = made_video(tmp_path/name, 8, **FILES[name]), tmp_path/f'out{suffix}'
    restore_video(restorer, source, out, progress=False)
    was, now = video_info(source), video_info(out)
    assert (now.rate, now.sounds, now.bits) == (was.rate, was.sounds, min(was.bits, 10))
    a, b = seconds_of(source), seconds_of(out)
    shift = b[0] - a[0] if suffix == '.mkv' else 0 # Matroska counts milliseconds, from 0 on, also for sound that begins before the pictures
    assert 0 <= shift < .03 and np.allclose(np.add(a, shift), b, atol=.0011)
    if was.sounds: assert sound_of(out) == sound_of(source)
    for a, b in zip(frames_of(source), frames_of(out)):
        a, b = (rgb_to_grey(to_float(o.pixels))[:was.height, :was.width] for o in (a, b))
        assert np.abs(a - b).mean() < .02 and a.shape == b.shape

def test_held_upright(restorer, tmp_path):
    "A phone writes frames that lie, and a matrix that turns them."
    made_video(tmp_path/'lying.mp4', 4)
    data = bytearray((tmp_path/'lying.mp4').read_bytes())
    matrix = data.find(b'tkhd') + 44
    data[matrix:matrix + 36] = struct.pack('>9i', 0, 65536, 0, -65536, 0, 0, 0, 0, 2**30)
    (tmp_path/'phone.mp4').write_bytes(data)
    restore_video(restorer, tmp_path/'phone.mp4', tmp_path/'out.mp4', progress=False)
    lying, upright = frames_of(tmp_path/'lying.mp4')[0].pixels, frames_of(tmp_path/'out.mp4')[0].pixels
    assert upright.shape == (128, 96, 3) and video_info(tmp_path/'out.mp4').turns == 0
    assert np.abs(rgb_to_grey(to_float(np.rot90(lying, -1))) - rgb_to_grey(to_float(upright))).mean() < .02

def test_captions_stay(restorer, tmp_path):
    made_video(tmp_path/'in.mp4', 4, title='Wedding in La Paz', comment='8 mm, reel 3')
    restore_video(restorer, tmp_path/'in.mp4', tmp_path/'out.mkv', progress=False)
    with av.open(str(tmp_path/'out.mkv')) as file: said = {k.lower(): v for k, v in file.metadata.items()}
    assert (said['title'], said['comment']) == ('Wedding in La Paz', '8 mm, reel 3')

def test_what_cannot_be_is_said_with_the_name_of_the_file(restorer, tmp_path):
    for name, size, why in ('tiny.mp4', (8, 10), 'tiny.mp4: its frames have 10 × 8 px'), ('page.webm', (96, 128), 'out.mov: pictures and sound could not be put into it'):
        made_video(tmp_path/name, 4, size, codec='libvpx-vp9' if 'webm' in name else 'libx264', sound='libopus' if 'webm' in name else None)
        with pytest.raises(VideoError, match=why): restore_video(restorer, tmp_path/name, tmp_path/'out.mov', progress=False)
        assert not (tmp_path/'out.mov').exists()

def test_without_pyav(reel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(ImportError, match=r'restorer_fastai\[video\]'): video_info(reel)

def test_by_command(reel, tmp_path):
    assert '40 frames, coloured' in said(reel, '--out', 'out.mp4', cwd=tmp_path)
    info = video_info(tmp_path/'out.mp4')
    assert (info.width, info.height, info.rate, info.sounds) == (128, 96, 25, 1) and not is_grey_video(info)
    assert 'there already' in said(reel, '--out', 'out.mp4', cwd=tmp_path, code=1)
    assert '10 frames' in said(reel, '--out', 'short.mp4', '--preview', '.4s', cwd=tmp_path)
    assert sorted(o.name for o in tmp_path.iterdir()) == ['out.mp4', 'short.mp4']

@pytest.mark.parametrize('args, why', [(['--preview', 'soon'], 'give seconds'), (['--no-colorize'], 'nothing is to be done'), (['--out', 'out.gif'], 'ends in .mp4')])
def test_wishes_that_cannot_be(reel, tmp_path, args, why):
    assert why in said(reel, *([] if '--out' in args else ['--out', 'out.mp4']), *args, cwd=tmp_path, code=1 if '--out' in args else 2)
    assert not list(tmp_path.iterdir())

def test_files_that_are_no_video(tmp_path):
    (tmp_path/'text.mp4').write_text('no video')
    with av.open(str(tmp_path/'sound.mp4'), 'w') as out:
        audio = out.add_stream('aac', rate=48000)
        audio.layout = 'mono'
        for i in range(8):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
            block.sample_rate, block.pts, block.time_base = 48000, 1024*i, Fraction(1, 48000)
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    assert 'FFmpeg cannot read it' in said('text.mp4', '--out', 'a.mp4', cwd=tmp_path, code=1)
    assert 'no moving pictures, only sound' in said('sound.mp4', '--out', 'a.mp4', cwd=tmp_path, code=1)
    assert 'no such file' in said('none.mp4', '--out', 'a.mp4', cwd=tmp_path, code=1)
    assert not (tmp_path/'a.mp4').exists()

def test_a_video_in_colour_keeps_its_colours(tmp_path):
    made_video(tmp_path/'colour.mp4', 12, grey=False)
    assert '--recolour' in said('colour.mp4', '--out', 'a.mp4', cwd=tmp_path, code=1)
    assert 'its colours stayed' in said('colour.mp4', '--out', 'b.mp4', '--dust', 16, cwd=tmp_path)
    a, b = (next(read_frames(video_info(tmp_path/o))).pixels for o in ('colour.mp4', 'b.mp4'))
    assert np.abs(a.astype(int) - b).mean() < 3

def test_killed_and_taken_up(reel, tmp_path):
    "kill -9 while parts are written: what is done stays done, and the result is that of a run nobody disturbed."
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r}); from restorer_fastai.colourhistory import video; video.PART_FRAMES = 8; from restorer_fastai.cli import app; app()'
    def start(out): return subprocess.Popen([sys.executable, '-c', code, 'video', str(reel), '--out', out], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = start('killed.mp4')
    parts = tmp_path/'.killed.mp4.parts'
    while first.poll() is None and not list(parts.glob('000001.npz')): time.sleep(.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path/'killed.mp4').exists() and list(parts.glob('*.npz'))
    for out in 'killed.mp4', 'whole.mp4':
        text, error = start(out).communicate()
        assert '40 frames' in text, error
        assert ('by an earlier run' in text) == (out == 'killed.mp4')
    assert (tmp_path/'killed.mp4').read_bytes() == (tmp_path/'whole.mp4').read_bytes() and not parts.exists()

def test_memory_does_not_grow(tmp_path):
    "A video five times as long needs no more."
    code = f'''
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT/'tests')!r}]
from peak import peak_mb
import torch
torch.set_num_threads(1)
from restorer_fastai import Restorer
from restorer_fastai.colourhistory import video
from restorer_fastai.nets.restorer import NetConfig, build_network
from restorer_fastai.nets.weights import load_network
video.PART_FRAMES = 20
net = build_network(NetConfig(arch=None))
net.put_part('colourer', load_network('reference', 'colour')[0])
for name in 'short', 'long':
    video.restore_video(Restorer(net, device='cpu'), name + '.mp4', name + '_out.mp4', progress=False)
    print(peak_mb())
'''
    for name, n in dict(short=30, long=150).items(): made_video(tmp_path/f'{name}.mp4', n, sound=None)
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    short, long = map(float, done.stdout.split())
    assert long - short < 40, (short, long, done.stderr)

@pytest.mark.parametrize('bits', [8, 10])
@pytest.mark.parametrize('size', [(96, 128), (720, 1280)])
def test_colours_pass_through(tmp_path, bits, size):
    "Reading and writing changes no colour and no brightness on average, in SD (BT.601) and HD (BT.709)."
    rng, top = np.random.default_rng(0), 255 if bits == 8 else 65535
    img = cv2.resize(rng.integers(40, 216, (5, 8, 3)).astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    info = VideoInfo(tmp_path, *size[::-1], Fraction(25), Fraction(1, 12800), 0, 1, bits, 0, Fraction(1), 0, 0)
    write_part(tmp_path/'a.nut', info, [Frame(0, img if bits == 8 else img.astype(np.uint16)*257)], crf=2)
    back = next(read_frames(video_info(tmp_path/'a.nut'))).pixels/top*255
    assert np.abs((back - img).mean((0, 1))).max() < .2 and np.abs(back - img).mean() < 3

def test_a_bad_sector_costs_what_lies_in_it(restorer, tmp_path):
    "The frames after it are still there."
    made_video(tmp_path/'whole.mp4', 40, sound=None)
    with av.open(str(tmp_path/'whole.mp4')) as file: packets = [(o.pos, o.size) for o in file.demux(video=0) if o.size]
    data = bytearray((tmp_path/'whole.mp4').read_bytes())
    at, size = packets[10]
    data[at:at + size] = bytes(size)
    (tmp_path/'bad.mp4').write_bytes(data)
    notes = []
    frames = list(read_frames(video_info(tmp_path/'bad.mp4'), notes=notes))
    assert 36 <= len(frames) < 40 and float(frames[-1].pts*video_info(tmp_path/'bad.mp4').time_base) == pytest.approx(39/25)
    assert '1 damaged frames were passed over' in notes

def test_large_frames_do_not_wait_in_memory(restorer, tmp_path, monkeypatch):
    "Parts end by their size, too."
    parts = []
    monkeypatch.setattr(video, 'PART_BYTES', 12*96*128*3)
    monkeypatch.setattr(video._Parts, 'add', lambda self, info, frames, *args, add=video._Parts.add: parts.append(len(frames)) or add(self, info, frames, *args))
    made_video(tmp_path/'in.mp4', 40, sound=None)
    restore_video(restorer, tmp_path/'in.mp4', tmp_path/'out.mp4', progress=False)
    assert sum(parts) == 40 and max(parts) <= 12 + 5

def test_the_video_itself_is_not_overwritten(restorer, reel):
    with pytest.raises(VideoError, match='it is the video itself'): restore_video(restorer, reel, reel, overwrite=True, progress=False)

def test_what_would_come_out_wrong_is_said(restorer, tmp_path):
    made_video(tmp_path/'hdr.mp4', 4, sound=None, pix_fmt='yuv420p10le', trc=16)
    with pytest.raises(VideoError, match='it is HDR'): video_info(tmp_path/'hdr.mp4')
    made_video(tmp_path/'tv.mpg', 6, sound=None, codec='mpeg2video', options=dict(flags='+ildct+ilme', field_order='tt'))
    assert any('interlaced' in o for o in restore_video(restorer, tmp_path/'tv.mpg', tmp_path/'out.mp4', progress=False).notes)

def test_other_colours(reel, tmp_path):
    "Weights of the colour history's networks colour, and a run with others is not taken up; what is no network for colours, no setting and no video is said, and leaves nothing behind."
    from restorer_fastai.nets.weights import save_weights
    from restorer_fastai.colourhistory.residual_encoder import ResidualEncoder
    save_weights(tmp_path/'history.safetensors', ResidualEncoder().eval())
    save_weights(tmp_path/'restorer.safetensors', build_network(NetConfig(arch=None)).eval())
    assert '5 frames, coloured' in said(reel, '--out', 'a.mp4', '--preview', '.2s', '--colours', 'history.safetensors', cwd=tmp_path)
    assert 'makes chroma of luma' in said(reel, '--out', 'b.mp4', '--colours', 'restorer.safetensors', cwd=tmp_path, code=1)
    assert 'choose one of mild, bold' in said(reel, '--out', 'b.mp4', '--setting', 'loud', cwd=tmp_path, code=2)
    cv2.imwrite(str(tmp_path/'photo.png'), np.zeros((64, 64, 3), np.uint8))
    assert 'it is a picture' in said('photo.png', '--out', 'b.mp4', cwd=tmp_path, code=1)
    assert sorted(o.name for o in tmp_path.iterdir()) == ['a.mp4', 'history.safetensors', 'photo.png', 'restorer.safetensors']
