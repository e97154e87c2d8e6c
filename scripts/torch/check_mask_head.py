#!/usr/bin/env python3
"""Checks recordings of the segmentation head, and mask_head.py itself, live: check_mask_head.py [FILE...]

For each FILE (without: the committed golden/torch/mask-*.safetensors) everything is computed anew from the inputs, weights and settings
in it, by mask_head.py in float64 and, where there is such a SamModel, by the pieces of transformers in float32. The file must agree:
  written by a float build                         within 1e-5 of both
  by a double build, or by plain torch in float64  within 1e-11 of mask_head.py, 1e-5 of transformers
Its keys are u1/mask/<kind>/<name>; what a file must have is features, text, image_of, cotangent (in), all parameters (w), the masks
mask_head.mask_decoder and mask_head#resized (act); all else is compared where it is there. __metadata__ has mask_head (JSON: config.json's
object) and, of a file that versavit wrote, precision.
Then heads of other shapes, the published one among them, are compared live: mask_head.py in float64 against transformers in float32.
Limits are relative RMS as compare.py defines it. Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import glob
import json
import os
import sys

import torch

import record_heads_mask
import recording
from command import attempt
from record_tower import fix_arithmetic

FLOAT_LIMIT, DOUBLE_LIMIT = 1e-5, 1e-11
MUST = ("act/mask_head.mask_decoder", "act/mask_head#resized")

# Heads without a file; the names say what is special.
SHAPES = {
    "published sizes": dict(settings=dict(width=1280, dim=256, heads=8, blocks=2, mlp=2048, text_dim=4096, mask_tokens=4, iou_head=True,
                                          text_proj="linear"), grid=(10, 12), size=(140, 168), pictures=2, image_of=[0, 0, 1]),
    "one wide block, two mask tokens, text as it is": dict(
        settings=dict(width=20, dim=64, heads=4, blocks=1, mlp=32, text_dim=64, mask_tokens=2, iou_head=True, text_proj="none",
                      text_scale=32**0.5), grid=(6, 5), size=(24, 20), pictures=1, image_of=[0]),
    "three blocks, an MLP before the tokens": dict(
        settings=dict(width=24, dim=64, heads=8, blocks=3, mlp=100, text_dim=30, mask_tokens=3, iou_head=True, text_proj="mlp"),
        grid=(7, 7), size=(100, 50), pictures=3, image_of=[1, 1, 1, 2]),
}


def tensors_of(tensors, kind):
    """{name: tensor} of one kind."""
    start = record_heads_mask.TASK + kind + "/"
    return {k.removeprefix(start): torch.from_numpy(a.copy()) for k, a in tensors.items() if k.startswith(start)}


def settings_of(path, metadata, given):
    """The settings that a file was made with."""
    if "mask_head" not in metadata or "features" not in given:
        raise ValueError(f"{path}: expected mask_head in __metadata__ and {record_heads_mask.TASK}in/features")
    return {**json.loads(metadata["mask_head"]), "width": given["features"].shape[-1]}


def limit_of(metadata):
    """How near to mask_head.py a recording must be."""
    return DOUBLE_LIMIT if metadata.get("precision") == "double" or "made_with" in metadata else FLOAT_LIMIT


def check_file(path):
    """A recording against both."""
    tensors, metadata = recording.load(path)
    given, weights = tensors_of(tensors, "in"), {n: w.float() for n, w in tensors_of(tensors, "w").items()}
    settings = settings_of(path, metadata, given)
    missing = [m for m in MUST if record_heads_mask.TASK + m not in tensors]
    if missing:
        raise ValueError(f"{path}: {missing} are missing")
    truth, gauges, _ = record_heads_mask.plain(settings, given, weights)
    got = {k: a for k, a in tensors.items() if recording.split(k)[0] in ("act", "dact", "dw", "loss")}
    meta = {"gauges": json.dumps(gauges)}
    ok = record_heads_mask.agree(f"{path}: against mask_head.py float64", truth, got, limit_of(metadata), meta)
    theirs = {k: a for k, a in record_heads_mask.transformers(settings, given, weights).items() if k in got}
    return ok and (not theirs or record_heads_mask.agree(f"{path}: transformers float32 against it", got, theirs, FLOAT_LIMIT, meta))


def check_shape(name, case):
    """A head with random weights: transformers against mask_head.py."""
    weights, given = record_heads_mask.make(case, list(SHAPES).index(name))
    truth, gauges, _ = record_heads_mask.plain(case["settings"], given, weights)
    theirs = record_heads_mask.transformers(case["settings"], given, weights)
    return bool(theirs) and record_heads_mask.agree(f"{name}: transformers float32 against mask_head.py float64", truth, theirs, FLOAT_LIMIT,
                                                    {"gauges": json.dumps(gauges)})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", nargs="*")
    p.add_argument("--golden", default="golden/torch", help="the committed recordings")
    a = p.parse_args()
    fix_arithmetic()
    files = a.file or sorted(glob.glob(os.path.join(a.golden, "mask-*.safetensors")))
    ok = bool(files) and all([attempt(f, lambda: check_file(f)) for f in files])
    ok &= all([attempt(n, lambda: check_shape(n, c)) for n, c in SHAPES.items()])
    print("check_mask_head:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
