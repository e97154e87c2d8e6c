#!/usr/bin/env python3
"""Watches any tree of torch modules while it computes a golden case, and judges what it computed.

In your own code (scripts/versavit_golden installed or on PYTHONPATH):

    watch = Watch(tower, golden, task="vision", prefix="visual.")     # hooks every module whose path is in the golden file
    ...your forward, loss and loss.backward()...
    watch.loss("total", loss)
    report = watch.finish().check()                                   # a versavit_golden Report; .save(path) of finish() writes a candidate

Module a.b.c is recorded as act/<prefix>a.b.c, the gradient at its output as dact/, gradients of parameters as dw/. `names` says what
is called otherwise: {"blocks.*.attn.proj:in": "visual.blocks.*.attn#context"} records the first input of a module (:in) or its output;
a * stands for one part of a path and comes back in the name; None hides a module. With resync=True each tensor is replaced by the golden
one once it is recorded, its gradient likewise: every layer is judged alone, on golden inputs, against the floors of single layers.

As a command it runs transformers' towers and language models on a case:

    verify_module.py golden/tower [--resync] [--attention eager|sdpa] [--dtype float32|bfloat16|float16] [-o OUT] [--precision bf16]

Exit status: 0 equal within the limits, 1 not, 2 usage, 3 a file cannot be used.
"""
import argparse
import os
import re
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from versavit_golden import FileError, Golden, Recorder  # noqa: E402

TRANSFORMERS = {  # what transformers' modules do not return under a name of their own
    "blocks.*.attn.proj:in": "blocks.*.attn#context",
    "blocks.*.norm2:in": "blocks.*.attn#residual",
    "blocks.*.attn.proj": None,  # recorded with the residual added
    "blocks.*.mlp.fc2": None,
    "blocks.*.attn": None,
    "blocks.*.mlp": None,
}


def first_tensor(x):
    """The first tensor of what a module takes or returns: a tensor, a tuple, a ModelOutput; None without one."""
    if isinstance(x, torch.Tensor):
        return x
    values = x.values() if isinstance(x, dict) else x if isinstance(x, (tuple, list)) else ()
    return next((t for t in map(first_tensor, values) if t is not None), None)


def renamed(path, names):
    """The name of a module path with :in or without after the table `names`; the path itself when no pattern fits, None: hidden."""
    for pattern, name in names.items():
        match = re.fullmatch(re.escape(pattern).replace(r"\*", "([^.:]+)"), path)
        if match:
            parts = iter(match.groups())
            return name and re.sub(r"\*", lambda _: next(parts), name)
    return path


class Watch:
    """Hooks `module`; see the head of this file. The names of `names` are without the prefix."""

    def __init__(self, module, golden, task="vision", update=1, prefix="", names=None, resync=False, precision="float"):
        self.module, self.prefix, self.resync = module, prefix, resync
        self.names = TRANSFORMERS if names is None else names
        self.recorder = Recorder(golden, task=task, update=update, precision=precision, strict=False)
        if resync:
            self.recorder.metadata["resync"] = "layer"
        self.handles, self.watched = [], []
        for path, m in module.named_modules():
            self.hook(m, path, ":in", lambda name: m.register_forward_pre_hook(lambda _, args, name=name: self.saw(name, args)))
            self.hook(m, path, "", lambda name: m.register_forward_hook(lambda _, args, out, name=name: self.saw(name, out)))

    def hook(self, module, path, place, register):
        """Registers a hook where the golden file has an activation of this name."""
        found = renamed(path + place, self.names)
        if not path or found is None or (place and found == path + place):
            return
        if self.recorder.key("act", self.prefix + found) in self.recorder.golden.tensors:
            self.watched.append(self.prefix + found)
            self.handles.append(register(self.prefix + found))

    def golden(self, kind, name, like):
        """The golden tensor in the shape, type and place of `like`, or None when the file has none."""
        key = self.recorder.key(kind, name)
        if key not in self.recorder.golden.tensors:
            return None
        g = torch.from_numpy(self.recorder.golden.array(key).copy())
        return g.reshape(like.shape).to(like.dtype).to(like.device)

    def put(self, kind, name, t):
        """Records a copy; axes may be split or joined otherwise than in the golden file."""
        key = self.recorder.key(kind, name)
        if key not in self.recorder.golden.tensors:
            return
        shape = self.recorder.golden.tensors.shape(key)
        t = t.detach().clone()
        self.recorder.put(kind, name, t.reshape(shape) if t.numel() == torch.Size(shape).numel() else t)

    def saw(self, name, value):
        """A tensor was made: record it, ask for its gradient, and in resync write the golden numbers into it."""
        t = first_tensor(value)
        if t is None:
            return
        self.put("act", name, t)
        if self.resync:
            # in place and behind autograd's back: every reader, the residual stream too, goes on with the golden values
            t.data.copy_(self.golden("act", name, t))
        if t.requires_grad:
            t.register_hook(lambda gradient: self.saw_gradient(name, gradient))

    def saw_gradient(self, name, gradient):
        self.put("dact", name, gradient)
        return self.golden("dact", name, gradient) if self.resync else None

    def loss(self, name, value):
        """Records a loss."""
        self.put("loss", name, torch.as_tensor(value))

    def finish(self):
        """Records the gradients of the parameters, takes the hooks off and returns the Recorder."""
        for name, p in self.module.named_parameters():
            if p.grad is not None:
                self.put("dw", self.prefix + name, p.grad)
        for h in self.handles:
            h.remove()
        return self.recorder


# ---- transformers' models on a case --------------------------------------------------------------------------------------

LANGUAGE = {
    "model.layers.*.self_attn.o_proj:in": "model.layers.*.self_attn#context",
    "model.layers.*.post_attention_layernorm:in": "model.layers.*.self_attn#residual",
    "model.layers.*.mlp.down_proj:in": "model.layers.*.mlp#gated",
    "model.layers.*.self_attn": None,
    "model.layers.*.mlp": None,
}
IGNORED = -100


def set_dtype(model, dtype):
    """Parameters alone: rotary frequencies stay float32, whatever the dtype. Rounding them would be a mistake of its own."""
    for p in model.parameters():
        p.data = p.data.to(dtype)
    return model.eval()


def hf_tower(golden, attention, dtype):
    """Qwen2VisionTransformerPretrainedModel with the weights of the case."""
    from transformers import Qwen2VLVisionConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

    config = Qwen2VLVisionConfig(**golden.config["vision_config"])
    tower = Qwen2VisionTransformerPretrainedModel._from_config(config, attn_implementation=attention).float()
    weights = {n.removeprefix("visual."): torch.from_numpy(w) for n, w in golden.weights().items() if n.startswith("visual.")}
    tower.load_state_dict(weights, strict=True)
    return set_dtype(tower, dtype)


def hf_language(golden, attention, dtype):
    """Qwen3ForCausalLM with the weights of the case."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = golden.config["text_config"]
    model = Qwen3ForCausalLM._from_config(Qwen3Config.from_dict(dict(config)), attn_implementation=attention).float()
    weights = {n: torch.from_numpy(w) for n, w in golden.weights().items() if n.startswith(("model.", "lm_head."))}
    if config["tie_word_embeddings"]:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights, strict=True)
    return set_dtype(model, dtype)


def inputs(golden, task):
    return {n: torch.from_numpy(a.copy()) for n, a in golden.inputs(task).items()}


def run_tower(golden, watch, tower):
    """Forward and backward of the case's loss: sum(merged cotangent) + sum(tap cotangent_tap)."""
    given, taps = inputs(golden, "vision"), []
    keep = tower.blocks[golden.case["tap"]].register_forward_hook(lambda m, args, out: taps.append(first_tensor(out)))
    dtype = next(tower.parameters()).dtype
    out = tower(given["pixel_values"].to(dtype), given["grid_thw"])
    merged = out if isinstance(out, torch.Tensor) else out.pooler_output
    loss = (merged.float() * given["cotangent"]).sum() + (taps[0].float() * given["cotangent_tap"]).sum()
    loss.backward()
    watch.loss("total", loss)
    keep.remove()


def run_language(golden, watch, model):
    """Sequences that follow one another in one row: a mask keeps each to itself. Losses: the mean of sequences and that of tokens."""
    given = inputs(golden, "caption")
    ids, labels, cu = given["ids"].long(), given["labels"].long(), given["cu_seqlens"].tolist()
    sequence = torch.bucketize(torch.arange(len(ids)), torch.tensor(cu[1:]), right=True)
    place = torch.arange(len(ids)) - torch.tensor(cu)[sequence]
    sees = (sequence[:, None] == sequence) & (place[:, None] >= place)
    dtype = next(model.parameters()).dtype
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)[None, None]
    logits = model(input_ids=ids[None], position_ids=place[None], attention_mask=mask, use_cache=False).logits[0]
    wanted = torch.where(sequence[1:] == sequence[:-1], labels[1:], IGNORED)
    losses = torch.nn.functional.cross_entropy(logits[:-1].float(), wanted, ignore_index=IGNORED, reduction="none")
    predicts = wanted != IGNORED
    means = [losses[predicts & (sequence[:-1] == s)].mean() for s in range(len(cu) - 1) if (predicts & (sequence[:-1] == s)).any()]
    ce, token = sum(means) / len(means), losses[predicts].mean()
    (ce + token).backward()
    watch.loss("ce", ce)
    watch.loss("ce.token", token)
    watch.loss("total", ce + token)


KINDS = {  # of case: how to make the model and to run it, the task, the prefix of its modules, names
    "tower": (hf_tower, run_tower, "vision", "visual.", TRANSFORMERS),
    "decoder": (hf_language, run_language, "caption", "", LANGUAGE),
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("golden")
    p.add_argument("-o", "--output", help="write the candidate here: .safetensors, .npz or a folder")
    p.add_argument("--resync", action="store_true", help="judge each layer on golden inputs")
    p.add_argument("--attention", default="eager", choices=("eager", "sdpa"))
    p.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16", "float64"))
    p.add_argument("--precision", choices=("float", "tf32", "bf16", "fp16"), help="judge by these floors (default: those of --dtype)")
    p.add_argument("--all", action="store_true", help="print every tensor")
    a = p.parse_args()
    precision = a.precision or {"bfloat16": "bf16", "float16": "fp16"}.get(a.dtype, "float")
    try:
        golden = Golden(a.golden)
        if not golden.case or golden.case.get("kind") not in KINDS:
            raise FileError(f"{golden.path}: case: kind: expected one of {', '.join(KINDS)}")
        make, compute, task, prefix, names = KINDS[golden.case["kind"]]
        model = make(golden, a.attention, getattr(torch, a.dtype))
        watch = Watch(model, golden, task=task, prefix=prefix, names=names, resync=a.resync, precision=precision)
        compute(golden, watch, model)
        recorder = watch.finish()
        if a.output:
            recorder.save(a.output)
        report = recorder.check(precision=precision, present=a.resync)
    except (OSError, FileError) as e:
        print(f"verify_module: {e}", file=sys.stderr)
        return 3
    print(report.text(a.all), end="")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
