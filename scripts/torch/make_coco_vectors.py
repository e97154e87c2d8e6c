#!/usr/bin/env python3
"""Writes tests/data/coco_masks.h: the masks that the COCO API makes of polygons, so that the tests can prove equality without
Python. Needs pycocotools and nothing else:

    scripts/torch/make_coco_vectors.py > tests/data/coco_masks.h
"""
import json
import math
import random
from importlib.metadata import version

from pycocotools import mask as coco

# squares and their edges; outside; repeated corners; no height; smaller than a pixel; overlapping; one pixel; crossing itself
CASES = [(16, 16, [[0, 0, 0, 9, 9, 9, 9, 0]]), (10, 12, [[0, 0, 12, 0, 12, 10, 0, 10]]),
         (10, 12, [[-3, -4, 15, -2, 14, 13, -2, 12]]), (9, 7, [[3, 1, 3, 1, 6, 8, 6, 8, 0, 5]]), (9, 7, [[1, 1, 1, 7, 1, 4]]),
         (5, 5, [[2.5, 2.5, 2.6, 2.6, 2.5, 2.7]]), (12, 12, [[1, 1, 6, 1, 6, 6, 1, 6], [4, 4, 10, 4, 10, 10, 4, 10]]),
         (1, 1, [[0, 0, 1, 0, 1, 1, 0, 1]]), (20, 30, [[2, 2, 28, 18, 28, 2, 2, 18]])]


def cases():
    """Those above, and random ones: stars around the middle, and corners anywhere, some outside; rounded to 2, 1 or 0 places."""
    yield from CASES
    draw = random.Random(5)
    for k in range(24):
        h, w = draw.randint(3, 40), draw.randint(3, 40)
        polygons = []
        for _ in range(draw.randint(1, 3)):
            n, corners = draw.randint(3, 8), []
            for angle in sorted(draw.uniform(0, 2 * math.pi) for _ in range(n)):
                r = draw.uniform(.2, .9)
                corners += [w * (.5 + r * math.cos(angle)), h * (.5 + r * math.sin(angle))] if k % 2 else [
                    draw.uniform(-.3, 1.3) * w, draw.uniform(-.3, 1.3) * h]
            polygons.append([round(c, 2 - k % 3) for c in corners])
        yield h, w, polygons


print(f"""/* Written by scripts/torch/make_coco_vectors.py with pycocotools {version("pycocotools")}: do not edit.
 * Polygons, their union as the compressed run lengths that the COCO API makes of it, and the pixels that it has. */
/* clang-format off */
static const struct {{
    int h, w;
    const char *polygons, *counts;
    int area;
}} COCO[] = {{""")
for h, w, polygons in cases():
    union = coco.merge(coco.frPyObjects([[float(c) for c in p] for p in polygons], h, w))
    counts = union["counts"].decode().replace("\\", "\\\\").replace("?", "\\?")
    print(f'    {{{h}, {w}, "{json.dumps(polygons, separators=(",", ":"))}", "{counts}", {int(coco.area(union))}}},')
print("};")
