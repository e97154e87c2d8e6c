#!/usr/bin/env python3
"""The full-size tower (32 blocks, 1280 wide, 675,759,104 parameters) against transformers: full_size.py [PICTURE...]

Random weights from transformers, saved as a sharded bf16 checkpoint; `versavit encode` and transformers (float32, from the same
bf16 weights and the same pixel values of its own Pillow processor) run each picture. Prints the relative RMS difference of
the merged features and of three layers, the time of both, and versavit's peak memory. Takes about 8 GB of memory, 2 GB of disk.
Without PICTURE: three of ../shared/photos, or the samples of data/samples. Not part of continuous integration.
"""
import argparse, json, os, subprocess, sys, tempfile, time

import torch
from PIL import Image
from safetensors.numpy import load_file
from transformers import Qwen2VLImageProcessorPil

from tower import hf_tower

CONFIG = dict(depth=32, embed_dim=1280, hidden_size=3584, mlp_ratio=4, num_heads=16, in_channels=3, patch_size=14,
              temporal_patch_size=2, spatial_merge_size=2, hidden_act="quick_gelu", initializer_range=0.02)
LAYERS = (7, 15, 31)
PHOTOS = ["astronaut.png", "coffee.png", "chelsea.png"]


def save(tower, folder):
    """bf16 in shards of 500 MB, as transformers writes them; config.json and the processor's settings as versavit reads them."""
    tower.to(torch.bfloat16).save_pretrained(folder, max_shard_size="500MB")
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(dict(model_type="versavit", vision_config=CONFIG), f)
    processor = Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=802816)
    processor.save_pretrained(folder)
    return processor


def reference(tower, processor, path):
    """Merged features, the output of LAYERS, seconds."""
    layers = {}
    hooks = [tower.blocks[i].register_forward_hook(lambda m, a, out, i=i: layers.__setitem__(i, out)) for i in LAYERS]
    inputs = processor(images=[Image.open(path).convert("RGB")], return_tensors="pt")
    start = time.perf_counter()
    with torch.inference_mode():
        out = tower(inputs["pixel_values"].float(), grid_thw=inputs["image_grid_thw"])
    seconds = time.perf_counter() - start
    for h in hooks:
        h.remove()
    return out.pooler_output, layers, seconds


def encode(command, model, picture, out):
    """Runs versavit encode; returns its seconds and its peak memory in GiB, read from the system while it runs."""
    start, peak = time.perf_counter(), 0
    words = [command, "encode", "--model", model, picture, "-o", out, "--layers", ",".join(map(str, LAYERS)), "--quiet"]
    child = subprocess.Popen(words)
    while child.poll() is None:
        try:
            with open(f"/proc/{child.pid}/status") as f:
                peak = max([peak] + [int(l.split()[1]) for l in f if l.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.02)
    if child.returncode:
        raise RuntimeError(f"exit status {child.returncode} of: {' '.join(words)}")
    return time.perf_counter() - start, peak / 2**20


def rel_rms(got, want):
    got, want = torch.as_tensor(got).double(), want.double()
    return float(((got - want).square().mean() / want.square().mean()).sqrt())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("picture", nargs="*")
    p.add_argument("--versavit", default="build/versavit")
    p.add_argument("--limit", type=float, default=1e-5)
    a = p.parse_args()
    root = "../shared/photos" if os.path.isdir("../shared/photos") else "data/samples"
    pictures = a.picture or [os.path.join(root, n) for n in (PHOTOS if "photos" in root else sorted(os.listdir(root))) if n.endswith("g")][:3]
    torch.manual_seed(0)
    worst = peak = 0
    with tempfile.TemporaryDirectory() as tmp:
        tower = hf_tower(CONFIG)
        processor = save(tower, tmp)
        # what bf16 kept, in a new module: .to(bfloat16) also rounds the inv_freq buffer, and that is no part of the checkpoint
        tower = hf_tower(CONFIG, {k: v.float() for k, v in tower.state_dict().items()})
        shards = [f for f in os.listdir(tmp) if f.endswith(".safetensors")]
        print(f"{len(shards)} shards, {sum(os.path.getsize(os.path.join(tmp, f)) for f in shards) / 2**20:.0f} MiB of bf16")
        for path in pictures:
            out = os.path.join(tmp, "out.safetensors")
            ours, memory = encode(a.versavit, tmp, path, out)
            peak = max(peak, memory)
            got = load_file(out)
            merged, layers, theirs = reference(tower, processor, path)
            errors = {"merged": rel_rms(got["features.0"], merged)}
            errors.update({f"layer {i}": rel_rms(got[f"layers.{i}.0"], layers[i]) for i in LAYERS})
            worst = max(worst, *errors.values())
            print(f"{os.path.basename(path)}: {got['layers.7.0'].shape[0]} patches, " + ", ".join(f"{k} {v:.2e}" for k, v in errors.items())
                  + f"; versavit {ours:.1f} s with loading, transformers {theirs:.1f} s without", flush=True)
    print(f"peak memory of versavit {peak:.2f} GiB, worst difference {worst:.2e}")
    return 0 if worst <= a.limit else 1


if __name__ == "__main__":
    sys.exit(main())
