"""Where a candidate goes wrong first, how far that tensor's inputs were, and which arithmetic the whole behaves like.

What the mistake may be (transposed weight, wrong GELU ...) is asked of `versavit golden check`: it recomputes layers.
"""
from .judge import PRECISIONS

BEFORE, LEAST_TENSORS, LEAST_NUMBERS = 3, 3, 8
NAMES = {"float": "float32", "tf32": "TF32", "bf16": "BF16", "fp16": "FP16", "double": "float64"}


def before(judged):
    """The nearest tensors of the first failing one's task that are judged by floors, the nearest last."""
    if judged.first is None:
        return []
    at = judged.judgements.index(judged.first)
    same = [j for j in judged.judgements[:at]
            if j.measure and j.entry.exactness == "CHAIN" and j.entry.task == judged.first.entry.task]
    return same[-BEFORE:]


def speaks_for(band, error, p):
    """Whether an error is one of this arithmetic: float from a sixteenth of the floor to four, float64 below 2^-10 of it, the others from
    half of the band's lower end to twice its upper one."""
    floor = band["float"][1]
    if p == "double":
        return error < 2.0**-10 * floor
    if p == "float":
        return floor / 16 <= error <= 4 * floor
    lo, hi = band.get(p, (0.0, 0.0))
    return hi > 0 and lo / 2 <= error <= 2 * hi


def ask(judged, judgements):
    """({arithmetic: votes}, how many could vote)"""
    votes, n, floors = dict.fromkeys(NAMES, 0), 0, judged.options.floors
    for j in judgements:
        by = floors.by_key.get(j.key) if floors else j.entry
        if not j.measure or j.entry.exactness != "CHAIN" or j.entry.n < LEAST_NUMBERS or not j.measure.finite_g or by is None:
            continue
        band = by.band[judged.local]
        if band["float"][1] > 0:
            n += 1
            for p in votes:
                votes[p] += speaks_for(band, j.measure.rel_rms, p)
    return votes, n


def winners(votes, n):
    """What nine tenths speak for."""
    return [NAMES[p] for p in votes if n >= LEAST_TENSORS and 10 * votes[p] >= 9 * n]


def precision(judged):
    """ "behaves like float32"; "" when there is too little to say it from."""
    votes, n = ask(judged, judged.judgements)
    won, where = winners(votes, n), ""
    if not won and judged.first is not None:
        votes, n = ask(judged, judged.judgements[: judged.judgements.index(judged.first)])
        won, where = winners(votes, n), "before the fault it "
    if n < LEAST_TENSORS:
        return ""
    if won:
        return where + "behaves like " + " and ".join(won) + (": they cannot be told apart here" if len(won) > 1 else "")
    counts = ", ".join(f"{votes[p]} like {NAMES[p]}" for p in PRECISIONS)
    return f"behaves like no single precision (of {n} tensors{' before the fault' if judged.first else ''}: {counts})"
