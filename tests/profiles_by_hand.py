"ICC profiles made by hand (ICC.1), so that what a photo should look like does not hang on the library that reads it."
import struct

import numpy as np
from skimage.color import rgb2lab

def s15(*values): return b''.join(struct.pack('>i', round(v*65536)) for v in values)

PRIMARIES = dict(srgb=[(.4361, .2225, .0139), (.3851, .7169, .0971), (.1431, .0606, .7139)],
    p3=[(.5151, .2412, -.0011), (.2919, .6922, .0419), (.1572, .0666, .7841)],
    adobe=[(.60974, .31111, .01947), (.20528, .62567, .06087), (.14919, .06322, .74457)],
    prophoto=[(.79767, .28804, 0), (.13519, .71187, 0), (.03134, .00009, .82491)])
SRGB_CURVE = b'para\0\0\0\0\0\3\0\0' + s15(2.4, 1/1.055, .055/1.055, 1/12.92, .04045)
LINEAR = b'curv\0\0\0\0\0\0\0\0'

def gamma(g): return b'curv\0\0\0\0' + struct.pack('>IH', 1, round(g*256)) + b'\0\0'
def sampled(f): return b'curv\0\0\0\0' + struct.pack('>I1024H', 1024, *np.rint(f(np.linspace(0, 1, 1024))*65535).astype(int))
GAMMA22, GAMMA18, SAMPLED = gamma(0x0233/256), gamma(0x01cd/256), sampled(lambda v: v**1.9)

def icc(tags, space=b'RGB ', pcs=b'XYZ ', kind=b'mntr', text=b'made by a test\0'):
    "An ICC v2 profile of these tags."
    described = b'desc\0\0\0\0' + struct.pack('>I', len(text)) + text + b'\0'*78
    tags = {b'desc': described, b'wtpt': b'XYZ \0\0\0\0' + s15(.9642, 1, .8249)} | tags
    table, data, at = struct.pack('>I', len(tags)), b'', 128 + 4 + 12*len(tags)
    for name, body in tags.items():
        body += b'\0'*(-len(body) % 4)
        table, data = table + name + struct.pack('>II', at + len(data), len(body)), data + body
    head = struct.pack('>I4sI4s4s4s', at + len(data), b'\0'*4, 0x02100000, kind, space, pcs)
    head += struct.pack('>6H4s', 2026, 1, 1, 0, 0, 0, b'acsp') + b'\0'*28 + s15(.9642, 1, .8249)
    return head + b'\0'*(128 - len(head)) + table + data

def rgb_profile(primaries, curve, **kw):
    columns = {c + b'XYZ': b'XYZ \0\0\0\0' + s15(*v) for c, v in zip((b'r', b'g', b'b'), PRIMARIES[primaries])}
    return icc(columns | {c + b'TRC': curve for c in (b'r', b'g', b'b')}, **kw)

def grey_profile(curve, pcs=b'XYZ '): return icc({b'kTRC': curve}, b'GRAY', pcs)

def table_profile(back=True):
    "Red, green, blue -> Lab by a table of 2 x 2 x 2 corners, as some scanners' profiles have it; `back`: a table for the other way too."
    corners = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)], float)[None]
    lab = (rgb2lab(corners)*[2.55, 1, 1] + [0, 128, 128]).clip(0, 255).round().astype(np.uint8)
    ramp, one = bytes(range(256))*3, s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = lambda cells: b'mft1\0\0\0\0\3\3\2\0' + one + ramp + cells.tobytes() + ramp
    tags = {b'A2B0': lut(lab)} | ({b'B2A0': lut(np.rint(corners*255).astype(np.uint8))} if back else {})
    return icc(tags, pcs=b'Lab ', kind=b'mntr' if back else b'scnr')
