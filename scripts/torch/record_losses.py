#!/usr/bin/env python3
"""Records losses.py (float64, autograd) on small inputs: record_losses.py [-o golden/torch/losses.safetensors]

Inputs `in/<name>/`: p, d F32, mask I64 [B,H,W] and medians I64 [2,B,2]; or x, z F32 [R,C]. Of every case `<name>/`: loss, its terms
(ssi, gradient_matching; bce, dice) F64 [1] and the gradient (dp; dx) F64. Metadata `cases`, JSON: {"cases": [{"name", "in", "config"}]},
config as in ref/loss/loss.h. tests/loss/test_torch.c reads it, and tests/loss/losses.c computes the same for scripts/torch/check_losses.py."""
import argparse
import json

import numpy as np
import torch

import losses
from recording import save

SSI = [{}, {"median": "average"}, {"reduction": "image"}, {"trim": 0.2}, {"align": "ls"}, {"detach_norm": True},
       {"align": "ls", "detach_norm": True}, {"align": "ls", "trim": 0.3, "reduction": "image"}, {"degenerate": "clamp"},
       {"eps": 0.3, "degenerate": "clamp"}]
GM = [{"mode": "norm", "scales": 1}, {"mode": "ls"}, {"mode": "paper"}, {"mode": "paper_sum"}, {"mode": "megadepth"}]


def depth_cases():
    out = [{"in": "maps", "config": {"ssi": s}} for s in SSI]
    out += [{"in": "maps", "config": {"gm": g}} for g in GM]
    out += [{"in": "maps", "config": {"gm": {"mode": "paper"}, "ssi": {"median": "average", "detach_norm": True}}},
            {"in": "whole", "config": {}}, {"in": "whole", "config": {"ssi": {"reduction": "image"}, "lambda_ssi": 0.25, "lambda_gm": 2.0}},
            {"in": "flat", "config": {}}, {"in": "flat", "config": {"ssi": {"degenerate": "clamp"}}},
            {"in": "flat", "config": {"ssi": {"align": "ls"}, "gm": {"mode": "ls"}}}, {"in": "nothing", "config": {}}]
    return out


def seg_cases():
    return [{"in": "masks", "config": {}}, {"in": "masks", "config": {"dice": {"smooth": 1.0}}},
            {"in": "masks", "config": {"lambda_bce": 0.0, "lambda_dice": 1.0, "dice": {"smooth": 1e-6}}}]


def depth_inputs(rng):
    """{name: (p, d, mask)} as float32: holes and infinite labels at an odd size; all valid; degenerate maps; no valid pixel."""
    def maps(B, H, W):
        return rng.normal(3, 2, (B, H, W)).astype(np.float32), rng.normal(5, 3, (B, H, W)).astype(np.float32)

    p, d = maps(3, 13, 11)
    mask = (rng.random(d.shape) < 0.8).astype(np.int64)
    d[rng.random(d.shape) < 0.1] = np.inf
    d[1, 3] = np.nan
    mask[2, ::2, ::2] = 0  # nothing is seen at the coarse scales
    whole = (*maps(2, 8, 9), None)
    fp, fd = maps(6, 5, 6)
    fm = np.ones(fd.shape, np.int64)
    fd[0] = 2.5  # flat label
    fp[1] = 1.25  # flat prediction
    fm[2] = 0  # empty
    fm[3] = 0
    fm[3, 2, 2] = 1  # one pixel
    fp[4], fd[4] = 0, 0  # both flat
    np_, nd = maps(1, 3, 4)
    return {"maps": (p, d, mask), "whole": whole, "flat": (fp, fd, fm), "nothing": (np_, np.full_like(nd, np.inf), None)}


def seg_inputs(rng):
    x = (4 * rng.normal(size=(4, 77))).astype(np.float32)
    z = (rng.random(x.shape) < 0.4).astype(np.float32)
    z[1] = 0  # an empty mask
    z[2] = 1
    x[3] = np.where(z[3] > 0, 25, -25)  # confident and right
    return {"masks": (x, z)}


def store_inputs(tensors, depth, seg):
    for name, (p, d, mask) in depth.items():
        tensors.update({f"in/{name}/p": p, f"in/{name}/d": d})
        if mask is not None:
            tensors[f"in/{name}/mask"] = mask
        ok = losses.valid(torch.from_numpy(d), None if mask is None else torch.from_numpy(mask))
        tensors[f"in/{name}/medians"] = losses.medians(torch.from_numpy(p), torch.from_numpy(d), ok).numpy().astype(np.int64)
    for name, (x, z) in seg.items():
        tensors.update({f"in/{name}/x": x, f"in/{name}/z": z})


def compute(tensors, case):
    """{key: array} of one case on the inputs among the tensors."""
    get = {k.split("/")[-1]: torch.from_numpy(np.array(v)) for k, v in tensors.items() if k.startswith(f"in/{case['in']}/")}
    name = case["name"]
    if "p" in get:
        p = get["p"].double().requires_grad_()
        d = get["d"].double()
        value, terms = losses.depth_loss(p, d, losses.valid(d, get.get("mask")), get["medians"].long(), losses.filled(case["config"], losses.DEPTH))
        x, gradient = p, "dp"
    else:
        x, gradient = get["x"].double().requires_grad_(), "dx"
        value, terms = losses.seg_loss(x, get["z"].double(), losses.filled(case["config"], losses.SEG))
    value.backward()
    out = {f"{name}/loss": value.detach().reshape(1).numpy(), f"{name}/{gradient}": x.grad.numpy()}
    return {**out, **{f"{name}/{k}": v.detach().reshape(1).numpy() for k, v in terms.items()}}


def named(cases):
    return [{"name": f"{i:02d}", **c} for i, c in enumerate(cases)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", default="golden/torch/losses.safetensors")
    out = parser.parse_args().o
    rng, tensors = np.random.default_rng(11), {}
    store_inputs(tensors, depth_inputs(rng), seg_inputs(rng))
    cases = named(depth_cases() + seg_cases())
    for c in cases:
        tensors.update(compute(tensors, c))
    save(out, tensors, {"torch": torch.__version__, "cases": json.dumps({"cases": cases})})


if __name__ == "__main__":
    main()
