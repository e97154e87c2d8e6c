/* bce and dice on logits: the formulas of backend.h, term by term. */
#include <math.h>

#include "oracle/oracle.h"

static vvt_ref sigmoid(vvt_ref x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }

/* computed in double from terms with gauge G, rounded once (backend.h) */
static void result(vvo_out y, int64_t i, vvt_ref value, vvt_ref G, int64_t n)
{
    y.v[i] += value;
    y.g[i] += fabsl(value) + sqrtl((vvt_ref)n) / 2 * (0x1p-53L / (vvt_ref)VV_U) * G;
}

void vvo_bce_fwd(vvo_out y, const vv_real *x, const vv_real *z, int64_t R, int64_t C)
{
    vvt_ref sum = 0, gauge = 0;
    const vvt_ref n = (vvt_ref)(R * C);
    for (int64_t i = 0; i < R * C; i++) {
        const vvt_ref v = (vvt_ref)x[i], t = (vvt_ref)z[i], soft = log1pl(expl(-fabsl(v)));
        sum += fmaxl(v, 0) - v * t + soft;
        gauge += fmaxl(v, 0) + fabsl(v * t) + soft;
    }
    result(y, 0, n > 0 ? sum / n : 0, n > 0 ? gauge / n : 0, R * C);
}

/* s - z with few digits lost: s is near 1 for large x, where 1 - s is s(-x) */
void vvo_bce_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, const vv_real *z, int64_t R, int64_t C)
{
    const vvt_ref w = (vvt_ref)dy[0] / (vvt_ref)(R * C);
    for (int64_t i = 0; i < R * C; i++) {
        const vvt_ref v = (vvt_ref)x[i], t = (vvt_ref)z[i], up = (1 - t) * sigmoid(v), down = t * sigmoid(-v);
        result(dx, i, w * (up - down), fabsl(w) * (fabsl(up) + fabsl(down)), 16);
    }
}

void vvo_dice_fwd(vvo_out y, vvo_out sums, const vv_real *x, const vv_real *z, int64_t R, int64_t C, double smooth)
{
    const vvt_ref e = (vvt_ref)smooth;
    vvt_ref sum = 0, gauge = 0;
    for (int64_t r = 0; r < R; r++) {
        vvt_ref both = 0, all = 0, all_gauge = 0;
        for (int64_t i = r * C; i < (r + 1) * C; i++) {
            const vvt_ref q = sigmoid((vvt_ref)x[i]), t = (vvt_ref)z[i];
            both += q * t;
            all += q + t;
            all_gauge += q + fabsl(t);
        }
        result(sums, 2 * r, 2 * both + e, 2 * all_gauge + e, C);
        result(sums, 2 * r + 1, all + e, all_gauge + e, C);
        sum += 1 - (2 * both + e) / (all + e);
        gauge += 2 * (all_gauge + e) / (all + e);
    }
    result(y, 0, R ? sum / (vvt_ref)R : 0, R ? gauge / (vvt_ref)R : 0, R * C);
}

void vvo_dice_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, const vv_real *z, const vv_real *sums, int64_t R,
                  int64_t C)
{
    for (int64_t r = 0; r < R; r++) {
        const vvt_ref num = (vvt_ref)sums[2 * r], den = (vvt_ref)sums[2 * r + 1];
        for (int64_t i = r * C; i < (r + 1) * C; i++) {
            const vvt_ref v = (vvt_ref)x[i], t = (vvt_ref)z[i], slope = sigmoid(v) * sigmoid(-v);
            const vvt_ref w = (vvt_ref)dy[0] / (vvt_ref)R * slope / (den * den);
            const vvt_ref G = fabsl(w) * (2 * fabsl(t * den) + fabsl(num));
            result(dx, i, -w * (2 * t * den - num), G, 16);
        }
    }
}
