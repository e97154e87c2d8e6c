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
Then `versavit segment` with pictures, and texts embedded by the model's own language model, by `versavit embed-text` and by a file of
any numbers: the embeddings against `tokenizers` and language.py, the logits against Tower64 and mask_head.py, the masks against the logits.
Limits are relative RMS as compare.py defines it. Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import glob
import json
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

import compare
import language
import mask_head
import record_heads_mask
import recording
import whole_model
from command import attempt, run
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


# ---- the command ------------------------------------------------------------------------------------------------------

TEXTS = ["the red ball", "caf\u00e9 \u4e2d", "two small spheres beside a very long wall"]


def embed(model, texts):
    """[texts, text_dim] as Qwen3-Embedding does it: language.py reads what `tokenizers` makes of them, and <|endoftext|>."""
    tokenizer = Tokenizer.from_file(os.path.join(model.folder, "tokenizer.json"))
    ids = [tokenizer.encode(t, add_special_tokens=False).ids + [tokenizer.token_to_id("<|endoftext|>")] for t in texts]
    cu = [0, *np.cumsum([len(i) for i in ids]).tolist()]
    settings = dict(config=model.config["text_config"], image_pad=-1)
    weights = {"model." + n: w for n, w in model.part("model.").items()}
    with torch.no_grad():
        decoder = language.Language(settings, weights)
        return language.text_embeddings(decoder, torch.tensor([i for one in ids for i in one]), cu, model.config["mask_head"]["text_dim"])


def logits(model, path, size, text):
    """[texts,H,W] in float64, of the size of the picture."""
    settings = {**model.config["mask_head"], "width": model.config["vision_config"]["embed_dim"]}
    pixels, grid = model.see(path, size)
    tap, = model.taps(pixels, grid, [settings["layer"]])
    weights = {"mask_head." + n: w for n, w in model.part("mask_head.").items()}
    patch = model.config["vision_config"]["patch_size"]
    with torch.no_grad():
        small = mask_head.MaskHead(settings, weights)(tap.reshape(1, *grid, -1), text, torch.zeros(len(text), dtype=torch.int64))
        return mask_head.resize(mask_head.resize(small, *(patch * n for n in grid)), *Image.open(path).size[::-1]).numpy()


def check_files(title, stem, want):
    """The files of one picture; want [texts,H,W]."""
    got = np.stack([np.load(f"{stem}.{k}.logits.npy") for k in range(len(want))])
    relative, _, complaint = compare.judge(want, got, 0.0)
    masks = [np.asarray(Image.open(f"{stem}.{k}.mask.png")) for k in range(len(want))]
    same = all((m == np.where(g > 0, 255, 0)).all() for m, g in zip(masks, got))
    overlay = Image.open(stem + ".overlay.png").size == want.shape[:0:-1]
    good = relative <= FLOAT_LIMIT and same and overlay
    print(f"{'ok' if good else 'FAIL':4} {title}: relative RMS {relative:.3g}, limit {FLOAT_LIMIT:g}; {100 * (got > 0).mean():.0f} % in masks, "
          f"which {'are' if same else 'are not'} those of the logits {complaint}".rstrip())
    return good


def check_command(command, config, directory):
    """`versavit segment` with a model of random weights, by every way to embed texts."""
    folder, ok, rng = os.path.join(directory, "model"), True, np.random.default_rng(4)
    whole_model.make(command, config, folder, 22)
    model = whole_model.WholeModel(folder)
    files = whole_model.pictures(directory, rng, [(61, 97), (150, 83), (1, 40)])
    text, lines, embedded, free = embed(model, TEXTS), *(os.path.join(directory, n) for n in ("texts", "embedded", "free"))
    recording.write_text(lines, "\n".join(TEXTS) + "\n")
    run(command, "embed-text", "-m", folder, "--texts", lines, "-o", embedded, "--dim", text.shape[1])
    relative, _, _ = compare.judge(text.numpy(), recording.load(embedded)[0]["embeddings"], 0.0)
    ok &= relative <= FLOAT_LIMIT
    print(f"{'ok' if ok else 'FAIL':4} versavit embed-text: relative RMS {relative:.3g}, limit {FLOAT_LIMIT:g}")
    wide = rng.standard_normal((4, text.shape[1] + 3)).astype(np.float32)  # cut, and of length 1 again
    recording.save(free, {"embeddings": wide}, {"texts": json.dumps(["d", "c", "b", "a"])})
    cut = torch.from_numpy(wide[:, :-3].astype(np.float64))
    cut = cut / cut.norm(dim=1, keepdim=True)
    said = [w for t in TEXTS for w in ("--text", t)]
    for i, (what, options, size, rows) in enumerate((
            ("its own language model", said, None, text), ("another folder's", [*said, "--text-encoder", folder], 112, text),
            ("embed-text", ["--text-embedding", embedded, *said[2:4], *said[:2]], None, text[[1, 0]]),
            ("a file, all of it", ["--text-embedding", free], 56, cut))):
        out = os.path.join(directory, f"out-{i}")
        run(command, "segment", *files, "-m", folder, "-o", out, "--npy", "--overlay", *options, *(["--size", size] if size else []))
        for path in files:
            name = os.path.basename(path)
            ok &= check_files(f"versavit segment {name}, texts by {what}", os.path.join(out, os.path.splitext(name)[0]),
                              logits(model, path, size, rows))
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", nargs="*")
    p.add_argument("--versavit", default="build/versavit", help="the command of the float build; empty leaves it out")
    p.add_argument("--config", default="data/configs/micro.json", help="the model of the command")
    p.add_argument("--golden", default="golden/torch", help="the committed recordings")
    a = p.parse_args()
    fix_arithmetic()
    files = a.file or sorted(glob.glob(os.path.join(a.golden, "mask-*.safetensors")))
    ok = bool(files) and all([attempt(f, lambda: check_file(f)) for f in files])
    ok &= all([attempt(n, lambda: check_shape(n, c)) for n, c in SHAPES.items()])
    if a.versavit:
        with tempfile.TemporaryDirectory() as directory:
            ok &= attempt("versavit segment", lambda: check_command(a.versavit, a.config, directory))
    print("check_mask_head:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
