#!/usr/bin/env python3
"""Other programs against the golden files: check_examples.py [CASE...] [--quick] [--compile] [--golden DIR]

Runs the examples of this folder and scripts/torch/verify_module.py as a user would, each in a process of its own, and prints how far each
program is from the truth: the worst multiple of a tensor's floor (of its band's upper end in bf16) and which tensor that is. All of them
compute the published model correctly, so every FAIL is a false alarm of the check. --compile adds torch.compile, which takes a minute. --quick runs each
framework once.

Exit status: 0 all equal, 1 an alarm, 3 a program failed.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..")
sys.path.insert(0, SCRIPTS)
from versavit_golden import Golden, check  # noqa: E402

VERIFY = os.path.join("..", "torch", "verify_module.py")
TOWER = [  # program, words, precision
    ("tower_pytorch.py", "", "float"), ("tower_pytorch.py", "--how sdpa", "float"), ("tower_pytorch.py", "--dtype bfloat16", "bf16"),
    ("tower_onnx.py", "", "float"), ("tower_jax.py", "", "float"), ("tower_jax.py", "--dtype bfloat16", "bf16"),
    (VERIFY, "--resync", "float"), (VERIFY, "--resync --dtype bfloat16", "bf16")]
LANGUAGE = [(VERIFY, "", "float"), (VERIFY, "--attention sdpa", "float"), (VERIFY, "--resync", "float"),
            (VERIFY, "--dtype bfloat16", "bf16")]
COMPILE = ("tower_pytorch.py", "--how compile", "float")
QUICK = {"tower-micro": [(p, "", "float") for p in ("tower_pytorch.py", "tower_onnx.py", "tower_jax.py")], "decoder-micro": [(VERIFY, "", "float")]}
CASES = {"tower-micro": TOWER, "tower-odd": TOWER, "tower-one": TOWER, "tower-outliers": TOWER, "decoder-micro": LANGUAGE,
         "decoder-untied": LANGUAGE}


def worst(golden, path, precision):
    """(multiple, key, tensors with floors) of the worst tensor of a candidate."""
    judged = check(golden, path, precision=precision, present=True)
    known = [j for j in judged.judgements if j.multiple >= 0]
    top = max(known, key=lambda j: j.multiple, default=None)
    return (top.multiple, top.key, len(known)) if top else (0.0, "", 0)


def run(program, words, case, precision, directory):
    """Runs one program on a case and prints a line for each candidate that it wrote; returns its exit status."""
    out = os.path.join(directory, "candidate" + ("" if program == "tower_onnx.py" else ".safetensors"))
    began = time.monotonic()
    done = subprocess.run([sys.executable, os.path.join(HERE, program), case, "-o", out, *words.split()], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": SCRIPTS}, check=False)
    took = time.monotonic() - began
    title = f"{os.path.basename(case)}: {os.path.basename(program)} {words}".rstrip()
    if done.returncode not in (0, 1) or not os.path.exists(out):
        print(f"FAIL {title}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return 3
    golden = Golden(case)
    for path in [out] if os.path.isfile(out) else sorted(os.path.join(out, f) for f in os.listdir(out)):
        multiple, key, count = worst(golden, path, precision)
        name = "" if path == out else ", " + os.path.basename(path).removesuffix(".safetensors")
        print(f"{'ok' if done.returncode == 0 else 'FAIL':4} {title + name:72} {count:4} tensors {multiple:7.2f}  {key}  ({took:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout)
    return done.returncode


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("case", nargs="*", help=f"default: {' '.join(CASES)}")
    p.add_argument("--golden", default=os.path.join(SCRIPTS, "..", "golden"))
    p.add_argument("--quick", action="store_true")
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    unknown = [c for c in a.case if c not in CASES]
    if unknown:
        p.error(f"no case {unknown[0]}; there are {', '.join(CASES)}")
    status = 0
    cases = QUICK if a.quick else CASES
    for case in a.case or cases:
        programs = cases.get(case, []) + ([COMPILE] if a.compile and CASES[case] is TOWER else [])
        for program, words, precision in programs:
            with tempfile.TemporaryDirectory() as directory:
                status = max(status, run(program, words, os.path.join(a.golden, case), precision, directory))
    return status


if __name__ == "__main__":
    sys.exit(main())
