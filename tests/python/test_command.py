"""The command line: exit statuses, and a program that is run on a case."""
import io
import json
import os
import sys
import tempfile
import textwrap
import unittest
from contextlib import redirect_stderr, redirect_stdout

import synthetic
from versavit_golden import save
from versavit_golden.command import main

BACKEND = """
    import sys
    import numpy as np
    sys.path.insert(0, {scripts!r})
    from versavit_golden import open_tensors, save
    given, answers = open_tensors({case!r} + "/inputs.safetensors"), open_tensors({answers!r})
    assert not [n for n in given.names if "/act/" in n]
    arrays = {{n: answers.array(n) for n in answers.names if "/alt/" not in n and not n.endswith("flat")}}
    arrays["u1/vision/act/visual.patch_embed"] = arrays["u1/vision/act/visual.patch_embed"] * {factor}
    save({out!r}, arrays)
"""


class Command(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.golden = os.path.join(self.folder, "case")
        os.mkdir(self.golden)
        tensors, index, _ = synthetic.contents()
        synthetic.write(os.path.join(self.golden, "golden.safetensors"), tensors, index)
        with open(os.path.join(self.golden, "config.json"), "w") as f:
            f.write("{}")
        self.good = synthetic.candidate(tensors)
        del self.good["u1/vision/act/flat"]

    def call(self, *words):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main([str(w) for w in words])
            except SystemExit as e:
                status = e.code
        self.out, self.err = out.getvalue(), err.getvalue()
        return status

    def test_check(self):
        path = os.path.join(self.folder, "mine.npz")
        save(path, self.good)
        self.assertEqual(self.call("check", self.golden, path, "--present"), 0, self.err)
        self.assertIn("behaves like float64\nequal: 19 of 19", self.out)
        self.assertEqual(self.call("check", self.golden, path), 1)
        self.assertIn("missing: 1 required tensor", self.out)
        self.good["u1/vision/act/visual.blocks.0"][3] += 1
        save(path, self.good)
        self.assertEqual(self.call("check", self.golden, path, "--present"), 1)
        self.assertIn("u1/vision/act/visual.blocks.0", self.out)
        self.assertEqual(self.call("check", self.golden, path, "--present", "--format", "json"), 1)
        self.assertEqual(json.loads(self.out)["equal"], False)
        self.assertEqual(self.call("check", self.golden, path, "--precision", "fp8"), 2)
        self.assertEqual(self.call("check", self.golden, path, "--precision", "fp16"), 3)
        self.assertEqual(self.call("check", self.golden, "none.safetensors"), 3)
        self.assertIn("none.safetensors", self.err)
        self.assertEqual(self.call("check", self.golden), 2)

    def backend(self, factor, out):
        """Words that run a program which multiplies one activation."""
        program = os.path.join(self.folder, "backend.py")
        with open(program, "w") as f:
            text = textwrap.dedent(BACKEND).format(scripts=sys.path[0], case="CASE", out="OUT", factor=factor, answers=os.path.join(self.golden, "golden.safetensors"))
            f.write(text.replace("'CASE'", "sys.argv[1]").replace("'OUT'", "sys.argv[2]"))
        return ["--", sys.executable, program, "{case}", out]

    def test_run(self):
        for out in ("{out}", "{out}.npz", "{out}.safetensors"):
            self.assertEqual(self.call("run", self.golden, "--present", *self.backend(1, out)), 0, self.err)
        self.assertEqual(self.call("run", self.golden, "--present", *self.backend(1.001, "{out}")), 1)
        self.assertIn("visual.patch_embed", self.out)
        self.assertEqual(self.call("run", self.golden, "--", sys.executable, "-c", "raise SystemExit(7)"), 3)
        self.assertIn("found 7", self.err)
        self.assertEqual(self.call("run", self.golden, "--", sys.executable, "-c", "pass"), 3)
        self.assertIn("found nothing", self.err)
        self.assertEqual(self.call("run", self.golden, "--timeout", "0.3", "--", sys.executable, "-c", "import time; time.sleep(9)"), 3)
        self.assertEqual(self.call("run", self.golden), 2)

    def test_keep(self):
        kept = os.path.join(self.folder, "kept")
        self.assertEqual(self.call("run", self.golden, "--present", "--keep", kept, *self.backend(1, "{out}")), 0, self.err)
        self.assertEqual(sorted(os.listdir(os.path.join(kept, "case"))), ["config.json", "inputs.safetensors"])
        self.assertTrue(os.path.isdir(os.path.join(kept, "candidate", "u1", "vision")))

    def test_list(self):
        with open(os.path.join(self.folder, "manifest.json"), "w") as f:
            json.dump({"format": 2, "cases": [{"name": "case", "about": "of a test", "tensors": 22, "bytes": 12345}]}, f)
        self.assertEqual(self.call("list", self.folder), 0)
        self.assertIn("of a test", self.out)


if __name__ == "__main__":
    unittest.main()
