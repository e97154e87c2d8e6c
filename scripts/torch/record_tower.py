#!/usr/bin/env python3
"""Records the vision tower of transformers, forward and backward, on small random models: record_tower.py [CASE...] [-o DIR]

For each case DIR/CASE becomes a Hugging Face directory (config.json, model.safetensors, preprocessor_config.json) with
  recording.safetensors    inputs, activations, their gradients, weight gradients and loss of transformers in float32
  recording64.safetensors  the same without pictures and pixel values from the plain float64 tower of tower.py
The loss is sum(merged * cotangent) + sum(tap * cotangent_tap), tap the output of one block: a layer with two readers.
Fails when the two towers differ by more than 1e-5 relative RMS in any tensor. Without CASE: all of them.
"""
import argparse
import json
import os
import platform
import sys

import numpy as np
import PIL
import torch
import transformers
from transformers import Qwen2VLImageProcessorPil

import compare
import recording
from recording import key
from tower import Tower64, gauges, hf_tower, parameter_shapes, watch

LIMIT = 1e-5

# images are [height, width] before the resize; the comments give the patch grids that come out.
CASES = {
    "micro": dict(
        seed=1, prefix="visual.", tap=1, images=[[61, 79], [52, 33]], min_pixels=784, max_pixels=12845056,  # 4x6, 4x2
        vision=dict(depth=3, embed_dim=16, num_heads=2, mlp_ratio=4, hidden_size=32, patch_size=14)),
    "odd": dict(
        seed=2, prefix="model.visual.", tap=0, images=[[19, 13], [197, 58], [15, 47]], min_pixels=256, max_pixels=1360,  # 2x2, 8x2, 2x6
        vision=dict(depth=2, embed_dim=24, num_heads=3, mlp_ratio=3, hidden_size=20, patch_size=8)),
    "tall": dict(
        seed=3, prefix="", tap=0, images=[[125, 9]], min_pixels=64, max_pixels=12845056,  # 32x2; the tap is also what the merger reads
        vision=dict(depth=1, embed_dim=8, num_heads=1, mlp_ratio=2, hidden_size=12, patch_size=4)),
}


def vision_config(case):
    """The `vision_config` dict of a case, with the keys of Qwen2VLVisionConfig."""
    fixed = dict(in_channels=3, temporal_patch_size=2, spatial_merge_size=2, hidden_act="quick_gelu", initializer_range=0.02)
    return {**case["vision"], **fixed}


def stream(case, what):
    """A numpy generator of its own for each use, so that a change of one leaves the others as they are."""
    return np.random.Generator(np.random.Philox(key=[case["seed"], what]))


def random_weights(case):
    """{name: float32 tensor}: matrices N(0, 1/fan_in), biases 0.1 N(0,1), norm weights 1 + 0.1 N(0,1)."""
    rng, out = stream(case, 0), {}
    for name, shape in parameter_shapes(vision_config(case)).items():
        w = rng.standard_normal(shape)
        if len(shape) > 1:
            w /= np.sqrt(np.prod(shape[1:]))
        else:
            w = 0.1 * w + (1.0 if name.endswith("weight") else 0.0)
        out[name] = torch.from_numpy(w.astype(np.float32))
    return out


def picture(rng, h, w):
    """Colour ramps with noise, uint8 [h,w,3]."""
    y, x = np.mgrid[0:h, 0:w]
    ramps = np.stack([x * 255 / max(w - 1, 1), y * 255 / max(h - 1, 1), 127.5 + 127.5 * np.sin((x + 2 * y) / 5)], 2)
    return np.clip(0.6 * ramps + 0.4 * rng.integers(0, 256, (h, w, 3)), 0, 255).astype(np.uint8)


def preprocessor_config(case):
    """preprocessor_config.json in the form of the released Qwen2-VL models."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "min_pixels": case["min_pixels"],
        "max_pixels": case["max_pixels"],
        "patch_size": case["vision"]["patch_size"],
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }


def write_model(folder, case, weights):
    """The Hugging Face directory of a case."""
    config = {"model_type": "versavit", "vision_config": vision_config(case)}
    recording.write_text(os.path.join(folder, "config.json"), json.dumps(config, indent=2) + "\n")
    recording.write_text(os.path.join(folder, "preprocessor_config.json"), json.dumps(preprocessor_config(case), indent=2) + "\n")
    tensors = {case["prefix"] + n: w.numpy() for n, w in weights.items()}
    recording.save(os.path.join(folder, "model.safetensors"), tensors)


def inputs(folder, case):
    """{name: array} of a case: pictures [h,w,3], pixel_values [N,K], grid_thw [n,3], cotangent [N/4,hidden], cotangent_tap [N,C]."""
    rng = stream(case, 1)
    pictures = [picture(rng, h, w) for h, w in case["images"]]
    processed = Qwen2VLImageProcessorPil.from_pretrained(folder)(images=pictures, return_tensors="np")
    tokens = processed["pixel_values"].shape[0]
    rng = stream(case, 2)
    out = {f"image.{i}": p for i, p in enumerate(pictures)}
    out["pixel_values"] = processed["pixel_values"]
    out["grid_thw"] = processed["image_grid_thw"].astype(np.int64)
    out["cotangent"] = rng.standard_normal((tokens // 4, case["vision"]["hidden_size"])).astype(np.float32)
    out["cotangent_tap"] = rng.standard_normal((tokens, case["vision"]["embed_dim"])).astype(np.float32)
    return out


def backward(merged, trace, case, given):
    """Runs the loss backwards and returns its terms. merged [N/4,hidden]; trace {name: tensor}; given as of inputs()."""
    tap = trace[f"visual.blocks.{case['tap']}"]
    terms = [merged * torch.from_numpy(given["cotangent"]), tap * torch.from_numpy(given["cotangent_tap"])]
    (terms[0].sum() + terms[1].sum()).backward()
    return terms


def collect(trace, parameters, terms):
    """{key: array} of everything computed, in execution order."""
    array = lambda t: t.detach().numpy()
    out = {key("act", n): array(t) for n, t in trace.items()}
    out.update({key("dact", n): array(t.grad) for n, t in trace.items()})
    out.update({key("dw", "visual." + n): array(w.grad) for n, w in parameters.items()})
    out[key("loss", "total")] = array(terms[0].sum() + terms[1].sum())
    return out


def run_transformers(case, weights, given):
    """{key: float32 array} computed by transformers."""
    tower = hf_tower(vision_config(case), weights)
    trace = watch(tower)
    out = tower(torch.from_numpy(given["pixel_values"]), torch.from_numpy(given["grid_thw"]))
    if out.pooler_output is not trace["visual.merger.mlp.2"]:
        raise RuntimeError("pooler_output is not what the merger returned")
    return collect(trace, dict(tower.named_parameters()), backward(out.pooler_output, trace, case, given))


def run_float64(case, weights, given):
    """{key: float64 array} computed by Tower64, and the gauges of its gradients."""
    tower = Tower64(vision_config(case), weights)
    pixel_values = torch.from_numpy(given["pixel_values"])
    terms = backward(tower(pixel_values, given["grid_thw"]), tower.trace, case, given)
    sizes = gauges(tower.v, pixel_values, tower.trace, tower.weights, terms)
    return collect(tower.trace, tower.weights, terms), {n: float(f"{s:.3g}") for n, s in sizes.items()}


def describe(name, case, sizes):
    """The metadata of a recording: {string: string}."""
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__,
                "pillow": PIL.__version__, "python": platform.python_version()}
    settings = {"case": name, **case, "vision": vision_config(case), "preprocessor": preprocessor_config(case)}
    return {**versions, "tap": str(case["tap"]), "settings": json.dumps(settings), "gauges": json.dumps(sizes)}


def record(name, directory):
    """Writes DIR/CASE; True when both towers agree."""
    case, folder = CASES[name], os.path.join(directory, name)
    os.makedirs(folder, exist_ok=True)
    weights = random_weights(case)
    write_model(folder, case, weights)
    given = inputs(folder, case)
    got, (truth, sizes) = run_transformers(case, weights, given), run_float64(case, weights, given)
    if list(got) != list(truth):
        raise RuntimeError(f"{name}: the two towers name different tensors: {sorted(set(got) ^ set(truth))}")
    metadata = describe(name, case, sizes)
    store = {key("in", n): a for n, a in given.items()}
    small = {key("in", n): given[n] for n in ("grid_thw", "cotangent", "cotangent_tap")}
    recording.save(os.path.join(folder, "recording.safetensors"), {**store, **got}, {**metadata, "made_with": "transformers float32"})
    recording.save(os.path.join(folder, "recording64.safetensors"), {**small, **truth}, {**metadata, "made_with": "plain torch float64"})
    grids = ", ".join(f"{h}x{w}" for _, h, w in given["grid_thw"])
    return compare.report(f"{name} (grids {grids}): transformers float32 against float64",
                          compare.compare(truth, got, metadata), LIMIT, worst=3)


def fix_arithmetic():
    """One thread, so that sums are in the same order on every run."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("case", nargs="*", help=", ".join(CASES))
    p.add_argument("-o", dest="directory", default="golden/torch", help="default: golden/torch")
    a = p.parse_args()
    unknown = [c for c in a.case if c not in CASES]
    if unknown:
        p.error(f"no case {unknown[0]}; there are {', '.join(CASES)}")
    fix_arithmetic()
    return 0 if all([record(c, a.directory) for c in a.case or CASES]) else 1


if __name__ == "__main__":
    sys.exit(main())
