"""Safetensors files whose bytes depend on their content only, and the names in a recording.

A recording's keys are u<update>/<task>/<kind>/<name>. Here update and task are always `u1/vision`, and the kind is one of
in (inputs), act (what a module returned), dact (gradient of the loss with respect to it), dw (gradient with respect to a
parameter), loss.
"""
import json
import os
import struct

import numpy as np

PREFIX = "u1/vision/"
DTYPES = {"float64": "F64", "int64": "I64", "float32": "F32", "uint8": "U8"}
NUMPY = {"F64": "<f8", "I64": "<i8", "F32": "<f4", "I32": "<i4", "U8": "u1"}


def key(kind, name):
    """Key of one tensor: key("act", "visual.patch_embed") is u1/vision/act/visual.patch_embed."""
    return PREFIX + kind + "/" + name


def split(k):
    """The kind and the name of a key."""
    kind, name = k.split("/", 3)[2:]
    return kind, name


def save(path, tensors, metadata=None):
    """Writes {name: array of any shape} and {string: string}. The library's own writer puts metadata in random order."""
    arrays = {n: np.asarray(a, order="C") for n, a in tensors.items()}
    order = sorted(arrays, key=lambda n: (-arrays[n].itemsize, n))
    header, end = {"__metadata__": dict(sorted({"format": "pt", **(metadata or {})}.items()))}, 0
    for n in order:
        a = arrays[n]
        header[n] = {"dtype": DTYPES[a.dtype.name], "shape": list(a.shape), "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for n in order:
            f.write(arrays[n].astype(arrays[n].dtype.newbyteorder("<"), copy=False).tobytes())
    os.replace(path + ".tmp", path)


def load(path):
    """The tensors {name: array} and the metadata {string: string} of a file."""
    with open(path, "rb") as f:
        data = f.read()
    start = 8 + struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 8 < start <= len(data):
        raise ValueError(f"{path}: not a safetensors file")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", None) or {}
    tensors = {}
    for n, t in header.items():
        b, e = t["data_offsets"]
        if not 0 <= b <= e <= len(data) - start:
            raise ValueError(f"{path}: {n}: data_offsets {b}..{e} lie outside the file")
        if t["dtype"] not in NUMPY:
            raise ValueError(f"{path}: {n}: dtype {t['dtype']}, expected one of {', '.join(NUMPY)}")
        tensors[n] = np.frombuffer(data[start + b : start + e], NUMPY[t["dtype"]]).reshape(t["shape"])
    return tensors, metadata


def write_text(path, text):
    """Writes a text file under a temporary name first."""
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".tmp", path)
