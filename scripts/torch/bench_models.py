"""PyTorch's side of the cases qwen_*, depth_* and mask_* of bench.py: the models of transformers, random weights, float32."""
import torch
from torch.nn import functional as F

import depth_head
import mask_head_hf

TOKENS, INSTANCES = 512, 8


def qwen(kind):
    """Qwen3-0.6B's shape; "best" has fused attention, "installed" the eager one."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
                         head_dim=128, vocab_size=151936, tie_word_embeddings=True,
                         attn_implementation="eager" if kind == "installed" else "sdpa")
    return Qwen3ForCausalLM(config).float()


def qwen_prefill(kind):
    model, ids = qwen(kind).eval(), torch.arange(TOKENS)[None] * 7919 % 151936

    def step():
        with torch.inference_mode():
            model(ids, logits_to_keep=1, use_cache=False)
    return step


def qwen_train(kind):
    model, ids = qwen(kind).train(), torch.arange(TOKENS)[None] * 7919 % 151936

    def step():
        model.zero_grad(set_to_none=True)
        logits = model(ids, use_cache=False).logits
        F.cross_entropy(logits[0], ids[0]).backward()
    return step


def qwen_decode(kind):
    """One token after 128, the cache cut back each time."""
    model, ids = qwen(kind).eval(), torch.arange(129)[None] * 7919 % 151936
    with torch.inference_mode():
        cache = model(ids[:, :128], use_cache=True).past_key_values

    def step():
        with torch.inference_mode():
            model(ids[:, 128:], past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.crop(-1)
    return step


def depth(kind, train):
    config = {"width": 1280, "depth": 32, "patch": 14, "taps": [10, 21, 31, 31], "out_channels": [256, 512, 1280, 1280], "features": 256}
    model = depth_head.hf_model(config)
    taps = [torch.randn(38 * 38, 1280, requires_grad=train) for _ in range(3)]
    taps.append(taps[2])
    if kind != "installed":
        model = model.to(memory_format=torch.channels_last)

    def step():
        if not train:
            with torch.inference_mode():
                depth_head.hf_run(model, taps, (1, 38, 38))
            return
        model.zero_grad(set_to_none=True)
        depth_head.hf_run(model, taps, (1, 38, 38)).sum().backward()
    return step


def mask(kind, train):
    settings = {"dim": 256, "heads": 8, "blocks": 2, "mlp": 2048, "mask_tokens": 4, "iou_head": True, "width": 1280, "text_dim": 4096}
    model = mask_head_hf.sam(settings, 40, 40)
    project = torch.nn.Linear(4096, 256)
    features, text = torch.randn(1, 40, 40, 1280, requires_grad=train), torch.randn(INSTANCES, 4096, requires_grad=train)
    image_of = torch.zeros(INSTANCES, dtype=torch.long)

    def forward():
        out = mask_head_hf.run(model, features, project(text), image_of)
        logits = [v for k, v in out.items() if v.dim() == 3 and v.shape[0] == INSTANCES and v.shape[-1] == 160][-1]
        return F.interpolate(logits[:, None], (560, 560), mode="bilinear", align_corners=False)

    def step():
        if not train:
            with torch.inference_mode():
                forward()
            return
        model.zero_grad(set_to_none=True)
        forward().sum().backward()
    return step


CASES = {"qwen_prefill": qwen_prefill, "qwen_train": qwen_train, "qwen_decode": qwen_decode,
         "depth_forward": lambda kind: depth(kind, False), "depth_train": lambda kind: depth(kind, True),
         "mask_forward": lambda kind: mask(kind, False), "mask_train": lambda kind: mask(kind, True)}
