#!/usr/bin/env python3
"""Checks recordings of the language side, and language.py itself, live: check_language.py [FILE...] [--keep DIR]

For each FILE (without: the committed golden/torch/language-*.safetensors) everything is computed anew from the inputs, weights
and settings in it, by language.py in float64 and by transformers and PEFT in float32. The file must agree with both:
  written by a float build                         within 1e-5 of both
  by a double build, or by plain torch in float64  within 1e-11 of language.py, 1e-5 of transformers
Then transformers makes checkpoints of other shapes, saves them and loads them again; language.py reads the same files. Both
run a packed batch with pictures, forward and backward, and must agree within 1e-5. --keep DIR leaves the checkpoints in DIR,
each with the batch and what must come out in batch.safetensors. With a data/tokenizer the vocabulary is its.
Limits are relative RMS as compare.py defines it. Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import glob
import json
import os
import shutil
import sys
import tempfile

import torch

import language
import language_hf
import record_language
import recording
from command import attempt
from record_tower import fix_arithmetic

FLOAT_LIMIT, DOUBLE_LIMIT = 1e-5, 1e-11
RESULTS = ("dw", "loss", "out")  # of these a file must have all; of activations and their gradients it may leave some out

# Other shapes than the micro model's: names say what is special. Lengths of samples; each has a picture of 2 tokens.
SHAPES = {
    "eight heads on two, long samples": dict(tie=False, hidden=32, wide=50, layers=3, heads=8, kv=2, head_dim=8, theta=1e6,
                                             lengths=[70, 33, 5]),
    "as many keys as queries": dict(tie=True, hidden=20, wide=16, layers=1, heads=3, kv=3, head_dim=4, theta=10000.0, lengths=[6]),
    "one key head": dict(tie=True, hidden=24, wide=40, layers=2, heads=4, kv=1, head_dim=10, theta=500.0, lengths=[17, 17, 9, 30]),
}


# ---- recordings -----------------------------------------------------------------------------------------------------

def tensors_of(tensors, task, kind):
    """{name: tensor} of one kind of one task."""
    start = f"u1/{task}/{kind}/"
    return {k.removeprefix(start): torch.from_numpy(a.copy()) for k, a in tensors.items() if k.startswith(start)}


def settings_of(metadata, path):
    """The settings that a recording was made with."""
    out = {n: json.loads(metadata[n]) for n in record_language.SETTINGS if n in metadata}
    missing = [n for n in ("config", "image_pad") if n not in out]
    if missing:
        raise ValueError(f"{path}: __metadata__ lacks {', '.join(missing)}")
    return {**out, "reduction": metadata.get("reduction", "sample")}


def weights_of(path, tensors, metadata, task):
    """{name: float32 tensor}: of the file that `weights` in the metadata names, which lies beside it, and the task's own."""
    base = {}
    if "weights" in metadata:
        base = tensors_of(recording.load(os.path.join(os.path.dirname(path), os.path.basename(metadata["weights"])))[0], "caption", "w")
    return {n: w.float() for n, w in {**base, **tensors_of(tensors, task, "w")}.items()}


def limit_of(metadata):
    """How near to language.py a recording must be."""
    return DOUBLE_LIMIT if metadata.get("precision") == "double" or "made_with" in metadata else FLOAT_LIMIT


def check_task(path, task, tensors, metadata):
    """One task of a recording against both."""
    settings, weights = settings_of(metadata, path), weights_of(path, tensors, metadata, task)
    given, ok = tensors_of(tensors, task, "in"), True
    for what, computed, limit in (("language.py float64", record_language.plain, limit_of(metadata)),
                                  ("transformers float32", record_language.transformers, FLOAT_LIMIT)):
        reference = computed(task, settings, given, weights)
        reference = {k: a for k, a in reference.items() if k in tensors or recording.split(k)[0] in RESULTS}
        missing = sorted(k for k in reference if k not in tensors)
        if missing:
            raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
        ok &= record_language.agree(f"{path}, {task}: against {what}", reference, {k: tensors[k] for k in reference}, limit)
    return ok


def check_file(path):
    """All tasks of a recording."""
    tensors, metadata = recording.load(path)
    tasks = sorted({k.split("/")[1] for k in tensors})
    return bool(tasks) and all([attempt(f"{path}, {t}", lambda: check_task(path, t, tensors, metadata)) for t in tasks])


# ---- checkpoints that transformers writes ---------------------------------------------------------------------------

def vocabulary(folder):
    """(number of tokens, id of a picture token, id of the end of a turn) of a tokenizer, or made-up ones without."""
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        return 300, 290, 291
    with open(path, encoding="utf-8") as f:
        t = json.load(f)
    ids = {**t["model"]["vocab"], **{a["content"]: a["id"] for a in t["added_tokens"]}}
    return max(ids.values()) + 1, ids["<|image_pad|>"], ids["<|im_end|>"]


def checkpoint(folder, s, words):
    """Saves a random Qwen3ForCausalLM of shape s as transformers does; returns the settings as its config.json gives them."""
    size, pad, end = words
    config = language_hf.Qwen3Config(
        vocab_size=size, hidden_size=s["hidden"], intermediate_size=s["wide"], num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=s["head_dim"],
        rope_parameters=dict(rope_type="default", rope_theta=s["theta"]), max_position_embeddings=256, tie_word_embeddings=s["tie"],
        eos_token_id=end, bos_token_id=None, initializer_range=s["hidden"] ** -0.5)
    model = language_hf.Qwen3ForCausalLM(config).float()
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(folder)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        written = json.load(f)
    return dict(config=written, image_pad=pad, reduction="sample", channels=6, projector=dict(norm="ln", hidden=24))


def batch(settings, lengths, words):
    """Inputs as of record_language.caption_inputs: two picture tokens in each sample, the second half supervised."""
    size, pad, end = words
    ids, labels = [], []
    for n in lengths:
        i = torch.randint(0, min(size, pad), (n,))
        i[1:3], i[-1] = pad, end
        ids.append(i)
        labels.append(torch.where(torch.arange(n) >= max(3, n // 2), i, language.IGNORED))
    return {"ids": torch.cat(ids), "cu_seqlens": record_language.packed(lengths), "labels": torch.cat(labels),
            "features": torch.randn(8 * len(lengths), settings["channels"])}


def check_shape(name, s, folder, tokenizer):
    """One checkpoint; writes batch.safetensors in the form of a recording beside it."""
    torch.manual_seed(list(SHAPES).index(name))
    words = vocabulary(tokenizer)
    settings = checkpoint(folder, s, words)
    if os.path.isdir(tokenizer):
        shutil.copytree(tokenizer, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("config.json", "README*"))
    shapes = language.parameter_shapes(settings)
    saved = recording.load(os.path.join(folder, "model.safetensors"))[0]
    weights = record_language.random_weights({n: w for n, w in shapes.items() if n.startswith("projector.")}, torch.default_generator)
    weights.update({n: torch.from_numpy(a.copy()) for n, a in saved.items()})
    given = batch(settings, s["lengths"], words)
    truth = record_language.plain("caption", settings, given, weights)
    got = record_language.transformers("caption", settings, given, weights)
    stored = {f"u1/caption/in/{n}": t.numpy() for n, t in given.items()}
    stored.update({f"u1/caption/w/{n}": w.numpy() for n, w in weights.items()})
    recording.save(os.path.join(folder, "batch.safetensors"), {**stored, **truth}, record_language.describe(settings, {}))
    return record_language.agree(f"{name}: transformers float32 against language.py float64", truth, got, FLOAT_LIMIT)


def check_shapes(directory, tokenizer):
    ok = True
    for i, (name, s) in enumerate(SHAPES.items()):
        folder = os.path.join(directory, f"checkpoint-{i}")
        os.makedirs(folder, exist_ok=True)
        ok &= attempt(name, lambda: check_shape(name, s, folder, tokenizer))
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", nargs="*")
    p.add_argument("--golden", default="golden/torch", help="the committed recordings")
    p.add_argument("--tokenizer", default="data/tokenizer", help="folder with a tokenizer.json, if there is one")
    p.add_argument("--keep", metavar="DIR", help="leave the checkpoints there")
    a = p.parse_args()
    fix_arithmetic()
    files = a.file or sorted(glob.glob(os.path.join(a.golden, "language-*.safetensors")))
    ok = bool(files) and all([attempt(f, lambda: check_file(f)) for f in files])
    with tempfile.TemporaryDirectory() as directory:
        ok &= check_shapes(a.keep or directory, a.tokenizer)
    print("check_language:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
