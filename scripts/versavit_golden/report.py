"""A Judged as text, JSON, CSV and JUnit, in the words of `versavit golden check`."""
import json
import math
from xml.sax.saxutils import escape

from . import fault
from .index import sample_places

FIRST_FAILURES = 10
HEAD = ("verdict", "tensor", "floors", "rel rms", "floor", "limit", "proven", "max abs", "1-cosine", "ulp 50%", "ulp 99%", "ulp max")
CSV = "key,verdict,floors,rel_rms,limit,floor,proven,max_abs,cosine,ulp_50,ulp_99,ulp_max,worst,want,got\n"


def place(entry, flat):
    """The index in the whole tensor, as a list, of the flat index in what is stored."""
    whole, at = int(sample_places(entry.n)[flat]) if entry.sample else flat, []
    for d in reversed(entry.shape):
        at.append(whole % d if d > 0 else 0)
        whole //= max(d, 1)
    return at[::-1]


def bracketed(numbers):
    return "[" + ",".join(map(str, numbers)) + "]"


def reason(j):
    """Why a tensor fails, in one line."""
    m, e = j.measure, j.entry
    if j.verdict == "MISSING":
        return "expected this tensor; found none"
    if j.verdict == "DUPLICATE":
        return "expected this tensor once; found several"
    if j.verdict == "SHAPE":
        return f"expected shape {bracketed(e.shape)}; found {bracketed(j.shape)}"
    if j.verdict == "UNTRUSTED":
        return "the reference is not finite, or the same number everywhere: it proves nothing"
    at = bracketed(place(e, m.worst))
    if j.verdict == "NOT FINITE":
        return f"at {at} expected {m.want:.9g}; found {m.got:.9g}"
    return f"relative RMS {m.rel_rms:.3g}, limit {j.limit:.3g}; at {at} expected {m.want:.9g}, found {m.got:.9g}"


# ---- text ---------------------------------------------------------------------------------------------------------------

def line(j):
    """One line of the table."""
    m, start = j.measure, f"{j.verdict:<10} {j.key:<52} "
    if j.verdict in ("SHAPE", "MISSING", "DUPLICATE"):
        return start + reason(j)
    if m is None:
        return start
    floors = f"{j.multiple:8.3g}" if math.isfinite(j.multiple) else f"{'-':>8}"
    proven = f"{j.proven:9.2e}" if math.isfinite(j.proven) else f"{'-':>9}"
    numbers = " ".join([f"{m.rel_rms:9.2e} {j.floor:9.2e} {j.limit:9.2e} {proven} {m.max_abs:9.2e} {1 - m.cosine:9.2e}"] + [f"{u:8.3g}" for u in m.ulp])
    other = f" (alternative {j.alternative})" if j.alternative else ""
    return f"{start}{floors} {numbers}  {bracketed(place(j.entry, m.worst))} {m.want:.9g} {m.got:.9g}{other}"


def table(r, everything):
    failing = [j for j in r.judgements if j.fails and j.verdict != "MISSING"]
    shown = r.judgements if everything else failing[:FIRST_FAILURES]
    if shown:
        yield f"{HEAD[0]:<10} {HEAD[1]:<52} {HEAD[2]:>8} " + " ".join(f"{h:>9}" for h in HEAD[3:9]) + " " \
            + " ".join(f"{h:>8}" for h in HEAD[9:]) + "  worst: index expected got"
    for j in shown:
        yield line(j)
    if not everything and len(failing) > FIRST_FAILURES:
        yield f"... {len(failing) - FIRST_FAILURES} more (--all shows every tensor)"


def where(r):
    """The lines about the fault."""
    if r.first:
        yield f"first to diverge, in the order of execution: {r.first.key}"
        yield "  " + reason(r.first)
        if r.first.measure and len(r.first.near[1]) > 1:
            first, want, got = r.first.near
            show = lambda numbers: " ".join(f"{x:.6g}" for x in numbers)
            yield f"  around the worst, from {bracketed(place(r.first.entry, first))}: expected {show(want)}; found {show(got)}"
        for i, j in enumerate(fault.before(r)):
            value = f"{j.multiple:.3g} floors" if math.isfinite(j.multiple) else f"relative RMS {j.measure.rel_rms:.2e}"
            yield f"  {'     then' if i else 'before it'} {j.key}: {value}"
    said = fault.precision(r)
    if said:
        yield "precision: " + said


def summary(r):
    common = len(r.judgements) - r.absent - r.missing
    s = f"{'equal' if r.equal else 'DIFFERENT'}: {common - r.failed} of {common} common tensors within their limits"
    if r.most > 0:
        s += f"; the worst at {r.most:.1f} times its floor"
    if r.ties:
        s += f"; {r.ties} with other choices in a tie"
    if r.absent:
        s += f"; {r.absent} of {r.golden.named} absent"
    if r.extra:
        s += f"; {r.extra} more in {r.candidate.named}"
    return s


def text(r, everything=False, quiet=False):
    """What a person reads; ends with a newline unless empty."""
    out = [*table(r, everything), *where(r)]
    if r.missing:
        out.append(f"missing: {r.missing} required tensors, the first {r.first_missing.key} (--present judges only what is there)")
    if not quiet:
        out.append(summary(r))
    return "".join(s + "\n" for s in out)


# ---- for programs -------------------------------------------------------------------------------------------------------

def number(x):
    """JSON has no NaN and no infinity."""
    return x if math.isfinite(x) else None


def comparison(j):
    m = j.measure
    if m is None:
        return {"key": j.key, "verdict": j.verdict, "reason": "" if j.verdict == "absent" else reason(j)}
    return {"key": j.key, "verdict": j.verdict, "rel_rms": number(m.rel_rms), "max_abs": number(m.max_abs), "cosine": number(m.cosine),
            "limit": j.limit, "floor": j.floor, "floors": number(j.multiple), "proven": number(j.proven), "ulp": [number(u) for u in m.ulp],
            "worst_index": m.worst, "worst": place(j.entry, m.worst), "want": number(m.want), "got": number(m.got), "ties": j.ties, "alternative": j.alternative}


def as_json(r, *_):
    """One object; "cause" is left empty."""
    before = [{"key": j.key, "rel_rms": number(j.measure.rel_rms), "floors": number(j.multiple)} for j in fault.before(r)]
    return json.dumps({
        "equal": r.equal, "tensors": len(r.judgements), "failed": r.failed, "missing": r.missing, "absent": r.absent, "extra": r.extra,
        "ties": r.ties, "first": r.first.key if r.first else "", "first_missing": r.first_missing.key if r.first_missing else "",
        "before": before, "cause": "", "precision": fault.precision(r), "comparisons": [comparison(j) for j in r.judgements]}, indent=1) + "\n"


def quoted(s):
    return '"' + s.replace('"', '""') + '"'


def as_csv(r, *_):
    out = [CSV]
    for j in r.judgements:
        m, cells = j.measure, [quoted(j.key), j.verdict]
        if m is None:
            cells += [""] * 13
        else:
            cells += [f"{j.multiple:.9g}" if math.isfinite(j.multiple) else "", f"{m.rel_rms:.9g}", f"{j.limit:.9g}", f"{j.floor:.9g}", f"{j.proven:.9g}" if math.isfinite(j.proven) else "", f"{m.max_abs:.17g}",
                      f"{m.cosine:.9g}", *(f"{u:.9g}" for u in m.ulp), quoted(bracketed(place(j.entry, m.worst))), f"{m.want:.17g}", f"{m.got:.17g}"]
        out.append(",".join(cells) + "\n")
    return "".join(out)


def attribute(s):
    """Text inside an XML attribute; XML 1.0 has no control characters."""
    return escape("".join(c if c >= " " else "?" for c in s), {'"': "&quot;"})


def as_junit(r, *_):
    out = ['<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n',
           f' <testsuite name="{attribute(r.golden.named)}" tests="{len(r.judgements)}" failures="{r.failed + r.missing}" '
           f'skipped="{r.absent}" errors="0">\n']
    for j in r.judgements:
        e = j.entry
        group = f"{e.task}.{e.kind}".replace("/", ".") if e.task else ""
        body = "<skipped/>" if j.verdict == "absent" else f'<failure type="{j.verdict}" message="{attribute(reason(j))}"/>' if j.fails else ""
        out.append(f'  <testcase classname="{attribute(group)}" name="{attribute(e.name)}">{body}</testcase>\n')
    return "".join(out) + " </testsuite>\n</testsuites>\n"


FORMATS = {"text": text, "json": as_json, "csv": as_csv, "junit": as_junit}
