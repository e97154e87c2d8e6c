"""A model of all parts with random weights in a folder, and what its tower computes of a picture in float64.

For the checks of `versavit depth` and `versavit segment`: pictures through transformers' processor and Tower64.
"""
import json
import os

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

import recording
from command import run
from record_tower import picture
from tower import Tower64, token_places

AS_DRAWN = (".iou_token.", ".mask_tokens.", "_embeddings.", "_embed.", "gaussian")  # N(0, 1), whatever their shape


def lively(tensors, rng):
    """{name: float32 array} of these shapes: matrices and kernels N(0, 1/inputs), biases N(0, 0.1), norm weights N(1, 0.1). The weights
    that versavit starts with are so small that its maps are almost flat."""
    out = {}
    for name, a in tensors.items():
        w = rng.standard_normal(a.shape)
        if a.ndim == 1:
            w = 0.1 * w + (1.0 if name.endswith("weight") else 0.0)
        elif not any(part in name for part in AS_DRAWN):
            w /= np.sqrt(np.prod(a.shape[1:]))
        out[name] = w.astype(np.float32)
    return out


def make(command, config, folder, seed, changes=None):
    """Writes the folder, as `versavit init` does, with other weights; changes: {name: number} are put into vectors."""
    run(command, "init", "--config", config, "-o", folder, "-q")
    path = os.path.join(folder, "model.safetensors")
    weights = lively(recording.load(path)[0], np.random.default_rng(seed))
    for name, number in (changes or {}).items():
        weights[name][:] = number
    recording.save(path, weights)


class WholeModel:
    """self.config: config.json. part(prefix): {name without the prefix: float32 tensor}."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            self.config = json.load(f)
        self.weights = recording.load(os.path.join(folder, "model.safetensors"))[0]

    def part(self, prefix):
        return {n.removeprefix(prefix): torch.from_numpy(w.copy()) for n, w in self.weights.items() if n.startswith(prefix)}

    def see(self, path, size=None):
        """pixel_values [N,K] and grid (h,w) of a picture, which is squashed to size x size first unless None."""
        image = Image.open(path).convert("RGB")
        if size:  # one direction after the other, as older versions of Pillow resize
            image = image.resize((size, image.height), Image.Resampling.BICUBIC).resize((size, size), Image.Resampling.BICUBIC)
        seen = Qwen2VLImageProcessorPil.from_pretrained(self.folder)(images=[image], return_tensors="pt")
        return seen["pixel_values"], tuple(int(n) for n in seen["image_grid_thw"][0, 1:])

    def taps(self, pixel_values, grid, layers):
        """The outputs of these blocks, each [h w,C] in float64 and raster order."""
        vision = self.config["vision_config"]
        tower, grid_thw = Tower64(vision, self.part("visual.")), [(1, *grid)]
        tower(pixel_values, grid_thw)
        y, x = token_places(grid_thw, vision["spatial_merge_size"])
        order = torch.empty(len(y), dtype=torch.int64)
        order[(y * grid[1] + x).long()] = torch.arange(len(y))
        return [tower.trace[f"visual.blocks.{i}"].detach()[order] for i in layers]


def pictures(directory, rng, sizes):
    """Files of ramps with noise, of these sizes (h,w)."""
    out = []
    for h, w in sizes:
        out.append(os.path.join(directory, f"{h}x{w}.png"))
        Image.fromarray(picture(rng, h, w)).save(out[-1])
    return out
