"""Tensors by name, in whatever file they come: safetensors, .npz, a folder of .npy files, a dictionary of arrays.

`open_tensors(x)` takes a path or a dictionary and returns a Tensors; `save(path, arrays, metadata)` writes any of the three.
Only numpy is needed. BF16 is read as float32, which holds it exactly, and written from arrays whose type is called bfloat16
(ml_dtypes) or from BFloat16(array).
"""
import json
import os
import struct
import zipfile

import numpy as np

NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "U64": "<u8", "I32": "<i4", "U32": "<u4",
         "I16": "<i2", "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?"}
NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL", "int64": "I64", "uint64": "U64",
         "int32": "I32", "uint32": "U32", "int16": "I16", "uint16": "U16", "int8": "I8", "uint8": "U8"}
HEADER_BYTES = 100_000_000
EXACT_IN_DOUBLE = 2**53
GOLDEN_FILE = "golden.safetensors"


class FileError(ValueError):
    """A file that cannot be used; the text names the file, the field, what was expected and what was found."""


class BFloat16:
    """Marks an array of numbers that are to be written as BF16 (rounded to nearest, ties to even)."""

    def __init__(self, array):
        self.array = np.asarray(array, np.float32)


def bf16_bits(array):
    """float32 of any shape -> uint16, rounded to nearest even; a NaN stays one."""
    bits = np.asarray(array, np.float32, order="C").view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(array), np.uint32(0x7FC0), rounded).astype("<u2")


def bf16_from_f64(array):
    """float64 of any shape -> uint16, rounded once: by way of float32 rounded to odd, which keeps what decides a tie."""
    x = np.asarray(array, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        f = x.astype(np.float32)
        bits = np.atleast_1d(f).view(np.uint32).reshape(x.shape)
        bits = np.where(np.abs(f.astype(np.float64)) > np.abs(x), bits - np.uint32(1), bits)
        return bf16_bits(np.where(f.astype(np.float64) != x, bits | np.uint32(1), bits).astype(np.uint32).view(np.float32))


def from_bf16(bits):
    """uint16 of any shape -> float32"""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def as_array(x):
    """A numpy array of anything array-like: numpy, JAX, lists, numbers, and torch tensors wherever they live (BF16 becomes float32)."""
    if isinstance(x, BFloat16):
        return from_bf16(bf16_bits(x.array))
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if str(x.dtype) == "torch.bfloat16" else x
        return x.numpy()
    a = np.asarray(x)
    return a.astype(np.float32) if a.dtype.name == "bfloat16" else a


# ---- reading ------------------------------------------------------------------------------------------------------------

class Tensors:
    """names: in the order of the file. shape(name), array(name), values(name). metadata {string: string}.

    twice: names that several tensors have.   fits: names whose shape may be another one of as many numbers (a mapping said so).
    named: what the caller called the file."""

    def __init__(self, path, metadata=None):
        self.path, self.metadata, self.twice, self.fits = str(path), dict(metadata or {}), set(), set()
        self.named = self.path

    def listed(self):
        """All names, those of several tensors as often."""
        return list(self.names)

    def __contains__(self, name):
        return name in self.names

    def values(self, name):
        """The numbers in float64, whole numbers too: FileError when one has no exact float64."""
        a = self.array(name)
        if a.dtype.kind in "iu" and a.size and (int(a.max()) > EXACT_IN_DOUBLE or int(a.min()) < -EXACT_IN_DOUBLE):
            raise FileError(f"{self.path}: {name}: expected whole numbers up to 2^53; found {max(int(a.max()), int(a.min()), key=abs)}")
        if a.dtype.kind not in "fiub":
            raise FileError(f"{self.path}: {name}: expected numbers; found the type {a.dtype.name}")
        return a.astype(np.float64)


class Arrays(Tensors):
    """A dictionary {name: array-like} in memory."""

    def __init__(self, arrays, metadata=None, path="candidate"):
        super().__init__(path, metadata)
        self.arrays = {n: as_array(a) for n, a in arrays.items()}
        self.names = dict.fromkeys(self.arrays)

    def shape(self, name):
        return tuple(self.arrays[name].shape)

    def array(self, name):
        return self.arrays[name]


def unique(pairs):
    """An object of a JSON text; a name that comes twice is an error."""
    out = dict(pairs)
    if len(out) != len(pairs):
        seen = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))
        raise ValueError(f"{twice} comes twice")
    return out


class Safetensors(Tensors):
    """A .safetensors file; tensors are read when they are asked for."""

    def __init__(self, path):
        super().__init__(path)
        with open(path, "rb") as f:
            head = f.read(8)
            size = os.fstat(f.fileno()).st_size
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(size - 8, HEADER_BYTES):
                raise FileError(f"{path}: expected a safetensors file; found no header")
            text = f.read(length)
        try:
            header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
        except ValueError as e:
            raise FileError(f"{path}: header: expected JSON; found an error: {e}") from None
        if not isinstance(header, dict):
            raise FileError(f"{path}: header: expected a JSON object")
        self.metadata = header.pop("__metadata__", None) or {}
        self.start, self.names = 8 + length, {}
        for name, t in header.items():
            self.names[name] = self.entry(name, t, size - self.start)
        self.no_gaps(size - self.start)

    def no_gaps(self, size):
        """The data must be exactly that of the tensors, in some order."""
        end = 0
        for name, (_, _, begin, stop) in sorted(self.names.items(), key=lambda item: item[1][2:]):
            if begin != end:
                raise FileError(f"{self.path}: {name}: data_offsets: expected to begin at {end}; found {begin}")
            end = stop
        if end != size:
            raise FileError(f"{self.path}: expected {end} bytes of data; found {size}")

    def entry(self, name, t, size):
        """(dtype, shape, begin, end) of one tensor of the header, checked; size: of the data."""
        def bad(field, expected):
            raise FileError(f"{self.path}: {name}: {field}: expected {expected}; found {json.dumps((t or {}).get(field))}")

        def naturals(x):
            return isinstance(x, list) and all(type(n) is int and n >= 0 for n in x)

        if not isinstance(t, dict):
            raise FileError(f"{self.path}: {name}: expected a JSON object")
        if t.get("dtype") not in NUMPY:
            bad("dtype", "one of " + ", ".join(NUMPY))
        if not naturals(t.get("shape")):
            bad("shape", "a list of sizes")
        if not naturals(t.get("data_offsets")) or len(t["data_offsets"]) != 2:
            bad("data_offsets", "two places")
        begin, end = t["data_offsets"]
        count = 1
        for n in t["shape"]:
            count *= n
        if not begin <= end <= size or end - begin != count * np.dtype(NUMPY[t["dtype"]]).itemsize:
            bad("data_offsets", f"{count} elements of {t['dtype']} inside {size} bytes")
        return t["dtype"], tuple(t["shape"]), begin, end

    def shape(self, name):
        return self.names[name][1]

    def raw(self, name):
        """The bytes of a tensor's data."""
        _, _, begin, end = self.names[name]
        with open(self.path, "rb") as f:
            f.seek(self.start + begin)
            data = f.read(end - begin)
        if len(data) != end - begin:
            raise FileError(f"{self.path}: {name}: expected {end - begin} bytes of data; the file ends before")
        return data

    def array(self, name):
        dtype, shape, _, _ = self.names[name]
        flat = np.frombuffer(bytearray(self.raw(name)), np.dtype(NUMPY[dtype]))
        return (from_bf16(flat) if dtype == "BF16" else flat).reshape(shape)


def read_npy(path, name, source):
    """One array of a .npy file or of an open .npz; two-byte records without a type are BF16, as ml_dtypes saves them."""
    try:
        a = np.load(source, allow_pickle=False) if name is None else source[name]
    except (OSError, ValueError, KeyError, EOFError) as e:
        raise FileError(f"{path}: {e}") from None
    return from_bf16(a.view("<u2")) if a.dtype.kind == "V" and a.dtype.itemsize == 2 else a


class Npz(Arrays):
    """A .npz with the same keys as a safetensors file; without metadata."""

    def __init__(self, path):
        try:
            with np.load(path, allow_pickle=False) as z:
                self.files = z.files
                super().__init__({n: read_npy(path, n, z) for n in z.files}, path=path)
        except (ValueError, EOFError, zipfile.BadZipFile) as e:
            raise FileError(f"{path}: expected an .npz archive: {e}") from None
        if len(self.names) < len(self.files):
            self.twice = {n for n in self.files if self.files.count(n) > 1}

    def listed(self):
        return self.files


class NpyFolder(Tensors):
    """A folder: key u1/vision/act/visual.blocks.0 is the file u1/vision/act/visual.blocks.0.npy; without metadata."""

    def __init__(self, path):
        super().__init__(path)
        self.names = {}
        for folder, _, files in sorted(os.walk(path)):
            for f in sorted(files):
                if f.endswith(".npy"):
                    full = os.path.join(folder, f)
                    self.names[os.path.relpath(full, path)[:-4].replace(os.sep, "/")] = full
        if not self.names:
            raise FileError(f"{path}: expected {GOLDEN_FILE} or .npy files; found neither")

    def shape(self, name):
        with open(self.names[name], "rb") as f:
            try:
                version = np.lib.format.read_magic(f)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                return read(f)[0]
            except ValueError as e:
                raise FileError(f"{self.names[name]}: {e}") from None

    def array(self, name):
        return read_npy(self.names[name], None, self.names[name])


def read_json(path):
    """The object or list of a JSON file."""
    with open(path, encoding="utf-8") as f:
        try:
            return json.load(f, object_pairs_hook=unique)
        except ValueError as e:
            raise FileError(f"{path}: expected JSON; found an error: {e}") from None


def file_of(path):
    """The file itself, or the golden.safetensors of a folder, or the folder of .npy files."""
    inside = os.path.join(path, GOLDEN_FILE)
    return inside if os.path.isdir(path) and os.path.exists(inside) else path


def open_tensors(x):
    """A Tensors of a path, a dictionary of arrays, a Recorder, or a Tensors as it is."""
    if isinstance(x, Tensors):
        return x
    if isinstance(x, dict):
        return Arrays(x)
    if hasattr(x, "as_tensors"):
        return x.as_tensors()
    path = file_of(os.fspath(x))
    t = NpyFolder(path) if os.path.isdir(path) else Npz(path) if path.endswith(".npz") else Safetensors(path)
    t.named = os.fspath(x)
    return t


# ---- writing ------------------------------------------------------------------------------------------------------------

def encode(x):
    """(safetensors type, little-endian contiguous array) of an array-like."""
    if isinstance(x, BFloat16):
        return "BF16", bf16_bits(x.array)
    if getattr(getattr(x, "dtype", None), "name", "") == "bfloat16" or str(getattr(x, "dtype", "")) == "torch.bfloat16":
        return "BF16", bf16_bits(as_array(x))
    a = np.asarray(as_array(x), order="C")
    if a.dtype.name not in NAMES:
        raise FileError(f"expected an array of numbers; found the type {a.dtype.name}")
    return NAMES[a.dtype.name], a.astype(a.dtype.newbyteorder("<"), copy=False)


def save_safetensors(path, arrays, metadata=None):
    """Writes {name: array-like}; equal content gives equal bytes."""
    parts = {n: encode(a) for n, a in arrays.items()}
    order = sorted(parts, key=lambda n: (-parts[n][1].itemsize, n))
    header, end = {}, 0
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    for n in order:
        dtype, a = parts[n]
        header[n] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for n in order:
            f.write(parts[n][1].tobytes())
    os.replace(path + ".tmp", path)


def save(path, arrays, metadata=None):
    """Writes {name: array-like} as .safetensors or .npz, by the name; any other name is a folder of .npy files, made here.
    Only safetensors files keep the metadata."""
    path = os.fspath(path)
    if path.endswith(".safetensors"):
        save_safetensors(path, arrays, metadata)
    elif path.endswith(".npz"):
        np.savez(path, **{n: np.asarray(as_array(a), order="C") for n, a in arrays.items()})
    else:
        for n, a in arrays.items():
            os.makedirs(os.path.dirname(os.path.join(path, n)), exist_ok=True)
            np.save(os.path.join(path, n + ".npy"), np.asarray(as_array(a), order="C"))
