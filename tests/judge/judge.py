"""What plant and variants share: running the recorder on all cases, judging what it wrote. Python's standard library alone.

The environment says where things are (tests/judge/judge.mk sets it):
  JUDGE_DIR     folder to work in             JUDGE_CC    compiler with all flags of the float BLAS=none build
  JUDGE_LIB     that build's library          JUDGE_LIBS  what it is linked with
  JUDGE_GOLDEN  folder of <case>.safetensors with floors, or of folders <case>
  JUDGE_CASES   the cases' files              JUDGE_MULTIPLE  default multiple of the floor"""
import concurrent.futures, filecmp, json, math, os, shlex, shutil, subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RULES = ("cosine", "torch", "onnx", "ggml", "llm.c", "numpy")
BAD = {"FAIL", "MISSING", "SHAPE", "NOT_FINITE", "DUPLICATE", "MISSHAPEN", "NOT FINITE"}
MULTIPLE = float(os.environ.get("JUDGE_MULTIPLE", "13"))


def need(name):
    if name not in os.environ:
        raise SystemExit(f"judge: {name} is not set; use make judge")
    return os.environ[name]


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **more)


def compile_and_link(program, sources, extra=(), objects=(), lib=None, libs=None):
    """One program from these files; raises with the compiler's words."""
    cc, lib = shlex.split(need("JUDGE_CC")), lib or need("JUDGE_LIB")
    libs = shlex.split(need("JUDGE_LIBS") if libs is None else libs)
    p = run(cc + list(extra) + ["-w"] + list(sources) + list(objects) + [lib] + libs + ["-o", program])
    if p.returncode:
        raise RuntimeError(p.stderr.strip()[-1500:])


class Judge:
    def __init__(self, name):
        self.dir = os.path.join(need("JUDGE_DIR"), name)
        self.cases = need("JUDGE_CASES").split()
        self.names = [os.path.splitext(os.path.basename(c))[0] for c in self.cases]
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.golden = os.path.join(self.dir, "golden")
        os.makedirs(self.golden)
        missing = []
        for n in self.names:
            base = os.path.join(os.path.abspath(need("JUDGE_GOLDEN")), n)
            file = base + ".safetensors" if os.path.exists(base + ".safetensors") else base + "/golden.safetensors"
            if os.path.exists(file):
                os.symlink(file, os.path.join(self.golden, n + ".safetensors"))
            else:
                missing.append(n)
        for n in missing:
            print(f"no golden file of {n}: left out")
        self.cases = [c for c, n in zip(self.cases, self.names) if n not in missing]
        self.names = [n for n in self.names if n not in missing]
        self.unfair = {}
        self.rules = os.path.join(self.dir, "rules")
        compile_and_link(self.rules, [os.path.join(HERE, "rules.c")])

    def record(self, program, out, environment=None, timeout=120):
        """Runs all cases; returns {case: error} of those that left no file."""
        os.makedirs(out, exist_ok=True)
        env = dict(os.environ, OMP_NUM_THREADS="1", **(environment or {}))
        p, said = None, ""
        try:
            p = run([program, out, self.golden] + self.cases, env=env, timeout=timeout)
            said = p.stderr
        except subprocess.TimeoutExpired:
            said = "does not end"
        failed = {}
        for c, n in zip(self.cases, self.names):
            if os.path.exists(os.path.join(out, n + ".safetensors")):
                continue
            if p is None or p.returncode < 0:  # a crash took the cases behind it along
                try:
                    run([program, out, self.golden, c], env=env, timeout=timeout)
                except subprocess.TimeoutExpired:
                    pass
            if not os.path.exists(os.path.join(out, n + ".safetensors")):
                lines = [l for l in said.splitlines() if l.startswith(n + ":")]
                failed[n] = lines[0] if lines else "crashed"
        return failed

    def verdicts(self, out, failed):
        """{case: [(key, verdict, multiple, digits)]} in the order of execution; a case that failed has one line."""
        names = [n for n in self.names if n not in failed]
        p = run([self.rules, self.golden, out] + names)
        table = {n: [] for n in self.names}
        for line in p.stdout.splitlines():
            f = line.split("\t")
            if len(f) == 3:
                table[f[0]].append(("", "FAIL", math.inf, "-"))
            elif len(f) == 5:
                table[f[0]].append((f[1], f[2], float(f[3]), f[4]))
        for n in failed:
            table[n] = [("", "FAIL", math.inf, "-")]
        return table

    def calibrate(self, table):
        """The common rules are not asked about tensors at which they reject the unchanged program (gradients that are truly zero ...)."""
        self.unfair = {(n, key): digits for n, lines in table.items() for key, _, _, digits in lines if "0" in digits}
        return table

    def summary(self, table):
        first, worst, worst_key = {}, 0.0, ""
        kinds, content = set(), [True] * len(RULES)
        for n, lines in table.items():
            for key, verdict, multiple, digits in lines:
                bad = verdict.upper().replace(" ", "_") in BAD
                if bad:
                    first.setdefault(n, key)
                    kind = key.split("/")[2] if key.count("/") > 2 else "refused"
                    kinds.add("grad_norm" if key.endswith("/update/loss/grad_norm") else kind)  # no loss: a size of gradients
                value = math.inf if bad and not multiple == multiple else multiple
                if value == value and (value > worst):
                    worst, worst_key = value, n + ":" + key
                if digits != "-":
                    fair = self.unfair.get((n, key), "1" * len(RULES))
                    content = [c and (d == "1" or f == "0") for c, d, f in zip(content, digits, fair)]
        return {"first": first, "worst": worst, "worst_key": worst_key, "kinds": sorted(kinds),
                "rules": {r: not c for r, c in zip(RULES, content)}}

    def same(self, a, b):
        return all(os.path.exists(f"{d}/{n}.safetensors") for d in (a, b) for n in self.names) and all(
            filecmp.cmp(f"{a}/{n}.safetensors", f"{b}/{n}.safetensors", shallow=False) for n in self.names)


def in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JUDGE_JOBS", os.cpu_count() or 1))) as pool:
        return list(pool.map(function, items))


def clean(x):
    """Infinities as text: JSON has none."""
    if isinstance(x, float) and not math.isfinite(x):
        return "inf"
    if isinstance(x, dict):
        return {k: clean(v) for k, v in x.items()}
    return [clean(v) for v in x] if isinstance(x, (list, tuple)) else x


def write(path, data):
    with open(path, "w") as f:
        json.dump(clean(data), f, indent=1)
        f.write("\n")
