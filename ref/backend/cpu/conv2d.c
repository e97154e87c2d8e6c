/* y[b,i,j,o] = bias[o] + sum_{u,v,c} x[b, i stride + u - pad, j stride + v - pad, c] w[o,c,u,v]
 *
 *   dx[b,r,q,c] = sum_{u,v,o} dy[b,i,j,o] w[o,c,u,v] over i, j with i stride + u - pad = r, j stride + v - pad = q
 *   dw[o,c,u,v] = sum_{b,i,j} dy[b,i,j,o] x[b, i stride + u - pad, j stride + v - pad, c],   db = column sums of dy
 *
 * All three are matrix products with windows of a map. Windows are copied side by side into the rows of a small matrix,
 * a tile of pixels and one row u of the window at a time: its kw C numbers lie together in the map. (Of few channels
 * the rows of the map are copied instead.)
 *
 * dx, too, is a sum over windows, of dy. Row r meets the taps u = r + pad (mod stride), for i = (r + pad - u) / stride:
 * taps in descending order see rows of dy in ascending order. So the rows of one remainder, r = top + stride n, are a
 * convolution of dy with these taps and stride 1, and so are the columns. Each pixel of dx is written once, and none of
 * the zeros that a stride would leave between pixels is multiplied.
 *
 * The transposed convolution with kernel = stride k and no padding is the dx of the convolution that leads from its y
 * to its x; its own dx and dw are that convolution's y and dw. */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

/* windows of a map: one for each pixel (i,j) of another map */
typedef struct {
    const vv_real *map; /* [B,H,W,C] */
    int64_t H, W, C;
    int64_t rows, cols;      /* windows of one image */
    int64_t kh, kw;          /* pixels of a window */
    int64_t step, top, left; /* window (i,j) begins at pixel (i step + top, j step + left), inside the map or outside */
} windows;

/* weights, ordered for products: those of result n for row u of the window begin at w + u row + n result */
typedef struct {
    const vv_real *w;
    int64_t row, result, ld;
    int transposed; /* ld numbers from one result to the next, or from one number of the window to the next */
} kernel;

/* where the products go: window (i,j) to pixel (i step + top, j step + left) */
typedef struct {
    vv_real *map; /* [B,H,W,N] */
    int64_t H, W, N;
    int64_t step, top, left;
    const vv_real *bias; /* or NULL */
    int acc;
} target;

typedef struct {
    int64_t b, i, j;
} pixel;

static pixel pixel_at(const windows *g, int64_t p)
{
    return (pixel){p / g->cols / g->rows, p / g->cols % g->rows, p % g->cols};
}

/* Pieces of a few numbers are not worth a call of memcpy. */
enum { PIECE = 32 / sizeof(vv_real) };

static void copy(vv_real *to, const vv_real *from, int64_t n)
{
    int64_t k = 0;
    for (; k + PIECE <= n; k += PIECE) memcpy(to + k, from + k, PIECE * sizeof *to);
    for (; k < n; k++) to[k] = from[k];
}

/* to [n] = the numbers from `from` on of a row of `all` numbers; zeros outside it, and where there is no row */
static void clip(vv_real *to, const vv_real *row, int64_t all, int64_t from, int64_t n)
{
    const int64_t begin = row ? vv_min(n, vv_max(0, -from)) : n, end = vv_max(begin, vv_min(n, all - from));
    for (int64_t k = 0; k < begin; k++) to[k] = 0;
    if (begin < end) copy(to + begin, row + from + begin, end - begin);
    for (int64_t k = end; k < n; k++) to[k] = 0;
}

static const vv_real *row_at(const windows *g, int64_t b, int64_t r)
{
    return r >= 0 && r < g->H ? g->map + (b * g->H + r) * g->W * g->C : NULL;
}

/* panel [m,n]: of the windows p0 ... p0+m-1, the numbers k0 ... k0+n-1 of row u; zeros outside the map */
static void gather(vv_real *panel, const windows *g, int64_t p0, int64_t m, int64_t u, int64_t k0, int64_t n)
{
    for (int64_t p = 0, run; p < m; p += run) {
        const pixel at = pixel_at(g, p0 + p);
        const vv_real *row = row_at(g, at.b, at.i * g->step + g->top + u);
        run = vv_min(m - p, g->cols - at.j);
        for (int64_t j = at.j; j < at.j + run; j++, panel += n)
            clip(panel, row, g->W * g->C, (j * g->step + g->left) * g->C + k0, n);
    }
}

/* ---- products with windows --------------------------------------------------------------------------------------- */
/* m pixels and n channels of the result; of dw m channels of y and n numbers of a window's row */
typedef struct {
    int64_t m, n;
} tile;

static int64_t parts(int64_t size, int64_t part) { return (size + part - 1) / part; }

/* Halves the longer side until there are 8 tiles or they are small; then evens them out: the last is no sliver. */
static tile shrink(tile t, int64_t M, int64_t N, int64_t factor)
{
    while (factor * parts(M, t.m) * parts(N, t.n) < 8 && (t.m > 64 || t.n > 64)) {
        if (t.m >= t.n) t.m = (t.m + 1) / 2;
        else t.n = (t.n + 1) / 2;
    }
    t.m = parts(parts(M, parts(M, t.m)), 16) * 16;
    t.n = parts(parts(N, parts(N, t.n)), 16) * 16;
    return t;
}

/* How many rows of L numbers are copied at once: 1 MB in float, which stays in a processor's own cache, but at least
 * 256 rows, because each tile packs the weights anew, and 4 MB at most. */
static int64_t panel_rows(int64_t L)
{
    const int64_t width = vv_max(L, 1);
    return vv_max(1, vv_min((1 << 20) / width, vv_min(1024, vv_max(256, (1 << 18) / width))));
}

/* c [m,n] = bias, or 0, or (keep) what it is */
static void start_tile(vv_real *c, int64_t ldc, const vv_real *bias, int keep, int64_t m, int64_t n)
{
    for (int64_t p = 0; p < m && (bias || !keep); p++)
        for (int64_t k = 0; k < n; k++) c[p * ldc + k] = bias ? bias[k] : 0;
}

/* c [m,n], of the windows from p0 on and the channels from n0 on, to its pixels */
static void place(const target *y, const windows *g, const vv_real *c, int64_t p0, int64_t n0, int64_t m, int64_t n)
{
    for (int64_t p = 0; p < m; p++, c += n) {
        const pixel at = pixel_at(g, p0 + p);
        const int64_t r = at.i * y->step + y->top, q = at.j * y->step + y->left;
        vv_real *out = y->map + ((at.b * y->H + r) * y->W + q) * y->N + n0;
        if (y->acc)
            for (int64_t k = 0; k < n; k++) out[k] += c[k];
        else memcpy(out, c, (size_t)n * sizeof *out);
    }
}

/* y = bias + windows times weights. A thread owns a tile of the result; with step 1 the tile lies in the map itself. */
static void multiply(const char *function, const windows *g, const kernel *w, const target *y, int64_t B)
{
    const int64_t P = B * g->rows * g->cols, N = y->N, L = g->kw * g->C;
    if (P == 0 || N == 0) return;
    const int small = P * N * vv_max(g->kh * L, 1) < (1 << 18);
    const tile t = small ? (tile){P, N} : shrink((tile){vv_min(P, panel_rows(L)), vv_min(N, 1280)}, P, N, 1);
    const int64_t tiles = parts(P, t.m), all = tiles * parts(N, t.n);
#pragma omp parallel for schedule(dynamic, 1) if (all > 1)
    for (int64_t i = 0; i < all; i++) {
        const int64_t p0 = i % tiles * t.m, n0 = i / tiles * t.n, m = vv_min(t.m, P - p0), n = vv_min(t.n, N - n0);
        vv_real *panel = vvcpu_scratch(function, t.m * (L + t.n));
        if (!panel) continue;
        vv_real *c = y->step == 1 ? y->map + p0 * N + n0 : panel + t.m * L;
        const int64_t ldc = y->step == 1 ? N : n;
        start_tile(c, ldc, y->bias ? y->bias + n0 : NULL, y->step == 1 && y->acc, m, n);
        for (int64_t u = 0; u < g->kh && L; u++) {
            gather(panel, g, p0, m, u, 0, L);
            vvcpu_product(c, ldc, panel, L, 0, w->w + u * w->row + n0 * w->result, w->ld, w->transposed, m, n, L, 1, 1);
        }
        if (y->step != 1) place(y, g, c, p0, n0, m, n);
    }
}

/* ---- few channels ------------------------------------------------------------------------------------------------ */
/* Copying windows costs as much as such thin products. So the rows of the map that a few rows of windows see are copied
 * once, with zeros around: the numbers of a window's row lie together there, and neighbours overlap. y and dx are sums
 * over the numbers of a window, a result for each window; dw sums over the windows, a result for each number:
 *   c[i,n] += sum_{u<U, t<T} a[i ai + u au + t at] b[u T + t, n]
 * It pays where the compiler has registers of 8 numbers: elsewhere a BLAS, which looks for them itself, is faster. Without a BLAS
 * it is always done, so that the bits are the same on every processor. */
typedef struct {
    int64_t U, T, ai, au, at;
} strides;

/* A block of results stays in registers: all its rows of a are read, m are written. */
enum { BLOCK = 6, NARROW = 32 }; /* NARROW, WIDE: bytes of a register */

#define DEFINE_BLOCK(name, bytes)                                                                                      \
    static void name(vv_real *c, int64_t m, int64_t N, const strides *s, const vv_real *a, const vv_real *b)           \
    {                                                                                                                  \
        typedef vv_real lanes __attribute__((vector_size(bytes)));                                                     \
        lanes sum[BLOCK] = {{0}}, w;                                                                                   \
        for (int64_t u = 0; u < s->U; u++)                                                                             \
            for (int64_t t = 0; t < s->T; t++, b += N) {                                                               \
                const vv_real *x = a + u * s->au + t * s->at;                                                          \
                memcpy(&w, b, sizeof w);                                                                               \
                for (int i = 0; i < BLOCK; i++) sum[i] += x[i * s->ai] * w;                                            \
            }                                                                                                          \
        for (int i = 0; i < BLOCK; i++)                                                                                \
            if (i < m) {                                                                                               \
                memcpy(&w, c + i * N, sizeof w);                                                                       \
                w += sum[i];                                                                                           \
                memcpy(c + i * N, &w, sizeof w);                                                                       \
            }                                                                                                          \
    }

DEFINE_BLOCK(narrow_block, NARROW)
#ifdef __AVX512F__
enum { WIDE = 64 };
DEFINE_BLOCK(wide_block, WIDE)
#else
enum { WIDE = NARROW };
#define wide_block narrow_block
#endif

enum { THIN = 32 }; /* channels; wider products are worth the copying */

static int is_thin(int64_t C, int64_t N)
{
#if defined __AVX__ || !defined VV_CBLAS
    return C <= THIN && N <= THIN && N % (int64_t)(NARROW / sizeof(vv_real)) == 0;
#else
    (void)C, (void)N;
    return 0;
#endif
}

/* c [M,N], rows and columns beside each other, as b [U T,N] */
static void sum_up(vv_real *c, int64_t M, int64_t N, const strides *s, const vv_real *a, const vv_real *b)
{
    const int wide = N % (int64_t)(WIDE / sizeof *c) == 0;
    const int64_t lanes = (wide ? WIDE : NARROW) / (int64_t)sizeof *c;
    for (int64_t i = 0; i < M; i += BLOCK)
        for (int64_t n = 0; n < N; n += lanes)
            (wide ? wide_block : narrow_block)(c + i * N + n, vv_min(BLOCK, M - i), N, s, a + i * s->ai, b + n);
}

enum { BAND = 8 }; /* rows of windows that share a copy */

/* numbers of a row with zeros around it */
static int64_t frame_width(const windows *g) { return ((g->cols - 1) * g->step + g->kw) * g->C; }

/* What the windows of up to BAND rows from i on see, a row of the map after the other. NULL (and a failure kept) without
 * memory. A block may read beyond it. */
static const vv_real *frame(const char *function, const windows *g, int64_t b, int64_t i)
{
    const int64_t rows = (BAND - 1) * g->step + g->kh, width = frame_width(g), beyond = BLOCK * g->step * g->C;
    vv_real *panel = vvcpu_scratch(function, vv_max(rows * width + beyond, 1));
    for (int64_t r = 0; panel && r < rows; r++)
        clip(panel + r * width, row_at(g, b, i * g->step + g->top + r), g->W * g->C, g->left * g->C, width);
    if (panel) clip(panel + rows * width, NULL, 0, 0, beyond);
    return panel;
}

/* y = bias + windows times weights [kh kw C,N]. A thread owns a band of rows. */
static void thin_multiply(const char *function, const windows *g, const vv_real *w, const target *y, int64_t B)
{
    const int64_t bands = parts(g->rows, BAND), width = frame_width(g), row = g->cols * y->N;
    const strides over = {.U = g->kh, .T = g->kw * g->C, .ai = g->step * g->C, .au = width, .at = 1};
    if (g->cols == 0) return;
#pragma omp parallel for schedule(dynamic, 1) if (B * g->rows * row >= VVCPU_GRAIN)
    for (int64_t n = 0; n < B * bands; n++) {
        const int64_t b = n / bands, i0 = n % bands * BAND, rows = vv_min(BAND, g->rows - i0);
        const vv_real *panel = frame(function, g, b, i0);
        vv_real *c = y->map + (b * g->rows + i0) * row;
        if (!panel) continue;
        start_tile(c, y->N, y->bias, y->acc, rows * g->cols, y->N);
        for (int64_t i = 0; i < rows; i++) sum_up(c + i * row, g->cols, y->N, &over, panel + i * g->step * width, w);
    }
}

/* ---- y and dx ---------------------------------------------------------------------------------------------------- */
/* Of k taps, those u = e (mod stride): how many there are, and how many belong to smaller e. */
static int64_t taps_of(int64_t e, int64_t k, int64_t stride) { return k / stride + (e < k % stride); }
static int64_t taps_before(int64_t e, int64_t k, int64_t stride) { return k / stride * e + vv_min(e, k % stride); }

/* Where tap u stands when taps are ordered by remainder, each remainder's descending. (stride = k: at u.) */
static int64_t rank(int64_t u, int64_t k, int64_t stride)
{
    const int64_t e = u % stride;
    return taps_before(e, k, stride) + taps_of(e, k, stride) - 1 - u / stride;
}

/* The weights [Co,Ci,kh,kw] by taps: (o,c) of tap (u,v) stands at o out + c in + (rank(u) kw + rank(v)) tap. The caller
 * frees them. */
static vv_real *reorder(const char *function, const vv_real *w, const vvb_conv_shape *s, int64_t sh, int64_t sw,
                        int64_t out, int64_t in, int64_t tap)
{
    const int64_t Ci = s->Ci, taps = s->kh * s->kw;
    vv_real *ordered = vv_calloc(vv_mul(s->Co * Ci, taps), sizeof *ordered);
    if (!ordered) vvcpu_fail(function, "out of memory");
#pragma omp parallel for schedule(static) if (s->Co * Ci * taps >= VVCPU_GRAIN)
    for (int64_t o = 0; o < (ordered ? s->Co : 0); o++)
        for (int64_t u = 0; u < s->kh; u++)
            for (int64_t v = 0; v < s->kw; v++) {
                vv_real *to = ordered + o * out + (rank(u, s->kh, sh) * s->kw + rank(v, s->kw, sw)) * tap;
                const vv_real *from = w + o * Ci * taps + u * s->kw + v;
                for (int64_t c = 0; c < Ci; c++) to[c * in] = from[c * taps];
            }
    return ordered;
}

static int64_t rows_of(const vvb_conv_shape *s) { return vvb_conv_size(s->Hh, s->kh, s->stride, s->pad); }
static int64_t cols_of(const vvb_conv_shape *s) { return vvb_conv_size(s->Ww, s->kw, s->stride, s->pad); }

/* the windows of x that the pixels of y see */
static windows windows_of(const vv_real *x, const vvb_conv_shape *s)
{
    return (windows){x, s->Hh, s->Ww, s->Ci, rows_of(s), cols_of(s), s->kh, s->kw, s->stride, -s->pad, -s->pad};
}

static void forward(const char *function, vv_real *y, const vv_real *x, const vv_real *w, const vv_real *bias,
                    const vvb_conv_shape *s, int acc)
{
    const windows g = windows_of(x, s);
    const int64_t ld = s->kh * s->kw * s->Ci;
    const target to = {y, g.rows, g.cols, s->Co, 1, 0, 0, bias, acc};
    const int thin = is_thin(s->Ci, s->Co);
    vv_real *ordered = thin ? reorder(function, w, s, s->kh, s->kw, 1, s->Co, s->Ci * s->Co)
                            : reorder(function, w, s, s->kh, s->kw, ld, 1, s->Ci);
    if (!ordered) return;
    if (thin) thin_multiply(function, &g, ordered, &to, s->B);
    else multiply(function, &g, &(kernel){ordered, s->kw * s->Ci, ld, ld, 1}, &to, s->B);
    free(ordered);
}

static void input_grad(const char *function, vv_real *dx, const vv_real *dy, const vv_real *w, const vv_real *bias,
                       const vvb_conv_shape *s, int acc)
{
    const int64_t step = s->stride, tap = s->Co * s->Ci, row = s->kw * tap;
    vv_real *ordered = reorder(function, w, s, step, step, s->Ci, 1, tap);
    if (!ordered) return;
    windows g = {.map = dy, .H = rows_of(s), .W = cols_of(s), .C = s->Co, .step = 1};
    for (int64_t top = 0; top < vv_min(step, s->Hh); top++)
        for (int64_t left = 0; left < vv_min(step, s->Ww); left++) {
            const int64_t eu = (top + s->pad) % step, ev = (left + s->pad) % step;
            g.rows = parts(s->Hh - top, step);
            g.cols = parts(s->Ww - left, step);
            g.kh = taps_of(eu, s->kh, step);
            g.kw = taps_of(ev, s->kw, step);
            g.top = (top + s->pad) / step - g.kh + 1;
            g.left = (left + s->pad) / step - g.kw + 1;
            const vv_real *first = ordered + taps_before(eu, s->kh, step) * row + taps_before(ev, s->kw, step) * tap;
            const target to = {dx, s->Hh, s->Ww, s->Ci, step, top, left, bias, acc};
            if (step == 1 && is_thin(s->Co, s->Ci)) thin_multiply(function, &g, first, &to, s->B);
            else multiply(function, &g, &(kernel){first, row, 1, s->Ci, 0}, &to, s->B);
        }
    free(ordered);
}

/* ---- dw ---------------------------------------------------------------------------------------------------------- */
enum { FEWEST = 1024 }; /* pixels worth a sum of their own */

/* dw += the parts of it, [sums,kh,Co,kw,Ci], in order */
static void add_parts(vv_real *dw, const vv_real *part, int64_t sums, const vvb_conv_shape *s)
{
    const int64_t L = s->kw * s->Ci, all = s->kh * s->Co * L;
#pragma omp parallel for schedule(static) if (all >= VVCPU_GRAIN)
    for (int64_t i = 0; i < s->Co * s->kh; i++) {
        const int64_t o = i / s->kh, u = i % s->kh;
        for (int64_t k = 0; k < L; k++) {
            double sum = 0;
            for (int64_t n = 0; n < sums; n++) sum += (double)part[n * all + (u * s->Co + o) * L + k];
            dw[((o * s->Ci + k % s->Ci) * s->kh + u) * s->kw + k / s->Ci] += (vv_real)sum;
        }
    }
}

/* The same of few channels: a thread adds up a fixed share of the bands. */
static void thin_weight_grad(const char *function, vv_real *dw, const vv_real *dy, const windows *g,
                             const vvb_conv_shape *s)
{
    const int64_t bands = parts(g->rows, BAND), Co = s->Co, L = s->kw * s->Ci, all = s->kh * L * Co;
    const int64_t share = parts(s->B * bands, 16), shares = parts(s->B * bands, share), width = frame_width(g);
    vv_real *part = vv_calloc(vv_mul(shares, all), sizeof *part); /* [shares,kh,kw,Ci,Co] */
    if (!part) vvcpu_fail(function, "out of memory");
#pragma omp parallel for schedule(dynamic, 1) if (s->B * g->rows * g->cols * L * Co >= VVCPU_GRAIN)
    for (int64_t k = 0; k < (part ? shares : 0); k++)
        for (int64_t n = k * share; n < vv_min((k + 1) * share, s->B * bands); n++) {
            const int64_t b = n / bands, i = n % bands * BAND;
            const vv_real *panel = frame(function, g, b, i);
            const strides over = {vv_min(BAND, g->rows - i), g->cols, 1, g->step * width, g->step * s->Ci};
            for (int64_t u = 0; u < s->kh && panel; u++)
                sum_up(part + k * all + u * L * Co, L, Co, &over, panel + u * width,
                       dy + (b * g->rows + i) * g->cols * Co);
        }
    for (int64_t i = 0; i < (part ? all : 0); i++) {
        double sum = 0;
        for (int64_t k = 0; k < shares; k++) sum += (double)part[k * all + i];
        dw[(i % Co * s->Ci + i / Co % s->Ci) * s->kh * s->kw + i / Co / s->Ci] += (vv_real)sum;
    }
    free(part);
}

/* A thread owns some output channels and some numbers of one row u of the window, and adds up a fixed share of the
 * pixels, a panel after the other. Wide pieces are faster than many: where they are fewer than 8, the pixels are shared
 * out first. The shares are a function of the shape. */
static void weight_grad(const char *function, vv_real *dw, const vv_real *dy, const vv_real *x, const vvb_conv_shape *s)
{
    const windows g = windows_of(x, s);
    const int64_t P = s->B * g.rows * g.cols, L = s->kw * s->Ci, Co = s->Co;
    if (P == 0 || L == 0 || Co == 0) return;
    if (is_thin(s->Ci, Co)) {
        thin_weight_grad(function, dw, dy, &g, s);
        return;
    }
    tile t = {vv_min(Co, 512), vv_min(L, 1024)};
    int64_t sums = 1;
    while (sums * s->kh * parts(Co, t.m) * parts(L, t.n) < 8 && parts(P, 2 * sums) >= FEWEST) sums *= 2;
    t = shrink(t, Co, L, sums * s->kh);
    const int64_t share = parts(P, sums), rows = vv_min(share, panel_rows(t.n)), all = s->kh * Co * L;
    const int64_t m_parts = parts(Co, t.m), n_parts = parts(L, t.n);
    vv_real *part = vv_calloc(vv_mul(sums, all), sizeof *part);
    if (!part) vvcpu_fail(function, "out of memory");
#pragma omp parallel for schedule(dynamic, 1) if (P * L * Co >= VVCPU_GRAIN)
    for (int64_t i = 0; i < (part ? sums * s->kh * m_parts * n_parts : 0); i++) {
        const int64_t k0 = i % n_parts * t.n, o0 = i / n_parts % m_parts * t.m, u = i / n_parts / m_parts % s->kh;
        const int64_t n = vv_min(t.n, L - k0), m = vv_min(t.m, Co - o0), sum = i / n_parts / m_parts / s->kh;
        vv_real *panel = vvcpu_scratch(function, rows * t.n);
        for (int64_t p = sum * share; p < vv_min(P, (sum + 1) * share) && panel; p += rows) {
            const int64_t pixels = vv_min(rows, vv_min(P, (sum + 1) * share) - p);
            gather(panel, &g, p, pixels, u, k0, n);
            vvcpu_product(part + sum * all + (u * Co + o0) * L + k0, L, dy + p * Co + o0, Co, 1, panel, n, 0, m, n,
                          pixels, 1, 1);
        }
    }
    if (part) add_parts(dw, part, sums, s);
    free(part);
}

/* ---- the contract ------------------------------------------------------------------------------------------------ */
static int is_linear(const vvb_conv_shape *s) { return s->kh == 1 && s->kw == 1 && s->stride == 1 && s->pad == 0; }

VVB_DEF void vvb_conv2d_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vvb_conv_shape *s)
{
    vvcpu_ready();
    if (is_linear(s)) vvb_linear_fwd(y, x, w, b, NULL, s->B * s->Hh * s->Ww, s->Ci, s->Co);
    else forward("conv2d_fwd", y, x, w, b, s, 0);
}

VVB_DEF void vvb_conv2d_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                            const vv_real *w, const vvb_conv_shape *s, int acc)
{
    vvcpu_ready();
    if (is_linear(s)) {
        vvb_linear_bwd(dx, dw, db, dy, x, w, s->B * s->Hh * s->Ww, s->Ci, s->Co, acc);
        return;
    }
    if (dx) input_grad("conv2d_bwd", dx, dy, w, NULL, s, acc);
    if (dw) weight_grad("conv2d_bwd", dw, dy, x, s);
    if (db) vvcpu_add_column_sums(db, dy, s->B * rows_of(s) * cols_of(s), s->Co);
}

/* the convolution whose dx this is: it leads from y to x */
static vvb_conv_shape transpose_of(int64_t B, int64_t Hh, int64_t Ww, int64_t Ci, int64_t Co, int64_t k)
{
    return (vvb_conv_shape){.B = B, .Hh = k * Hh, .Ww = k * Ww, .Ci = Co, .Co = Ci, .kh = k, .kw = k, .stride = k};
}

VVB_DEF void vvb_conv_transpose2d_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, int64_t B,
                                      int64_t Hh, int64_t Ww, int64_t Ci, int64_t Co, int64_t k)
{
    const vvb_conv_shape s = transpose_of(B, Hh, Ww, Ci, Co, k);
    vvcpu_ready();
    input_grad("conv_transpose2d_fwd", y, x, w, b, &s, 0);
}

VVB_DEF void vvb_conv_transpose2d_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                                      const vv_real *w, int64_t B, int64_t Hh, int64_t Ww, int64_t Ci, int64_t Co,
                                      int64_t k, int acc)
{
    const vvb_conv_shape s = transpose_of(B, Hh, Ww, Ci, Co, k);
    vvcpu_ready();
    if (dx) forward("conv_transpose2d_bwd", dx, dy, w, NULL, &s, acc);
    if (dw) weight_grad("conv_transpose2d_bwd", dw, x, dy, &s);
    if (db) vvcpu_add_column_sums(db, dy, B * k * Hh * k * Ww, Co);
}
