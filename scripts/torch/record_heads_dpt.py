#!/usr/bin/env python3
"""Records the depth head in float64, forward and backward, on small random heads: record_heads_dpt.py [-o DIR]

Writes DIR/dpt-*.safetensors (golden/torch/README.md lists the keys). The numbers are those of depth_head.py; transformers computes
the first head too, in float32, and so does depth_head.py. Fails when any tensor differs by more than 1e-5 relative RMS.
"""
import argparse
import json
import os
import platform
import sys

import numpy as np
import torch

import compare
import depth_head
import recording
from record_tower import fix_arithmetic

LIMIT = 1e-5
MARGIN = 5e-5  # no number that a ReLU reads is nearer to 0, in units of the RMS of its tensor: float rounding changes no sign

# level_taps: the tap that each level reads. micro: the four levels of the paper, the deepest tap read twice.
CASES = {
    "micro": dict(seed=12, grid=[2, 3, 5], level_taps=[0, 1, 2, 2],
                  head=dict(width=16, patch=7, out_channels=[4, 6, 8, 8], features=8)),
    "three": dict(seed=4, grid=[1, 3, 2], level_taps=[0, 1, 2],
                  head=dict(width=12, patch=5, out_channels=[3, 5, 4], features=4, output_features=3, first_scale=2, tap_norm="ln",
                            unused_unit=False, final_act="softplus")),
}


def draw(shapes, rng):
    """{name: float32 tensor}: matrices N(0, 1/fan_in), biases N(0, 0.1), weights of norms N(1, 0.1)."""
    out = {}
    for name, shape in shapes.items():
        w = torch.randn(shape, generator=rng, dtype=torch.float64)
        if len(shape) > 1:
            w = w / np.sqrt(np.prod(shape[1:]))
        else:
            w = 0.1 * w + (1.0 if name.endswith("weight") else 0.0)
        out[name] = w.float()
    return out


def draw_inputs(case, rng):
    """{name: float32 tensor}: tap.<k> [B h w,C], cotangent [B,patch h,patch w]."""
    (B, h, w), head = case["grid"], case["head"]
    out = {f"tap.{k}": torch.randn(B * h * w, head["width"], generator=rng) for k in range(max(case["level_taps"]) + 1)}
    out["cotangent"] = torch.randn(B, head["patch"] * h, head["patch"] * w, generator=rng)
    return out


def margin(head):
    """Of the numbers that ReLUs read, the one nearest to 0 in units of its tensor's RMS."""
    return min(float(x.abs().min() / x.square().mean().sqrt()) for x in head.rectified)


def find(case, least=MARGIN):
    """(weights, inputs, margin): the first draw with that margin or more and a result that is 0 in places, but not in most."""
    rng = torch.Generator().manual_seed(case["seed"])
    for _ in range(1000):
        weights, given = draw(depth_head.parameter_shapes(case["head"]), rng), draw_inputs(case, rng)
        head = depth_head.DepthHead(case["head"], weights)
        with torch.no_grad():
            d = head([given[f"tap.{k}"].double() for k in case["level_taps"]], case["grid"])
        alive = float((d > 0).double().mean())
        if margin(head) >= least and (alive == 1 if case["head"].get("final_act") else 0.5 < alive < 0.95):
            return weights, given, margin(head)
    raise RuntimeError("no draw keeps the margin")


def backward(d, taps, parameters, given):
    """{key: array}: the result, the loss, gradients of taps and of the parameters that have one."""
    loss = (d * given["cotangent"].to(d.dtype)).sum()
    loss.backward()
    out = {"act/depth_head": d, "loss/total": loss}
    out.update({f"dact/tap.{k}": x.grad for k, x in enumerate(taps)})
    out.update({f"dw/depth_head.{n}": w.grad for n, w in parameters.items() if w.grad is not None})
    return {"u1/depth/" + k: t.detach().numpy() for k, t in out.items()}


def taps_of(given, dtype):
    return [given[f"tap.{k}"].to(dtype, copy=True).requires_grad_() for k in range(len(given) - 1)]


def run_plain(case, weights, given, dtype=torch.float64):
    """({key: array} as of backward, {name: activation}) by depth_head.py."""
    head, taps = depth_head.DepthHead(case["head"], weights, dtype), taps_of(given, dtype)
    d = head([taps[k] for k in case["level_taps"]], case["grid"])
    return backward(d, taps, head.weights, given), head.trace


def run_transformers(case, weights, given):
    """The same by transformers, in float32, without activations."""
    model, taps = depth_head.hf_model(case["head"], weights), taps_of(given, torch.float32)
    d = depth_head.hf_run(model, [taps[k] for k in case["level_taps"]], case["grid"])
    parameters = dict(model.named_parameters())
    return backward(d, taps, {n: parameters[depth_head.hf_name(case["head"], n)] for n in weights}, given)


def stored(name, x):
    """What the file has of an activation: of the last picture, in float32; nothing of the largest maps."""
    large = name.endswith("#up") or name in ("scratch.output_conv2.0", "scratch.output_conv2.1")
    return None if large else x[-1:].detach().float().numpy()


def agree(name, case, weights, given):
    """Float32 against float64; True when both are within the limit."""
    truth, _ = run_plain(case, weights, given)
    size = float(np.abs(truth["u1/depth/act/depth_head"] * given["cotangent"].numpy()).sum())  # the loss, had nothing cancelled
    gauges = {"gauges": json.dumps({"loss/total": size})}
    others = {"depth_head.py in float32": run_plain(case, weights, given, torch.float32)[0]}
    if depth_head.hf_can_hold(case["head"]):
        others["transformers in float32"] = run_transformers(case, weights, given)
    ok = True
    for title, got in others.items():
        ok &= set(got) == set(truth)
        ok &= compare.report(f"dpt-{name}: {title} against float64", compare.compare(truth, got, gauges), LIMIT, worst=1)
    return ok


def record(name, directory):
    """Writes DIR/dpt-NAME.safetensors; True when the others agree."""
    case = CASES[name]
    weights, given, least = find(case)
    tensors, trace = run_plain(case, weights, given)
    tensors.update({f"u1/depth/in/{n}": t.numpy() for n, t in given.items()})
    tensors.update({f"u1/depth/w/depth_head.{n}": w.numpy() for n, w in weights.items()})
    for n, x in trace.items():
        kept = stored(n, x) if x.dim() == 4 else x.detach().float().numpy()
        if kept is not None:
            tensors[f"u1/depth/act/depth_head.{n}"] = kept
    head = depth_head.complete(case["head"])
    metadata = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(), "made_with": "plain torch float64",
                "relu_margin": f"{least:.3g}", "grid": json.dumps(case["grid"]), "level_taps": json.dumps(case["level_taps"]),
                "width": str(head.pop("width")), "patch": str(head.pop("patch")), "depth_head": json.dumps({**head, "taps": case["level_taps"]})}
    recording.save(os.path.join(directory, f"dpt-{name}.safetensors"), tensors, metadata)
    return agree(name, case, weights, given)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-o", dest="directory", default="golden/torch", help="default: golden/torch")
    a = p.parse_args()
    fix_arithmetic()
    return 0 if all([record(n, a.directory) for n in CASES]) else 1


if __name__ == "__main__":
    sys.exit(main())
