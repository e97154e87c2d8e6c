"""Collecting what a backend computes, under the keys of a golden file."""
from .index import count, open_golden, split
from .tensors import Arrays, as_array, save


class Recorder:
    """Recorder(golden, task="vision"): put values in with act, dact, dw, loss, dstep, output; then save(path) or check().

    Names are those of the golden file (the part behind u<update>/<task>/<kind>/). Arrays may be numpy, JAX, torch on any device, or
    numbers. What the golden file gives as inputs is taken as used, unless you put it in yourself: `recorder.put("in", "pixel_values", x)`
    records pixel values that your own preprocessing made. strict: a name that the golden file has not is a KeyError.
    """

    def __init__(self, golden, task="vision", update=1, precision="float", strict=True, inputs=True):
        self.golden = open_golden(golden)
        self.task, self.update, self.strict = task, update, strict
        self.metadata = {"versavit_golden": self.golden.tensors.metadata.get("versavit_golden", "2"), "precision": "float"}
        if precision != "float":
            self.metadata["emulated"] = precision
        self.arrays = {}
        if inputs:
            for key in self.golden.tensors.names:
                if split(key)[1] in ("in", "w", "m", "v"):
                    self.arrays[key] = self.golden.array(key)

    def key(self, kind, name):
        return f"u{self.update}/{self.task}/{kind}/{name}"

    def put(self, kind, name, value):
        """Records one array; its shape becomes the golden one's where only axes of length 1 differ."""
        key = self.key(kind, name)
        if key not in self.golden.tensors:
            if self.strict:
                raise KeyError(f"{self.golden.path}: no {key}")
            return
        a = as_array(value)
        shape = self.golden.tensors.shape(key)
        if a.size == 1 or [n for n in a.shape if n != 1] == [n for n in shape if n != 1]:
            a = a.reshape(shape) if a.size == count(shape) else a
        self.arrays[key] = a

    def act(self, name, value):
        self.put("act", name, value)

    def dact(self, name, value):
        self.put("dact", name, value)

    def dw(self, name, value):
        self.put("dw", name, value)

    def dstep(self, name, value):
        self.put("dstep", name, value)

    def loss(self, name, value):
        self.put("loss", name, value)

    def as_tensors(self):
        """What was recorded so far, to be judged without a file."""
        return Arrays(self.arrays, self.metadata)

    def save(self, path):
        """Writes .safetensors or .npz, by the name, or else a folder of .npy files."""
        save(path, self.arrays, self.metadata)

    def check(self, **options):
        """Judges what was recorded so far; options as of judge.check."""
        return self.golden.check(self, **options)
