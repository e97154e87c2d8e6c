#!/usr/bin/env python3
"""Checks transformers' Qwen2-VL vision tower in PyTorch: tower_pytorch.py GOLDEN [--how eager|sdpa|compile] [--dtype float32|bfloat16]

GOLDEN is a case of the tower, a folder such as golden/tower. Its model.safetensors and config.json are loaded by transformers and
safetensors alone; hooks record what every module returns and the gradient there, and the parameters' gradients. torch.compile fuses the
modules away: of it the merged features, the loss and the weight gradients are judged, which is what a user of it gets.

    pip install ./scripts/versavit_golden torch transformers safetensors
"""
import argparse
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from versavit_golden import Golden, Recorder


def load(folder, attention, dtype):
    """The tower of a Hugging Face folder. Buffers (rotary frequencies) stay float32: rounding them would be a mistake of its own."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = Qwen2VLVisionConfig(**json.load(f)["vision_config"])
    tower = Qwen2VisionTransformerPretrainedModel._from_config(config, attn_implementation=attention).float().eval()
    weights = load_file(os.path.join(folder, "model.safetensors"))
    tower.load_state_dict({n.removeprefix("visual."): w for n, w in weights.items() if n.startswith("visual.")})
    for p in tower.parameters():
        p.data = p.data.to(dtype)
    return tower


def record_modules(tower, recorder):
    """Hooks: act and dact of every module that the golden file names (a name it has not is left out)."""
    def hook(name):
        def saw(module, args, out):
            out = out[0] if isinstance(out, tuple) else out
            recorder.act(name, out)
            out.register_hook(lambda gradient: recorder.dact(name, gradient))
        return saw

    for path, module in tower.named_modules():
        if path and not path.endswith(("attn.proj", "mlp.fc2")):  # the golden file has these with the residual added
            name = "visual." + path
            if recorder.key("act", name) in recorder.golden.tensors:
                module.register_forward_hook(hook(name))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("golden")
    p.add_argument("--how", default="eager", choices=("eager", "sdpa", "compile"))
    p.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    p.add_argument("-o", "--output", help="write the candidate")
    a = p.parse_args()
    golden = Golden(a.golden)
    dtype, precision = getattr(torch, a.dtype), "bf16" if a.dtype == "bfloat16" else "float"
    recorder = Recorder(golden, precision=precision)
    tower = load(a.golden, "eager" if a.how == "eager" else "sdpa", dtype)
    given = {n: torch.from_numpy(x.copy()) for n, x in golden.inputs().items()}

    taps = []  # the loss of the case reads the merged features and one layer
    tower.blocks[golden.case["tap"]].register_forward_hook(lambda module, args, out: taps.append(out))
    if a.how == "compile":
        for b in tower.blocks:
            b.mlp.compile()
            b.attn.qkv.compile()
        tower.merger.compile()
    else:
        record_modules(tower, recorder)

    merged = tower(given["pixel_values"].to(dtype), given["grid_thw"]).pooler_output
    loss = (merged.float() * given["cotangent"]).sum() + (taps[0].float() * given["cotangent_tap"]).sum()
    loss.backward()

    recorder.act("visual.merger.mlp.2", merged)
    recorder.loss("total", loss)
    for name, parameter in tower.named_parameters():
        recorder.dw("visual." + name, parameter.grad)
    if a.output:
        recorder.save(a.output)
    report = recorder.check(precision=precision, present=a.how == "compile")
    print(report.text(), end="")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
