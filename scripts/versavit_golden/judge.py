"""Judging a candidate against a golden file: the rules of `versavit golden check` (golden/README.md)."""
import math

import numpy as np

from . import discrete
from .index import PRECISIONS, count, open_golden, sample_places
from .mapping import Mapping
from .measure import Measure, rms
from .tensors import FileError, open_tensors

MULTIPLE = 13.0
NEAR = 5
CONSTANT = 8  # so many equal numbers may be an accident
SCOPES = ("outputs", "forward", "backward", "update")
SCOPE_OF_KIND = {"act": "forward", "dact": "backward", "dw": "backward", "dstep": "update"}
PASS, FAIL, MISSING, SHAPE, NOT_FINITE, ABSENT = "PASS", "FAIL", "MISSING", "SHAPE", "NOT FINITE", "absent"
UNTRUSTED, DUPLICATE, TIE = "UNTRUSTED", "DUPLICATE", "TIE"


class Options:
    """precision   float, tf32, bf16 or fp16: which floors and bands to judge by
    scope       outputs, forward, backward or update: what must be there
    multiple    allowed multiple of the floor;   limit: one relative RMS for all CHAIN tensors instead, or None
    present     judge only what the candidate holds
    strict      tensors that the golden file has not are a failure (as in `versavit diff`)
    floors      another golden file, whose floors and bands are used, or None
    """

    def __init__(self, precision="float", scope="update", multiple=MULTIPLE, limit=None, present=False, strict=False, floors=None):
        if precision not in PRECISIONS:
            raise ValueError(f'precision: expected {", ".join(PRECISIONS)}; found "{precision}"')
        if scope not in SCOPES:
            raise ValueError(f'scope: expected {", ".join(SCOPES)}; found "{scope}"')
        self.precision, self.scope, self.multiple, self.limit = precision, scope, multiple or MULTIPLE, limit
        self.present, self.strict = present, strict
        self.floors = open_golden(floors) if floors is not None else None

    def contains(self, entry):
        """Whether a tensor lies inside the scope."""
        least = SCOPE_OF_KIND.get(entry.kind, "outputs")
        return entry.output or SCOPES.index(least) <= SCOPES.index(self.scope)


class Judgement:
    """One tensor: entry, key, verdict, measure (None: nothing to measure), limit of the relative RMS, floor (0: none known),
    alternative (0: the golden value, k: the k-th other one), ties (elements that differ and may), shape (the candidate's, with SHAPE),
    near (flat index, golden numbers and the candidate's from there on: around the worst, in its row)."""

    def __init__(self, entry, alternative=0):
        self.entry, self.key, self.alternative = entry, entry.key, alternative
        self.verdict, self.measure, self.limit, self.floor, self.ties, self.shape = PASS, None, 0.0, 0.0, 0, None
        self.near = 0, [], []

    @property
    def fails(self):
        return self.verdict not in (PASS, ABSENT, TIE)

    @property
    def multiple(self):
        """The relative RMS over the floor; NaN without one."""
        return self.measure.rel_rms / self.floor if self.measure and self.floor > 0 else math.nan

    @property
    def proven(self):
        """The proven bound of a float build's relative RMS; NaN without one."""
        return self.entry.bound / self.measure.base if self.measure and self.entry.bound > 0 else math.nan


def neighbours(j, want, got):
    """(first, want, got) of up to NEAR numbers around the worst, in its row."""
    if not want.size:
        return 0, [], []
    e, at = j.entry, j.measure.worst
    row = want.size if e.sample or not e.shape else max(1, e.shape[-1])
    begin = at // row * row
    end = min(want.size, begin + row)
    first = max(begin, min(at - NEAR // 2, end - NEAR))
    after = min(end, first + NEAR)
    return first, want[first:after].tolist(), got[first:after].tolist()


class Judged:
    """The verdict on a candidate.

    judgements   one for each tensor of the index, in the order of execution
    equal        everything passed;   status: 0 when it did, else 1
    failed, missing, absent, extra, ties, first, first_missing (Judgements or None), most (the largest multiple of a floor)
    text(), json(), csv(), junit()
    """

    def __init__(self, golden, candidate, options):
        self.golden, self.candidate, self.options = golden, candidate, options
        self.local = candidate.metadata.get("resync") == "layer"
        self.judgements, chosen = [], {}
        for e in golden.entries:
            if e.kind == "alt":
                continue
            if e.alternatives and e.task not in chosen:
                chosen[e.task] = self.choose(e.task)
            k = chosen.get(e.task, 0)
            self.judgements.append(self.one(e, k if k <= len(e.alternatives) else 0))
        self.summarise()

    def summarise(self):
        all_, of = self.judgements, lambda verdict: [j for j in self.judgements if j.verdict == verdict]
        fails = [j for j in all_ if j.fails and j.verdict != MISSING]
        missing = of(MISSING)
        self.failed, self.missing, self.absent, self.ties = len(fails), len(missing), len(of(ABSENT)), len(of(TIE))
        self.first, self.first_missing = fails[0] if fails else None, missing[0] if missing else None
        extra = [n for n in self.candidate.listed() if n not in self.golden.tensors]
        self.extra, self.first_extra = len(extra), extra[0] if extra else None
        self.most = max((j.multiple for j in all_ if j.verdict in (PASS, FAIL) and j.multiple > 0), default=0.0)
        self.equal = not (self.failed or self.missing or (self.extra and self.options.strict))
        self.status = 0 if self.equal else 1

    # ---- one tensor ------------------------------------------------------------------------------------------------------

    def limit_of(self, entry):
        """(floor, limit) of the relative RMS of a CHAIN tensor."""
        o = self.options
        by = o.floors.by_key.get(entry.key) if o.floors else entry
        floor = by.band[self.local].get(o.precision, (0.0, 0.0))[1] if by else 0.0
        if o.limit is not None:
            return floor, o.limit
        if floor > 0:
            return floor, floor * o.multiple
        what = "a floor" if o.precision == "float" else f"a band of {o.precision}"
        raise FileError(f"{(o.floors or self.golden).path}: {entry.key}: expected {'local ' if self.local else ''}{what} in the index; "
                        "found none (give --limit, or add floors)")

    def one(self, entry, alternative):
        j = Judgement(entry, alternative)
        key, shape = entry.key, None
        if key in self.candidate:
            shape = tuple(self.candidate.shape(key))
        if shape is None:
            j.verdict = MISSING if entry.required and self.options.contains(entry) and not self.options.present else ABSENT
            return j
        if key in self.candidate.twice:
            j.verdict = DUPLICATE
            return j
        is_sample = entry.sample > 0 and shape == (entry.sample,)
        fits = shape == entry.shape or (key in self.candidate.fits and count(shape) == entry.n)
        if not fits and not is_sample:
            j.verdict, j.shape = SHAPE, shape
            return j
        want = self.golden.values(entry.alternatives[alternative - 1] if alternative else key, whole=not entry.sample).reshape(-1)
        got = self.candidate.values(key).reshape(-1)
        if entry.sample and not is_sample:
            got = got[sample_places(entry.n)]
        self.decide(j, want, got)
        j.near = neighbours(j, want, got)
        return j

    def decide(self, j, want, got):
        e = j.entry
        j.measure = m = Measure(want, got, e.scale, e.rms if e.sample else None)
        if e.exactness == "DISCRETE":
            self.decide_discrete(j, want, got)
            return
        if e.exactness == "EXACT" and not m.finite_r:
            self.decide_exact(j, want, got)
            return
        if e.exactness == "CHAIN":
            j.floor, j.limit = self.limit_of(e)
            if not m.finite_r or (m.constant and e.stored > CONSTANT and not e.scale > 0):
                j.verdict = UNTRUSTED
                return
        same = m.max_abs == 0 and m.rel_rms == 0 and m.finite_r if j.limit == 0 else m.rel_rms <= j.limit
        j.verdict = NOT_FINITE if not m.finite_g else PASS if same else FAIL

    @staticmethod
    def decide_exact(j, want, got):
        """EXACT where the reference itself holds what is no number (unknown labels): equal, or the same bits."""
        m, wrong = j.measure, np.flatnonzero((want != got) & (want.view(np.int64) != got.view(np.int64)))
        m.rel_rms = math.nan if wrong.size else 0.0
        if wrong.size:
            m.worst = int(wrong[0])
            m.want, m.got = float(want[m.worst]), float(got[m.worst])
            j.verdict = FAIL if math.isfinite(m.got) else NOT_FINITE

    def decide_discrete(self, j, want, got):
        e, m = j.entry, j.measure
        j.verdict = NOT_FINITE if not m.finite_g else PASS if m.max_abs == 0 else FAIL
        of = self.golden.by_key.get(e.of)
        if j.verdict != FAIL or of is None or of.sample or e.sample:
            return
        values = self.golden.values(e.of)
        noise = self.limit_of(of)[1] * max(rms(values), of.scale)
        j.ties, wrong = discrete.ties(e, want, got, values, noise)
        if wrong is None:
            j.verdict = TIE
        else:
            m.worst, m.want, m.got = wrong, float(want[wrong]), float(got[wrong])

    def choose(self, task):
        """Which alternative the candidate chose in a task: the one by which the fewest tensors fail."""
        tied = [e for e in self.golden.entries if e.task == task and e.alternatives]
        def fails(k):
            return sum(self.one(e, k if k <= len(e.alternatives) else 0).fails for e in tied)

        return min(range(max(len(e.alternatives) for e in tied) + 1), key=fails)

    # ---- as text ---------------------------------------------------------------------------------------------------------

    def text(self, everything=False, quiet=False):
        from . import report

        return report.text(self, everything, quiet)

    def json(self):
        from . import report

        return report.as_json(self)

    def csv(self):
        from . import report

        return report.as_csv(self)

    def junit(self):
        from . import report

        return report.as_junit(self)


def check(golden, candidate, mapping=None, **options):
    """A Judged. golden: a path or a Golden. candidate: a path, a dictionary {key: array} or a Recorder. mapping: a file, the name of one
    that is shipped (transformers, onnx, llama.cpp), or a dictionary of its rules. options: those of Options."""
    golden, candidate, chosen = open_golden(golden), open_tensors(candidate), Options(**options)
    if mapping is not None:
        candidate = Mapping(mapping).apply(candidate, golden)
    return Judged(golden, candidate, chosen)
