/* y[b,i,j] = a0 (b0 x[b,r0,q0] + b1 x[b,r0,q1]) + a1 (b0 x[b,r1,q0] + b1 x[b,r1,q1])
 * with r0, r1 the rows on both sides of i's place in x and a0, a1 their shares; q0, q1, b0, b1 of column j likewise.
 *
 * dx adds the same shares of dy: row r of dx gathers, over the rows i of dy in order, those with r0 = r or r1 = r; the
 * sum, a row as wide as y, is then shared out to the columns q0 and q1, in order too. A thread owns rows of dx. */
#include <stdlib.h>

#include "cpu.h"

typedef struct {
    int64_t at[2]; /* the neighbours, equal at the border */
    vv_real share[2];
} place;

/* Of every i < out its place among n pixels: a fraction, so that its integer part is exact. NULL (and a failure kept)
 * without memory. */
static place *places(const char *function, int64_t n, int64_t out, int align_corners)
{
    place *all = vv_calloc(out, sizeof *all);
    if (!all) vvcpu_fail(function, "out of memory");
    for (int64_t i = 0; all && i < out; i++) {
        const int64_t below = align_corners ? vv_max(out - 1, 1) : 2 * out;
        const int64_t above = align_corners ? i * (n - 1) : vv_max((2 * i + 1) * n - out, 0);
        const int64_t whole = above / below, rest = above % below;
        all[i].at[0] = whole;
        all[i].at[1] = vv_min(whole + 1, n - 1);
        all[i].share[0] = (vv_real)((double)(below - rest) / (double)below);
        all[i].share[1] = (vv_real)((double)rest / (double)below);
    }
    return all;
}

VVB_DEF void vvb_resize_bilinear_fwd(vv_real *y, const vv_real *x, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho,
                                     int64_t Wo, int64_t C, int align_corners)
{
    place *rows = places("resize_bilinear_fwd", Hh, Ho, align_corners);
    place *cols = places("resize_bilinear_fwd", Ww, Wo, align_corners);
#pragma omp parallel for schedule(static) if (B * Ho * Wo * C >= VVCPU_GRAIN)
    for (int64_t i = 0; i < (rows && cols ? B * Ho : 0); i++) {
        const place r = rows[i % Ho];
        const vv_real *x0 = x + (i / Ho * Hh + r.at[0]) * Ww * C, *x1 = x + (i / Ho * Hh + r.at[1]) * Ww * C;
        for (int64_t j = 0; j < Wo; j++) {
            const place q = cols[j];
            const vv_real *u0 = x0 + q.at[0] * C, *v0 = x0 + q.at[1] * C, *u1 = x1 + q.at[0] * C,
                          *v1 = x1 + q.at[1] * C;
            vv_real *out = y + (i * Wo + j) * C;
            for (int64_t c = 0; c < C; c++)
                out[c] = r.share[0] * (q.share[0] * u0[c] + q.share[1] * v0[c]) +
                         r.share[1] * (q.share[0] * u1[c] + q.share[1] * v1[c]);
        }
    }
    free(rows);
    free(cols);
}

/* sum [Wo C] = the shares of row r in the rows of dy, one image */
static void gather_rows(vv_real *sum, const vv_real *dy, const place *rows, int64_t r, int64_t Ho, int64_t n)
{
    for (int64_t k = 0; k < n; k++) sum[k] = 0;
    for (int64_t i = 0; i < Ho; i++)
        for (int side = 0; side < 2; side++) {
            const vv_real share = rows[i].share[side], *from = dy + i * n;
            if (rows[i].at[side] == r)
                for (int64_t k = 0; k < n; k++) sum[k] += share * from[k];
        }
}

VVB_DEF void vvb_resize_bilinear_bwd(vv_real *dx, const vv_real *dy, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho,
                                     int64_t Wo, int64_t C, int align_corners, int acc)
{
    if (!dx) return;
    place *rows = places("resize_bilinear_bwd", Hh, Ho, align_corners);
    place *cols = places("resize_bilinear_bwd", Ww, Wo, align_corners);
#pragma omp parallel for schedule(static) if (B * Ho * Wo * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < (rows && cols ? B * Hh : 0); r++) {
        vv_real *sum = vvcpu_scratch("resize_bilinear_bwd", vv_max(Wo * C, 1)), *out = dx + r * Ww * C;
        if (!sum) continue;
        gather_rows(sum, dy + r / Hh * Ho * Wo * C, rows, r % Hh, Ho, Wo * C);
        for (int64_t k = 0; k < Ww * C && !acc; k++) out[k] = 0;
        for (int64_t j = 0; j < Wo; j++)
            for (int side = 0; side < 2; side++) {
                const vv_real share = cols[j].share[side];
                vv_real *to = out + cols[j].at[side] * C;
                for (int64_t c = 0; c < C; c++) to[c] += share * sum[j * C + c];
            }
    }
    free(rows);
    free(cols);
}
