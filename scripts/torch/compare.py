#!/usr/bin/env python3
"""Compares two recordings tensor by tensor: compare.py REFERENCE GOT [--limit 1e-5] [--kinds act,dact,dw,loss]

Every key of REFERENCE must be in GOT with the same shape; dtypes may differ, further keys of GOT are ignored. A tensor
passes when RMS(got - ref) / max(RMS(ref), floor) is at most the limit. The floor is there for gradients that are truly
zero, whose RMS is rounding noise:
  - the gauge of the tensor where REFERENCE has one (metadata `gauges`: weight gradients and the loss). It is the RMS of
    the last sum over absolute values, so it says how large the numbers are that cancelled;
  - else 1/100 of the largest RMS among the tensors of the same kind. Float noise is about 1e-7 of that largest one, so
    at a limit of 1e-5 a floor of 1/1000 would already be too low for a tensor that is all noise.
Prints the ten worst with their plain relative RMS beside it. Exit status: 0 equal within the limit, 1 not, 2 usage,
3 a file cannot be read.
"""
import argparse
import json
import sys

import numpy as np

import recording

SMALLEST_SHARE = 1e-2


def rms(a):
    """Root mean square of an array of any shape, in float64; 0 of an empty one."""
    a = np.asarray(a, np.float64)
    return float(np.sqrt(np.mean(a * a))) if a.size else 0.0


def floors(reference, metadata):
    """{key: floor of the denominator}"""
    gauges = json.loads(metadata.get("gauges", "{}"))
    largest = {}
    for k, a in reference.items():
        kind = recording.split(k)[0]
        largest[kind] = max(largest.get(kind, 0.0), rms(a))
    out = {}
    for k in reference:
        kind, name = recording.split(k)
        out[k] = gauges.get(f"{kind}/{name}", SMALLEST_SHARE * largest[kind])
    return out


def judge(ref, got, floor):
    """(relative RMS, plain relative RMS, complaint or ""); arrays of any shape. Numbers that are not finite are infinitely wrong."""
    if got is None:
        return np.inf, np.inf, "missing"
    if ref.shape != got.shape and not ref.size == got.size == 1:
        return np.inf, np.inf, f"expected shape {list(ref.shape)}, found {list(got.shape)}"
    r, g = np.asarray(ref, np.float64).reshape(-1), np.asarray(got, np.float64).reshape(-1)
    for what, a in (("reference", r), ("got", g)):
        if not np.isfinite(a).all():
            return np.inf, np.inf, f"{what} is not finite at element {int(np.argmin(np.isfinite(a)))}"
    d, size, tiny = rms(g - r), rms(r), np.finfo(np.float64).tiny
    return d / max(size, floor, tiny), d / max(size, tiny), ""


def compare(reference, got, metadata=None, kinds=None):
    """Rows (relative RMS, plain relative RMS, key, complaint), worst first. reference and got: {key: array}."""
    wanted = {k: a for k, a in reference.items() if kinds is None or recording.split(k)[0] in kinds}
    floor = floors(wanted, metadata or {})
    rows = []
    for k, a in wanted.items():
        relative, plain, complaint = judge(a, got.get(k), floor[k])
        rows.append((relative, plain, k, complaint))
    return sorted(rows, key=lambda r: (-r[0], r[2]))


def report(title, rows, limit, worst=10, out=sys.stdout):
    """Prints the verdict and the worst rows; True when all pass. No row at all does not pass."""
    bad = sum(not row[0] <= limit for row in rows)
    verdict = "FAIL" if bad or not rows else "ok"
    print(f"{verdict:4} {title}: {len(rows)} tensors, {bad} beyond {limit:g}, worst {rows[0][0] if rows else np.inf:.3g}", file=out)
    for relative, plain, k, complaint in rows[: max(worst, min(bad, 10))]:
        print(f"     {relative:9.3g}  (plain {plain:9.3g})  {k}  {complaint}".rstrip(), file=out)
    return verdict == "ok"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("reference")
    p.add_argument("got")
    p.add_argument("--limit", type=float, default=1e-5)
    p.add_argument("--kinds", help="compare these only, with commas between: in,act,dact,dw,loss")
    a = p.parse_args()
    try:
        reference, metadata = recording.load(a.reference)
        got, _ = recording.load(a.got)
        rows = compare(reference, got, metadata, a.kinds and a.kinds.split(","))
    except (OSError, ValueError) as e:
        print(f"compare: {e}", file=sys.stderr)
        return 3
    return 0 if report(f"{a.got} against {a.reference}", rows, a.limit) else 1


if __name__ == "__main__":
    sys.exit(main())
