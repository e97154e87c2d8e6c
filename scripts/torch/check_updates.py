#!/usr/bin/env python3
"""Checks whole updates of training, float and double, against plain torch (updates.py): check_updates.py [--keep DIR]

tests/train/updates runs the first four updates of a stage with all three tasks; the first one has a learning rate of 0, as warm-ups begin.
Every update is computed twice in float64: from the state that the run had before it (state), and from the run's first weights and nothing
else but its batches (chain). Losses, predictions, gradients of each task and of all, their norm, learning rates, moments and steps
(w after - w before)/lr must agree.

An error is RMS(got - truth) / max(RMS(truth), s): s is the gauge of gradients that are truly zero (updates.py), and for steps 1/100 of the
largest. Limits:
  double   1e-10
  float    16 times the noise: the largest of the errors that the same torch code has in float32 (three times: as it is, and with
           weights and moments moved in their last bits, since a single error may happen to be small), 2^-24, and for steps what
           2^-24 of the weight is
and to either is added what hangs on the signs of near ties: inputs of ReLUs within twice the noise of 0.
Programs: build/tests/train/updates and build/double-openblas/tests/train/updates (make builds them).
Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

import recording
import updates
import whole_model
from command import attempt, run
from record_tower import fix_arithmetic, picture

DOUBLE_LIMIT, MULTIPLE, FLOOR, NEAR = 1e-10, 16, 2.0**-24, 2
UPDATES, STAGE = 4, "joint"
SCENES = {"scenes": {"seed": 4, "size": 56}, "count": 20}

TRAIN = {
    "name": STAGE, "load": {p: "./start" for p in updates.PARTS}, "train": list(updates.PARTS), "updates": UPDATES + 2,
    "tasks": [
        {"task": "caption", "lambda": 0.6, "batch": 3, "micro_batch": 2, "sources": [{**SCENES, "questions": "both"}]},
        {"task": "depth", "lambda": 0.3, "batch": 4, "micro_batch": 3, "size": [56, 28], "loss": {"lambda_gm": 0.7},
         "sources": [SCENES, {"manifest": "depth.jsonl"}]},
        {"task": "segmentation", "lambda": 0.9, "batch": 3, "micro_batch": 2, "size": 56, "max_instances": 2, "loss": {"lambda_bce": 1.5},
         "text_encoder": "./start", "sources": [SCENES]}],
    "optimizer": {"betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 0.4, "max_grad_norm": 1.5},
    "lr": {"visual": 2e-3, "projector": 3e-3, "model": 4e-3, "depth_head": 5e-3, "mask_head": 6e-3},
    "schedule": {"type": "cosine", "warmup_ratio": 0.3, "min_lr_ratio": 0.05}, "save_every": 1, "keep_last": 0}


# ---- the run ------------------------------------------------------------------------------------------------------------

def write_depth_maps(directory, rng):
    """A manifest of three pictures whose depth is known here and there, or flat."""
    lines = []
    for i in range(3):
        d = rng.gamma(2, 3, (40, 52)).astype(np.float32)
        d = np.full_like(d, 0.5) if i == 2 else np.where(rng.random(d.shape) < 0.2 * (i + 1), np.nan, d).astype(np.float32)
        np.save(os.path.join(directory, f"depth-{i}.npy"), d)
        Image.fromarray(picture(rng, *d.shape)).save(os.path.join(directory, f"depth-{i}.png"))
        lines.append(json.dumps({"image": f"depth-{i}.png", "depth": f"depth-{i}.npy", "kind": "disparity"}))
    recording.write_text(os.path.join(directory, "depth.jsonl"), "\n".join(lines) + "\n")


def prepare(command, config, seed, directory):
    """The weights to begin with and the configuration, in the folder."""
    whole_model.make(command, config, os.path.join(directory, "start"), seed, {"depth_head.scratch.output_conv2.2.bias": 1.0})
    write_depth_maps(directory, np.random.default_rng(seed))
    with open(config, encoding="utf-8") as f:
        root = json.load(f)
    root.update(tokenizer="./start", train={"seed": seed, "stages": [TRAIN]})
    recording.write_text(os.path.join(directory, "run.json"), json.dumps(root, indent=1))


def moments(path):
    """{name: (m, v, updates)} of an optimizer.safetensors."""
    tensors, metadata = recording.load(path)
    at = lambda kind, n: torch.from_numpy(tensors[f"opt.{kind}.{n}"].copy())
    steps = tensors["opt.step"].tolist()
    return {n: (at("exp_avg", n), at("exp_avg_sq", n), t) for n, t in zip(json.loads(metadata["parameters"]), steps)}


def read(directory, out):
    """The Run in the folder."""
    model = whole_model.WholeModel(os.path.join(directory, "start"))
    pad = Tokenizer.from_file(os.path.join(model.folder, "tokenizer.json")).token_to_id("<|image_pad|>")
    tensors = recording.load(os.path.join(out, "updates.safetensors"))[0]
    checkpoints = {k: moments(os.path.join(out, STAGE, f"checkpoint-{k}", "optimizer.safetensors")) for k in range(1, UPDATES + 1)}
    return updates.Run(model.config, pad, TRAIN, model.part(""), tensors, checkpoints)


# ---- the comparison -------------------------------------------------------------------------------------------------------

def rms(a):
    return float(np.sqrt(np.mean(np.square(a)))) if a.size else 0.0


def scale(key, truth):
    """What an error is measured against."""
    size = 1e-2 * truth.largest_step if "/step/" in key else truth.sizes[key]
    return max(rms(truth.values[key]), size, np.finfo(np.float64).tiny)


def error(key, truth, got):
    """Of {key: array} against an Update."""
    ref = truth.values[key]
    if got.get(key) is None or got[key].shape != ref.shape or not np.isfinite(got[key]).all():
        return np.inf
    if "/step/" in key and key not in truth.coarse:  # no rate or no gradient: it may not move
        return np.inf if got[key].any() else 0.0
    return rms(got[key] - ref) / scale(key, truth)


def noise(key, truth, others):
    """Of a float: the largest error of Updates in float32, at least its own rounding, in steps that of the weight."""
    own = FLOOR * max(1.0, truth.coarse.get(key, 0.0) / scale(key, truth))
    return max(own, *(error(key, truth, o.values) for o in others))


def disturbed(state, rng):
    """The state, moved in the last bits of float32."""
    move = lambda x: (x.double() * (1 + FLOOR * torch.randn(x.shape, generator=rng, dtype=torch.float64))).float()
    return updates.State({n: move(w) for n, w in state.weights.items()},
                         {n: (move(m), move(v), t) for n, (m, v, t) in state.moments.items()})


def near_ties(truth, others, share):
    """(distances within which a ReLU's input may fall on either side, the number of such inputs)."""
    near = [NEAR * share * max(float((o.kinks[i].double() - z).abs().max()) for o in others) for i, z in enumerate(truth.kinks)]
    return near, sum(int((z.abs() < d).sum()) for z, d in zip(truth.kinks, near))


def judge(r, k, states, precision):
    """Rows (error/limit, error, limit, key), the states after the update, and the number of near ties and of other medians.

    states: of the truth, of the truth with near ties the other way, and of float32."""
    truth = updates.Update(r, k, states[0], torch.float64)
    truth.largest_step = max(rms(a) for n, a in truth.values.items() if "/step/" in n)
    others = [updates.Update(r, k, s, torch.float32) for s in states[2:]]
    near, ties = near_ties(truth, others, 1.0 if precision == "float" else 2.0**-29)
    turned = truth if ties == 0 and states[1] is states[0] else updates.Update(r, k, states[1], torch.float64, near)
    got, rows = r.recorded(k), []
    for key in sorted({*truth.values, *got}):
        if key not in truth.values:
            rows.append((np.inf, np.inf, 0.0, key + " (not expected)"))
            continue
        limit = MULTIPLE * noise(key, truth, others) if precision == "float" else DOUBLE_LIMIT
        limit += error(key, truth, turned.values)
        off = error(key, truth, got)
        rows.append((off / limit, off, limit, key))
    after = [u.after for u in (truth, turned, *others)]
    if turned is truth:
        after[1] = after[0]
    return rows, after, ties, truth.other_medians


def counts_agree(r, k):
    """The number of updates that each parameter has had."""
    wrong = [n for n, (_, _, t) in r.checkpoints[k].items() if t != k]
    if wrong:
        print(f"FAIL update {k}: opt.step of {wrong[0]} is {r.checkpoints[k][wrong[0]][2]}, expected {k}")
    return not wrong


def begins(r):
    """The run began with the weights of the folder."""
    wrong = [n for n in r.names if not torch.equal(r.start[n].double(), r.state(0).weights[n].double())]
    print(f"{'FAIL' if wrong else 'ok':4} {len(r.names)} tensors of parameters as the folder has them {wrong[:3] or ''}".rstrip())
    return not wrong


def check_mode(title, r, mode, precision):
    """All updates, each from the state before it or all from the first."""
    rows, ties, medians, states = [], 0, 0, None
    for k in range(1, UPDATES + 1):
        if mode == "state" or k == 1:
            base, rng = r.state(k - 1), torch.Generator().manual_seed(k)
            states = [base, base, base, disturbed(base, rng), disturbed(base, rng)]
        more, states, t, m = judge(r, k, states, precision)
        rows, ties, medians = rows + more, ties + t, medians + m
    rows.sort(key=lambda row: -row[0])
    bad = [row for row in rows if not row[0] <= 1]
    median = sorted(row[2] for row in rows)[len(rows) // 2]
    print(f"{'FAIL' if bad else 'ok':4} {title}: {len(rows)} tensors, {len(bad)} beyond their limits, {median:.2g} in the middle; "
          f"{ties} near ties of ReLUs, {medians} of medians")
    for part, off, limit, key in bad[:10] or rows[:3]:
        print(f"     {part:9.3g} of the limit: {off:.3g}, limit {limit:.3g}  {key}")
    return not bad


def check_program(precision, program, directory):
    """One build."""
    out = os.path.join(directory, precision)
    run(program, os.path.join(directory, "run.json"), STAGE, UPDATES, out)
    r = read(directory, out)
    ok = begins(r) & all([counts_agree(r, k) for k in r.checkpoints if k])
    for mode in ("state", "chain"):
        ok &= check_mode(f"{precision}, {mode}", r, mode, precision)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--float", default="build/tests/train/updates", help="the program of the float build; empty leaves it out")
    parser.add_argument("--double", default="build/double-openblas/tests/train/updates", help="the program of the double build; likewise")
    parser.add_argument("--versavit", default="build/versavit", help="the command, which makes the first model")
    parser.add_argument("--config", default="data/configs/tiny.json", help="the model")
    parser.add_argument("--seed", type=int, default=5, help="of weights, depth maps and the order of samples")
    parser.add_argument("--keep", metavar="DIR", help="leave all files there, in a new folder")
    a = parser.parse_args()
    fix_arithmetic()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        directory = a.keep or temporary
        os.makedirs(directory, exist_ok=True)

        def check():
            prepare(a.versavit, a.config, a.seed, directory)
            return all([check_program(p, w, directory) for p, w in (("float", a.float), ("double", a.double)) if w])

        ok = attempt("updates", check)
    print("check_updates:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
