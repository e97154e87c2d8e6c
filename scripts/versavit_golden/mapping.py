"""Mapping files: how the tensors of another program become those of a golden file. The rules stand in golden/README.md and are those of
`versavit golden check --map`; a rule is one JSON object with "from" and any of "to", "with", "axis", "sizes", "drop", "keep", "do"."""
import json
import math
import os
import re

import numpy as np

from .index import count
from .tensors import FileError, Tensors, bf16_from_f64, from_bf16, read_json

HERE = os.path.dirname(os.path.abspath(__file__))
SHIPPED = (os.path.join(HERE, "mappings"), os.path.join(HERE, "..", "..", "data", "mappings"))
RULE_KEYS = ("about", "from", "to", "with", "axis", "sizes", "drop", "keep", "do")
AXES = 8


class Item:
    """A tensor on its way: key, array or None (still in its file), fits."""

    def __init__(self, key, source=None, name=None, array=None, fits=False):
        self.key, self.source, self.name, self.array, self.fits = key, source, name, array, fits

    def load(self):
        if self.array is None:
            self.array = self.source.values(self.name)
        return self.array

    def shape(self):
        return tuple(self.array.shape) if self.array is not None else tuple(self.source.shape(self.name))


class Mapped(Tensors):
    """What a mapping made of a candidate."""

    def __init__(self, source, items):
        super().__init__(source.path, source.metadata)
        self.named = source.named
        self.items = sorted(items, key=lambda i: i.key)
        self.names = {}
        for i in self.items:
            if self.names.setdefault(i.key, i) is not i:
                self.twice.add(i.key)
        self.fits = {i.key for i in self.items if i.fits}

    def listed(self):
        return [i.key for i in self.items]

    def shape(self, name):
        return self.names[name].shape()

    def array(self, name):
        return self.names[name].load()


# ---- steps --------------------------------------------------------------------------------------------------------------

def wrong(where, item, expected):
    raise FileError(f"{where}: {item.key}: expected {expected}; found [{','.join(map(str, item.shape()))}]")


def reshape(where, item, shape, golden):
    a = item.load()
    wanted = [a.shape[i] if n == 0 and i < a.ndim else n for i, n in enumerate(shape)]
    try:
        item.array = a.reshape(wanted) if min(wanted, default=0) >= -1 else None
    except ValueError:
        item.array = None
    if item.array is None:
        item.array = a
        wrong(where, item, "a tensor that can be reshaped so")


def permute(where, item, order, golden):
    a = item.load()
    if len(order) != a.ndim:
        wrong(where, item, 'as many axes as "permute" has')
    if sorted(order) != list(range(a.ndim)):
        wrong(where, item, "axes once each")
    item.array = a.transpose(order)


def transpose(where, item, _, golden):
    if item.load().ndim < 2:
        wrong(where, item, "at least two axes")
    item.array = item.array.swapaxes(-1, -2)


def nchw(where, item, _, golden):
    if item.load().ndim != 4:
        wrong(where, item, "[B,H,W,C]")
    item.array = item.array.transpose(0, 3, 1, 2)


def unpad(where, item, arg, golden):
    axis, padded, size = arg
    a = item.load()
    if not 0 <= axis < a.ndim or not 1 <= size <= padded or a.shape[axis] % padded:
        wrong(where, item, "an axis of whole heads")
    before, after = a.shape[:axis], a.shape[axis + 1:]
    heads = a.reshape(*before, a.shape[axis] // padded, padded, *after)
    item.array = heads[(slice(None),) * (axis + 1) + (slice(size),)].reshape(*before, -1, *after)


def scale(where, item, factor, golden):
    item.array = item.load() * factor


def cast(where, item, kind, golden):
    a = item.load()
    with np.errstate(over="ignore"):
        item.array = (from_bf16(bf16_from_f64(a)) if kind == "BF16" else a.astype({"F32": "f4", "F16": "f2"}[kind])).astype(np.float64)


def order(where, item, _, golden):
    rows = item.load().shape[0] if item.load().ndim else 0
    places = golden.raster(rows)
    if places is None:
        wrong(where, item, "as many rows as an input grid_thw of the golden file has tokens")
    item.array = item.array[places]


def fit(where, item, _, golden):
    item.fits = True


def whole_numbers(x, least, most):
    return isinstance(x, list) and least <= len(x) <= most and all(type(n) is int for n in x)


STEPS = {"reshape": (reshape, lambda x: whole_numbers(x, 1, AXES), "a list of 1 to 8 whole numbers"),
         "permute": (permute, lambda x: whole_numbers(x, 1, AXES), "a list of axes"),
         "transpose": (transpose, lambda x: x is True, "true"),
         "nchw": (nchw, lambda x: x is True, "true"),
         "unpad": (unpad, lambda x: whole_numbers(x, 3, 3), "[axis, padded, size]"),
         "scale": (scale, lambda x: type(x) in (int, float), "a number"),
         "cast": (cast, lambda x: x in ("F32", "F16", "BF16"), '"F32", "F16" or "BF16"'),
         "order": (order, lambda x: x == "raster", '"raster"'),
         "fit": (fit, lambda x: x is True, "true")}


# ---- rules --------------------------------------------------------------------------------------------------------------

class Rule:
    """One rule, checked. where: "FILE: rules[3]"."""

    def __init__(self, item, where):
        self.where = where
        if not isinstance(item, dict):
            raise FileError(f"{where}: expected an object {{ }}; found {json.dumps(item)[:60]}")
        unknown = next((k for k in item if k not in RULE_KEYS), None)
        if unknown:
            raise FileError(f"{where}: {unknown}: unknown key")
        if not isinstance(item.get("from"), str):
            raise FileError(f"{where}: from: expected a regular expression")
        try:
            self.pattern = re.compile(item["from"])
        except re.error as e:
            raise FileError(f"{where}: from: expected a regular expression; {e} of \"{item['from']:.80}\"") from None
        self.join, self.sizes, self.steps = (self.get(item, k, list, []) for k in ("with", "sizes", "do"))
        self.keep = self.get(item, "keep", bool, False)
        self.axis, self.drop, self.to = self.get(item, "axis", int, 0), self.get(item, "drop", bool, False), item.get("to")
        if not 0 <= self.axis < AXES:
            raise FileError(f"{where}: axis: expected 0 to {AXES - 1}; found {self.axis}")
        if self.to is not None and not isinstance(self.to, str) and not (isinstance(self.to, list) and self.to):
            raise FileError(f"{where}: to: expected a name or a list of names; found {json.dumps(self.to)[:60]}")
        for field in ("with", "to"):
            for n in item.get(field) if isinstance(item.get(field), list) else ():
                if not isinstance(n, str):
                    raise FileError(f"{where}: {field}: expected a name; found {json.dumps(n)[:60]}")
        if "sizes" in item and (not isinstance(self.to, list) or len(self.to) != len(self.sizes)):
            raise FileError(f'{where}: sizes: expected as many as "to" has names')
        for step in self.steps:
            self.check_step(step)

    def get(self, item, name, kind, default):
        value = item.get(name, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise FileError(f"{self.where}: {name}: expected {kind.__name__}; found {json.dumps(value)[:60]}")
        return value

    def check_step(self, step):
        name = next(iter(step), None) if isinstance(step, dict) and len(step) == 1 else None
        if name not in STEPS:
            listed = ", ".join(f'"{s}"' for s in list(STEPS)[:-1])
            raise FileError(f'{self.where}: do: expected {{{listed} or "fit": value}}; found {json.dumps(step)[:60]}')
        if not STEPS[name][1](step[name]):
            raise FileError(f"{self.where}: do: {name}: expected {STEPS[name][2]}; found {json.dumps(step[name])[:60]}")

    def expand(self, template, match, golden):
        """The template with $0 .. $9, $T and $$ filled in."""
        def one(m):
            k = m.group(1)
            if k == "T":
                return golden.first_task()
            if k == "$":
                return "$"
            if not k.isdigit() or int(k) > self.pattern.groups:
                raise FileError(f'{self.where}: "{template:.80}": expected $0 .. ${self.pattern.groups}, $T or $$ after a dollar')
            return match.group(int(k)) or ""

        return re.sub(r"\$(.|$)", one, template, flags=re.DOTALL)

    def apply(self, items, golden, most=(math.inf, math.inf)):
        """The list of items after this rule; what it makes is not seen by itself. most: tensors, and numbers in one."""
        out, made = list(items), []
        for at, item in enumerate(items):
            match = self.pattern.fullmatch(item.key) if out[at] is not None else None
            if not match:
                continue
            if self.drop:
                out[at] = None
                continue
            self.append(item, match, out, golden, most[1])
            for step in self.steps:
                name, value = next(iter(step.items()))
                STEPS[name][0](self.where, item, value, golden)
            if isinstance(self.to, list):
                made += self.split(item, match, golden)
                if len(out) + len(made) > most[0]:
                    raise FileError(f"{self.where}: expected at most {most[0]} tensors (64 times the candidate's and 4096)")
                out[at] = None
            elif self.to is not None:
                item.key = self.expand(self.to, match, golden)
        return [i for i in out if i is not None] + made

    def append(self, item, match, out, golden, most):
        for template in self.join:
            key = self.expand(template, match, golden)
            at = next((k for k, i in enumerate(out) if i is not None and i.key == key), None)
            if at is None or out[at] is item:
                raise FileError(f"{self.where}: {item.key}: expected {key:.120} beside it; found none")
            a, b = item.load(), out[at].load()
            if a.size + b.size > most:
                raise FileError(f"{self.where}: {key}: expected at most {most} numbers (64 times the candidate's)")
            if a.ndim != b.ndim or self.axis >= a.ndim or any(x != y for i, (x, y) in enumerate(zip(a.shape, b.shape)) if i != self.axis):
                wrong(self.where, out[at], "the shape of the tensors that it is joined with")
            item.array = np.concatenate([a, b], self.axis)
            if not self.keep:
                out[at] = None

    def split(self, item, match, golden):
        a, n = item.load(), len(self.to)
        whole = a.shape[self.axis] if self.axis < a.ndim else -1
        if not self.sizes and whole % n:
            raise FileError(f"{self.where}: {item.key}: expected an axis of {n} equal pieces; found {whole}")
        sizes, pieces, first = self.sizes or [whole // n] * n, [], 0
        for template, size in zip(self.to, sizes):
            key = self.expand(template, match, golden)
            if whole < 0 or type(size) is not int or not 0 <= size <= whole - first:
                wrong(self.where, item, "an axis that has all the pieces")
            piece = a[(slice(None),) * self.axis + (slice(first, first + size),)]
            pieces.append(Item(key, array=piece, fits=item.fits))
            first += size
        if first != whole:
            raise FileError(f"{self.where}: {item.key}: sizes: expected them to add up to {whole}; found {first}")
        return pieces


def find(name):
    """The path of a mapping: a file, or the name of a shipped one."""
    if os.path.exists(name):
        return name
    return next((p for p in (os.path.join(d, name + ".json") for d in SHIPPED) if os.path.exists(p)), name)


class Mapping:
    """Mapping("transformers"), of a path, or of {"rules": [...]}."""

    def __init__(self, source):
        path = "mapping" if isinstance(source, dict) else find(os.fspath(source))
        root = source if isinstance(source, dict) else read_json(path)
        if not isinstance(root, dict) or not isinstance(root.get("rules"), list):
            raise FileError(f"{path}: rules: expected a list")
        unknown = next((k for k in root if k not in ("about", "rules")), None)
        if unknown:
            raise FileError(f"{path}: {unknown}: unknown key")
        self.rules = [Rule(r, f"{path}: rules[{i}]") for i, r in enumerate(root["rules"])]

    def apply(self, candidate, golden):
        """The candidate as a Tensors with golden names."""
        items = [Item(n, candidate, n) for n in sorted(candidate.listed())]
        most = 64 * len(items) + 4096, 64 * sum(count(candidate.shape(i.key)) for i in items)
        for rule in self.rules:
            items = rule.apply(items, golden, most)
        return Mapped(candidate, items)
