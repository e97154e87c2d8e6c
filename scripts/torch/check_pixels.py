#!/usr/bin/env python3
"""Checks `versavit pixels` against Pillow and transformers' Pillow image processor.

On twenty generated pictures of odd sizes, and on the photographs of a folder if there is one (default ../shared/photos):
  resized        equal to Pillow's bicubic resize, every byte
  grid_thw       equal
  pixel_values   within 1e-6 of the processor's
A photograph that is no PNG is given twice: decoded by Pillow and stored as PNG, which must be equal as above; and as it
is, where JPEG decoders may differ by a few grey levels. A picture that Pillow cannot read, versavit must refuse.
Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import os
import sys
import tempfile

import numpy as np
from PIL import Image
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

import recording
from command import Failed, attempt, run
from record_tower import picture

LIMIT = 1e-6
DECODER_LEVELS = 4
PATCH, MERGE, MIN_PIXELS, MAX_PIXELS = 14, 2, 3136, 12845056  # what `versavit pixels` takes without a model
SIZES = [(1, 1), (1, 150), (150, 1), (10, 100), (14, 300), (27, 29), (28, 28), (42, 42), (55, 57), (70, 70), (97, 31),
         (98, 98), (111, 113), (126, 126), (127, 301), (203, 89), (255, 257), (300, 451), (389, 211), (479, 641)]


def pixels(command, image, out):
    """Runs the command; the tensors resized U8 [h,w,3], pixel_values F32 [N,K], grid_thw I64 [1,3]."""
    run(command, "pixels", image, "-o", out)
    return recording.load(out)[0]


def expected(image):
    """The same three arrays from a Pillow picture, by Pillow and transformers."""
    rgb = image.convert("RGB")
    h, w = smart_resize(rgb.height, rgb.width, PATCH * MERGE, MIN_PIXELS, MAX_PIXELS)
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
                                         patch_size=PATCH, merge_size=MERGE)
    done = processor(images=[image], return_tensors="np")
    return {"resized": np.asarray(rgb.resize((w, h), Image.Resampling.BICUBIC)),
            "pixel_values": done["pixel_values"], "grid_thw": done["image_grid_thw"]}


def differences(want, got, levels):
    """Complaints about tensors that differ; levels: grey levels that resized may be off (pixel values then likewise)."""
    out = []
    for name, limit in (("grid_thw", 0), ("resized", levels), ("pixel_values", LIMIT if levels == 0 else levels / 64)):
        if name not in got:
            out.append(f"{name} is missing")
        elif got[name].shape != want[name].shape:
            out.append(f"{name}: expected shape {list(want[name].shape)}, found {list(got[name].shape)}")
        else:
            d = np.abs(got[name].astype(np.float64) - want[name].astype(np.float64))
            if not d.max() <= limit:
                out.append(f"{name}: {int((~(d <= limit)).sum())} of {d.size} are off by more than {limit:g}, by {d.max():.3g} at most")
    return out


def check(command, path, directory, levels=0):
    """One picture file."""
    title = os.path.basename(path) + (f" (decoders may differ by {levels} levels)" if levels else "")
    out = os.path.join(directory, "out.safetensors")

    def compared():
        with Image.open(path) as image:
            want = expected(image)
        complaints = differences(want, pixels(command, path, out), levels)
        h, w = want["resized"].shape[:2]
        print("\n".join(f"FAIL {title}: {c}" for c in complaints) or f"ok   {title}: seen at {h}x{w}")
        return not complaints

    return attempt(title, compared)


def check_refused(command, path, directory):
    """A picture that Pillow cannot read."""
    try:
        pixels(command, path, os.path.join(directory, "refused.safetensors"))
    except Failed as e:
        refused = "exit status 3" in str(e)
        print(f"{'ok  ' if refused else 'FAIL'} {os.path.basename(path)}: Pillow cannot read it; {str(e).splitlines()[-1]}")
        return refused
    print(f"FAIL {os.path.basename(path)}: Pillow cannot read it, versavit did")
    return False


def check_photo(command, path, directory):
    """One photograph of the folder."""
    try:
        with Image.open(path) as image:
            decoded = image.convert("RGB")
    except OSError:
        return check_refused(command, path, directory)
    if path.lower().endswith(".png"):
        return check(command, path, directory)
    copy = os.path.join(directory, os.path.basename(path) + ".png")
    decoded.save(copy)
    return check(command, copy, directory) & check(command, path, directory, DECODER_LEVELS)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--versavit", default="build/versavit", help="the command")
    p.add_argument("--photos", default="../shared/photos", help="a folder with .png and .jpg files; need not exist")
    a = p.parse_args()
    ok, rng = True, np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as directory:
        for h, w in SIZES:
            path = os.path.join(directory, f"{h}x{w}.png")
            Image.fromarray(picture(rng, h, w)).save(path)
            ok &= check(a.versavit, path, directory)
        names = sorted(os.listdir(a.photos)) if os.path.isdir(a.photos) else []
        photos = [n for n in names if n.lower().endswith((".png", ".jpg", ".jpeg"))]
        if not photos:
            print(f"note: no photographs in {a.photos}; generated pictures only")
        for n in photos:
            ok &= check_photo(a.versavit, os.path.join(a.photos, n), directory)
    print("check_pixels:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
