"""A golden file or folder: its tensors, its index, the weights and the configuration that a candidate starts from."""
import hashlib
import json
import math
import os
import re

import numpy as np

from .tensors import FileError, open_tensors, read_json, unique

FORMAT = "2"
CLASSES = ("EXACT", "CHAIN", "DISCRETE")
RULES = ("argmax", "sign", "threshold", "median")
KINDS = ("in", "w", "m", "v", "act", "loss", "dact", "dw", "dstep", "alt")
EMULATED = ("tf32", "bf16", "fp16")
PRECISIONS = ("float",) + EMULATED
FIELDS = ("key", "class", "required", "output", "floor", "local", "bands", "scale", "of", "rule", "threshold", "alternatives",
          "local_bands", "sample", "shape", "rms", "max", "sha256", "bound")
SAMPLES = 4096
KEY = re.compile(r"(u[0-9]+/[^/]+)/(" + "|".join(KINDS) + r")/(.+)", re.DOTALL)


def split(key):
    """("u1/vision", "act", "visual.blocks.0") of a key; ("", "other", key) of one that is no golden key."""
    match = KEY.fullmatch(key)
    return match.groups() if match else ("", "other", key)


def sample_places(n):
    """Which SAMPLES elements of n a full-size file keeps: one of each of SAMPLES equal stretches, where in it by the golden ratio."""
    i = range(SAMPLES)
    first, after = [k * n // SAMPLES for k in i], [(k + 1) * n // SAMPLES for k in i]
    return np.array([f + ((k * 2654435769 % 2**32) * (a - f) >> 32) for k, f, a in zip(i, first, after)], np.int64)


def count(shape):
    """Elements of a shape."""
    n = 1
    for d in shape:
        n *= d
    return n


class Entry:
    """One tensor of the index; fields as in the file (golden/README.md), checked, with their defaults.

    task "u1/vision", kind "act", name; shape and n: of the whole tensor, also where the file keeps a sample of it (sample > 0).
    band[local][precision]: (lo, hi), hi 0 where nothing was measured; of float it is (0, floor).
    """

    def __init__(self, item, tensors, plain):
        self.where = f"{tensors.path}: index"
        if not isinstance(item, dict):
            raise FileError(f"{self.where}: expected a JSON object for each tensor")
        self.item = item
        self.key = self.field("key", str, None)
        if self.key is None:
            raise FileError(f"{tensors.path}: key: expected; found nothing")
        self.task, self.kind, self.name = split(self.key)
        if self.kind == "other" and not plain:
            raise FileError(f'{self.where}: expected a key u<update>/<task>/<kind>/<name>; found "{self.key:.80}"')
        self.where = f"{self.where}: {self.key}"
        unknown = next((k for k in item if k not in FIELDS), None)
        if unknown:
            raise FileError(f"{self.where}: {unknown}: unknown key")
        self.exactness = self.field("class", str, "CHAIN")
        if self.exactness not in CLASSES:
            self.bad("class", "one of " + ", ".join(CLASSES))
        self.required, self.output = self.field("required", bool, True), self.field("output", bool, False)
        self.scale, self.bound = self.number("scale"), self.number("bound")
        self.band = [{"float": (0.0, self.number(floor)), **self.read_bands(bands)}
                     for floor, bands in (("floor", "bands"), ("local", "local_bands"))]
        if self.key not in tensors:
            raise FileError(f"{self.where}: is not in the file")
        self.stored = count(tensors.shape(self.key))
        self.read_sample(tensors)
        self.read_decision(tensors)
        self.alternatives = self.field("alternatives", list, [])
        for i, k in enumerate(self.alternatives):
            if not isinstance(k, str) or k not in tensors or count(tensors.shape(k)) != self.stored:
                self.bad(f"alternatives[{i}]", f"the key of a tensor of {self.stored} numbers in the file")

    def bad(self, field, expected):
        found = self.item.get(field.split("[")[0])
        raise FileError(f"{self.where}: {field}: expected {expected}; found {json.dumps(found)[:40]}")

    def field(self, name, kind, default):
        value = self.item.get(name, default)
        if value is not default and not isinstance(value, kind):
            self.bad(name, {str: "a string", bool: "true or false", list: "a list", dict: "an object"}[kind])
        return value

    def number(self, name, least=0.0):
        x = self.item.get(name, 0.0)
        if isinstance(x, bool) or not isinstance(x, (int, float)) or not least <= x < math.inf:
            self.bad(name, f"a number from {least:g}")
        return float(x)

    def read_bands(self, name):
        bands = self.field(name, dict, {})
        for k, pair in bands.items():
            if k not in EMULATED or not isinstance(pair, list) or len(pair) != 2 or not all(type(x) in (int, float) for x in pair) \
                    or not 0 <= pair[0] <= pair[1]:
                self.bad(name, "{precision: [lo, hi]} with 0 <= lo <= hi")
        return {k: tuple(map(float, pair)) for k, pair in bands.items()}

    def read_sample(self, tensors):
        self.sample = self.item.get("sample", 0)
        self.shape = tuple(tensors.shape(self.key))
        if "sample" in self.item:
            shape = self.field("shape", list, None)
            if self.sample != SAMPLES or shape is None or not all(type(d) is int and d >= 0 for d in shape) \
                    or not SAMPLES == self.stored <= count(shape) or "rms" not in self.item:
                self.bad("sample", f"{SAMPLES} elements, and shape and rms of the whole")
            self.shape = tuple(shape)
        self.rms = self.number("rms")
        self.n = count(self.shape)

    def read_decision(self, tensors):
        self.of, self.rule, self.threshold = self.field("of", str, None), self.field("rule", str, None), self.number("threshold", -math.inf)
        if self.rule is not None and self.rule not in RULES:
            self.bad("rule", "one of " + ", ".join(RULES))
        if (self.of is None) != (self.rule is None) or (self.of is not None and self.exactness != "DISCRETE"):
            raise FileError(f'{self.where}: expected "of" and "rule" together, in class DISCRETE')
        if self.of is None:
            return
        if self.of not in tensors:
            raise FileError(f"{self.where}: of: {self.of} is not in the file")
        n = count(tensors.shape(self.of))
        by_element = self.rule in ("sign", "threshold")
        if self.stored and (n != self.stored if by_element else n == 0 or n % self.stored):
            self.bad("of", f"a tensor that decides {self.stored} elements")


def metadata_json(tensors, name):
    """The JSON of a metadata entry; None where there is none."""
    text = tensors.metadata.get(name)
    if text is None:
        return None
    try:
        return json.loads(text, object_pairs_hook=unique)
    except ValueError:
        raise FileError(f"{tensors.path}: __metadata__.{name}: expected JSON") from None


def read_index(tensors):
    """[Entry] in execution order; of a safetensors file that is no golden one, every tensor CHAIN and required, in the file's order."""
    found = tensors.metadata.get("versavit_golden")
    plain = found is None
    if not plain and found != FORMAT:
        raise FileError(f'{tensors.path}: versavit_golden: expected format {FORMAT}; found "{found:.20}"; '
                        "make the file anew (versavit golden make)")
    items = metadata_json(tensors, "index")
    if items is None and not plain:
        raise FileError(f"{tensors.path}: __metadata__.index: expected a JSON list; found none")
    if items is None:
        items = [{"key": n} for n in tensors.names]
    if not isinstance(items, list):
        raise FileError(f"{tensors.path}: __metadata__.index: expected a JSON list")
    entries = [Entry(item, tensors, plain) for item in items]
    seen = set()
    for e in entries:
        if e.key in seen:
            raise FileError(f"{tensors.path}: index: {e.key}: expected once; found twice")
        seen.add(e.key)
    return entries


def merge_size(config):
    """"spatial_merge_size" anywhere in a configuration, 0 where there is none."""
    if not isinstance(config, dict):
        return 0
    own = config.get("spatial_merge_size")
    return own if type(own) is int else next((m for m in map(merge_size, config.values()) if m > 0), 0)


def block_places(grid, merge):
    """For each frame of pictures (t,h,w) the raster places [h w] of its patches in merge-block order, counted from the first frame."""
    first = 0
    for t, h, w in grid:
        one = np.arange(h * w).reshape(h // merge, merge, w // merge, merge).transpose(0, 2, 1, 3).reshape(-1)
        for _ in range(t):
            yield one + first
            first += h * w


class Golden:
    """Golden("golden/tower") or of a single .safetensors file.

    config, case       of the metadata; None where there is none
    entries            the index, in the order of execution
    array(key)         a tensor as it is stored
    inputs(task, u)    {name: array} of u<u>/<task>/in/...
    weights(u)         {name: array}: the Hugging Face folder's, and over them those that update u starts from
    check(candidate)   judges a path, a dictionary {key: array} or a Recorder; see judge.check for the options
    """

    def __init__(self, path):
        self.tensors = open_tensors(path)
        self.path, self.named = self.tensors.path, self.tensors.named
        self.folder = os.path.dirname(self.path) or "."
        self.entries = read_index(self.tensors)
        self.by_key = {e.key: e for e in self.entries}
        self.plain = "versavit_golden" not in self.tensors.metadata
        self.case, self.config = (None if self.plain else metadata_json(self.tensors, n) for n in ("case", "config"))
        self.digests = None if self.plain else metadata_json(self.tensors, "sha256")

    def array(self, key):
        return self.tensors.array(key)

    def values(self, key, whole=True):
        """The numbers of a tensor in float64. A whole one (a sample's digest is not its own) must have the sha256 that the file says, if
        it says any: a golden file that was damaged judges nothing."""
        if whole and self.digests is not None:
            found = hashlib.sha256(self.tensors.raw(key)).hexdigest()
            wanted = self.digests.get(key) if isinstance(self.digests, dict) else None
            if found != wanted:
                raise FileError(f"{self.path}: {key}: damaged: expected data whose sha256 is "
                                f"{wanted or 'in its metadata'}; found {found}")
        return self.tensors.values(key)

    def has(self, kind, name, task="vision", update=1):
        """Whether the file has that tensor."""
        return f"u{update}/{task}/{kind}/{name}" in self.tensors

    def all_of(self, update, task, kind):
        """{name: array} of one kind of one task of one update."""
        start = f"u{update}/{task}/{kind}/"
        return {k[len(start):]: self.array(k) for k in self.tensors.names if k.startswith(start)}

    def tasks(self, update=1):
        """The tasks of an update, in the order of execution."""
        return list(dict.fromkeys(e.task.split("/")[1] for e in self.entries if e.task.startswith(f"u{update}/")))

    def inputs(self, task="vision", update=1):
        return self.all_of(update, task, "in")

    def weights(self, update=1):
        """{name: array}; the names are those of the Hugging Face module."""
        out, model = {}, os.path.join(self.folder, "model.safetensors")
        if os.path.exists(model):
            tensors = open_tensors(model)
            out = {n: tensors.array(n) for n in tensors.names}
        for k in self.tensors.names:
            task, kind, name = split(k)
            if kind == "w" and task.startswith(f"u{update}/"):
                out[name] = self.array(k)
        return {n: np.array(a) for n, a in out.items()}

    def preprocessor(self):
        """preprocessor_config.json of the folder."""
        return read_json(os.path.join(self.folder, "preprocessor_config.json"))

    def first_task(self):
        """u<update>/<task> of the first activation."""
        return next((e.task for e in self.entries if e.kind == "act"), "u1/vision")

    def raster(self, rows):
        """Rows in merge-block order: [rows] places in raster order, or None where no grid_thw of the file has so many tokens."""
        merge = merge_size(self.config) or 2
        for e in self.entries:
            if e.kind != "in" or e.name != "grid_thw" or e.n % 3:
                continue
            grid = [tuple(int(n) for n in row) for row in self.tensors.values(e.key).reshape(-1, 3)]
            if sum(t * h * w for t, h, w in grid) == rows and all(min(g) >= 1 and not g[1] % merge and not g[2] % merge for g in grid):
                return np.concatenate([np.zeros(0, np.int64)] + list(block_places(grid, merge)))
        return None

    def check(self, candidate, **options):
        from .judge import check

        return check(self, candidate, **options)


def open_golden(x):
    """A Golden of a path, or the Golden that it is."""
    return x if isinstance(x, Golden) else Golden(x)
