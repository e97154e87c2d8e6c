/* y[b,i,j,o] = bias[o] + sum_{u,v,c} x[b, i stride + u - pad, j stride + v - pad, c] w[o,c,u,v]
 *
 *   dx[b,r,q,c] = sum_{u,v,o} dy[b,i,j,o] w[o,c,u,v] over i, j with i stride + u - pad = r, j stride + v - pad = q
 *   dw[o,c,u,v] = sum_{b,i,j} dy[b,i,j,o] x[b, i stride + u - pad, j stride + v - pad, c],   db = column sums of dy
 *
 * All three are matrix products with windows of a map, which are copied side by side into the rows of a panel, VVCU_ROOM numbers
 * at a time: memory does not grow with the map. In a panel the channels lie together, so weights are put in that order first.
 *
 * dx, too, is a sum over windows, of dy. Row r meets the taps u = r + pad (mod stride), for i = (r + pad - u) / stride: taps in
 * descending order see rows of dy in ascending order. So the rows of one remainder, r = top + stride n, are a convolution of dy
 * with these taps and stride 1, and so are the columns. None of the zeros that a stride would leave between pixels is multiplied.
 *
 * The transposed convolution with kernel = stride k is a product for each pixel, [Ci] times [Ci, Co k k], whose results are sorted
 * into the larger map. */
#include "cuda.h"

/* windows of a map [B,H,W,C]: one for each pixel (i,j) of another map */
typedef struct {
    int64_t H, W, C;
    int64_t rows, cols;      /* windows of one image */
    int64_t kh, kw;          /* pixels of a window */
    int64_t step, top, left; /* window (i,j) begins at pixel (i step + top, j step + left), inside the map or outside */
} windows;

/* Some taps of the weights [Co,Ci,kh,kw], (u0 + su u', v0 + sv v') for u' < nu, v' < nv, and where they go:
 * (o,c) of tap (u',v') to o out + c in + (u' nv + v') tap. */
typedef struct {
    int64_t Co, Ci, kh, kw;
    int64_t u0, su, nu, v0, sv, nv;
    int64_t out, in, tap;
} taps;

static __device__ int64_t tap_at(const taps &t, int64_t k, int64_t *weight)
{
    const int64_t v = k % t.nv, u = k / t.nv % t.nu, c = k / t.nv / t.nu % t.Ci, o = k / t.nv / t.nu / t.Ci;
    *weight = ((o * t.Ci + c) * t.kh + t.u0 + t.su * u) * t.kw + t.v0 + t.sv * v;
    return o * t.out + c * t.in + (u * t.nv + v) * t.tap;
}

static __global__ void order(float *to, const float *w, taps t)
{
    int64_t weight;
    VVCU_FOR(k, t.Co * t.Ci * t.nu * t.nv) {
        const int64_t at = tap_at(t, k, &weight);
        to[at] = w[weight];
    }
}

static __global__ void add_ordered(float *dw, const float *from, taps t)
{
    int64_t weight;
    VVCU_FOR(k, t.Co * t.Ci * t.nu * t.nv) {
        const int64_t at = tap_at(t, k, &weight);
        dw[weight] += from[at];
    }
}

/* panel [m, kh kw C]: the windows from p0 on, zeros outside the map. T is a number, or four channels at once. */
template <class T> static __global__ void unfold(T *panel, const T *map, windows g, int64_t p0, int64_t m)
{
    const int C = (int)g.C, kw = (int)g.kw, L = (int)(g.kh * g.kw * g.C);
    VVCU_FOR_ROWS(n, m) {
        const int64_t line = (p0 + n) / g.cols, b = line / g.rows;
        const int64_t top = line % g.rows * g.step + g.top, left = (p0 + n) % g.cols * g.step + g.left;
        for (int k = (int)threadIdx.x; k < L; k += (int)blockDim.x) {
            const int tap = k / C;
            const int64_t r = top + tap / kw, q = left + tap % kw;
            const int inside = r >= 0 && r < g.H && q >= 0 && q < g.W;
            panel[n * L + k] = inside ? map[((b * g.H + r) * g.W + q) * C + k % C] : T();
        }
    }
}

/* y [R,C] = bias in each row */
static __global__ void start_rows(float *y, const float *bias, int64_t R, int64_t C)
{
    VVCU_FOR(i, R * C) y[i] = bias[i % C];
}

/* c [m,N], the windows from p0 on, to the pixels (i step + top, j step + left) of a map [B,H,W,N] */
static __global__ void place(float *map, const float *c, windows g, int64_t H, int64_t W, int64_t N, int64_t step,
                             int64_t top, int64_t left, int64_t p0, int64_t m, int acc)
{
    VVCU_FOR(k, m * N) {
        const int64_t p = p0 + k / N, line = p / g.cols;
        const int64_t r = line % g.rows * step + top, q = p % g.cols * step + left;
        float *out = map + ((line / g.rows * H + r) * W + q) * N + k % N;
        *out = acc ? *out + c[k] : c[k];
    }
}

/* ---- panels ----------------------------------------------------------------------------------------------------------------- */
/* rows of L numbers that a panel has for P of them */
static int64_t panel_rows(int64_t P, int64_t L) { return vv_max(1, vv_min(P, VVCU_ROOM / vv_max(L, 1))); }

static int64_t window_size(const windows *g) { return g->kh * g->kw * g->C; }

static void make_panel(const char *function, float *panel, const float *map, const windows *g, int64_t p0, int64_t m)
{
    if (window_size(g) > INT32_MAX) {
        vvcu_fail(function, "a window of more than 2^31 - 1 numbers");
        return;
    }
    if (g->C % 4 == 0 && (uintptr_t)map % 16 == 0) {
        windows four = *g;
        four.C /= 4;
        VVCU_LAUNCH(function, unfold<float4>, VVCU_ROWS(m), VVCU_BLOCK, 0, (float4 *)panel, (const float4 *)map, four,
                    p0, m);
    } else VVCU_LAUNCH(function, unfold<float>, VVCU_ROWS(m), VVCU_BLOCK, 0, panel, map, *g, p0, m);
}

/* Buffers carved from the scratch memory, of so many numbers each. 0 (and a failure kept) without memory. */
static int carve(const char *function, float **buffer, const int64_t *n, int buffers)
{
    int64_t bytes = 0;
    for (int k = 0; k < buffers; k++) bytes += vvcu_aligned(n[k] * (int64_t)sizeof(float));
    char *room = (char *)vvcu_scratch(function, bytes);
    if (!room) return 0;
    for (int k = 0; k < buffers; k++) {
        buffer[k] = (float *)room;
        room += vvcu_aligned(n[k] * (int64_t)sizeof(float));
    }
    return 1;
}

static int64_t rows_of(const vvb_conv_shape *s) { return vvb_conv_size(s->Hh, s->kh, s->stride, s->pad); }
static int64_t cols_of(const vvb_conv_shape *s) { return vvb_conv_size(s->Ww, s->kw, s->stride, s->pad); }

/* the windows of x that the pixels of y see */
static windows windows_of(const vvb_conv_shape *s)
{
    return {s->Hh, s->Ww, s->Ci, rows_of(s), cols_of(s), s->kh, s->kw, s->stride, -s->pad, -s->pad};
}

/* all taps in their order, as the rows [Co, kh kw Ci] of a matrix that fits panels */
static taps taps_of(const vvb_conv_shape *s)
{
    return {s->Co, s->Ci, s->kh, s->kw, 0, 1, s->kh, 0, 1, s->kw, s->kh * s->kw * s->Ci, 1, s->Ci};
}

static void order_weights(const char *function, float *to, const float *w, const taps &t)
{
    VVCU_LAUNCH(function, order, VVCU_GRID(t.Co * t.Ci * t.nu * t.nv), VVCU_BLOCK, 0, to, w, t);
}

/* ---- y, dx, dw ---------------------------------------------------------------------------------------------------------------- */
static void forward(const char *function, float *y, const float *x, const float *w, const float *bias,
                    const vvb_conv_shape *s)
{
    const windows g = windows_of(s);
    const int64_t P = s->B * g.rows * g.cols, L = window_size(&g), rows = panel_rows(P, L), N = s->Co;
    const int64_t size[2] = {N * L, rows * L};
    float *buffer[2]; /* weights, panel */
    if (P == 0 || N == 0 || !carve(function, buffer, size, 2)) return;
    order_weights(function, buffer[0], w, taps_of(s));
    if (bias) VVCU_LAUNCH(function, start_rows, VVCU_GRID(P * N), VVCU_BLOCK, 0, y, bias, P, N);
    for (int64_t p = 0; p < P; p += rows) {
        const int64_t m = vv_min(rows, P - p);
        make_panel(function, buffer[1], x, &g, p, m);
        vvcu_gemm(function, y + p * N, N, buffer[1], L, 0, buffer[0], L, 1, m, N, L, 1, bias != NULL);
    }
}

/* Of k taps, those u = e (mod stride). */
static int64_t count_taps(int64_t e, int64_t k, int64_t stride) { return k / stride + (e < k % stride); }

/* the rows and columns of one remainder */
static void input_grad_part(const char *function, float *dx, const float *dy, const float *w, const vvb_conv_shape *s,
                            int64_t top, int64_t left, int acc)
{
    const int64_t step = s->stride, eu = (top + s->pad) % step, ev = (left + s->pad) % step, N = s->Ci;
    const int64_t nu = count_taps(eu, s->kh, step), nv = count_taps(ev, s->kw, step);
    const windows g = {rows_of(s), cols_of(s), s->Co, (s->Hh - top + step - 1) / step, (s->Ww - left + step - 1) / step,
                       nu,         nv,         1,     (top + s->pad) / step - nu + 1,  (left + s->pad) / step - nv + 1};
    const taps t = {s->Co, N, s->kh, s->kw,    eu + step * (nu - 1), -step, nu, ev + step * (nv - 1), -step,
                    nv,    N, 1,     s->Co * N}; /* [nu nv Co, Ci] */
    const int64_t P = s->B * g.rows * g.cols, L = window_size(&g), rows = panel_rows(P, vv_max(L, N));
    const int64_t size[3] = {L * N, rows * L, step == 1 ? 0 : rows * N};
    float *buffer[3]; /* weights, panel, results */
    if (!carve(function, buffer, size, 3)) return;
    order_weights(function, buffer[0], w, t);
    for (int64_t p = 0; p < P; p += rows) {
        const int64_t m = vv_min(rows, P - p);
        float *c = step == 1 ? dx + p * N : buffer[2];
        make_panel(function, buffer[1], dy, &g, p, m);
        vvcu_gemm(function, c, N, buffer[1], L, 0, buffer[0], N, 0, m, N, L, 1, step == 1 && acc);
        if (step > 1)
            VVCU_LAUNCH(function, place, VVCU_GRID(m * N), VVCU_BLOCK, 0, dx, c, g, s->Hh, s->Ww, N, step, top, left, p,
                        m, acc);
    }
}

static void weight_grad(const char *function, float *dw, const float *dy, const float *x, const vvb_conv_shape *s)
{
    const windows g = windows_of(s);
    const int64_t P = s->B * g.rows * g.cols, L = window_size(&g), rows = panel_rows(P, L), N = s->Co;
    const int64_t size[2] = {N * L, rows * L};
    float *buffer[2]; /* dw in the order of a panel, panel */
    if (P == 0 || L == 0 || N == 0 || !carve(function, buffer, size, 2)) return;
    for (int64_t p = 0; p < P; p += rows) {
        const int64_t m = vv_min(rows, P - p);
        make_panel(function, buffer[1], x, &g, p, m);
        vvcu_gemm(function, buffer[0], L, dy + p * N, N, 1, buffer[1], L, 0, N, L, m, 1, p > 0);
    }
    VVCU_LAUNCH(function, add_ordered, VVCU_GRID(N * L), VVCU_BLOCK, 0, dw, buffer[0], taps_of(s));
}

static int is_linear(const vvb_conv_shape *s) { return s->kh == 1 && s->kw == 1 && s->stride == 1 && s->pad == 0; }

void vvb_conv2d_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vvb_conv_shape *s)
{
    if (is_linear(s)) vvb_linear_fwd(y, x, w, b, NULL, s->B * s->Hh * s->Ww, s->Ci, s->Co);
    else if (vvcu_ready()) forward("conv2d_fwd", y, x, w, b, s);
}

void vvb_conv2d_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    const vvb_conv_shape *s, int acc)
{
    static const char *const name = "conv2d_bwd";
    if (is_linear(s)) {
        vvb_linear_bwd(dx, dw, db, dy, x, w, s->B * s->Hh * s->Ww, s->Ci, s->Co, acc);
        return;
    }
    if (!vvcu_ready()) return;
    for (int64_t top = 0; dx && top < vv_min(s->stride, s->Hh); top++)
        for (int64_t left = 0; left < vv_min(s->stride, s->Ww); left++)
            input_grad_part(name, dx, dy, w, s, top, left, acc);
    if (dw) weight_grad(name, dw, dy, x, s);
    if (db) vvcu_add_column_sums(name, db, dy, s->B * rows_of(s) * cols_of(s), s->Co);
}

/* ---- its transpose -------------------------------------------------------------------------------------------------------------- */
/* The numbers of pixel p of the small map [B,Hh,Ww], (o,u,v) of them, and of the k x k pixels of the large one that they become.
 * Number t of a pixel, sorted as the large map is. */
typedef struct {
    int64_t Hh, Ww, Co, k;
} squares;

static __device__ int64_t large_at(const squares &g, int64_t p, int64_t t, int64_t *small)
{
    const int64_t o = t % g.Co, v = t / g.Co % g.k, u = t / g.Co / g.k;
    const int64_t r = p / g.Ww * g.k + u, q = p % g.Ww * g.k + v; /* rows of all images, one after the other */
    *small = (o * g.k + u) * g.k + v;
    return (r * g.Ww * g.k + q) * g.Co + o;
}

static __global__ void spread(float *y, const float *c, const float *bias, squares g, int64_t p0, int64_t m)
{
    const int64_t L = g.Co * g.k * g.k;
    int64_t small;
    VVCU_FOR(i, m * L) {
        const int64_t at = large_at(g, p0 + i / L, i % L, &small);
        y[at] = c[i / L * L + small] + (bias ? bias[i % L % g.Co] : 0);
    }
}

static __global__ void collect(float *c, const float *dy, squares g, int64_t p0, int64_t m)
{
    const int64_t L = g.Co * g.k * g.k;
    int64_t small;
    VVCU_FOR(i, m * L) {
        const int64_t at = large_at(g, p0 + i / L, i % L, &small);
        c[i / L * L + small] = dy[at];
    }
}

void vvb_conv_transpose2d_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, int64_t B, int64_t Hh,
                              int64_t Ww, int64_t Ci, int64_t Co, int64_t k)
{
    static const char *const name = "conv_transpose2d_fwd";
    const squares g = {Hh, Ww, Co, k};
    const int64_t P = B * Hh * Ww, L = Co * k * k, rows = panel_rows(P, L), size = rows * L;
    float *c;
    if (!vvcu_ready() || P == 0 || L == 0 || !carve(name, &c, &size, 1)) return;
    for (int64_t p = 0; p < P; p += rows) {
        const int64_t m = vv_min(rows, P - p);
        vvcu_gemm(name, c, L, x + p * Ci, Ci, 0, w, L, 0, m, L, Ci, 1, 0);
        VVCU_LAUNCH(name, spread, VVCU_GRID(m * L), VVCU_BLOCK, 0, y, c, b, g, p, m);
    }
}

void vvb_conv_transpose2d_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                              const vv_real *w, int64_t B, int64_t Hh, int64_t Ww, int64_t Ci, int64_t Co, int64_t k,
                              int acc)
{
    static const char *const name = "conv_transpose2d_bwd";
    const squares g = {Hh, Ww, Co, k};
    const int64_t P = B * Hh * Ww, L = Co * k * k, rows = panel_rows(P, L), size = rows * L;
    float *c;
    if (!vvcu_ready() || !carve(name, &c, &size, 1)) return;
    for (int64_t p = 0; p < P && (dx || dw); p += rows) {
        const int64_t m = vv_min(rows, P - p);
        VVCU_LAUNCH(name, collect, VVCU_GRID(m * L), VVCU_BLOCK, 0, c, dy, g, p, m);
        if (dx) vvcu_gemm(name, dx + p * Ci, Ci, c, L, 0, w, L, 1, m, Ci, L, 1, acc);
        if (dw) vvcu_gemm(name, dw, L, x + p * Ci, Ci, 1, c, L, 0, Ci, L, m, 1, 1);
    }
    if (db) vvcu_add_column_sums(name, db, dy, P * k * k, Co);
}
