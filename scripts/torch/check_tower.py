#!/usr/bin/env python3
"""Checks versavit's vision tower against transformers, live.

For each case of record_tower.py (or those named):
  1. transformers records it anew in a temporary folder; that must agree with the committed recording;
  2. `versavit golden record` of both builds runs the same model on the same inputs, forward and backward:
       float, from the pictures        within 1e-5 of transformers float32 and of the float64 tower
       double, from the pixel values   within 1e-11 of the float64 tower
Then transformers loads what `versavit init` saved and must compute the features that `versavit encode` writes, within 1e-5.
Limits are relative RMS as compare.py defines it. Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessorPil, Qwen2VLVisionConfig

import compare
import record_tower
import recording
from command import attempt, run
from tower import hf_tower

FLOAT_LIMIT, DOUBLE_LIMIT = 1e-5, 1e-11
COMPUTED = ("act", "dact", "dw", "loss")
PREFIXES = ("model.visual.", "visual.", "")


# ---- the command lines, one function each ---------------------------------------------------------------------------

def golden_record(command, folder, out, source):
    """Forward and backward of the model in folder on the inputs of its recording; source: image or pixel_values."""
    run(command, "golden", "record", "--model", folder, "--recording", os.path.join(folder, "recording.safetensors"),
        "--from", source, "-o", out)


def init(command, config, folder):
    """A new random model, saved as a Hugging Face directory."""
    run(command, "init", "--config", config, "--seed", 1, "-o", folder)


def encode(command, folder, images, out):
    """Features of pictures: features.<image> [merged tokens, hidden]; layers.<i>.<image> [N,C] where the command writes taps."""
    run(command, "encode", "--model", folder, *images, "-o", out)


# ---- recordings -------------------------------------------------------------------------------------------------------

def compare_files(title, reference, got, limit, kinds=COMPUTED):
    """Compares two files and reports."""
    tensors, metadata = recording.load(reference)
    return compare.report(title, compare.compare(tensors, recording.load(got)[0], metadata, kinds), limit, worst=3)


def check_committed(case, fresh, golden):
    """The committed files against what transformers computes today; inputs included."""
    ok = True
    for name, limit in (("recording.safetensors", FLOAT_LIMIT), ("recording64.safetensors", DOUBLE_LIMIT)):
        committed = os.path.join(golden, case, name)
        title = f"{case}: committed {name} against a new one"
        ok &= attempt(title, lambda: compare_files(title, committed, os.path.join(fresh, case, name), limit, None))
    return ok


def check_build(case, folder, build, command, source, references):
    """One build's recording against files; references: pairs (file name, limit)."""
    out = os.path.join(folder, f"versavit-{build}.safetensors")
    title = f"{case}: versavit {build} from {source}"

    def check():
        golden_record(command, folder, out, source)
        return all([compare_files(f"{title} against {name}", os.path.join(folder, name), out, limit) for name, limit in references])

    return attempt(title, check)


def check_case(case, directory, a):
    """All checks of one case; directory is temporary."""
    if not attempt(f"{case}: recording it anew", lambda: record_tower.record(case, directory)):
        return False
    folder = os.path.join(directory, case)
    ok = check_committed(case, directory, a.golden)
    if a.float:
        ok &= check_build(case, folder, "float", a.float, "image",
                          [("recording.safetensors", FLOAT_LIMIT), ("recording64.safetensors", FLOAT_LIMIT)])
    if a.double:
        ok &= check_build(case, folder, "double", a.double, "pixel_values", [("recording64.safetensors", DOUBLE_LIMIT)])
    return ok


# ---- a model that versavit saved ---------------------------------------------------------------------------------------

def load_saved(folder):
    """transformers' tower of a Hugging Face directory: every vision tensor must be there, and no other under the prefix."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        vision = json.load(f)["vision_config"]
    keys = Qwen2VLVisionConfig().to_dict()
    unknown = [k for k in vision if k not in keys]
    if unknown:
        raise ValueError(f"{folder}/config.json: vision_config has keys that transformers does not know: {', '.join(unknown)}")
    tensors, _ = recording.load(os.path.join(folder, "model.safetensors"))
    prefix = next((p for p in PREFIXES if p + "patch_embed.proj.weight" in tensors), None)
    if prefix is None:
        raise ValueError(f"{folder}/model.safetensors: no patch_embed.proj.weight under any of the prefixes {PREFIXES}")
    weights = {n[len(prefix):]: torch.from_numpy(w.copy()) for n, w in tensors.items() if n.startswith(prefix)}
    return hf_tower(vision, weights)


def hf_features(tower, processor, image):
    """{name: array}: features [merged tokens, hidden] and layers.<i> [N,C] of a picture uint8 [h,w,3]."""
    inputs = processor(images=[image], return_tensors="pt")
    with torch.no_grad():
        out = tower(inputs["pixel_values"], inputs["image_grid_thw"], output_hidden_states=True)
    layers = list(out.hidden_states)[-len(tower.blocks):-1] + [out.last_hidden_state]
    return {"features": out.pooler_output.numpy(), **{f"layers.{i}": t.numpy() for i, t in enumerate(layers)}}


def compare_features(title, want, got):
    """want as of hf_features for each picture in turn; got: the tensors of the file. Layers count where got has them."""
    ok = True
    for j, tensors in enumerate(want):
        for name, ref in tensors.items():
            k = f"{name}.{j}"
            if k not in got and name.startswith("layers."):
                continue
            relative, _, complaint = compare.judge(ref, got.get(k), 0.0)
            good = relative <= FLOAT_LIMIT
            ok &= good
            print(f"{'ok' if good else 'FAIL':4} {title}: {k}: relative RMS {relative:.3g} {complaint}".rstrip())
    return ok


def check_saved(directory, a):
    """init, load with transformers, encode, compare."""
    folder, out = os.path.join(directory, "saved"), os.path.join(directory, "features.safetensors")
    init(a.float, a.config, folder)
    tower = load_saved(folder)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    rng, files, want = np.random.default_rng(5), [], []
    for h, w in ((97, 141), (150, 61)):
        image = record_tower.picture(rng, h, w)
        files.append(os.path.join(directory, f"{h}x{w}.png"))
        Image.fromarray(image).save(files[-1])
        want.append(hf_features(tower, processor, image))
    encode(a.float, folder, files, out)
    return compare_features(f"{a.config}: encode against transformers", want, recording.load(out)[0])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("case", nargs="*", help=", ".join(record_tower.CASES))
    p.add_argument("--float", default="build/versavit", help="the command of the float build; empty leaves it out")
    p.add_argument("--double", default="build/double-openblas/versavit", help="the command of the double build; empty leaves it out")
    p.add_argument("--golden", default="golden/torch", help="the committed recordings")
    p.add_argument("--config", default="data/configs/micro.json", help="the model that init makes")
    a = p.parse_args()
    cases = a.case or list(record_tower.CASES)
    for c in cases:
        if c not in record_tower.CASES:
            p.error(f"no case {c}; there are {', '.join(record_tower.CASES)}")
    record_tower.fix_arithmetic()
    with tempfile.TemporaryDirectory() as directory:
        ok = all([check_case(c, directory, a) for c in cases])
        if a.float:
            title = f"{a.config}: saved by init, loaded by transformers"
            ok &= attempt(title, lambda: check_saved(directory, a))
    print("check_tower:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
