#!/usr/bin/env python3
"""Writes tests/data/pillow_resize.h: what Pillow's bicubic resize makes of fixed noise, so that the tests can prove
equality without Python. Needs Pillow and nothing else:

    scripts/torch/make_pillow_vectors.py > tests/data/pillow_resize.h

Each axis is resized by a call of its own, horizontally first: what one call does up to Pillow 12 (checked below when
run with one), whereas Pillow 13 picks the order by size.
"""
from PIL import Image, __version__

MASK = (1 << 64) - 1
#       h   w   oh  ow
CASES = [(1, 1, 1, 1), (1, 1, 5, 7), (5, 7, 1, 1), (8, 8, 28, 28), (28, 28, 28, 28), (30, 41, 30, 56), (30, 41, 56, 41),
         (37, 53, 28, 56), (53, 37, 84, 28), (64, 48, 28, 28), (31, 64, 15, 72), (12, 89, 56, 84), (97, 11, 28, 28),
         (2, 200, 28, 112), (200, 3, 56, 28), (100, 100, 99, 101), (73, 91, 140, 112), (120, 160, 28, 28),
         (150, 33, 7, 90), (61, 127, 13, 3), (17, 1, 42, 2), (1, 300, 3, 41)]


def noise(index, n):
    """Byte i is the top of the i-th state of Knuth's generator; odd cases are pure black and white (most overshoot)."""
    state, out = index, bytearray()
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        byte = state >> 56
        out.append(byte if index % 2 == 0 else 255 if byte > 127 else 0)
    return bytes(out)


def fnv1a(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = ((h ^ b) * 0x100000001b3) & MASK
    return h


def main():
    print(f'/* Written by scripts/torch/make_pillow_vectors.py with Pillow {__version__}: do not edit.\n'
          ' * Fixed noise of h x w (seed = the index of the row) resized to oh x ow: FNV-1a of all bytes, and the first '
          'three. */\n'
          '/* clang-format off */\n'
          'static const struct {\n    int h, w, oh, ow;\n    uint64_t fnv;\n    unsigned char first[3];\n} PILLOW[] = {')
    for index, (h, w, oh, ow) in enumerate(CASES):
        im = Image.frombytes('RGB', (w, h), noise(index, 3 * h * w))
        out = im.resize((ow, h), Image.BICUBIC).resize((ow, oh), Image.BICUBIC).tobytes()
        if int(__version__.split('.')[0]) < 13:
            assert out == im.resize((ow, oh), Image.BICUBIC).tobytes()
        print(f'    {{{h}, {w}, {oh}, {ow}, 0x{fnv1a(out):016x}u, {{{out[0]}, {out[1]}, {out[2]}}}}},')
    print('};')


if __name__ == '__main__':
    main()
