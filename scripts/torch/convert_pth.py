#!/usr/bin/env python3
"""Converts a checkpoint that torch saved (.pth, .pt, .bin) to safetensors: convert_pth.py IN.pth OUT.safetensors

  convert_pth.py depth_anything_v2_vitl.pth vitl.safetensors                      all of it
  convert_pth.py depth_anything_v2_vitl.pth head.safetensors --only depth_head.   the depth head alone
  convert_pth.py sam_vit_h_4b8939.pth decoder.safetensors --only mask_decoder. --only prompt_encoder. --only image_encoder.neck.

The weights may lie under one of the keys "model", "state_dict" or "module" of the file, and their names begin with "module." or
"model.", which wrappers for training leave there: both are taken off where all names have them. The file is read with torch's
weights_only: nothing in it is executed. Types and shapes stay as they are. Exit status: 0 done, 2 usage, 3 a file cannot be used.
"""
import argparse
import os
import sys

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

WRAPPERS = ("model", "state_dict", "module")


def unwrap(content):
    """The {name: tensor} in what torch.load returned, however deep below the usual keys."""
    while isinstance(content, dict) and not any(isinstance(v, torch.Tensor) for v in content.values()):
        inner = [content[k] for k in WRAPPERS if isinstance(content.get(k), dict)]
        if not inner:
            break
        content = inner[0]
    tensors = {n: t for n, t in content.items() if isinstance(t, torch.Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise ValueError("expected tensors, or a dict of them under " + ", ".join(WRAPPERS) + "; found none")
    return tensors


def strip(tensors):
    """The same without the prefixes that all names share."""
    for prefix in ("module.", "model.") * 2:
        if all(n.startswith(prefix) for n in tensors):
            tensors = {n[len(prefix):]: t for n, t in tensors.items()}
    return tensors


def convert(source, out, only):
    """Writes the file; returns how many tensors and numbers it has."""
    tensors = strip(unwrap(torch.load(source, map_location="cpu", weights_only=True)))
    kept = {n: t.detach().clone().contiguous() for n, t in tensors.items() if not only or n.startswith(tuple(only))}
    if not kept:
        raise ValueError(f"no name begins with {' or '.join(only)}; there are {', '.join(sorted(tensors)[:3])} ...")
    try:
        save_file(kept, out + ".tmp", {"format": "pt"})
        os.replace(out + ".tmp", out)
    finally:
        if os.path.exists(out + ".tmp"):
            os.remove(out + ".tmp")
    return len(kept), sum(t.numel() for t in kept.values())


def fail(words):
    print(f"convert_pth: {words}", file=sys.stderr)
    return 3


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", metavar="IN.pth")
    p.add_argument("out", metavar="OUT.safetensors")
    p.add_argument("--only", metavar="PREFIX", action="append", help="keep only names that begin so (after stripping); may be repeated")
    a = p.parse_args()
    try:
        tensors, numbers = convert(a.source, a.out, a.only)
    except ValueError as e:
        return fail(f"{a.source}: {e}")
    except OSError as e:
        return fail(f"{e.filename or a.source}: {e.strerror or e}")
    except SafetensorError as e:
        return fail(f"{a.out}: {e}")
    except Exception as e:  # torch.load raises many kinds for a damaged file
        return fail(f"{a.source}: expected a checkpoint that torch saved; found none that torch can read ({type(e).__name__})")
    print(f"{a.out}: {tensors} tensors, {numbers:,} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
