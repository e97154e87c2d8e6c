"""How far numbers are from those they should be."""
import numpy as np

ULP_PLACES = (lambda n: (n - 1) // 2, lambda n: (n - 1) * 99 // 100, lambda n: n - 1)


class Measure:
    """reference, got: float64 of any shape, the same for both.

    rel_rms   RMS(got - reference) / max(RMS(reference), scale); RMS(got - reference) itself where both are 0
    base      what rel_rms is relative to; 1 where that would be 0
    rms       of the reference, or of the whole that it is a sample of, when that is given
    cosine    of the two as vectors; 1 where both are 0
    ulp       |got - reference| in units of the last place of the reference as a float: median, 99th percentile, largest
    max_abs   the largest |got - reference|; worst: its flat index, or that of the first number of got that is not finite
    want, got the two numbers there.   finite_r, finite_g; constant: all of the reference are the same
    """

    def __init__(self, reference, got, scale=0.0, rms=None):
        r, g = reference.reshape(-1), got.reshape(-1)
        self.rel_rms, self.max_abs, self.cosine, self.rms, self.base, self.ulp = 0.0, 0.0, 1.0, 0.0, 1.0, (0.0, 0.0, 0.0)
        self.worst, self.want, self.got = 0, 0.0, 0.0
        self.finite_r, self.finite_g = bool(np.isfinite(r).all()), bool(np.isfinite(g).all())
        self.constant = bool((r == r[0]).all()) if r.size else True
        if not r.size:
            return
        with np.errstate(all="ignore"):
            d = np.abs(g - r)
            self.find_worst(r, g, d)
            self.find_sizes(r, g, d, scale, rms)
            if self.finite_r and self.finite_g:
                u = np.sort(ulps(r, d))
                self.ulp = tuple(float(u[place(r.size)]) for place in ULP_PLACES)

    def find_worst(self, r, g, d):
        known = np.where(np.isnan(d), -1.0, d)
        if not self.finite_g:
            self.worst = int(np.argmin(np.isfinite(g)))
            known = known[: self.worst]
        else:
            self.worst = int(np.argmax(known))
        self.max_abs = max(0.0, float(known.max())) if known.size else 0.0
        self.want, self.got = float(r[self.worst]), float(g[self.worst])

    def find_sizes(self, r, g, d, scale, rms):
        """Squares are taken of numbers divided by the largest, so that they neither overflow nor vanish."""
        both = np.concatenate([np.abs(r), d])
        both = both[np.isfinite(both)]
        top = float(both.max()) if both.size else 0.0
        a, b, c = (r / top, g / top, d / top) if top > 0 else (np.zeros_like(r),) * 3
        rr, gg, dd = float(a @ a), float(b @ b), float(c @ c)
        self.rms = top * np.sqrt(rr / r.size) if rms is None else rms
        self.base = float(max(self.rms, scale)) or 1.0
        self.rel_rms = float(top * np.sqrt(dd / r.size) / self.base)
        if rr > 0 or gg > 0:
            self.cosine = float(a @ b / (np.sqrt(rr) * np.sqrt(gg))) if rr > 0 and gg > 0 else 0.0


def ulps(r, d):
    """d in units of the last place of r as a float: 24 bits, least exponent -126."""
    _, e = np.frexp(r)  # |r| in [2^(e-1), 2^e): its unit is 2^(e-24)
    return d / np.ldexp(1.0, np.where((r == 0) | (e < -125), -149, e - 24))


def rms(v):
    """Root mean square of the finite numbers of v, over all of them; v of any shape."""
    v = np.where(np.isfinite(v), v, 0.0).reshape(-1)
    top = float(np.abs(v).max()) if v.size else 0.0
    return top * float(np.sqrt(np.mean((v / top) ** 2))) if top > 0 else 0.0
