/* Causes that move numbers: the same values at other places. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden/fault_parts.h"

static const double WORK = 2e8; /* comparisons of numbers that an order of rows may cost */

static void transposed(vv_suspect *s)
{
    const int nd = s->e->ndim;
    if (nd < 2) return;
    const int64_t R = s->e->shape[nd - 2], C = s->cols, each = R * C;
    if (R < 2 || C < 2) return;
    for (int64_t o = 0; o < s->n; o += each) /* y[c,r] = r[r,c], read as if it had the shape [R,C] */
        for (int64_t k = 0; k < each; k++) s->work[o + k] = s->r[o + k % R * C + k / R];
    if (R == C) (void)vv_suspect_is(s, s->work, "transposed: what should be [i,j] stands at [j,i]");
    else
        (void)vv_suspect_is(s, s->work, "transposed: its memory holds [%lld,%lld] where [%lld,%lld] is said",
                            (long long)C, (long long)R, (long long)R, (long long)C);
}

static void channels_last(vv_suspect *s)
{
    if (s->e->ndim != 4) return;
    const int64_t *d = s->e->shape, B = d[0], C = d[1], P = d[2] * d[3];
    for (int64_t b = 0; b < B; b++)
        for (int64_t p = 0; p < P; p++)
            for (int64_t c = 0; c < C; c++) s->work[(b * P + p) * C + c] = s->r[(b * C + c) * P + p];
    (void)vv_suspect_is(s, s->work, "channels stand last in its memory (NHWC), where NCHW is said");
}

static vv_status token_order(vv_suspect *s, vv_error *err)
{
    int64_t *place = NULL;
    if (s->e->ndim != 2) return VV_OK;
    VV_TRY(vv_golden_raster(&place, &s->j->golden, s->rows, err));
    if (!place) return VV_OK;
    const size_t row = (size_t)s->cols * sizeof *s->work;
    for (int64_t i = 0; i < s->rows; i++) memcpy(s->work + place[i] * s->cols, s->r + i * s->cols, row);
    (void)vv_suspect_is(s, s->work, "tokens stand in raster order, where merge-block order is due (2x2 blocks)");
    for (int64_t i = 0; i < s->rows; i++) memcpy(s->work + i * s->cols, s->r + place[i] * s->cols, row);
    (void)vv_suspect_is(s, s->work, "tokens were brought into merge-block order twice");
    free(place);
    return VV_OK;
}

/* For each of n vectors of g the nearest of r, each taken once; vector i has `width` numbers, `step` apart, and begins at i * next. */
static void other_order(vv_suspect *s, int64_t n, int64_t width, int64_t next, int64_t step, const char *what,
                        int64_t *from)
{
    int64_t moved = 0, first = -1;
    if (n < 2 || width < 2 || (double)n * (double)n * (double)width > WORK) return;
    for (int64_t i = 0; i < n; i++) from[n + i] = 0; /* taken */
    for (int64_t i = 0; i < n; i++) {
        double best = HUGE_VAL;
        from[i] = -1;
        for (int64_t k = 0; k < n; k++) {
            double d = 0;
            for (int64_t w = 0; w < width && d < best; w++) {
                const double x = s->g[i * next + w * step] - s->r[k * next + w * step];
                d += x * x;
            }
            if (d < best && !from[n + k]) {
                best = d;
                from[i] = k;
            }
        }
        if (from[i] < 0) return; /* not a number */
        from[n + from[i]] = 1;
        if (from[i] != i && moved++ == 0) first = i;
        for (int64_t w = 0; w < width; w++) s->work[i * next + w * step] = s->r[from[i] * next + w * step];
    }
    if (moved > 0)
        (void)vv_suspect_is(s, s->work,
                            "%s stand in another order: %lld of %lld moved, at %lld stands what belongs at %lld", what,
                            (long long)moved, (long long)n, (long long)first, (long long)from[first]);
}

/* g[i] = r[i - by] along an axis; what comes in at the edge does not count */
static void shifted(vv_suspect *s)
{
    int64_t inner = s->n;
    for (int axis = 0; axis < s->e->ndim; axis++) {
        const int64_t d = s->e->shape[axis];
        inner /= vv_max(d, 1);
        if (d < 4) continue;
        for (int by = -1; by <= 1; by += 2) {
            for (int64_t k = 0; k < s->n; k++) {
                const int64_t at = k / inner % d - by;
                s->work[k] = at < 0 || at >= d ? s->g[k] : s->r[k - by * inner];
            }
            const double left = vv_distance(s->work, s->g, s->n);
            (void)vv_suspect_at(s, left, "shifted by one along axis %d: at %d stands what belongs at %d", axis,
                                by > 0 ? 1 : 0, by > 0 ? 0 : 1);
        }
    }
}

vv_status vv_cause_layout(vv_suspect *s, vv_error *err)
{
    transposed(s);
    channels_last(s);
    VV_TRY(token_order(s, err));
    shifted(s);
    int64_t *from = vv_calloc(2 * vv_max(s->rows, s->cols), sizeof *from);
    if (!from) return vv_no_memory(err, s->e->key);
    other_order(s, s->rows, s->cols, s->cols, 1, "rows", from);
    other_order(s, s->cols, s->rows, 1, s->cols, "columns", from);
    free(from);
    return VV_OK;
}
