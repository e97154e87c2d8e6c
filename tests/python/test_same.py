"""The verdicts of this package and of `versavit golden check`, on the same damaged candidates: every number, every word but the likely cause.

The command is $VERSAVIT (default build/versavit; without one these tests are skipped). $VVT_COUNT: candidates per golden file.
"""
import json
import math
import os
import re
import subprocess
import tempfile
import unittest

import numpy as np

import synthetic
from versavit_golden import BFloat16, FileError, Golden, check, save
from versavit_golden.report import FORMATS

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
COMMAND = os.path.abspath(os.environ.get("VERSAVIT") or os.path.join(ROOT, "build", "versavit"))
COUNT = int(os.environ.get("VVT_COUNT", "12"))
CASES = ("tower-micro", "tower-outliers", "decoder-micro", "losses", "generate-micro", "updates")
NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def run(*words):
    done = subprocess.run([COMMAND, "golden", "check", *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


# ---- damage ---------------------------------------------------------------------------------------------------------------

def noise(a, rng):
    d = rng.standard_normal(a.shape) * 10.0 ** rng.uniform(-10, 0)
    return a + d * (np.sqrt(np.mean(np.square(a))) if a.size else 0)


def one_element(value):
    def damage(a, rng):
        a = a.copy()
        if a.size:
            a.reshape(-1)[rng.integers(a.size)] = value
        return a
    return damage


def one_ulp(a, rng):
    a = a.copy()
    if a.size:
        i = rng.integers(a.size)
        a.reshape(-1)[i] = np.nextafter(a.reshape(-1)[i], np.inf)
    return a


def other_choice(a, rng):
    a = a.copy()
    if a.size:
        a.reshape(-1)[rng.integers(a.size)] += rng.integers(-2, 3)
    return a


REAL = {
    "noise": noise, "more noise": noise, "factor": lambda a, rng: a * (1 + 10.0 ** rng.uniform(-9, 0)), "negated": lambda a, rng: -a, "zero": lambda a, rng: a * 0,
    "transposed": lambda a, rng: a.T, "flat": lambda a, rng: a.reshape(-1), "rows": lambda a, rng: a[::-1] if a.ndim else a, "nan": one_element(np.nan),
    "inf": one_element(np.inf), "huge": one_element(1e300), "tiny": lambda a, rng: a * 1e-300, "ulp": one_ulp, "float": lambda a, rng: a.astype(np.float32),
    "half": lambda a, rng: a.astype(np.float16), "bf16": lambda a, rng: BFloat16(a), "left out": lambda a, rng: None, "cut": lambda a, rng: a[:-1] if a.ndim else a,
}
WHOLE = {"choice": other_choice, "wider": lambda a, rng: a.astype(np.int64), "as float": lambda a, rng: a.astype(np.float32), "left out": lambda a, rng: None}


def damaged(tensors, rng):
    """({key: array}, what was done): one to six tensors spoiled, now and then one that nobody asked for."""
    out, done = dict(tensors), []
    for key in rng.choice(sorted(tensors), rng.integers(0, 7)):
        ways = REAL if tensors[key].dtype.kind == "f" else WHOLE
        how = rng.choice(sorted(ways))
        with np.errstate(all="ignore"):
            new = ways[how](tensors[key], rng)
        out.pop(key, None)
        if new is not None:
            out[key] = new
        done.append(f"{key}: {how}")
    if rng.random() < 0.2:
        out["u1/vision/act/nobody.asked"] = np.ones(3)
    return out, done


def options(rng, golden):
    """([words of the command line], {options of check})"""
    words, chosen = ["--present"] * int(rng.random() < 0.3), {}
    chosen["present"] = bool(words)
    known = [p for p in ("float", "bf16", "tf32", "fp16") if all(e.band[0].get(p, (0, 0))[1] > 0 for e in golden.entries if e.exactness == "CHAIN" and e.kind != "alt")]
    for name, values in (("precision", known or ["float"]), ("scope", ["outputs", "forward", "backward", "update"]), ("multiple", [1.0, 3.5, 13.0, 300.0])):
        if rng.random() < 0.5:
            chosen[name] = str(rng.choice(values)) if name != "multiple" else float(rng.choice(values))
            words += ["--" + name, str(chosen[name])]
    if rng.random() < 0.2 or not known:
        chosen["limit"] = float(rng.choice([1e-9, 1e-5, 1e-2]))
        words += ["--limit", repr(chosen["limit"])]
    return words, chosen


# ---- comparing ------------------------------------------------------------------------------------------------------------

def close(a, b, relative, absolute):
    if a is None or b is None or isinstance(a, (str, bool)):
        return a == b
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y, relative, absolute) for x, y in zip(a, b))
    return a == b or math.isnan(a) and math.isnan(b) or abs(a - b) <= absolute + relative * abs(b)


def same_text(test, ours, theirs, about):
    """Equal but for likely causes and the last digits of numbers."""
    theirs = re.sub(r"^likely cause: .*\n|; first to diverge; likely cause: [^\"]*", "", theirs, flags=re.MULTILINE)
    ours, theirs = ours.replace("-nan", "nan"), theirs.replace("-nan", "nan")
    words = lambda text: re.sub(" +", " ", NUMBER.sub("#", text))
    test.assertEqual(words(ours), words(theirs), about)
    for a, b in zip(NUMBER.findall(ours), NUMBER.findall(theirs)):
        test.assertTrue(close(float(a), float(b), 0.0101, 1e-14), f"{about}: {a} and {b}")


@unittest.skipUnless(os.access(COMMAND, os.X_OK), f"{COMMAND} is not there")
class Same(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def compare(self, golden, candidate, words=(), chosen=None, about=""):
        """Both must say the same; returns what."""
        status, out, err = run(golden, candidate, "--json", *words)
        try:
            judged = check(golden, candidate, **(chosen or {}))
        except (FileError, OSError) as e:
            self.assertEqual(status, 3, f"{about}: {e}; {err}{out}")
            return 3
        self.assertEqual(status, judged.status, f"{about}\n{err}")
        ours, theirs = json.loads(judged.json()), json.loads(out)
        self.assertEqual(list(ours), list(theirs))
        for name in ours:
            if name not in ("comparisons", "cause"):
                self.assertTrue(ours[name] == theirs[name] or name == "before", f"{about}: {name}: {ours[name]} and {theirs[name]}")
        self.assertEqual([c["key"] for c in ours["comparisons"]], [c["key"] for c in theirs["comparisons"]])
        for a, b in zip(ours["comparisons"], theirs["comparisons"]):
            self.assertEqual(list(a), list(b), about)
            for name in a:
                self.assertTrue(close(a[name], b[name], 1e-9, 1e-13 if name == "cosine" else 0), f"{about}: {a['key']}: {name}: {a[name]} and {b[name]}")
        for form in ("text", "csv", "junit"):
            extra = ["--all"] if form == "text" and len(words) % 2 else []
            _, out, _ = run(golden, candidate, "--format", form, *extra, *words)
            same_text(self, FORMATS[form](judged, bool(extra), False), out, f"{about}: {form}")
        return status

    def many(self, golden, tensors, count, seed):
        rng, known = np.random.default_rng(seed), Golden(golden)
        for i in range(count):
            arrays, done = damaged(tensors, rng)
            words, chosen = options(rng, known)
            path = self.path(f"c{i}" + str(rng.choice([".safetensors", ".npz", ""])))
            local = all(e.band[1]["float"][1] > 0 for e in known.entries if e.exactness == "CHAIN" and e.kind != "alt")
            resync = {"resync": "layer"} if rng.random() < 0.2 and local and path.endswith(".safetensors") and chosen.get("precision", "float") == "float" else {}
            save(path, arrays, {"precision": "float", **resync})
            with self.subTest(seed=seed, i=i):
                self.compare(golden, path, words, chosen, f"{words} {done}")

    def test_synthetic(self):
        tensors, index, whole = synthetic.contents()
        path = self.path("golden.safetensors")
        synthetic.write(path, tensors, index)
        good = synthetic.candidate(tensors)
        self.compare(path, path, about="itself")
        good["u1/vision/act/large"] = whole
        self.many(path, good, 4 * COUNT, 1)

    def test_committed(self):
        for i, name in enumerate(CASES):
            golden = os.path.join(ROOT, "golden", name)
            if os.path.isdir(golden):
                tensors = {k: a for k, a in synthetic.read(os.path.join(golden, "golden.safetensors")).items() if "/alt/" not in k}
                self.many(golden, tensors, max(2, COUNT // 4), 10 + i)

    def test_ties_and_alternatives(self):
        tensors, index, _ = synthetic.contents()
        path, mine = self.path("golden.safetensors"), self.path("mine.safetensors")
        synthetic.write(path, tensors, index)
        for changes in ({"tokens": (2, 1)}, {"tokens": (2, 0)}, {"tokens": (0, 9)}, {"signs": (5, -1)}, {"signs": (7, 0)}, {"tokens": (2, 1), "signs": (5, -1)}):
            for task in ("", "first", "both"):
                good = synthetic.candidate(tensors)
                for name, (i, value) in changes.items():
                    good["u1/vision/act/" + name].reshape(-1)[i] = value
                for name in {"first": ["first"], "both": ["first", "second"], "": []}[task]:
                    good["u1/tied/act/" + name] = tensors[f"u1/tied/alt/{name}.1"]
                save(mine, good)
                self.compare(path, mine, about=f"{changes} {task}")

    def test_broken_files(self):
        """Both refuse, with the status of a file."""
        tensors, index, _ = synthetic.contents()
        path, mine = self.path("golden.safetensors"), self.path("mine.safetensors")
        save(mine, synthetic.candidate(tensors))
        changes = ({"floor": -1}, {"klass": 1}, {"class": "ULP"}, {"bands": {"fp8": [0, 1]}}, {"bands": {"bf16": [2, 1]}}, {"bands": {"bf16": [1]}}, {"required": 1},
                   {"rule": "mode", "of": index[5]["key"]}, {"rule": "sign", "of": index[5]["key"]}, {"alternatives": ["x"]}, {"sample": 4096}, {"sample": 7},
                   {"key": "u1/vision/act/none"}, {"key": "act/none"}, {"key": index[0]["key"]}, {"floor": 0})
        for c in changes:
            synthetic.write(path, tensors, [e if i != 4 else {**e, **c} for i, e in enumerate(index)])
            self.assertEqual(self.compare(path, mine, about=str(c)), 3, c)
        synthetic.write(path, tensors, index, versavit_golden="1")
        self.assertEqual(self.compare(path, mine), 3)
        synthetic.write(path, tensors, index)
        with open(mine, "rb") as f:
            data = f.read()
        for n in (0, 7, 30, len(data) - 1):
            with open(mine, "wb") as f:
                f.write(data[:n])
            self.assertEqual(self.compare(path, mine, about=f"cut to {n} bytes"), 3)

    def test_exact_without_numbers(self):
        tensors, index, _ = synthetic.contents()
        path, mine = self.path("golden.safetensors"), self.path("mine.safetensors")
        key = "u1/vision/in/pixel_values"
        tensors[key][1, 1], tensors[key][2, 2] = np.nan, -np.inf
        synthetic.write(path, tensors, index)
        for i, value in (((0, 0), np.nan), ((1, 1), 0), ((1, 1), np.inf), ((2, 2), np.inf), ((2, 2), np.nan), ((0, 0), tensors[key][0, 0])):
            good = synthetic.candidate(tensors)
            good[key][i] = value
            save(mine, good)
            self.compare(path, mine, about=f"{i} {value}")

    def test_damaged(self):
        tensors, index, _ = synthetic.contents()
        path, mine = self.path("golden.safetensors"), self.path("mine.safetensors")
        save(mine, synthetic.candidate(tensors))
        for digests in ({}, {index[0]["key"]: "0" * 64}, {index[0]["key"]: 1}):
            synthetic.write(path, tensors, index, sha256=json.dumps(digests))
            self.assertEqual(self.compare(path, mine, about=str(digests)), 3)

    def test_columns(self):
        """What numpy writes for a.T, in an archive and in a folder."""
        tensors, index, _ = synthetic.contents()
        path = self.path("golden.safetensors")
        synthetic.write(path, tensors, index)
        good = {k: np.asfortranarray(a) for k, a in synthetic.candidate(tensors).items()}
        np.savez(self.path("mine.npz"), **good)
        for key, a in good.items():
            os.makedirs(os.path.dirname(self.path("mine/" + key)), exist_ok=True)
            np.save(self.path("mine/" + key + ".npy"), a)
        for mine in ("mine.npz", "mine"):
            self.compare(path, self.path(mine), about=mine)

    def test_mappings(self):
        """Rules that lead to golden names and back; the two must make the same of them, faults included."""
        tensors, index, _ = synthetic.contents()
        path, mine, rules = (self.path(n) for n in ("golden.safetensors", "mine.safetensors", "rules.json"))
        synthetic.write(path, tensors, index)
        good = synthetic.candidate(tensors)
        del good["u1/vision/act/flat"]  # untrusted, whatever it holds
        from_raster = np.argsort(Golden(path).raster(32))
        embed, block = good.pop("u1/vision/act/visual.patch_embed"), good.pop("u1/vision/act/visual.blocks.0")
        theirs = {"embed": embed[from_raster][None], "a.0": block[:, :3], "b.0": block[:, 3:], "junk": np.ones(2)}
        back = [{"from": "embed", "to": "$T/act/visual.patch_embed", "do": [{"reshape": [-1, 8]}, {"order": "raster"}]},
                {"from": r"a\.(\d+)", "with": ["b.$1"], "axis": 1, "to": "$T/act/visual.blocks.$1", "do": [{"scale": 2}, {"fit": True}]}, {"from": "junk", "drop": True}]
        for i, (changed, status) in enumerate((({}, 1), ({"do": [{"scale": 1}]}, 0), ({"do": [{"cast": "BF16"}]}, 1), ({"do": [{"transpose": True}]}, 1),
                                               ({"do": [{"transpose": True}, {"fit": True}]}, 1), ({"to": ["x", "$T/act/visual.blocks.$1"]}, 1),
                                               ({"to": ["x", "y", "z"]}, 3), ({"axis": 0}, 3), ({"with": ["c.$1"]}, 3), ({"to": "$2"}, 3), ({"from": "("}, 3),
                                               ({"do": [{"unpad": [1, 4, 3]}]}, 1), ({"do": [{"unpad": [1, 3, 3]}]}, 3), ({"do": [{"nchw": True}]}, 3))):
            with open(rules, "w") as f:
                json.dump({"about": "a test", "rules": [back[0], {**back[1], **changed}, back[2]]}, f)
            save(mine, {**good, **theirs})
            with self.subTest(i=i, changed=changed):
                self.assertEqual(self.compare(path, mine, ["--map", rules, "--present"], {"mapping": rules, "present": True}, str(changed)), status)


if __name__ == "__main__":
    unittest.main()
