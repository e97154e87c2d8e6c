"""The command `versavit-golden`, also `python -m versavit_golden`.

    versavit-golden check GOLDEN CANDIDATE [OPTION...]        judges a candidate, as `versavit golden check` does
    versavit-golden run GOLDEN [OPTION...] -- COMMAND...      runs a program on the case and judges what it wrote
    versavit-golden list [FOLDER]                             the cases, from FOLDER/manifest.json (default golden)

GOLDEN is a case's folder or file. A CANDIDATE is a .safetensors, an .npz, a folder of .npy files, or a folder with golden.safetensors.

`run` replaces {case} in COMMAND by a folder that holds the case without its answers: the Hugging Face files (config.json,
model.safetensors ...) and inputs.safetensors (kinds in, w, m, v). {out} is the path to write to: a folder of .npy files, or with the
ending given in COMMAND {out}.npz or {out}.safetensors.

Exit status: 0 equal within the limits, 1 not, 2 usage, 3 a file cannot be used or the program failed, 4 no memory.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from . import report
from .index import PRECISIONS, open_golden
from .judge import MULTIPLE, SCOPES, check
from .tensors import FileError, read_json, save

INPUTS = ("in", "w", "m", "v")
SECONDS = 600


def positive(text):
    x = float(text)
    if not x > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0; found {text}")
    return x


def add_options(p):
    """The options of a check."""
    p.add_argument("-p", "--precision", default="float", choices=PRECISIONS, help="judge by the floors (float) or bands of this precision")
    p.add_argument("-s", "--scope", default="update", choices=SCOPES, help="what must be there (default update: everything required)")
    p.add_argument("-m", "--map", help="mapping file, or the name of a shipped one (transformers, onnx, llama.cpp)")
    p.add_argument("--multiple", type=positive, default=MULTIPLE, help="allowed multiple of the floor (default 13)")
    p.add_argument("--limit", type=float, help="allowed relative RMS instead")
    p.add_argument("--floors", help="file whose floors are used instead of the golden file's")
    p.add_argument("--present", action="store_true", help="judge only what the candidate holds")
    p.add_argument("-f", "--format", default="text", choices=("text", "json", "csv", "junit"), help="of the report")
    p.add_argument("-j", "--json", dest="format", action="store_const", const="json", help="the same as --format json")
    p.add_argument("-a", "--all", action="store_true", help="print every tensor")
    p.add_argument("-q", "--quiet", action="store_true", help="no summary")


def parser():
    p = argparse.ArgumentParser(prog="versavit-golden", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = p.add_subparsers(dest="verb", required=True, metavar="VERB")
    one = verbs.add_parser("check", help="judge a candidate")
    one.add_argument("golden")
    one.add_argument("candidate")
    add_options(one)
    one = verbs.add_parser("run", help="run a program on a case and judge what it wrote")
    one.add_argument("golden")
    add_options(one)
    one.add_argument("--timeout", type=positive, default=SECONDS, help=f"seconds that the program may take (default {SECONDS})")
    one.add_argument("--keep", help="keep the case and what was written in this folder")
    one = verbs.add_parser("list", help="the cases")
    one.add_argument("folder", nargs="?", default="golden")
    return p


def judge(golden, candidate, a):
    """Prints the report; returns the exit status."""
    judged = check(golden, candidate, mapping=a.map, precision=a.precision, scope=a.scope, multiple=a.multiple, limit=a.limit,
                   present=a.present, floors=a.floors)
    print(report.FORMATS[a.format](judged, a.all, a.quiet), end="")
    return judged.status


# ---- run ----------------------------------------------------------------------------------------------------------------

def write_case(golden, folder):
    """The case without its answers."""
    os.makedirs(folder)
    for f in os.listdir(golden.folder):
        if f != os.path.basename(golden.path) and os.path.isfile(os.path.join(golden.folder, f)):
            if os.path.exists(os.path.join(golden.folder, "config.json")):
                shutil.copy(os.path.join(golden.folder, f), folder)
    save(os.path.join(folder, "inputs.safetensors"), {e.key: golden.array(e.key) for e in golden.entries if e.kind in INPUTS},
         {n: t for n, t in golden.tensors.metadata.items() if n in ("case", "config")})


def written(out):
    """Where the program wrote: out, out.safetensors or out.npz."""
    found = [p for p in (out, out + ".safetensors", out + ".npz") if os.path.exists(p)]
    if len(found) != 1:
        raise FileError(f"{out}: expected the program to write a folder of .npy, .npz or .safetensors; found {len(found) or 'nothing'}")
    return found[0]


def run(a, words):
    """Runs the program and judges; returns the exit status."""
    golden = open_golden(a.golden)
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.abspath(a.keep or temporary)
        case, out = os.path.join(folder, "case"), os.path.join(folder, "candidate")
        write_case(golden, case)
        words = [w.replace("{case}", case).replace("{out}", out) for w in words]
        try:
            done = subprocess.run(words, timeout=a.timeout, check=False)
        except subprocess.TimeoutExpired:
            raise FileError(f"{words[0]}: expected an end within {a.timeout:g} s") from None
        if done.returncode:
            raise FileError(f"{words[0]}: expected exit status 0; found {done.returncode}")
        return judge(golden, written(out), a)


# ---- list ---------------------------------------------------------------------------------------------------------------

def list_cases(folder):
    cases = read_json(os.path.join(folder, "manifest.json")).get("cases", [])
    for c in cases:
        print(f"{c['name']:<20} {c['tensors']:6} tensors {c['bytes'] / 1e6:7.1f} MB  {c['about']}")
    return 0


def main(argv=None):
    words = list(sys.argv[1:] if argv is None else argv)
    program = []
    if words[:1] == ["run"] and "--" in words:
        at = words.index("--")
        words, program = words[:at], words[at + 1:]
    p = parser()
    a = p.parse_args(words)
    if a.verb == "run" and not program:
        p.error("run: expected a program behind --")
    try:
        if a.verb == "list":
            return list_cases(a.folder)
        return run(a, program) if a.verb == "run" else judge(a.golden, a.candidate, a)
    except (FileError, OSError, KeyError) as e:
        print(f"versavit-golden: {e}", file=sys.stderr)
        return 3
    except MemoryError:
        print("versavit-golden: no memory", file=sys.stderr)
        return 4
