"""Small golden files of every kind of tensor, made of numbers that a test can follow."""
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts"))
from versavit_golden import save  # noqa: E402
from versavit_golden.tensors import open_tensors  # noqa: E402

FLOOR, SAMPLED = 1e-7, (70, 80)


def entry(key, kind="CHAIN", **more):
    return {"key": key, "class": kind, **more}


def contents(seed=0):
    """({key: array}, index) with every field of the index used."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    from versavit_golden.index import sample_places

    whole = normal(SAMPLED)
    logits = normal((4, 5))
    logits[2, 3] = logits[2].max() + 1
    logits[2, 1] = logits[2, 3] * (1 - 1e-7)
    signs = normal(12)
    signs[5] = 1e-7
    bands = dict(bands={"bf16": [1e-3, 4e-3], "tf32": [1e-4, 5e-4]}, local_bands={"bf16": [1e-3, 2e-3]})
    measured = dict(floor=FLOOR, local=FLOOR / 4, **bands)
    tensors = {
        "u1/vision/in/image.0": rng.integers(0, 256, (6, 4, 3), np.uint8),
        "u1/vision/in/grid_thw": np.array([[1, 4, 6], [2, 2, 2]], np.int64),
        "u1/vision/in/pixel_values": normal((32, 6)).astype(np.float32),
        "u1/vision/act/visual.patch_embed": normal((32, 8)),
        "u1/vision/act/visual.blocks.0": normal((32, 8)),
        "u1/vision/act/visual.blocks.0#part": normal((32, 8)),
        "u1/vision/act/flat": np.full(20, 3.0),
        "u1/vision/act/features": normal((8, 12)),
        "u1/vision/act/large": whole.reshape(-1)[sample_places(whole.size)],
        "u1/vision/act/tokens": logits.argmax(1).astype(np.int32),
        "u1/vision/act/logits": logits,
        "u1/vision/act/signs": np.sign(signs).astype(np.int32),
        "u1/vision/act/residual": signs,
        "u1/vision/loss/total": np.array(2.5),
        "u1/vision/dact/visual.blocks.0": normal((32, 8)),
        "u1/vision/dw/visual.blocks.0.weight": normal((8, 8)),
        "u1/vision/dw/visual.blocks.0.bias": np.zeros(16),
        "u1/update/dstep/visual.blocks.0.weight": normal((8, 8)),
        "u1/tied/act/first": normal(9),
        "u1/tied/act/second": normal(9),
        "u1/tied/alt/first.1": normal(9),
        "u1/tied/alt/second.1": normal(9),
    }
    special = {
        "u1/vision/act/visual.blocks.0#part": dict(required=False), "u1/vision/dact/visual.blocks.0": dict(required=False),
        "u1/vision/act/features": dict(output=True), "u1/vision/dw/visual.blocks.0.bias": dict(scale=0.5),
        "u1/vision/act/large": dict(sample=4096, shape=list(SAMPLED), rms=float(np.sqrt(np.mean(whole**2))), max=float(np.abs(whole).max())),
        "u1/tied/act/first": dict(alternatives=["u1/tied/alt/first.1"]), "u1/tied/act/second": dict(alternatives=["u1/tied/alt/second.1"]),
    }
    index = []
    for key in tensors:
        if "/in/" in key:
            index.append(entry(key, "EXACT"))
        elif key.endswith("/tokens"):
            index.append(entry(key, "DISCRETE", of="u1/vision/act/logits", rule="argmax"))
        elif key.endswith("/signs"):
            index.append(entry(key, "DISCRETE", of="u1/vision/act/residual", rule="sign"))
        else:
            index.append(entry(key, **measured, **special.get(key, {})))
    return tensors, index, whole


def write(path, tensors, index, **metadata):
    """A golden file."""
    save(path, tensors, {"versavit_golden": "2", "precision": "double", "index": json.dumps(index),
                         "config": json.dumps({"vision_config": {"spatial_merge_size": 2}}), "case": json.dumps({"kind": "tower"}), **metadata})


def candidate(tensors):
    """What a faultless program would write: everything but alternatives."""
    return {k: np.array(a) for k, a in tensors.items() if "/alt/" not in k}


def read(path):
    t = open_tensors(path)
    return {n: t.array(n) for n in t.names}
