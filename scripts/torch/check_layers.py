#!/usr/bin/env python3
"""Checks every layer of golden/layers against plain torch in float64: the result, and the gradients of all operands.

The loss of each is sum(y cotangent). Formulas are written out here or torch's own (torch.nn.functional); inputs, weights and cotangents
are those of the file. Limit: 1e-12 of the largest number of each tensor, or of 1 (double rounding through sums of some hundred terms).
Exit status: 0 all agree, 1 something differs or failed, 2 usage."""
import argparse
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from command import attempt  # noqa: E402
from versavit_golden import Golden  # noqa: E402

LIMIT = 1e-12
OPERANDS = ("x", "a", "b", "gate", "up", "q", "k", "v", "other", "residual", "weight", "bias")
WEIGHTS = ("weight", "bias")


def channels_last(x):
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def channels_first(x):
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def linear(t, s):
    y = F.linear(t["x"], t["weight"].flatten(1), t.get("bias"))
    return y + t["residual"] if "residual" in t else y


def layernorm(t, s):
    return channels_first(F.layer_norm(channels_last(t["x"]), t["weight"].shape, t["weight"], t.get("bias"), s["eps"]))


def rmsnorm(t, s):
    """Over groups as long as the weight: whole rows, or each head alone."""
    x = t["x"].unflatten(-1, (-1, t["weight"].numel()))
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + s["eps"]) * t["weight"]).flatten(-2)


def unit_rows(t, s):
    x = t["x"][:, : s["width"]]
    return x / x.norm(dim=-1, keepdim=True)


def merge_rows(t, s):
    y = t["a"].new_zeros(len(t["a"]) + len(t["b"]), t["a"].shape[1])
    return y.index_put((torch.tensor(s["index_a"]),), t["a"]).index_put((torch.tensor(s["index_b"]),), t["b"])


def add(t, s):
    """The other one is repeated along the rows."""
    x, other = t["x"], t["other"]
    return x + (other.repeat(len(x) // len(other), 1) if other.dim() == 2 else other)


def linear_cross_entropy(t, s):
    losses = F.cross_entropy(t["x"] @ t["weight"].T, torch.tensor(s["target"]), reduction="none")
    return (losses * losses.new_tensor(s["weights"])).sum()


def rope(t, s):
    """Pairs are (i, i + width/2) of the first heads * width columns; coordinate c turns its own width/2/coordinates of them."""
    x, heads, width, coordinates = t["x"], s["heads"], s["width"], s["coordinates"]
    turned = heads * width
    each = width // 2 // coordinates
    at = torch.tensor(s["positions"], dtype=x.dtype).reshape(len(x), coordinates, 1)
    angle = (at * s["theta"] ** (-torch.arange(each, dtype=x.dtype) / each)).reshape(len(x), 1, width // 2)
    p, q = x[:, :turned].unflatten(-1, (heads, width)).chunk(2, -1)
    y = torch.cat([p * angle.cos() - q * angle.sin(), q * angle.cos() + p * angle.sin()], -1)
    return torch.cat([y.flatten(1), x[:, turned:]], -1)


def attention(t, s):
    """One sequence after the other; q, k and v may lie beside each other in the rows of q."""
    heads, kv_heads, q = s["heads"], s["kv_heads"], t["q"]
    if "k" in t:
        k, v, cu_k = t["k"], t["v"], s["cu_k"]
    else:
        width = q.shape[1] // (heads + 2 * kv_heads)
        q, k, v = q.split([heads * width, kv_heads * width, kv_heads * width], 1)
        cu_k = s["cu_q"]

    def by_head(x, n):
        return x.unflatten(1, (n, -1)).transpose(0, 1).repeat_interleave(heads // n, 0)

    out = []
    for i in range(len(cu_k) - 1):
        rows, columns = slice(s["cu_q"][i], s["cu_q"][i + 1]), slice(cu_k[i], cu_k[i + 1])
        scores = s["scale"] * by_head(q[rows], heads) @ by_head(k[columns], kv_heads).transpose(1, 2)
        if s["causal"]:
            n, m = scores.shape[1:]
            scores = scores.masked_fill(torch.ones(n, m).tril(m - n) == 0, -np.inf)
        out.append((scores.softmax(-1) @ by_head(v[columns], kv_heads)).transpose(0, 1).flatten(1))
    return torch.cat(out)


LAYERS = {
    "linear": linear, "layernorm": layernorm, "rmsnorm": rmsnorm, "unit_rows": unit_rows, "merge_rows": merge_rows, "add": add,
    "linear_cross_entropy": linear_cross_entropy, "rope": rope, "attention": attention,
    "conv2d": lambda t, s: F.conv2d(t["x"], t["weight"], t.get("bias"), s["stride"], s["pad"]),
    "conv_transpose2d": lambda t, s: F.conv_transpose2d(t["x"], t["weight"], t.get("bias"), t["weight"].shape[-1]),
    "resize_bilinear": lambda t, s: F.interpolate(t["x"], s["size"], mode="bilinear", align_corners=bool(s["align_corners"])),
    "silu_mul": lambda t, s: F.silu(t["gate"]) * t["up"],
    "gelu_erf": lambda t, s: F.gelu(t["x"]),
    "gelu_quick": lambda t, s: t["x"] * torch.sigmoid(1.702 * t["x"]),
    "relu": lambda t, s: F.relu(t["x"]),
    "sigmoid": lambda t, s: torch.sigmoid(t["x"]),
    "softplus": lambda t, s: F.softplus(t["x"], threshold=700),  # torch's 20 leaves out e^-x, 1e-10 of x
    "batched_matmul": lambda t, s: t["a"] @ t["b"].transpose(1, 2),
    "gather_rows": lambda t, s: t["x"][s["index"]],
    "scale": lambda t, s: t["x"] * s["factor"],
}


def check(golden, op, name, settings):
    """[(largest error over the largest number of its tensor or 1, key)] of one layer."""
    def key(kind, what):
        return f"u1/layers/{kind}/{name}.{what}"

    def array(kind, what):
        return torch.tensor(golden.array(key(kind, what)).astype(np.float64))

    kinds = {n: "w" if n in WEIGHTS else "in" for n in OPERANDS}
    t = {n: array(k, n).requires_grad_() for n, k in kinds.items() if golden.has(k, f"{name}.{n}", "layers")}
    y = LAYERS[op](t, settings)
    y.retain_grad()
    (y * array("in", "cotangent")).sum().backward()
    errors = []
    gradients = [("dw" if n in WEIGHTS else "dact", n, x.grad) for n, x in t.items()]
    for kind, what, got in [("act", "y", y.detach()), ("dact", "y", y.grad)] + gradients:
        want = array(kind, what)
        if got.shape != want.shape:
            raise ValueError(f"{key(kind, what)}: expected shape {list(want.shape)}; found {list(got.shape)}")
        errors.append((float((got - want).abs().max()) / max(1.0, float(want.abs().max())), key(kind, what)))
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden", nargs="?", default="golden/layers")
    golden, seen, ok, errors = Golden(parser.parse_args().golden), {}, True, []
    torch.set_num_threads(1)
    for settings in golden.case["layers"]:
        op = settings["op"]
        name = f"{op}.{seen.get(op, 0)}"
        seen[op] = seen.get(op, 0) + 1

        def one():
            errors.extend(check(golden, op, name, settings))
            return True

        ok &= attempt(name, one)
    for error, key in errors:
        if not error <= LIMIT:
            print(f"FAIL {key}: {error:.2g}, limit {LIMIT:g}")
            ok = False
    left = {e.key for e in golden.entries if e.kind in ("act", "dact", "dw") and "#" not in e.key} - {key for _, key in errors}
    for key in sorted(left):
        print(f"FAIL {key}: expected to be compared")
    worst = max(errors, default=(0.0, ""))
    print(f"{sum(seen.values())} layers of {len(seen)} operations, {len(errors)} tensors; worst {worst[1]} {worst[0]:.2g}, limit {LIMIT:g}")
    ok &= not left
    print("check_layers:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
