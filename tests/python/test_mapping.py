"""Mapping files: every step and every kind of rule, and what is refused."""
import unittest

import numpy as np

import synthetic
from versavit_golden import FileError, open_tensors
from versavit_golden.mapping import Mapping


class Case:
    """What a mapping asks of a golden file."""

    def first_task(self):
        return "u1/vision"

    def raster(self, rows):
        return np.array([0, 2, 1, 3]) if rows == 4 else None


def apply(arrays, *rules):
    """{name: array} after these rules."""
    out = Mapping({"rules": list(rules)}).apply(open_tensors(arrays), Case())
    return {n: out.array(n) for n in out.names}


class Maps(unittest.TestCase):
    def same(self, got, want):
        self.assertEqual(sorted(got), sorted(want))
        for n in want:
            np.testing.assert_array_equal(got[n], want[n], n)

    def test_names(self):
        x = {"blk.0.ln1.out": np.ones(2), "blk.11.ln1.out": np.zeros(2), "other": np.ones(1)}
        got = apply(x, {"from": r"blk\.(\d+)\.ln1\.out", "to": "$T/act/visual.blocks.$1.norm1"}, {"from": "other", "to": "a$$b_$0"})
        self.same(got, {"u1/vision/act/visual.blocks.0.norm1": np.ones(2), "u1/vision/act/visual.blocks.11.norm1": np.zeros(2), "a$b_other": np.ones(1)})
        self.same(apply(x, {"from": "blk.*", "drop": True}), {"other": np.ones(1)})
        self.same(apply(x, {"from": "lk", "to": "no"}), x)  # the whole name must match

    def test_rules_see_what_earlier_ones_made(self):
        self.same(apply({"a": np.ones(1)}, {"from": "a", "to": "b"}, {"from": "b", "to": "c"}), {"c": np.ones(1)})

    def test_join_and_split(self):
        rng = np.random.default_rng(0)
        q, k, v = rng.standard_normal((3, 4, 2))
        join = {"from": r"(.)\.q", "with": ["$1.k", "$1.v"], "to": "$1.qkv", "axis": 1}
        joined = np.concatenate([q, k, v], 1)
        self.same(apply({"0.q": q, "0.k": k, "0.v": v}, join), {"0.qkv": joined})
        self.same(apply({"0.q": q, "0.k": k, "0.v": v}, {**join, "keep": True}), {"0.qkv": joined, "0.k": k, "0.v": v})
        self.same(apply({"0.qkv": joined}, {"from": r"(.)\.qkv", "to": ["$1.q", "$1.k", "$1.v"], "axis": 1}), {"0.q": q, "0.k": k, "0.v": v})
        self.same(apply({"0.qkv": joined}, {"from": r"(.)\.qkv", "to": ["$1.q", "$1.kv"], "sizes": [2, 4], "axis": 1}), {"0.q": q, "0.kv": joined[:, 2:]})

    def test_steps(self):
        a = np.arange(24.0).reshape(2, 3, 4)
        b = np.arange(16.0).reshape(1, 2, 2, 4)
        for x, step, want in (
                (a, {"reshape": [0, -1]}, a.reshape(2, 12)), (a, {"permute": [2, 0, 1]}, a.transpose(2, 0, 1)), (a, {"transpose": True}, a.swapaxes(1, 2)),
                (b, {"nchw": True}, b.transpose(0, 3, 1, 2)), (a, {"unpad": [2, 2, 1]}, a[:, :, ::2]), (a, {"unpad": [2, 4, 3]}, a[:, :, :3]),
                (a, {"scale": 0.5}, a / 2), (np.array([1 + 2**-9, 2.0]), {"cast": "BF16"}, np.array([1, 2.0])), (np.array([0.1]), {"cast": "F16"}, np.float16([0.1])),
                (np.arange(8.0).reshape(4, 2), {"order": "raster"}, np.arange(8.0).reshape(4, 2)[[0, 2, 1, 3]])):
            self.same(apply({"x": x}, {"from": "x", "do": [step]}), {"x": want})

    def test_fit(self):
        out = Mapping({"rules": [{"from": "x", "do": [{"fit": True}]}]}).apply(open_tensors({"x": np.ones(2), "y": np.ones(2)}), Case())
        self.assertEqual(out.fits, {"x"})

    def test_bombs(self):
        """Rules that double what they find have an end."""
        double = [{"from": "x", "with": ["y"], "keep": True}, {"from": "y", "with": ["x"], "keep": True}] * 20
        with self.assertRaisesRegex(FileError, "at most 256 numbers"):
            Mapping({"rules": double}).apply(open_tensors({"x": np.ones(2), "y": np.ones(2)}), Case())
        split = {"from": ".*", "to": [f"$0{i}" for i in range(50)], "sizes": [0] * 50}
        with self.assertRaisesRegex(FileError, "at most 4160 tensors"):
            Mapping({"rules": [split] * 3}).apply(open_tensors({"x": np.ones(0)}), Case())

    def test_two_of_one_name(self):
        out = Mapping({"rules": [{"from": ".", "to": "z"}]}).apply(open_tensors({"x": np.ones(2), "y": np.zeros(2)}), Case())
        self.assertEqual((out.twice, out.listed()), ({"z"}, ["z", "z"]))

    def test_refused(self):
        a = {"x": np.ones((2, 3)), "y": np.ones(3)}
        for rule, text in (
                ({"to": "y"}, "from"), ({"from": "("}, "regular expression"), ({"from": "x", "too": "y"}, "unknown key"), ({"from": "x", "to": "$1"}, "after a dollar"),
                ({"from": "x", "to": []}, "list of names"), ({"from": "x", "to": ["a", 3]}, "expected a name"), ({"from": "x", "to": "a", "sizes": [1]}, "as many as"),
                ({"from": "x", "to": ["a", "b"], "axis": 1}, "equal pieces"), ({"from": "x", "to": ["a", "b"], "sizes": [1, 3], "axis": 1}, "all the pieces"),
                ({"from": "x", "to": ["a", "b"], "sizes": [1, 1], "axis": 1}, "add up to 3"), ({"from": "x", "with": ["z"]}, "beside it"), ({"from": "x", "with": ["y"]}, "joined with"),
                ({"from": "x", "do": [{"turn": 1}]}, "do: expected"), ({"from": "x", "do": [{"scale": "a"}]}, "a number"), ({"from": "x", "do": [{"reshape": [4, 2]}]}, "reshaped so"),
                ({"from": "x", "do": [{"permute": [0]}]}, "as many axes"), ({"from": "x", "do": [{"permute": [0, 0]}]}, "once each"), ({"from": "y", "do": [{"transpose": True}]}, "two axes"),
                ({"from": "x", "do": [{"nchw": True}]}, "B,H,W,C"), ({"from": "x", "do": [{"unpad": [1, 2, 1]}]}, "whole heads"), ({"from": "x", "do": [{"order": "raster"}]}, "grid_thw")):
            with self.assertRaisesRegex(FileError, text, msg=str(rule)):
                apply(dict(a), rule)


class Raster(unittest.TestCase):
    def test_order(self):
        """Rows of a recording that are brought from raster order are what they were before."""
        import os
        import tempfile

        from versavit_golden import Golden

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "g.safetensors")
            tensors, index, _ = synthetic.contents()
            synthetic.write(path, tensors, index)
            places = Golden(path).raster(32)  # pictures of 1x4x6 and 2x2x2 patches
            self.assertEqual(places[:8].tolist(), [0, 1, 6, 7, 2, 3, 8, 9])
            self.assertEqual(places[12:16].tolist(), [12, 13, 18, 19])
            self.assertEqual(places[24:].tolist(), list(range(24, 32)))
            self.assertIsNone(Golden(path).raster(31))


if __name__ == "__main__":
    unittest.main()
