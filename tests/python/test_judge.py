"""Verdicts: each rule of the format is broken once, just inside and just outside its limit."""
import copy
import hashlib
import json
import os
import tempfile
import unittest

import numpy as np

import synthetic
from versavit_golden import FileError, Golden, Recorder, check, save
from versavit_golden.index import sample_places
from versavit_golden.measure import Measure

BLOCK, TOKENS, SIGNS, LARGE, BIAS = (f"u1/vision/{n}" for n in (
    "act/visual.blocks.0", "act/tokens", "act/signs", "act/large", "dw/visual.blocks.0.bias"))
NOT_FLAT = {"present": True}


class Judging(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "golden.safetensors")
        self.tensors, self.index, self.whole = synthetic.contents()
        self.good = synthetic.candidate(self.tensors)
        del self.good["u1/vision/act/flat"]  # untrusted, whatever it holds

    def write(self, **metadata):
        synthetic.write(self.path, self.tensors, self.index, **metadata)

    def entry(self, key):
        return next(e for e in self.index if e["key"] == key)

    def check(self, changes=None, metadata=None, **options):
        """{key: verdict} of the good candidate with these tensors changed (None: left out)."""
        self.write()
        arrays = {**self.good, **(changes or {})}
        arrays = {k: a for k, a in arrays.items() if a is not None}
        candidate = Recorder(self.path, inputs=False)
        candidate.arrays, candidate.metadata = arrays, metadata or {}
        self.judged = check(self.path, candidate, **{**NOT_FLAT, **options})
        return {j.key: j.verdict for j in self.judged.judgements}

    def off_by(self, key, relative):
        """The golden tensor, wrong by this relative RMS."""
        a = self.tensors[key]
        d = np.random.default_rng(3).standard_normal(a.shape)
        return a + d * relative * np.sqrt(np.mean(a**2) / np.mean(d**2))

    def test_equal(self):
        verdicts = self.check()
        self.assertTrue(self.judged.equal, verdicts)
        self.assertEqual(set(verdicts.values()), {"PASS", "absent"})
        self.assertNotIn("u1/tied/alt/first.1", verdicts)

    def test_limits(self):
        for relative, options, verdict in (
                (12.9e-7, {}, "PASS"), (13.1e-7, {}, "FAIL"), (2.9e-7, {"multiple": 3}, "PASS"), (3.1e-7, {"multiple": 3}, "FAIL"),
                (0.9e-3, {"limit": 1e-3}, "PASS"), (1.1e-3, {"limit": 1e-3}, "FAIL"), (12.9 * 4e-3, {"precision": "bf16"}, "PASS"),
                (13.1 * 4e-3, {"precision": "bf16"}, "FAIL"), (13.1 * 5e-4, {"precision": "tf32"}, "FAIL")):
            self.assertEqual(self.check({BLOCK: self.off_by(BLOCK, relative)}, **options)[BLOCK], verdict, (relative, options))
        self.assertEqual(self.judged.first.key, BLOCK)
        with self.assertRaisesRegex(FileError, "expected a band of fp16"):
            self.check(precision="fp16")

    def test_local_floors(self):
        wrong = {BLOCK: self.off_by(BLOCK, 5e-7)}
        self.assertEqual(self.check(wrong)[BLOCK], "PASS")
        self.assertEqual(self.check(wrong, {"resync": "layer"})[BLOCK], "FAIL")
        self.assertEqual(self.check(wrong, {"resync": "layer"}, precision="bf16")[BLOCK], "PASS")

    def test_floors_of_another_file(self):
        self.write()
        other = copy.deepcopy(self.index)
        next(e for e in other if e["key"] == BLOCK)["floor"] = 1e-3
        floors = self.path + ".floors.safetensors"
        synthetic.write(floors, self.tensors, other)
        self.assertEqual(self.check({BLOCK: self.off_by(BLOCK, 1e-2)}, floors=floors)[BLOCK], "PASS")

    def test_exact(self):
        key = "u1/vision/in/pixel_values"
        wrong = self.tensors[key].copy()
        wrong[3, 2] = np.nextafter(wrong[3, 2], np.float32(9))
        self.assertEqual(self.check({key: wrong}, limit=1.0)[key], "FAIL")
        self.assertEqual(self.judged.first.measure.worst, 3 * 6 + 2)

    def test_exact_without_numbers(self):
        """Labels may be unknown: the same bits pass, and nothing else."""
        key = "u1/vision/in/pixel_values"
        self.tensors[key] = golden = self.tensors[key].copy()
        golden[1, 1], golden[2, 0] = np.nan, np.inf
        self.good[key] = golden.copy()
        self.assertEqual(self.check()[key], "PASS")
        for value, verdict in ((0, "FAIL"), (np.inf, "NOT FINITE"), (-golden[1, 1], "NOT FINITE")):
            wrong = golden.copy()
            wrong[1, 1] = value
            self.assertEqual(self.check({key: wrong})[key], verdict)
            self.assertEqual(self.judged.first.measure.worst, 7)

    def test_damaged(self):
        """A golden file says which data it was written with; what is not judged is not looked at."""
        self.index = [e for e in self.index if not e["key"].startswith("u1/tied")]
        digests = {e["key"]: hashlib.sha256(np.ascontiguousarray(self.tensors[e["key"]]).tobytes()).hexdigest() for e in self.index if not e.get("sample")}
        for change, text in (({}, None), ({"u1/vision/act/flat": "0"}, None), ({BLOCK: "0" * 64}, BLOCK + ": damaged.*0000; found"), ({BLOCK: None}, BLOCK + ": damaged.*its metadata")):
            self.write(sha256=json.dumps({**digests, **change}))
            if text:
                with self.assertRaisesRegex(FileError, text):
                    check(self.path, self.good, **NOT_FLAT)
            else:
                check(self.path, self.good, **NOT_FLAT)

    def test_not_finite_shape_untrusted_missing(self):
        wrong = self.tensors[BLOCK].copy()
        wrong[2, 3] = np.nan
        self.assertEqual(self.check({BLOCK: wrong})[BLOCK], "NOT FINITE")
        self.assertEqual(self.judged.first.measure.worst, 19)
        self.assertEqual(self.check({BLOCK: self.tensors[BLOCK].T})[BLOCK], "SHAPE")
        self.assertEqual(self.check({"u1/vision/act/flat": np.full(20, 3.0)})["u1/vision/act/flat"], "UNTRUSTED")
        self.assertEqual(self.check({BLOCK: None}, present=False)[BLOCK], "MISSING")
        self.assertEqual(self.check({BLOCK + "#part": None}, present=False)[BLOCK + "#part"], "absent")

    def test_scopes(self):
        keys = [k for k in self.good if "/act/features" not in k and "/in/" not in k and "/loss/" not in k]
        for scope, kinds in (("outputs", ()), ("forward", ("act",)), ("backward", ("act", "dw")), ("update", ("act", "dw", "dstep"))):
            verdicts = self.check({k: None for k in keys}, scope=scope, present=False)
            missing = {k.split("/")[2] for k, v in verdicts.items() if v == "MISSING"}
            self.assertEqual(missing, set(kinds), scope)
        self.assertEqual(self.check({"u1/vision/act/features": None}, scope="outputs", present=False)["u1/vision/act/features"], "MISSING")
        wrong = self.check({BLOCK: self.off_by(BLOCK, 1)}, scope="outputs")
        self.assertEqual(wrong[BLOCK], "FAIL")  # what is there is judged, wherever it lies

    def test_scale(self):
        self.assertEqual(self.check({BIAS: np.full(16, 0.5 * 12.9e-7)})[BIAS], "PASS")
        self.assertEqual(self.check({BIAS: np.full(16, 0.5 * 13.1e-7)})[BIAS], "FAIL")
        del self.entry(BIAS)["scale"]
        self.assertEqual(self.check({BIAS: np.zeros(16)})[BIAS], "UNTRUSTED")

    def test_sampled(self):
        self.assertEqual(self.check({LARGE: self.whole})[LARGE], "PASS")
        wrong = self.whole.copy()
        wrong.reshape(-1)[sample_places(wrong.size)[77]] += 1
        self.assertEqual(self.check({LARGE: wrong})[LARGE], "FAIL")
        self.assertEqual(self.judged.first.measure.worst, 77)
        self.assertEqual(self.check({LARGE: self.whole.T})[LARGE], "SHAPE")
        places = sample_places(5600)
        self.assertTrue((np.diff(places) > 0).all() and places[0] == 0 and places[-1] < 5600)

    def test_argmax(self):
        chosen = self.tensors[TOKENS].copy()
        chosen[2] = 1  # as large as the largest, but for 1e-7
        self.assertEqual(self.check({TOKENS: chosen})[TOKENS], "TIE")
        self.assertEqual((self.judged.ties, self.judged.equal), (1, True))
        self.assertEqual(self.check({TOKENS: chosen}, multiple=0.01)[TOKENS], "FAIL")
        for wrong in (0, 5, -1):
            chosen[2] = wrong
            self.assertEqual(self.check({TOKENS: chosen})[TOKENS], "FAIL", wrong)

    def test_sign(self):
        signs = self.tensors[SIGNS].copy()
        signs[5] = -1
        self.assertEqual(self.check({SIGNS: signs})[SIGNS], "TIE")
        signs[7] *= -1
        self.assertEqual(self.check({SIGNS: signs})[SIGNS], "FAIL")
        self.assertEqual(self.judged.first.measure.worst, 7)

    def test_alternatives(self):
        first, second = "u1/tied/act/first", "u1/tied/act/second"
        other = {first: self.tensors["u1/tied/alt/first.1"], second: self.tensors["u1/tied/alt/second.1"]}
        self.assertEqual(self.check(other)[second], "PASS")
        self.assertEqual([j.alternative for j in self.judged.judgements if j.key in other], [1, 1])
        mixed = self.check({first: other[first]})
        self.assertEqual([mixed[first], mixed[second]], ["FAIL", "PASS"])  # of two ways that fail alike, the golden one

    def test_extra(self):
        self.assertTrue(self.check({"u1/vision/act/more": np.zeros(3)}) and self.judged.equal)
        self.assertEqual((self.judged.extra, self.judged.first_extra), (1, "u1/vision/act/more"))
        self.check({"u1/vision/act/more": np.zeros(3)}, strict=True)
        self.assertFalse(self.judged.equal)

    def test_bad_index(self):
        for changes, text in ((dict(floor=-1), "floor"), (dict(klass=1), "unknown key"), ({"class": "ULP"}, "class"), (dict(bands={"fp8": [0, 1]}), "bands"),
                              (dict(bands={"bf16": [2, 1]}), "bands"), (dict(required=1), "required"), (dict(rule="mode", of=BLOCK), "rule"),
                              (dict(rule="sign", of=BLOCK), "DISCRETE"), (dict(alternatives=["x"]), "alternatives"), (dict(sample=4096), "sample"),
                              (dict(key="u1/vision/act/none"), "is not in the file"), (dict(key="act/none"), "expected a key u<update>")):
            index = copy.deepcopy(self.index)
            index[4].update(changes)
            synthetic.write(self.path, self.tensors, index)
            with self.assertRaisesRegex(FileError, text, msg=str(changes)):
                Golden(self.path)
        synthetic.write(self.path, self.tensors, self.index + [self.index[0]])
        with self.assertRaisesRegex(FileError, "found twice"):
            Golden(self.path)
        synthetic.write(self.path, self.tensors, self.index, versavit_golden="1")
        with self.assertRaisesRegex(FileError, "expected format 2"):
            Golden(self.path)

    def test_measure(self):
        m = Measure(np.array([3.0, 4, 0, 0]), np.array([3.0, 4, 0, 1]))
        self.assertAlmostEqual(m.rel_rms, 0.2)
        self.assertAlmostEqual(m.cosine, 25 / (5 * np.sqrt(26)))
        big = np.array([1e300, -1e300])
        self.assertAlmostEqual(Measure(big, big * 1.5).rel_rms, 0.5)
        small = np.array([1e-300, -1e-300])
        self.assertAlmostEqual(Measure(small, small * 1.5).rel_rms, 0.5)
        self.assertEqual(Measure(np.zeros(3), np.full(3, 0.25)).rel_rms, 0.25)
        self.assertEqual(Measure(np.float64([1, 1, 1]), 1 + np.float64([0, 2**-23, 2**-22])).ulp, (1, 1, 2))

    def test_golden(self):
        folder = os.path.dirname(self.path)
        self.tensors["u2/vision/w/visual.a"] = np.ones(2, np.float32)
        self.index.append(synthetic.entry("u2/vision/w/visual.a", "EXACT"))
        self.write()
        save(os.path.join(folder, "model.safetensors"), {"visual.a": np.zeros(2, np.float32), "visual.b": np.zeros(3, np.float32)})
        g = Golden(folder)
        self.assertEqual(sorted(g.inputs()), ["grid_thw", "image.0", "pixel_values"])
        self.assertEqual((g.tasks(), g.tasks(2), g.case), (["vision", "update", "tied"], ["vision"], {"kind": "tower"}))
        self.assertEqual([g.weights(u)["visual.a"].tolist() for u in (1, 2)], [[0, 0], [1, 1]])
        self.assertEqual(sorted(g.weights(2)), ["visual.a", "visual.b"])
        self.assertTrue(g.has("act", "visual.blocks.0") and not g.has("act", "visual.blocks.1"))

    def test_recorder(self):
        self.write()
        r = Recorder(self.path)
        r.act("visual.patch_embed", self.tensors["u1/vision/act/visual.patch_embed"][None])  # axes of length 1 do not count
        r.loss("total", 2.5)
        self.assertTrue(r.check(present=True).equal)
        with self.assertRaises(KeyError):
            r.act("visual.patch_embod", np.zeros(3))


if __name__ == "__main__":
    unittest.main()
