#!/usr/bin/env python3
"""Records the language side in float64, forward and backward, on small random models: record_language.py [-o DIR]

Writes DIR/language-*.safetensors (golden/torch/README.md lists the keys). The numbers are those of language.py; transformers and
PEFT compute them too, in float32, and so does language.py in float32. Fails when any tensor differs by more than 1e-5
relative RMS, or a generated token differs.
"""
import argparse
import json
import os
import platform
import sys

import numpy as np
import torch

import compare
import language
import language_hf
import recording
from record_tower import fix_arithmetic

LIMIT = 1e-5
PAD, END_OF_TEXT, END_OF_TURN = 60, 58, 59  # stand-ins for <|image_pad|>, <|endoftext|>, <|im_end|>

# H d = 24 is not h = 16, and two query heads read one key head.
MICRO = dict(model_type="qwen3", architectures=["Qwen3ForCausalLM"], vocab_size=64, hidden_size=16, intermediate_size=24,
             num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6, rms_norm_eps=1e-6,
             max_position_embeddings=128, hidden_act="silu", attention_bias=False, attention_dropout=0.0, initializer_range=0.02,
             use_sliding_window=False, bos_token_id=END_OF_TEXT, eos_token_id=[END_OF_TURN, END_OF_TEXT])

# The two ways in which config.json gives the rotary base; both reductions; both kinds of projector.
TIED = dict(seed=11, config=dict(MICRO, rope_theta=10000.0, tie_word_embeddings=True), image_pad=PAD, reduction="sample",
            channels=8, projector=dict(norm="ln", hidden=32))
UNTIED = dict(seed=12, config=dict(MICRO, rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=False),
              image_pad=PAD, reduction="token", channels=8, projector=dict(norm="none", hidden=20))
LORA = dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
BASE, BASE_UNTIED = "language-micro-tied.safetensors", "language-micro-untied.safetensors"

# text tokens are drawn; P is a picture token, E the end of a turn. The labels of a sample are its last tokens.
# The second sample has a label at its first token, which no position predicts; the third begins with a picture.
BATCH = [("..PP....E", 5), ("....E", 5), ("P.PP..E", 2)]
PROMPTS = [(34, "..PP..."), (73, "..")]  # seed, pattern: top-2 gaps above 0.05; one runs to the end, one meets the second eos
TEXTS = [3, 1, 6, 2]  # tokens, the end of text not counted

# temperature, top_k (0: off), top_p, repetition penalty
SAMPLING = [(1, 0, 1, 1), (0.6, 0, 1, 1), (1, 5, 1, 1), (1, 0, 0.8, 1), (1, 0, 1, 1.3), (0.7, 20, 0.8, 1.1), (1.5, 0, 0.95, 0.8),
            (1, 1, 0.5, 1), (1, 0, 1e-20, 1), (1, 100, 1, 1)]

SETTINGS = ("config", "channels", "projector", "image_pad", "lora", "dims", "eos", "max_new")


# ---- made from seeds -----------------------------------------------------------------------------------------------

def generator(seed, use):
    """A generator of its own for each use, so that a change of one leaves the others as they are."""
    return torch.Generator().manual_seed(1000 * seed + use)


def random_weights(shapes, rng):
    """{name: float32 tensor}: matrices N(0, 1/inputs), biases N(0, 0.1), weights of norms N(1, 0.1), the B of LoRA N(0, 0.3)."""
    out = {}
    for name, shape in shapes.items():
        w = torch.randn(shape, generator=rng, dtype=torch.float64)
        if len(shape) == 1:
            w = 0.1 * w + (1.0 if name.endswith("weight") else 0.0)
        else:
            w = w * (0.3 if ".lora_B." in name else shape[1] ** -0.5)
        out[name] = w.float()
    return out


def draw_ids(pattern, rng):
    """ids [n] of a pattern; text tokens come from half of the vocabulary, so that some occur more than once."""
    special = {"P": PAD, "E": END_OF_TURN, "T": END_OF_TEXT}
    return torch.tensor([special[c] if c in special else int(torch.randint(0, 32, (1,), generator=rng)) for c in pattern])


def draw_features(ids, channels, rng):
    """Four rows for each picture token, float32 [4n,channels]."""
    return torch.randn((4 * int((ids == PAD).sum()), channels), generator=rng)


def packed(lengths):
    return torch.tensor(np.cumsum([0, *lengths]))


def caption_inputs(case):
    """ids [T], cu_seqlens, labels [T], features [4n,C] of the packed batch."""
    rng = generator(case["seed"], 1)
    ids = [draw_ids(pattern, rng) for pattern, _ in BATCH]
    labels = [torch.where(torch.arange(len(i)) >= len(i) - n, i, language.IGNORED) for i, (_, n) in zip(ids, BATCH)]
    ids = torch.cat(ids)
    return {"ids": ids, "cu_seqlens": packed(len(l) for l in labels), "labels": torch.cat(labels),
            "features": draw_features(ids, case["channels"], rng)}


def embed_inputs(case):
    rng = generator(case["seed"], 2)
    ids = [draw_ids("." * n + "T", rng) for n in TEXTS]
    return {"ids": torch.cat(ids), "cu_seqlens": packed(len(i) for i in ids)}


def greedy_inputs(case, seed, pattern):
    rng = generator(seed, 3)
    ids = draw_ids(pattern, rng)
    features = draw_features(ids, case["channels"], rng)
    return {"ids": ids, "features": features} if len(features) else {"ids": ids}


def sampling_inputs():
    """Logits of both signs with a tie, ids seen before (one twice, one likely and negative), the settings [cases,4]."""
    logits = 2 * torch.randn(64, generator=generator(1, 4)) - 2
    order = logits.argsort(descending=True)
    logits[order[5]] = logits[order[4]]  # the fifth largest twice: top_k 5 keeps six
    seen = torch.stack([order[0], order[2], order[0], order[-1], order[(logits[order] > 0).sum()]])
    return {"logits": logits, "seen": seen, "settings": torch.tensor(SAMPLING, dtype=torch.float64)}


# ---- one task of a recording, both ways ---------------------------------------------------------------------------

def caption_keys(task, parts):
    """{key: array} of (activations, their gradients, weight gradients, losses)."""
    return {f"u1/{task}/{kind}/{n}": t.detach().numpy()
            for kind, part in zip(("act", "dact", "dw", "loss"), parts) for n, t in part.items()}


def run_caption(settings, given, weights, dtype):
    """(activations, their gradients, weight gradients, losses), each {name: tensor}."""
    model = language.Language(settings, weights, dtype)
    cu, features = given["cu_seqlens"], given["features"].to(dtype, copy=True).requires_grad_()
    logits = model.logits(model.hidden(given["ids"], cu, features))
    wanted = language.next_labels(given["labels"], cu)
    ce = model.keep("lm_head#ce", language.token_losses(logits, wanted))
    losses = {r: language.reduce_losses(ce, wanted, cu, r) for r in ("sample", "token")}
    losses["total"] = losses[settings["reduction"]]
    losses["total"].backward()
    dact = {**{n: t.grad for n, t in model.trace.items()}, "features": features.grad}
    return model.trace, dact, {n: w.grad for n, w in model.weights.items()}, losses


def plain(task, settings, given, weights, dtype=torch.float64):
    """{key: array} that a task (caption, lora, embed, greedy0 ..., sampling) gives by language.py."""
    if task in ("caption", "lora"):
        return caption_keys(task, run_caption(settings, given, weights, dtype))
    if task == "sampling":
        rows = [language.sampling_probabilities(given["logits"].to(dtype), given["seen"], t, int(k), p, r)
                for t, k, p, r in given["settings"].tolist()]
        return {"u1/sampling/out/probability": torch.stack(rows).numpy()}
    model = language.Language(settings, weights, dtype)
    with torch.no_grad():
        if task == "embed":
            cu = given["cu_seqlens"].tolist()
            return {f"u1/embed/out/embedding.{d}": language.text_embeddings(model, given["ids"], cu, d).numpy() for d in settings["dims"]}
        features = given["features"].to(dtype) if "features" in given else None
        ids, logits, gap = language.greedy(model, given["ids"], features, settings["eos"], settings["max_new"])
    return {f"u1/{task}/out/{n}": t.numpy() for n, t in (("ids", ids), ("logits", logits), ("gap", gap))}


def transformers(task, settings, given, weights):
    """{key: array} of the same task by transformers; what it does not return is missing."""
    if task in ("caption", "lora"):
        return caption_keys(task, language_hf.run_caption(settings, given, weights))
    if task == "sampling":
        return {"u1/sampling/out/probability": language_hf.run_sampling(given).numpy()}
    if task == "embed":
        return {f"u1/embed/out/embedding.{d}": t.numpy() for d, t in language_hf.run_embed(settings, given, weights).items()}
    ids, logits = language_hf.run_greedy(settings, given, weights)
    return {f"u1/{task}/out/ids": ids.numpy(), f"u1/{task}/out/logits": logits.numpy()}


def agree(title, truth, got, limit, worst=1):
    """Compares {key: array} with what `got` has of it; integers and zero probabilities must be equal. True when all pass."""
    common = {k: a for k, a in truth.items() if k in got}
    same = not set(got) - set(truth)
    for k, a in common.items():
        if a.dtype == np.int64 or k.endswith("/probability"):
            same &= a.shape == got[k].shape and bool(((a == 0) == (got[k] == 0)).all())
    if not same:
        print(f"FAIL {title}: other tensors, tokens or zeros than expected: {sorted(set(got) - set(truth))[:5]}")
    return compare.report(title, compare.compare(common, got), limit, worst) and same


# ---- files ----------------------------------------------------------------------------------------------------------

def outputs_only(kind, name):
    """Of the untied model: no gradients of activations but that of the input, and only what a layer as a whole returns."""
    parts = ("model.embed_tokens#spliced", "model.norm", "lm_head", "lm_head#ce", "model.layers.0", "model.layers.1")
    return kind in ("dw", "loss") or (kind, name) == ("dact", "features") or (kind == "act" and name in parts)


def lora_only(kind, name):
    """Of the model with LoRA: the same, and the gradient of the input embeddings."""
    return outputs_only(kind, name) or (kind, name) == ("dact", "model.embed_tokens#spliced")


def describe(settings, meta):
    """The metadata of a recording {string: string}: settings as JSON, the reduction as it is."""
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(), "made_with": "plain torch float64"}
    out = {n: json.dumps(settings[n]) for n in SETTINGS if n in settings}
    return {**versions, **out, "reduction": settings["reduction"], **meta}


def record(path, settings, tasks, weights, stored=None, meta=None, keep=None):
    """Writes the float64 numbers of tasks {task: inputs}; True when transformers, and float32, agree with all of them.

    stored: the weights to write; keep(kind, name) chooses what else is written.
    """
    ok, tensors = True, {}
    for task, given in tasks.items():
        truth = plain(task, settings, given, weights)
        title = f"{os.path.basename(path)}, {task}"
        ours = plain(task, settings, given, weights, torch.float32)
        ok &= agree(f"{title}: language.py in float32 against float64", truth, ours, LIMIT)
        ok &= agree(f"{title}: transformers float32 against float64", truth, transformers(task, settings, given, weights), LIMIT)
        tensors.update({f"u1/{task}/in/{n}": t.numpy() for n, t in given.items()})
        tensors.update({f"u1/{task}/w/{n}": w.numpy() for n, w in (stored or {}).items()})
        tensors.update({k: a for k, a in truth.items() if keep is None or keep(*recording.split(k))})
    recording.save(path, tensors, describe(settings, meta or {}))
    return ok


def record_all(directory):
    """All files; the small ones name the file that has their weights."""
    path = lambda name: os.path.join(directory, name)
    tied = random_weights(language.parameter_shapes(TIED), generator(TIED["seed"], 0))
    untied = random_weights(language.parameter_shapes(UNTIED), generator(UNTIED["seed"], 0))
    lora = dict(TIED, lora=LORA)
    adapters = random_weights(language.adapter_shapes(lora), generator(TIED["seed"], 5))
    generate = dict(UNTIED, eos=[END_OF_TURN, END_OF_TEXT], max_new=12)
    prompts = {f"greedy{i}": greedy_inputs(UNTIED, seed, pattern) for i, (seed, pattern) in enumerate(PROMPTS)}
    texts = dict(TIED, dims=[16, 10])
    from_tied, from_untied = {"weights": BASE}, {"weights": BASE_UNTIED}
    return all([
        record(path(BASE), TIED, {"caption": caption_inputs(TIED)}, tied, tied),
        record(path(BASE_UNTIED), UNTIED, {"caption": caption_inputs(UNTIED)}, untied, untied, None, outputs_only),
        record(path("language-lora.safetensors"), lora, {"lora": caption_inputs(TIED)}, {**tied, **adapters}, adapters, from_tied, lora_only),
        record(path("language-embed.safetensors"), texts, {"embed": embed_inputs(TIED)}, tied, None, from_tied),
        record(path("language-generate.safetensors"), generate, {**prompts, "sampling": sampling_inputs()}, untied, None, from_untied),
    ])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-o", dest="directory", default="golden/torch", help="default: golden/torch")
    a = p.parse_args()
    fix_arithmetic()
    return 0 if record_all(a.directory) else 1


if __name__ == "__main__":
    sys.exit(main())
