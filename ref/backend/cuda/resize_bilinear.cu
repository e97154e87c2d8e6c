/* y[b,i,j] = a0 (b0 x[b,r0,q0] + b1 x[b,r0,q1]) + a1 (b0 x[b,r1,q0] + b1 x[b,r1,q1])
 * with r0, r1 the rows on both sides of i's place in x and a0, a1 their shares; q0, q1, b0, b1 of column j likewise.
 *
 * Places are computed once, into a table. dx gathers: its row r has shares of the rows i of dy with r0 = r or r1 = r. As r0 grows
 * with i, these are the rows `from` the first with r0 >= r - 1 `to` the last with r0 <= r; columns likewise. */
#include "cuda.h"

typedef struct {
    int64_t at[2]; /* the neighbours, equal at the border */
    float share[2];
} neighbours;

/* Of every i < out its neighbours among n pixels; the place is a fraction, so that its integer part is exact. */
static __global__ void find_places(neighbours *all, int64_t n, int64_t out, int align_corners)
{
    VVCU_FOR(i, out) {
        const int64_t below = align_corners ? max(out - 1, (int64_t)1) : 2 * out;
        const int64_t above = align_corners ? i * (n - 1) : max((2 * i + 1) * n - out, (int64_t)0);
        const int64_t whole = above / below, rest = above % below;
        all[i].at[0] = whole;
        all[i].at[1] = min(whole + 1, n - 1);
        all[i].share[0] = (float)((double)(below - rest) / (double)below);
        all[i].share[1] = (float)((double)rest / (double)below);
    }
}

/* The tables of rows and of columns in the scratch memory; 0 (and a failure kept) without memory. */
static int places(const char *function, neighbours **rows, neighbours **cols, int64_t Hh, int64_t Ww, int64_t Ho,
                  int64_t Wo, int align_corners)
{
    *rows = vvcu_ready() ? (neighbours *)vvcu_scratch(function, (Ho + Wo) * (int64_t)sizeof **rows) : NULL;
    if (!*rows) return 0;
    *cols = *rows + Ho;
    VVCU_LAUNCH(function, find_places, VVCU_GRID(Ho), VVCU_BLOCK, 0, *rows, Hh, Ho, align_corners);
    VVCU_LAUNCH(function, find_places, VVCU_GRID(Wo), VVCU_BLOCK, 0, *cols, Ww, Wo, align_corners);
    return 1;
}

static __global__ void forward(float *y, const float *x, const neighbours *rows, const neighbours *cols, int64_t n,
                               int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo, int64_t C)
{
    VVCU_FOR(k, n) {
        const int64_t c = k % C, j = k / C % Wo, line = k / C / Wo;
        const neighbours r = rows[line % Ho], q = cols[j];
        const float *x0 = x + (line / Ho * Hh + r.at[0]) * Ww * C + c,
                    *x1 = x + (line / Ho * Hh + r.at[1]) * Ww * C + c;
        y[k] = r.share[0] * (q.share[0] * x0[q.at[0] * C] + q.share[1] * x0[q.at[1] * C]) +
               r.share[1] * (q.share[0] * x1[q.at[0] * C] + q.share[1] * x1[q.at[1] * C]);
    }
}

void vvb_resize_bilinear_fwd(vv_real *y, const vv_real *x, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners)
{
    static const char *const name = "resize_bilinear_fwd";
    const int64_t n = B * Ho * Wo * C;
    neighbours *rows, *cols;
    if (n == 0 || !places(name, &rows, &cols, Hh, Ww, Ho, Wo, align_corners)) return;
    VVCU_LAUNCH(name, forward, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, rows, cols, n, Hh, Ww, Ho, Wo, C);
}

/* how many of the first neighbours lie before r */
static __device__ int64_t count_before(const neighbours *all, int64_t out, int64_t r)
{
    int64_t low = 0, high = out;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (all[middle].at[0] < r) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* the share of pixel r in row or column i of dy: at the border both neighbours are r */
static __device__ float share_of(const neighbours &p, int64_t r)
{
    return (p.at[0] == r ? p.share[0] : 0) + (p.at[1] == r ? p.share[1] : 0);
}

static __global__ void backward(float *dx, const float *dy, const neighbours *rows, const neighbours *cols, int64_t n,
                                int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo, int64_t C, int acc)
{
    VVCU_FOR(k, n) {
        const int64_t c = k % C, q = k / C % Ww, r = k / C / Ww % Hh, b = k / C / Ww / Hh;
        const int64_t i0 = count_before(rows, Ho, r - 1), i1 = count_before(rows, Ho, r + 1);
        const int64_t j0 = count_before(cols, Wo, q - 1), j1 = count_before(cols, Wo, q + 1);
        float sum = acc ? dx[k] : 0;
        for (int64_t i = i0; i < i1; i++) {
            const float *from = dy + (b * Ho + i) * Wo * C + c;
            float row = 0;
            for (int64_t j = j0; j < j1; j++) row += share_of(cols[j], q) * from[j * C];
            sum += share_of(rows[i], r) * row;
        }
        dx[k] = sum;
    }
}

void vvb_resize_bilinear_bwd(vv_real *dx, const vv_real *dy, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners, int acc)
{
    static const char *const name = "resize_bilinear_bwd";
    const int64_t n = B * Hh * Ww * C;
    neighbours *rows, *cols;
    if (!dx || n == 0 || !places(name, &rows, &cols, Hh, Ww, Ho, Wo, align_corners)) return;
    VVCU_LAUNCH(name, backward, VVCU_GRID(n), VVCU_BLOCK, 0, dx, dy, rows, cols, n, Hh, Ww, Ho, Wo, C, acc);
}
