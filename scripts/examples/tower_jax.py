#!/usr/bin/env python3
"""Checks a JAX program: tower_jax.py GOLDEN [--dtype float32|bfloat16] [-o OUT]

The Qwen2-VL vision tower in jax.numpy, forward and backward, from a Hugging Face folder. Gradients of activations come from one trick:
every activation x is used as x + z with z = 0, and the gradient with respect to z is the one with respect to x.

    pip install ./scripts/versavit_golden jax safetensors
"""
import argparse
import json
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from versavit_golden import Golden, Recorder


def places(grid_thw, merge):
    """Row and column of each patch [N,2]: merge blocks in raster order, raster order inside a block; and the picture's frame [N]."""
    at, frame, frames = [], [], 0
    for t, h, w in np.asarray(grid_thw):
        y, x = np.mgrid[:h, :w]
        one = np.stack([y, x], -1).reshape(h // merge, merge, w // merge, merge, 2).transpose(0, 2, 1, 3, 4).reshape(-1, 2)
        for _ in range(t):
            at.append(one)
            frame += [frames] * len(one)
            frames += 1
    return np.concatenate(at), np.array(frame)


def layer_norm(x, w, b):
    x32 = x.astype(jnp.float32)
    d = x32 - x32.mean(-1, keepdims=True)
    return (d / jnp.sqrt((d * d).mean(-1, keepdims=True) + 1e-6)).astype(x.dtype) * w + b


def rotate(x, angles):
    """x [N,H,D], angles [N,D/2]: dimension d turns with dimension d + D/2."""
    a, b = jnp.split(x.astype(jnp.float32), 2, -1)
    c, s = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    return jnp.concatenate([a * c - b * s, b * c + a * s], -1).astype(x.dtype)


def tower(config, w, pixels, grid_thw, keep):
    """merged [N/M,hidden]; keep(name, x) is told every activation and returns what the program goes on with."""
    heads, merge = config["num_heads"], config["spatial_merge_size"]
    at, frame = places(grid_thw, merge)
    quarter = config["embed_dim"] // heads // 4
    frequency = 10000.0 ** (-np.arange(quarter) / quarter)
    angles = jnp.asarray((at[:, :, None] * frequency).reshape(len(at), -1), jnp.float32)
    hidden_from = jnp.asarray(frame[:, None] != frame)

    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(name, x):
        return keep(name, layer_norm(x, w[name + ".weight"], w[name + ".bias"]))

    h = keep("visual.patch_embed", pixels @ w["visual.patch_embed.proj.weight"].reshape(config["embed_dim"], -1).T)
    for i in range(config["depth"]):
        b = f"visual.blocks.{i}"
        qkv = keep(b + ".attn.qkv", linear(b + ".attn.qkv", norm(b + ".norm1", h))).reshape(len(h), 3, heads, -1)
        q, k, v = rotate(qkv[:, 0], angles), rotate(qkv[:, 1], angles), qkv[:, 2]
        scores = jnp.einsum("ihd,jhd->hij", q, k).astype(jnp.float32) / np.sqrt(q.shape[-1])
        p = jax.nn.softmax(jnp.where(hidden_from, -jnp.inf, scores), -1).astype(h.dtype)
        context = keep(b + ".attn#context", jnp.einsum("hij,jhd->ihd", p, v).reshape(h.shape))
        h = keep(b + ".attn#residual", h + linear(b + ".attn.proj", context))
        x = keep(b + ".mlp.fc1", linear(b + ".mlp.fc1", norm(b + ".norm2", h)))
        h = keep(b, h + linear(b + ".mlp.fc2", keep(b + ".mlp.act", x * jax.nn.sigmoid(1.702 * x))))
    x = norm("visual.merger.ln_q", h).reshape(len(h) // merge**2, -1)
    x = keep("visual.merger.mlp.0", linear("visual.merger.mlp.0", x))
    x = keep("visual.merger.mlp.1", jax.nn.gelu(x, approximate=False))
    return keep("visual.merger.mlp.2", linear("visual.merger.mlp.2", x))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("golden")
    p.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    p.add_argument("-o", "--output", help="write the candidate")
    a = p.parse_args()
    with open(os.path.join(a.golden, "config.json"), encoding="utf-8") as f:
        config = json.load(f)["vision_config"]
    weights = {n: jnp.asarray(x, a.dtype) for n, x in load_file(os.path.join(a.golden, "model.safetensors")).items() if n.startswith("visual.")}
    golden = Golden(a.golden)
    given, tap = golden.inputs(), f"visual.blocks.{golden.case['tap']}"
    pixels = jnp.asarray(given["pixel_values"], a.dtype)

    def run(w, zeros):
        acts = {}

        def keep(name, x):
            acts[name] = x + zeros[name] if zeros else x
            return acts[name]

        merged = tower(config, w, pixels, given["grid_thw"], keep)
        return (merged.astype(jnp.float32) * given["cotangent"]).sum() + (acts[tap].astype(jnp.float32) * given["cotangent_tap"]).sum(), acts

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda w: run(w, None)[1], weights))
    (loss, acts), (dws, dacts) = jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True))(weights, zeros)

    precision = "bf16" if a.dtype == "bfloat16" else "float"
    recorder = Recorder(golden, precision=precision)
    recorder.loss("total", loss)
    for put, values in ((recorder.act, acts), (recorder.dact, dacts), (recorder.dw, dws)):
        for name, value in values.items():
            put(name, value)
    if a.output:
        recorder.save(a.output)
    report = recorder.check(precision=precision)
    print(report.text(), end="")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
