"""The losses of the dense heads in plain torch: every formula of ref/backend/backend.h ("Losses of depth maps", "Losses of masks") again,
with gradients by autograd. Switches are the JSON of the configuration (ref/loss/loss.h), defaults are filled in.

  p, d [B,H,W] prediction and label, mask [B,H,W] or None      valid(d, mask)    medians(p, d, ok) int64 [2,B,2]
  ssi(p, d, ok, at, config), gradient_matching(...), depth_loss(...)       x, z [R,C] logits and targets: bce(x, z), dice(x, z, smooth),
  seg_loss(x, z, config)

The choice of the medians is an input, as it is in versavit: run this with the recorded ones of another implementation, and what is
left are differences of rounding and the signs of values within it. Works in the dtype of p; float64 is meant."""
import torch

DEPTH = {"ssi": {"align": "median", "median": "lower", "trim": 0.0, "reduction": "batch", "eps": 1e-6, "degenerate": "skip",
                 "detach_norm": False},
         "gm": {"mode": "norm", "scales": 4}, "lambda_ssi": 1.0, "lambda_gm": 0.5}
SEG = {"lambda_bce": 2.0, "lambda_dice": 0.5, "dice": {"smooth": 1e-3}}


def filled(config, defaults):
    """The configuration with what is absent from the defaults; an unknown key is an error."""
    unknown = set(config) - set(defaults)
    if unknown:
        raise KeyError(f"unknown: {', '.join(sorted(unknown))}")
    return {k: filled(config.get(k, {}), v) if isinstance(v, dict) else config.get(k, v) for k, v in defaults.items()}


# ---- depth maps ----------------------------------------------------------------------------------------------------------
def valid(d, mask=None):
    """Which pixels count: a finite label, and mask != 0 where there is a mask."""
    return torch.isfinite(d) if mask is None else torch.isfinite(d) & (mask != 0)


def medians(p, d, ok):
    """The pixels of the lower and the upper middle of p, then of d; the first pixel of equal values; -1 without valid pixels."""
    out = torch.full((2, len(p), 2), -1, dtype=torch.int64)
    for k, x in enumerate((p.detach(), d)):
        for b in range(len(p)):
            row = x[b].flatten()
            values = row[ok[b].flatten()].sort().values
            for j in range(2 if len(values) else 0):
                t = values[(len(values) - 1 + j) // 2]
                out[k, b, j] = ((row == t) & ok[b].flatten()).nonzero()[0, 0]
    return out


class Map:
    """One map: its residual R on the valid pixels (0 elsewhere) as a function of p, and whether it counts."""

    def __init__(self, p, d, ok, at, ssi, kind):
        self.ok, self.M, eps = ok, int(ok.sum()), ssi["eps"]
        self.counts, self.state = False, "empty" if self.M == 0 else "single"
        if self.M < 2:
            return
        clamp, n = ssi["degenerate"] == "clamp", 2 if ssi["median"] == "average" else 1
        x, y = p[ok], d[ok]

        def center(z, where):
            t = z.flatten()[where[:n]].mean()
            return t, (z[ok] - t).abs().mean()

        (tp, rp), (td, rd) = center(p, at[0]), center(d, at[1])
        sp, sd = torch.clamp(rp, min=eps), torch.clamp(rd, min=eps)
        if rp <= eps:
            sp = torch.full_like(sp, eps)
        a00, a01, b0, b1 = (x * x).sum(), x.sum(), (x * y).sum(), y.sum()
        det = a00 * self.M - a01 * a01
        singular = kind == "ls" and bool(det.detach() <= 1e-12 * max(float(a00.detach()) * self.M, 1.0))
        flat = singular if kind == "ls" else bool(rp <= eps)
        flat_label = bool(rd <= eps * max(1.0, float(y.abs().max())))
        self.state = "flat label" if flat_label else "flat prediction" if flat else "counted"
        self.counts = clamp or not flat_label
        if kind == "ls":
            s, o = (torch.zeros_like(det), y.mean()) if singular else ((self.M * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det)
            s, o = (s.detach(), o.detach()) if ssi["detach_norm"] else (s, o)
            r = s * x + o - y
        else:
            tp, sp = (tp.detach(), sp.detach()) if ssi["detach_norm"] else (tp, sp)
            r = sp / sd * y - x if kind == "paper" else (x - tp) / sp - (y - td) / sd
        if flat and (singular or not clamp):
            r = r.detach()
        self.R = torch.zeros_like(p).masked_scatter(ok, r)


def _maps(p, d, ok, at, ssi, kind):
    d = torch.where(torch.isfinite(d), d, torch.zeros_like(d))
    return [m for m in (Map(p[b], d[b], ok[b], at[:, b], ssi, kind) for b in range(len(p))) if m.counts]


def ssi(p, d, ok, at, config):
    how = config["ssi"]
    maps = _maps(p, d, ok, at, how, "ls" if how["align"] == "ls" else "norm")
    sums = []
    for m in maps:
        r = m.R[m.ok].abs()
        kept = r.detach().sort(stable=True).indices[: int((1 - how["trim"]) * m.M)]
        sums.append(r[kept].sum())
    if not maps:
        return p.sum() * 0
    if how["reduction"] == "image":
        return sum(s / m.M for s, m in zip(sums, maps)) / len(maps)
    return sum(sums) / sum(m.M for m in maps)


def gradient_matching(p, d, ok, at, config):
    mode = config["gm"]["mode"]
    kind = {"norm": "norm", "megadepth": "norm", "ls": "ls", "paper": "paper", "paper_sum": "paper"}[mode]
    maps = _maps(p, d, ok, at, config["ssi"], kind)
    total, reach = p.sum() * 0, 2 if mode == "megadepth" else 1
    for k in range(config["gm"]["scales"]):
        step = max(1, 2 * k) if mode == "megadepth" else 2**k
        value, n = 0, 0
        for m in maps:
            r, v = m.R[::step, ::step], m.ok[::step, ::step]
            n += int(v.sum())
            for q, u in ((r, v), (r.T, v.T)):
                value = value + ((q[reach:] - q[:-reach]).abs() * (u[reach:] & u[:-reach])).sum()
        if n:
            total = total + (value if mode == "paper_sum" else value / n)
    return total


def depth_loss(p, d, ok, at, config):
    """The weighted loss and its terms."""
    terms = {"ssi": ssi(p, d, ok, at, config), "gradient_matching": gradient_matching(p, d, ok, at, config)}
    return config["lambda_ssi"] * terms["ssi"] + config["lambda_gm"] * terms["gradient_matching"], terms


# ---- masks -----------------------------------------------------------------------------------------------------------------
def bce(x, z):
    if x.numel() == 0:
        return x.sum()
    return torch.nn.functional.binary_cross_entropy_with_logits(x, z, reduction="none").flatten(1).mean(1).mean()


def dice(x, z, smooth):
    if len(x) == 0:
        return x.sum()
    q, z = x.flatten(1).sigmoid(), z.flatten(1)
    return (1 - (2 * (q * z).sum(1) + smooth) / (q.sum(1) + z.sum(1) + smooth)).mean()


def seg_loss(x, z, config):
    """The weighted loss and its terms."""
    terms = {"bce": bce(x, z), "dice": dice(x, z, config["dice"]["smooth"])}
    return config["lambda_bce"] * terms["bce"] + config["lambda_dice"] * terms["dice"], terms
