#!/usr/bin/env python3
"""versavit from Python: one file, ctypes, numpy where it is installed.

    from versavit import Model

    m = Model.new("micro", seed=1)             # or Model.load("Qwen2-VL-7B-Instruct")
    f = m.encode("cat.png")                    # [rows, cols], one row a 2x2 block of patches; or pixels [height, width, 3]

    for step in range(10):                     # features towards zero
        f = m.forward([pixels])
        m.backward(2 * f)                      # the gradient of your loss, here of (f * f).sum()
        norm = m.step(lr=1e-3)
    m.parameters()["visual.merger.ln_q.weight"].get()
    m.save("model")

With numpy, features and weights are float32 arrays. Without, features are a list of rows (array.array), weights one flat
array.array, and pixels are nested lists or a tuple (bytes, height, width). An error is an Error with .status (2 a wrong argument
or order of calls, 3 a file, 4 memory, 5 not finite).

The library is the file that VERSAVIT_LIB names, or that of this source tree (make shared), or the installed one.

    versavit.py --self-test [OUTPUT FOLDER PICTURE]    compares with what tests/api/train.c printed and saved
"""
import array
import ctypes
import ctypes.util
import os
import subprocess
import sys
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_float, c_int, c_int64, c_ubyte, c_uint64, c_void_p

try:
    import numpy
except ImportError:
    numpy = None

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = "libversavit.dylib" if sys.platform == "darwin" else "libversavit.so"


class Error(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


# ---- the library -----------------------------------------------------------------------------------------------------
class _Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("message", c_char * 600)]


class _Picture(ctypes.Structure):
    _fields_ = [("rgb", POINTER(c_ubyte)), ("height", c_int64), ("width", c_int64)]


class _Features(ctypes.Structure):
    _fields_ = [("data", POINTER(c_float)), ("rows", c_int64), ("cols", c_int64)]


class _AdamW(ctypes.Structure):
    _fields_ = [(name, c_double) for name in ("lr", "beta1", "beta2", "eps", "weight_decay", "max_norm")]


_E, _F, _FLOATS = POINTER(_Error), POINTER(_Features), POINTER(c_float)
_SIGNATURES = {  # versavit_NAME: result, arguments; as in versavit.h
    "version": (c_char_p, []),
    "threads": (None, [c_int]),
    "matrix_library": (c_char_p, []),
    "load": (c_int, [POINTER(c_void_p), c_char_p, _E]),
    "new": (c_int, [POINTER(c_void_p), c_char_p, c_uint64, _E]),
    "save": (c_int, [c_void_p, c_char_p, _E]),
    "free": (None, [c_void_p]),
    "tensors": (c_int64, [c_void_p]),
    "tensor_name": (c_char_p, [c_void_p, c_int64]),
    "tensor_shape": (c_int, [c_void_p, c_int64, c_int64 * 5]),
    "get": (c_int, [c_void_p, c_int64, _FLOATS, _E]),
    "set": (c_int, [c_void_p, c_int64, _FLOATS, _E]),
    "gradient": (c_int, [c_void_p, c_int64, _FLOATS, _E]),
    "freeze": (c_int, [c_void_p, c_int64, c_int, _E]),
    "encode_file": (c_int, [c_void_p, c_char_p, _F, _E]),
    "encode": (c_int, [c_void_p, POINTER(_Picture), _F, _E]),
    "adamw_default": (_AdamW, []),
    "forward": (c_int, [c_void_p, POINTER(_Picture), c_int64, _F, _E]),
    "backward": (c_int, [c_void_p, _FLOATS, _E]),
    "step": (c_int, [c_void_p, POINTER(_AdamW), POINTER(c_double), _E]),
}


def _places():
    if "VERSAVIT_LIB" in os.environ:  # said is said: no other is tried
        return [os.environ["VERSAVIT_LIB"]]
    found = [os.path.join(HERE, "..", "build", FILE), ctypes.util.find_library("versavit")]
    try:
        folder = subprocess.run(["pkg-config", "--variable=libdir", "versavit"], capture_output=True, text=True).stdout.strip()
        found.append(folder and os.path.join(folder, FILE))
    except OSError:
        pass
    return [f for f in found + [os.path.join("/usr/local/lib", FILE)] if f]


_library = None


def library():
    """The loaded library, its functions with their types."""
    global _library
    if _library is None:
        tried = []
        for place in _places():
            try:
                _library = ctypes.CDLL(place)
                break
            except OSError as e:
                tried.append(str(e))
        else:
            raise Error(3, "libversavit: not found (make shared, make install, or VERSAVIT_LIB): " + "; ".join(tried))
        for name, (result, arguments) in _SIGNATURES.items():
            f = getattr(_library, "versavit_" + name)
            f.restype, f.argtypes = result, arguments
        _library.place = place
    return _library


def _call(name, *arguments):
    e = _Error()
    if getattr(library(), "versavit_" + name)(*arguments, byref(e)):
        raise Error(e.status, e.message.decode(errors="replace"))


def _config(name):
    """"micro" is data/configs/micro.json, of the source tree or installed beside the library; a path stays what it is."""
    name = os.fspath(name)
    if "/" in name or name.endswith(".json"):
        return name
    data = os.environ.get("VERSAVIT_DATA")
    installed = os.path.join(os.path.dirname(os.path.realpath(library().place)), "..", "share", "versavit")
    places = [data] if data else [installed, os.path.join(HERE, "..", "data"), "/usr/local/share/versavit", "/usr/share/versavit"]
    paths = [os.path.join(p, "configs", name + ".json") for p in places]
    return next((p for p in paths if os.path.exists(p)), paths[0])


# ---- numbers in and out ----------------------------------------------------------------------------------------------
def _flat(values):
    """Anything with numbers in it as (c_float * n)."""
    if numpy is not None:
        a = numpy.ascontiguousarray(values, dtype=numpy.float32)
        return (c_float * a.size).from_buffer_copy(a) if a.size else (c_float * 0)()
    out = array.array("f")

    def walk(v):
        if isinstance(v, array.array):
            out.extend(array.array("f", v))
        else:
            for x in v:
                if isinstance(x, (int, float)):
                    out.append(x)
                else:
                    walk(x)

    walk(values)
    return (c_float * len(out)).from_buffer_copy(out) if out else (c_float * 0)()


def _picture(pixels):
    if isinstance(pixels, tuple) and len(pixels) == 3 and isinstance(pixels[0], (bytes, bytearray)):
        data, height, width = pixels
    elif numpy is not None:
        a = numpy.asarray(pixels)
        if a.ndim != 3 or a.shape[2] != 3 or (a.dtype != numpy.uint8 and a.size and (a.dtype.kind not in "iu" or a.min() < 0 or a.max() > 255)):
            raise Error(2, "picture: expected whole numbers from 0 to 255, [height, width, 3]; found %s %s" % (a.dtype, list(a.shape)))
        data, height, width = numpy.ascontiguousarray(a, dtype=numpy.uint8).tobytes(), a.shape[0], a.shape[1]
    else:
        height, width = len(pixels), len(pixels[0]) if len(pixels) else 0
        try:
            data = bytes(v for row in pixels for rgb in row for v in rgb)
        except (TypeError, ValueError):
            raise Error(2, "picture: expected whole numbers from 0 to 255, [height, width, 3]") from None
    if len(data) != height * width * 3:
        raise Error(2, "picture: expected [height, width, 3]; found %d numbers for %d x %d" % (len(data), height, width))
    return _Picture((c_ubyte * len(data)).from_buffer_copy(data), height, width)


def _features(f):
    if numpy is not None:
        return numpy.ctypeslib.as_array(f.data, (f.rows, f.cols)).copy()
    return [array.array("f", f.data[r * f.cols:(r + 1) * f.cols]) for r in range(f.rows)]


# ---- what one uses -----------------------------------------------------------------------------------------------------
class Parameter:
    """One tensor of a model: .name, .shape, get(), set(values), gradient(), freeze()."""

    def __init__(self, model, index):
        shape = (c_int64 * 5)()
        rank = library().versavit_tensor_shape(model._m, index, shape)
        self.model, self.index = model, index
        self.name = library().versavit_tensor_name(model._m, index).decode()
        self.shape = tuple(shape[:rank])
        self.size = 1
        for n in self.shape:
            self.size *= n

    def _read(self, which):
        out = (c_float * self.size)()
        _call(which, self.model._m, self.index, out)
        return numpy.array(out, dtype=numpy.float32).reshape(self.shape) if numpy is not None else array.array("f", out)

    def get(self):
        return self._read("get")

    def gradient(self):
        return self._read("gradient")

    def set(self, values):
        values = _flat(values)
        if len(values) != self.size:
            raise Error(2, "%s: expected %d numbers; found %d" % (self.name, self.size, len(values)))
        _call("set", self.model._m, self.index, values)

    def freeze(self, frozen=True):
        _call("freeze", self.model._m, self.index, int(frozen))


class Model:
    """A vision tower. Model.load(folder) or Model.new(config, seed). One thread at a time."""

    _m = None

    def __init__(self, handle):
        self._m = handle
        self._shape = None  # of the features that backward expects a gradient for

    @classmethod
    def load(cls, folder):
        m = c_void_p()
        _call("load", byref(m), os.fsencode(folder))
        return cls(m)

    @classmethod
    def new(cls, config, seed=0):
        m = c_void_p()
        _call("new", byref(m), os.fsencode(_config(config)), seed)
        return cls(m)

    def __del__(self):
        if self._m and _library is not None:
            _library.versavit_free(self._m)
            self._m = None

    def save(self, folder):
        _call("save", self._m, os.fsencode(folder))

    def encode(self, picture):
        """Features of a PNG or JPEG file, or of pixels [height, width, 3]."""
        f = _Features()
        if isinstance(picture, (str, os.PathLike)):
            _call("encode_file", self._m, os.fsencode(picture), byref(f))
        else:
            _call("encode", self._m, byref(_picture(picture)), byref(f))
        return _features(f)

    def forward(self, pictures):
        """Features of a list of pictures as one batch, one picture after the other; keeps what the backward needs."""
        f = _Features()
        self._shape = None
        all_pictures = [_picture(p) for p in pictures]
        _call("forward", self._m, (_Picture * len(all_pictures))(*all_pictures), len(all_pictures), byref(f))
        self._shape = (f.rows, f.cols)
        return _features(f)

    def backward(self, dfeatures):
        """The gradient of the loss with respect to the features of the last forward; adds to the gradients of the weights."""
        d = _flat(dfeatures)
        if self._shape and len(d) != self._shape[0] * self._shape[1]:
            raise Error(2, "backward: expected a gradient %d x %d; found %d numbers" % (*self._shape, len(d)))
        self._shape = None
        _call("backward", self._m, d)

    def step(self, **adamw):
        """One AdamW update: lr, beta1, beta2, eps, weight_decay, max_norm. Returns the gradient norm before clipping."""
        a, norm = library().versavit_adamw_default(), c_double()
        for name, value in adamw.items():
            if name not in dict(_AdamW._fields_):
                raise TypeError("step: unknown argument " + name)
            setattr(a, name, value)
        _call("step", self._m, byref(a), byref(norm))
        return norm.value

    def parameters(self):
        """{name: Parameter} in the model's order."""
        every = (Parameter(self, i) for i in range(library().versavit_tensors(self._m)))
        return {p.name: p for p in every}


def version():
    return library().versavit_version().decode()


def threads(n=0):
    """How many threads the library uses; 0: as many as this process may."""
    library().versavit_threads(n)


# ---- self-test -----------------------------------------------------------------------------------------------------------
def _self_test(said=None, folder=None, picture=None):
    height, width = 56, 84
    pixels = bytes(i * 7 % 251 for i in range(height * width * 3))
    nested = [[list(pixels[3 * (r * width + c):][:3]) for c in range(width)] for r in range(height)]

    def numbers(f):
        return [float(v) for row in f for v in row]

    def refuses(status, call):
        try:
            call()
        except Error as e:
            assert e.status == status, "expected status %d; got %d: %s" % (status, e.status, e)
        else:
            raise AssertionError("expected an error of status %d" % status)

    m = Model.new("micro", seed=1)
    refuses(2, lambda: m.backward([0.0]))
    losses = []
    for step in range(4):  # as tests/api/train.c
        values = numbers(m.forward([nested if step else (pixels, height, width)]))
        by = [v - (i % 7 - 3) * 0.1 for i, v in enumerate(values)]
        losses.append(sum(b * b / len(by) for b in by))
        refuses(2, lambda: m.backward([0.0]))
        m.backward([2 * b / len(by) for b in by])
        assert m.step(lr=0.002, max_norm=0.5) > 0
    assert all(b < a for a, b in zip(losses, losses[1:])), "the loss does not fall: %s" % losses

    weights = m.parameters()
    name, p = next(iter(weights.items()))
    assert len(weights) > 10 and p.name == name and len(p.shape) > 1
    before = list(_flat(p.get()))
    p.set([2 * v for v in before])
    assert list(_flat(p.get())) == [2 * v for v in before], "set, then get"
    p.set(before)
    assert not any(_flat(p.gradient())), "gradients are cleared by the step"
    refuses(2, lambda: p.set([1.0]))
    refuses(2, lambda: m.encode([[[0, 0, 256]]]))
    refuses(2, lambda: m.encode([[[0, 0]]]))
    refuses(2, lambda: m.forward([]))
    refuses(3, lambda: Model.load("/no/such/folder"))
    refuses(3, lambda: m.encode("/no/such.png"))

    if said:
        with open(said) as f:
            words = [line.split() for line in f]
        expected = [float(w[1]) for w in words if w[0] == "loss"]
        assert len(expected) == 4 and all(abs(a - b) <= 1e-6 * b for a, b in zip(losses, expected)), \
            "losses: expected %s; got %s" % (expected, losses)
        rows, cols, squares = next(w[1:] for w in words if w[0] == "features")
        features = Model.load(folder).encode(picture)
        assert (len(features), len(features[0])) == (int(rows), int(cols))
        got = sum(v * v for v in numbers(features))
        assert abs(got - float(squares)) <= 1e-9 * got, "features: expected %s; got %.12g" % (squares, got)
        assert numbers(m.encode(picture)) == numbers(features), "trained here and there: other features"
    print("versavit.py: %s, %s, numpy %s: losses %s" % (
        version(), library().versavit_matrix_library().decode(), numpy.__version__ if numpy is not None else "none",
        " ".join("%.9g" % v for v in losses)))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 5) or sys.argv[1] != "--self-test":
        sys.exit("usage: versavit.py --self-test [OUTPUT FOLDER PICTURE]; see the text at its top")
    _self_test(*sys.argv[2:])
