#!/usr/bin/env python3
"""Records torch.optim.AdamW with clip_grad_norm_ in float64: record_adamw.py [-o golden/torch/adamw.safetensors]

Three parameters in two groups, six updates. Gradients shrink by 20 each time, so that clipping is active at first and not at the
end. Parameter c has no gradient in updates 1 and 3 (counted from 0): it is skipped there, and its count of updates lags behind.
Keys: p.<i> the start, g.<k>.<i> gradients, then after update k p.<k>.<i>, m.<k>.<i>, v.<k>.<i>, and norm.<k> before clipping.
"""
import argparse

import torch

from recording import save

GROUPS = [dict(lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1), dict(lr=3e-3, betas=(0.8, 0.999), eps=1e-6, weight_decay=0.0)]
SHAPES = {"a": (17, 5), "b": (33,), "c": (4, 9)}
MAX_NORM, UPDATES = 1.0, 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", default="golden/torch/adamw.safetensors")
    out = parser.parse_args().o
    torch.manual_seed(5)
    # float32 values, so that both builds start from the same numbers
    params = {n: torch.nn.Parameter(torch.randn(s).double()) for n, s in SHAPES.items()}
    optimizer = torch.optim.AdamW([dict(params=[params["a"], params["c"]], **GROUPS[0]), dict(params=[params["b"]], **GROUPS[1])], foreach=False)
    tensors = {f"p.{n}": p.detach().clone() for n, p in params.items()}
    for k in range(UPDATES):
        for n, p in params.items():
            skipped = n == "c" and k in (1, 3)
            p.grad = None if skipped else (torch.randn(p.shape) * 20.0 ** (1 - k)).double()
            if not skipped:
                tensors[f"g.{k}.{n}"] = p.grad.clone()
        tensors[f"norm.{k}"] = torch.nn.utils.clip_grad_norm_(params.values(), MAX_NORM).reshape(1)
        optimizer.step()
        for n, p in params.items():
            tensors[f"p.{k}.{n}"] = p.detach().clone()
            for name, state in (("m", "exp_avg"), ("v", "exp_avg_sq")):
                if state in optimizer.state[p]:
                    tensors[f"{name}.{k}.{n}"] = optimizer.state[p][state].clone()
    save(out, {k: v.numpy() for k, v in tensors.items()}, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
