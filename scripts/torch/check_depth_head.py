#!/usr/bin/env python3
"""Checks the depth head against transformers and depth_head.py: check_depth_head.py [WEIGHTS RUN]

Without files, five checks:
  - parameter counts of the published sizes, by transformers' modules;
  - random heads of several forms: transformers in float32 against depth_head.py in float64, forward and gradients;
  - the committed dpt-*.safetensors, against both computed anew;
  - versavit, by its test program: transformers reads the head that versavit exported, versavit one that transformers saved; the depth
    maps of both are compared;
  - `versavit depth` on pictures: the numbers of its .npy against Tower64 and depth_head.py, its 16 bits and its limits against these.

With files: the depth that was computed from given taps, against both.
  WEIGHTS  safetensors, or a folder with model.safetensors: under depth_head., or in the layout of transformers (neck.*, head.*)
  RUN      safetensors with tap.0, tap.1 ... [B h w,C] (level i reads tap i, further levels the last one), depth [B,H,W], and metadata
           grid "[B, h, w]"
Exit status: 0 all agree, 1 something differs.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

import compare
import depth_head
import record_heads_dpt
import recording
import whole_model
from command import Failed, attempt, run
from record_tower import fix_arithmetic

FLOAT_LIMIT, DOUBLE_LIMIT = 1e-5, 1e-11

COUNTS = [  # what the checkpoints of Depth Anything V2 have, and the head of VersaViT's Table 13
    ("small", 384, 64, [48, 96, 192, 384], 2728513),
    ("base", 768, 128, [96, 192, 384, 768], 10890305),
    ("large", 1024, 256, [256, 512, 1024, 1024], 30947009),
    ("giant", 1536, 384, [1536] * 4, 121651457),
    ("paper", 1280, 256, [256, 512, 1280, 1280], 38812097),
]

SHAPES = {
    "odd grid": dict(grid=[1, 7, 5], level_taps=[0, 1, 2, 3], head=dict(width=24, patch=14, out_channels=[8, 12, 16, 20], features=16)),
    "one patch": dict(grid=[2, 1, 1], level_taps=[0, 0, 1, 1], head=dict(width=12, patch=14, out_channels=[4, 6, 8, 8], features=8)),
    "three levels": dict(grid=[2, 4, 3], level_taps=[2, 1, 0], head=dict(width=20, patch=8, out_channels=[6, 10, 8], features=12)),
    "three small levels": dict(grid=[1, 5, 6], level_taps=[0, 1, 2],
                               head=dict(width=20, patch=14, out_channels=[6, 10, 8], features=12, first_scale=2)),
}


def check_count(name, width, features, channels, want):
    """The parameters of transformers' neck and head, and of ours."""
    config = dict(width=width, patch=14, features=features, out_channels=channels)
    with torch.device("meta"):
        model = depth_head.hf_model(config)
    theirs = {n: tuple(p.shape) for n, p in model.named_parameters() if not n.startswith("backbone.")}
    ours = {depth_head.hf_name(config, n): s for n, s in depth_head.parameter_shapes(config).items()}
    count = sum(torch.Size(s).numel() for s in theirs.values())
    ok = theirs == ours and count == want
    print(f"{'ok' if ok else 'FAIL':4} {name}: {count:,} parameters, expected {want:,}")
    return ok


def check_shape(name, case, seed):
    """transformers against depth_head.py on a random head."""
    weights, given, _ = record_heads_dpt.find(dict(case, seed=seed), 1e-5)
    return record_heads_dpt.agree(name, case, weights, given)


def check_committed(path):
    """A recording against both, computed anew."""
    tensors, meta = recording.load(path)
    part = lambda kind: {k.split("/", 3)[3]: torch.from_numpy(a.copy()) for k, a in tensors.items() if recording.split(k)[0] == kind}
    head = {**json.loads(meta["depth_head"]), "width": int(meta["width"]), "patch": int(meta["patch"])}
    case = dict(grid=json.loads(meta["grid"]), level_taps=json.loads(meta["level_taps"]), head=head)
    weights = {n.removeprefix("depth_head."): w for n, w in part("w").items()}
    given = part("in")
    fresh, trace = record_heads_dpt.run_plain(case, weights, given)
    for n, x in trace.items():
        fresh[f"u1/depth/act/depth_head.{n}"] = x[-1:].detach().numpy() if x.dim() == 4 else x.detach().numpy()
    stored = {k: a for k, a in tensors.items() if recording.split(k)[0] not in ("in", "w")}
    exact = {k: a for k, a in stored.items() if a.dtype == "float64"}
    name = os.path.basename(path)
    ok = compare.report(f"{name}: float64 against depth_head.py", compare.compare(exact, fresh), 1e-12, worst=1)
    ok &= compare.report(f"{name}: activations against depth_head.py", compare.compare(stored, fresh), 1e-7, worst=1)
    if depth_head.hf_can_hold(head):
        got = record_heads_dpt.run_transformers(case, weights, given)
        ok &= compare.report(f"{name}: against transformers in float32", compare.compare(exact, got), FLOAT_LIMIT, worst=1)
    return ok


# ---- files ------------------------------------------------------------------------------------------------------------

def load_weights(path):
    """{our name: float32 or float64 tensor} of a file or folder in either layout."""
    if os.path.isdir(path):
        path = os.path.join(path, "model.safetensors")
    tensors = {n: torch.from_numpy(a.copy()) for n, a in recording.load(path)[0].items()}
    ours = {n.removeprefix("depth_head."): w for n, w in tensors.items() if n.startswith("depth_head.")}
    if ours:
        return ours
    levels = len([n for n in tensors if n.startswith("neck.convs.")])
    names = {}
    for first_scale in (2, 4):  # between them all names that there may be
        c = dict(width=1, features=2, out_channels=[1] * levels, first_scale=first_scale)
        names.update({depth_head.hf_name(c, n): n for n in depth_head.parameter_shapes(c)})
    head = {n: w for n, w in tensors.items() if n.startswith(("neck.", "head."))}
    if not head or set(head) - set(names):
        raise ValueError(f"{path}: expected depth_head.*, or neck.* and head.*; found {sorted(set(head) - set(names))[:3]}")
    return {names[n]: w for n, w in head.items()}


def check_run(title, weights_path, run_path):
    """The depth in a run against depth_head.py in float64, and transformers in float32. A run in float64 is of a double build."""
    weights, (run, meta) = load_weights(weights_path), recording.load(run_path)
    grid, depth = json.loads(meta["grid"]), run["depth"]
    config = depth_head.configuration(weights, depth.shape[1] // grid[1])
    given = [torch.from_numpy(run[f"tap.{k}"].copy()) for k in range(len([n for n in run if n.startswith("tap.")]))]
    taps = [given[min(i, len(given) - 1)] for i in range(len(config["out_channels"]))]
    with torch.no_grad():
        want = {"depth_head.py": depth_head.DepthHead(config, weights)([x.double() for x in taps], grid).numpy()}
        if depth_head.hf_can_hold(config):
            want["transformers"] = depth_head.hf_run(depth_head.hf_model(config, weights), [x.float() for x in taps], grid).numpy()
    ok = True
    for name, ref in want.items():
        bound = DOUBLE_LIMIT if name == "depth_head.py" and depth.dtype == "float64" else FLOAT_LIMIT
        relative, _, complaint = compare.judge(ref, depth, 0.0)
        good = relative <= bound and (ref != 0).any()
        ok &= good
        print(f"{'ok' if good else 'FAIL':4} {title}: depth against {name}: relative RMS {relative:.3g}, limit {bound:g} {complaint}".rstrip())
    return ok


def exchange(program, directory):
    """versavit's export read here, then a head that transformers saved read by versavit."""
    def run(out, weights=None):
        env = {**os.environ, "VVT_EXPORT": out, **({"VVT_WEIGHTS": weights} if weights else {})}
        os.makedirs(out, exist_ok=True)
        done = subprocess.run([program], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"{program}: exit status {done.returncode}\n{done.stdout[-600:]}")

    ours, theirs, back = (os.path.join(directory, n) for n in ("ours", "theirs", "back"))
    run(ours)
    ok = check_run(f"{program}: exported by versavit", ours, os.path.join(ours, "run.safetensors"))
    head = record_heads_dpt.CASES["micro"]["head"]
    weights = record_heads_dpt.draw(depth_head.parameter_shapes(head), torch.Generator().manual_seed(77))
    depth_head.hf_model(head, weights).save_pretrained(theirs)
    run(back, theirs)
    return ok & check_run(f"{program}: saved by transformers", theirs, os.path.join(back, "run.safetensors"))


# ---- the command ------------------------------------------------------------------------------------------------------

def check_files(stem, path, want):
    """The four files of one picture; want [H,W] in float64."""
    got = np.load(stem + ".depth.npy")
    relative, _, complaint = compare.judge(want, got, 0.0)
    with open(stem + ".depth.json", encoding="utf-8") as f:
        limits = json.load(f)
    grey = np.asarray(Image.open(stem + ".depth.png"), np.float64)
    step = (limits["max"] - limits["min"]) / 65535
    rounding = np.abs(limits["min"] + step * grey - got).max() / step
    exact = (limits["min"], limits["max"], limits["size"]) == (got.min(), got.max(), list(want.shape))
    colours = Image.open(stem + ".depth-color.png")
    good = relative <= FLOAT_LIMIT and rounding <= 0.501 and exact and colours.size == want.shape[::-1] and step > 0
    print(f"{'ok' if good else 'FAIL':4} versavit depth {os.path.basename(path)}: relative RMS {relative:.3g}, limit {FLOAT_LIMIT:g}; "
          f"16 bits off by {rounding:.3f} steps {complaint}".rstrip())
    return good


def check_command(command, config, directory):
    """`versavit depth` with a model of random weights: pictures in their own ratio, and squashed."""
    folder, ok = os.path.join(directory, "model"), True
    whole_model.make(command, config, folder, 21, {"depth_head.scratch.output_conv2.2.bias": 1.0})
    model = whole_model.WholeModel(folder)
    files = whole_model.pictures(directory, np.random.default_rng(3), [(61, 97), (150, 83), (56, 56), (1, 40)])
    head = {**model.config["depth_head"], "width": model.config["vision_config"]["embed_dim"],
            "patch": model.config["vision_config"]["patch_size"]}
    for size in (None, 112):
        out = os.path.join(directory, f"out-{size}")
        run(command, "depth", *files, "-m", folder, "-o", out, "--npy", "--colormap", *(["--size", size] if size else []))
        for path in files:
            pixels, grid = model.see(path, size)
            taps = model.taps(pixels, grid, head["taps"])
            with torch.no_grad():
                d = depth_head.DepthHead(head, model.part("depth_head."))(taps, (1, *grid))
            full = torch.nn.functional.interpolate(d[None], Image.open(path).size[::-1], mode="bilinear", align_corners=True)
            ok &= check_files(os.path.join(out, os.path.splitext(os.path.basename(path))[0]), path, full[0, 0].numpy())
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", nargs="*", metavar="WEIGHTS RUN")
    p.add_argument("--program", action="append", help="test_dpt_torch of a build; empty leaves versavit out "
                   "(default: build/tests/model/test_dpt_torch)")
    p.add_argument("--versavit", default="build/versavit", help="the command of the float build; empty leaves it out")
    p.add_argument("--config", default="data/configs/micro.json", help="the model of the command")
    p.add_argument("--golden", default="golden/torch", help="the committed recordings")
    a = p.parse_args()
    if len(a.files) not in (0, 2):
        p.error("expected no files, or WEIGHTS and RUN")
    fix_arithmetic()
    if a.files:
        ok = attempt(a.files[1], lambda: check_run(a.files[1], *a.files))
    else:
        ok = all([check_count(*c) for c in COUNTS])
        ok &= all([attempt(n, lambda: check_shape(n, c, i)) for i, (n, c) in enumerate(SHAPES.items())])
        files = sorted(glob.glob(os.path.join(a.golden, "dpt-*.safetensors")))
        ok &= bool(files) and all([attempt(f, lambda: check_committed(f)) for f in files])
        for program in a.program or ["build/tests/model/test_dpt_torch"]:
            with tempfile.TemporaryDirectory() as directory:
                ok &= not program or attempt(program, lambda: exchange(program, directory))
        if a.versavit:
            with tempfile.TemporaryDirectory() as directory:
                ok &= attempt("versavit depth", lambda: check_command(a.versavit, a.config, directory))
    print("check_depth_head:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
