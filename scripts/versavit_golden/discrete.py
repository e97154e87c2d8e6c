"""Tensors of choices (tokens, signs, masks, indices of medians): whether another choice than the golden one is legal."""
import numpy as np


def ties(entry, want, got, of, noise):
    """(elements that differ and may, index of the first that may not or None).

    want, got [n]: the choices. of: the values of the tensor that decides, n rows of them for indices. A choice may differ where the
    deciding values of the golden file are no further apart than `noise`, or from the threshold.
    """
    differ = np.flatnonzero(~(want == got))
    if not differ.size:
        return 0, None
    w, g = want[differ], got[differ]
    if entry.rule in ("argmax", "median"):
        rows = of.reshape(want.size, -1)[differ]
        width = rows.shape[1]
        with np.errstate(invalid="ignore"):
            inside = (w >= 0) & (g >= 0) & (w < width) & (g < width) & (w == np.floor(w)) & (g == np.floor(g))
            a, b = (np.where(inside, x, 0).astype(np.int64) for x in (w, g))
            row = np.arange(differ.size)
            legal = inside & (np.abs(rows[row, a] - rows[row, b]) <= noise)
    else:
        legal = np.isfinite(g) & (np.abs(of.reshape(-1)[differ] - entry.threshold) <= noise)
    wrong = differ[~legal]
    return int(legal.sum()), int(wrong[0]) if wrong.size else None
