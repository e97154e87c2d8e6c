"""Files of tensors: what is written is read again, and what is damaged is refused by name."""
import json
import os
import struct
import tempfile
import unittest

import numpy as np

import synthetic  # noqa: F401  (finds the package)
from versavit_golden import BFloat16, FileError, open_tensors, save
from versavit_golden.tensors import bf16_bits, bf16_from_f64, from_bf16

ARRAYS = {
    "u1/t/act/a.b#c": np.arange(6.0).reshape(2, 3), "f4": np.float32([1.5, -2]), "f2": np.float16([[0.1]]), "i8": np.int64([[2**53]]), "i4": np.int32([]),
    "u1": np.uint8([0, 255]), "scalar": np.array(3.25), "bool": np.array([True, False]), "empty": np.zeros((3, 0, 2)),
}


def raw(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def test_round_trips(self):
        for name in ("x.safetensors", "x.npz", "folder"):
            save(self.path(name), ARRAYS, {"precision": "float"})
            t = open_tensors(self.path(name))
            self.assertEqual(set(t.names), set(ARRAYS), name)
            self.assertEqual(t.metadata, {"precision": "float"} if name.endswith("safetensors") else {})
            for n, a in ARRAYS.items():
                self.assertEqual(t.shape(n), a.shape, n)
                self.assertEqual(t.array(n).dtype, a.dtype)
                np.testing.assert_array_equal(t.array(n), a)
                np.testing.assert_array_equal(t.values(n), a.astype(np.float64))

    def test_same_bytes(self):
        for name in ("a", "b"):
            save(self.path(name + ".safetensors"), dict(sorted(ARRAYS.items(), reverse=name == "b")), {"b": "1", "a": "2"})
        with open(self.path("a.safetensors"), "rb") as a, open(self.path("b.safetensors"), "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_whole_numbers_beyond_doubles(self):
        for x in (2**53 + 1, -(2**53) - 1):
            with self.assertRaisesRegex(FileError, "whole numbers up to 2"):
                open_tensors({"x": np.array([x])}).values("x")

    def test_bf16(self):
        x = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -0.0, np.inf, -np.inf, 3.3895e38, 3.4e38])
        want = np.float32([1, 1, 1 + 2**-6, 1 + 2**-7, -0.0, np.inf, -np.inf, 3.3895314e38, np.inf])
        np.testing.assert_array_equal(from_bf16(bf16_bits(x)), want)
        self.assertTrue(np.isnan(from_bf16(bf16_bits(np.float32([np.nan]))))[0])
        save(self.path("x.safetensors"), {"x": BFloat16(x)})
        self.assertEqual(open_tensors(self.path("x.safetensors")).names["x"][0], "BF16")
        np.testing.assert_array_equal(open_tensors(self.path("x.safetensors")).array("x"), want)

    def test_bf16_of_doubles_rounds_once(self):
        self.assertEqual(from_bf16(bf16_from_f64(np.array([1 + 2**-8 + 2**-40])))[0], 1 + 2**-7)  # by way of float it would be 1
        rng = np.random.default_rng(1)
        x = rng.standard_normal(2000) * 2.0 ** rng.integers(-140, 120, 2000)
        got = from_bf16(bf16_from_f64(x)).astype(np.float64)
        bits = bf16_from_f64(x).astype(np.int64)
        for step in (-1, 1):  # no neighbour is nearer
            near = from_bf16((bits + step).astype(np.uint16)).astype(np.float64)
            self.assertFalse((np.abs(near - x) < np.abs(got - x)).any())

    def test_npy_without_a_type_is_bf16(self):
        os.mkdir(self.path("f"))
        np.save(self.path("f/x.npy"), bf16_bits(np.float32([1.5, -3])).view("V2"))
        np.testing.assert_array_equal(open_tensors(self.path("f")).array("x"), np.float32([1.5, -3]))

    def test_damaged(self):
        good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        path = self.path("x.safetensors")
        for header, data, text in (
                (b"", b"", "no header"), (b"{ ", b"", "JSON"), (b"[1]  ", b"", "JSON object"), ({"x": good}, b"1234", "data_offsets"),
                ({"x": {**good, "shape": [3]}}, b"12345678", "data_offsets"), ({"x": {**good, "dtype": "F31"}}, b"12345678", "dtype"),
                ({"x": {**good, "shape": [-2]}}, b"12345678", "shape"), ({"x": good}, b"123456789", "8 bytes of data; found 9"),
                ({"x": good, "y": good}, b"12345678", "begin at 8"), (b'{"x":1,"x":1}', b"", "comes twice"), ({"x": 5}, b"", "JSON object")):
            raw(path, header, data)
            with self.assertRaisesRegex(FileError, text, msg=str(header)):
                open_tensors(path)
        for name in ("x.npz", "f/x.npy"):
            os.makedirs(self.path("f"), exist_ok=True)
            with open(self.path(name), "wb") as f:
                f.write(b"\x93NUMPY nonsense")
            with self.assertRaises(FileError):
                t = open_tensors(self.path(name if name.endswith("npz") else "f"))
                t.shape("x")
        os.mkdir(self.path("nothing"))
        with self.assertRaisesRegex(FileError, "found neither"):
            open_tensors(self.path("nothing"))


if __name__ == "__main__":
    unittest.main()
