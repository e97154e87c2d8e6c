#!/usr/bin/env python3
"""Checks the losses of versavit, float and double, against torch's autograd in float64 (losses.py) under the same medians.

The cases are those of record_losses.py on larger random inputs; with --photo IMAGE --disparity FILE.npy besides on a real map (unknown
pixels infinite or NaN), against a prediction made from the picture's brightness. The medians that versavit finds must be torch's.
Limits: loss, terms and gradient (relative RMS, and largest error of the largest) 1e-11 in double, 1e-6 in float.
Programs: build/tests/loss/losses and build/double-openblas/tests/loss/losses (make builds them).
Exit status: 0 all agree, 1 something differs or failed, 2 usage."""
import argparse
import json
import os
import sys
import tempfile

import numpy as np
import torch

import record_losses
from command import attempt, run
from recording import load, save

LIMITS = {"float": 1e-6, "double": 1e-11}


def random_inputs(rng):
    depth, seg = record_losses.depth_inputs(rng), record_losses.seg_inputs(rng)
    p, d = rng.gamma(2, 3, (4, 97, 131)).astype(np.float32), rng.gamma(2, 3, (4, 97, 131)).astype(np.float32)
    d[rng.random(d.shape) < 0.2] = np.inf
    p = np.where(np.isfinite(d), 0.3 * np.where(np.isfinite(d), d, 0) + p, p).astype(np.float32)  # correlated, as trained ones are
    depth["maps"] = (p, d, (rng.random(d.shape) < 0.9).astype(np.int64))
    x = (5 * rng.normal(size=(5, 9000))).astype(np.float32)
    seg["masks"] = (x, (rng.random(x.shape) < 0.2).astype(np.float32))
    return depth, seg


def photo_inputs(rng, image, disparity):
    """One map of its full size. Brightness is quantised, so a little noise keeps neighbours from being equal to rounding."""
    from PIL import Image

    d = np.load(disparity).astype(np.float32)
    with Image.open(image) as picture:
        grey = np.asarray(picture.convert("L").resize((d.shape[1], d.shape[0]), Image.Resampling.BICUBIC)).astype(np.float64)
    seen = np.where(np.isfinite(d), d, np.median(d[np.isfinite(d)]))
    p = (0.7 * seen + grey / 16 + 0.3 * rng.normal(size=d.shape)).astype(np.float32)
    return {"maps": (p[None], d[None], None)}


def difference(want, got):
    """Relative RMS and largest error over the largest value; where nothing is expected, nothing is right."""
    want, got = want.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    if not np.any(want):
        return float(np.any(got))
    off = np.abs(want - got)
    return max(np.sqrt((off**2).mean() / (want**2).mean()), off.max() / np.abs(want).max())


def check(title, tensors, cases, programs, directory):
    """All cases on these inputs."""
    source, ok = os.path.join(directory, "in.safetensors"), True
    save(source, tensors, {"cases": json.dumps({"cases": cases})})
    want = {}
    for c in cases:
        want.update(record_losses.compute(tensors, c))
    for precision, program in programs.items():
        out = os.path.join(directory, "out.safetensors")
        run(program, source, out)
        got = load(out)[0]
        worst = max((difference(want[k], got[k]), k) for k in want)
        medians = all(np.array_equal(got[f"{c['name']}/medians"], tensors[f"in/{c['in']}/medians"].ravel())
                      for c in cases if f"in/{c['in']}/medians" in tensors)
        good = worst[0] <= LIMITS[precision] and medians
        ok &= good
        print(f"{'ok  ' if good else 'FAIL'} {title}, {precision}: {len(cases)} cases, worst {worst[1]} {worst[0]:.2g}, "
              f"limit {LIMITS[precision]:g}; medians {'equal' if medians else 'DIFFER'}")
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--float", default="build/tests/loss/losses", help="the program of the float build")
    parser.add_argument("--double", default="build/double-openblas/tests/loss/losses", help="the program of the double build")
    parser.add_argument("--photo", help="a picture")
    parser.add_argument("--disparity", help="its disparity, .npy [H,W]")
    a = parser.parse_args()
    if bool(a.photo) != bool(a.disparity):
        parser.error("--photo and --disparity go together")
    torch.set_num_threads(1)
    programs, rng = {"float": a.float, "double": a.double}, np.random.default_rng(3)
    depth_cases, seg_cases = record_losses.depth_cases(), record_losses.seg_cases()
    with tempfile.TemporaryDirectory() as directory:
        def random():
            tensors = {}
            record_losses.store_inputs(tensors, *random_inputs(rng))
            return check("random", tensors, record_losses.named(depth_cases + seg_cases), programs, directory)

        def photo():
            tensors = {}
            record_losses.store_inputs(tensors, photo_inputs(rng, a.photo, a.disparity), {})
            cases = record_losses.named([c for c in depth_cases if c["in"] == "maps"])
            return check(os.path.basename(a.photo), tensors, cases, programs, directory)

        ok = attempt("random", random)
        if a.photo:
            ok &= attempt(os.path.basename(a.photo), photo)
    print("check_losses:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
