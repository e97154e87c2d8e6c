/* conv2d, conv_transpose2d, resize_bilinear, relu, sigmoid: the formulas of backend/backend.h, term by term. */
#include <math.h>

#include "oracle/oracle.h"

static void term(vvo_out y, int64_t i, vvt_ref v)
{
    y.v[i] += v;
    y.g[i] += fabsl(v);
}

/* ---- convolution ------------------------------------------------------------------------------------------------- */
static int64_t pixel(int64_t b, int64_t i, int64_t j, int64_t H, int64_t W)
{
    return i < 0 || i >= H || j < 0 || j >= W ? -1 : (b * H + i) * W + j;
}

/* How many places of a window of k pixels there are. */
static int64_t places(int64_t size, int64_t k, int64_t stride, int64_t pad)
{
    int64_t n = 0;
    while (n * stride - pad + k <= size + pad) n++;
    return n;
}

static int64_t rows(const vvo_conv *s) { return places(s->Hh, s->kh, s->stride, s->pad); }
static int64_t cols(const vvo_conv *s) { return places(s->Ww, s->kw, s->stride, s->pad); }

/* The products of tap (u,v) of window (b,i,j), those of the numbers from `at` on in y, go to y; with dy to dw. */
static void one_tap(vvo_out y, vvo_out dw, const vv_real *x, const vv_real *w, const vv_real *dy, const vvo_conv *s,
                    int64_t at, int64_t b, int64_t i, int64_t j, int64_t u, int64_t v)
{
    const int64_t from = pixel(b, i * s->stride + u - s->pad, j * s->stride + v - s->pad, s->Hh, s->Ww);
    for (int64_t o = 0; o < s->Co; o++)
        for (int64_t c = 0; c < s->Ci; c++) {
            const int64_t weight = ((o * s->Ci + c) * s->kh + u) * s->kw + v;
            const vvt_ref value = from < 0 ? 0 : (vvt_ref)x[from * s->Ci + c];
            if (dy) term(dw, weight, value * (vvt_ref)dy[at + o]);
            else term(y, at + o, value * (vvt_ref)w[weight]);
        }
}

static void all_taps(vvo_out y, vvo_out dw, const vv_real *x, const vv_real *w, const vv_real *dy, const vvo_conv *s)
{
    const int64_t Ho = rows(s), Wo = cols(s);
    for (int64_t p = 0; p < s->B * Ho * Wo; p++)
        for (int64_t u = 0; u < s->kh; u++)
            for (int64_t v = 0; v < s->kw; v++)
                one_tap(y, dw, x, w, dy, s, p * s->Co, p / Wo / Ho, p / Wo % Ho, p % Wo, u, v);
}

static void add_bias(vvo_out y, const vv_real *b, int64_t P, int64_t Co)
{
    for (int64_t i = 0; i < P * Co && b; i++) term(y, i, (vvt_ref)b[i % Co]);
}

static void bias_grad(vvo_out db, const vv_real *dy, int64_t P, int64_t Co)
{
    for (int64_t i = 0; i < P * Co; i++) term(db, i % Co, (vvt_ref)dy[i]);
}

void vvo_conv2d_fwd(vvo_out y, const vv_real *x, const vv_real *w, const vv_real *b, const vvo_conv *s)
{
    all_taps(y, (vvo_out){0}, x, w, NULL, s);
    add_bias(y, b, s->B * rows(s) * cols(s), s->Co);
}

/* dx asks for each of its own pixels which dy sees it: also those seen from outside dy, where there are zeros */
static void input_grad(vvo_out dx, const vv_real *dy, const vv_real *w, const vvo_conv *s)
{
    const int64_t Ho = rows(s), Wo = cols(s);
    for (int64_t at = 0; at < s->B * s->Hh * s->Ww; at++)
        for (int64_t u = 0; u < s->kh; u++)
            for (int64_t v = 0; v < s->kw; v++) {
                const int64_t r = at / s->Ww % s->Hh + s->pad - u, q = at % s->Ww + s->pad - v;
                if (r % s->stride || q % s->stride) continue;
                const int64_t from = pixel(at / s->Ww / s->Hh, r / s->stride, q / s->stride, Ho, Wo);
                for (int64_t o = 0; o < s->Co; o++)
                    for (int64_t c = 0; c < s->Ci; c++)
                        term(dx, at * s->Ci + c,
                             (from < 0 ? 0 : (vvt_ref)dy[from * s->Co + o]) *
                                 (vvt_ref)w[((o * s->Ci + c) * s->kh + u) * s->kw + v]);
            }
}

void vvo_conv2d_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    const vvo_conv *s)
{
    input_grad(dx, dy, w, s);
    all_taps((vvo_out){0}, dw, x, NULL, dy, s);
    bias_grad(db, dy, s->B * rows(s) * cols(s), s->Co);
}

/* ---- its transpose with kernel = stride: a matrix product for each pixel ----------------------------------------- */
/* where tap (u,v) of pixel `at` of a map H x W lies in the large map */
static int64_t large_pixel(int64_t at, int64_t u, int64_t v, int64_t H, int64_t W, int64_t k)
{
    return ((at / W / H * H + at / W % H) * k + u) * (W * k) + at % W * k + v;
}

void vvo_conv_transpose2d_fwd(vvo_out y, const vv_real *x, const vv_real *w, const vv_real *b, int64_t B, int64_t H,
                              int64_t W, int64_t Ci, int64_t Co, int64_t k)
{
    for (int64_t at = 0; at < B * H * W; at++)
        for (int64_t u = 0; u < k; u++)
            for (int64_t v = 0; v < k; v++)
                for (int64_t o = 0; o < Co; o++)
                    for (int64_t c = 0; c < Ci; c++)
                        term(y, large_pixel(at, u, v, H, W, k) * Co + o,
                             (vvt_ref)x[at * Ci + c] * (vvt_ref)w[((c * Co + o) * k + u) * k + v]);
    add_bias(y, b, B * H * W * k * k, Co);
}

void vvo_conv_transpose2d_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                              int64_t B, int64_t H, int64_t W, int64_t Ci, int64_t Co, int64_t k)
{
    for (int64_t at = 0; at < B * H * W; at++)
        for (int64_t u = 0; u < k; u++)
            for (int64_t v = 0; v < k; v++)
                for (int64_t o = 0; o < Co; o++)
                    for (int64_t c = 0; c < Ci; c++) {
                        const int64_t weight = ((c * Co + o) * k + u) * k + v;
                        const vvt_ref g = (vvt_ref)dy[large_pixel(at, u, v, H, W, k) * Co + o];
                        term(dx, at * Ci + c, g * (vvt_ref)w[weight]);
                        term(dw, weight, g * (vvt_ref)x[at * Ci + c]);
                    }
    bias_grad(db, dy, B * H * W * k * k, Co);
}

/* ---- bilinear interpolation -------------------------------------------------------------------------------------- */
/* The neighbours of row i and their shares. Times `unit`, places are whole numbers: no rounding moves a floor. */
static void neighbours(int64_t at[2], vvt_ref share[2], int64_t i, int64_t in, int64_t out, int align_corners)
{
    const int64_t unit = !align_corners ? 2 * out : out > 1 ? out - 1 : 1;
    int64_t s = align_corners ? i * (in - 1) : (2 * i + 1) * in - out;
    if (s < 0) s = 0;
    at[0] = 0;
    while ((at[0] + 1) * unit <= s) at[0]++;
    at[1] = at[0] + 1 < in ? at[0] + 1 : in - 1;
    share[1] = (vvt_ref)(s - at[0] * unit) / (vvt_ref)unit;
    share[0] = 1 - share[1];
}

/* adds share times from to `to`, for the four pixels around each of y; back: the other way */
static void interpolate(vvo_out to, const vv_real *from, int64_t B, int64_t H, int64_t W, int64_t Ho, int64_t Wo,
                        int64_t C, int align_corners, int back)
{
    for (int64_t i = 0; i < Ho; i++)
        for (int64_t j = 0; j < Wo; j++) {
            int64_t r[2], q[2];
            vvt_ref a[2], b[2];
            neighbours(r, a, i, H, Ho, align_corners);
            neighbours(q, b, j, W, Wo, align_corners);
            for (int64_t n = 0; n < 4 * B * C; n++) {
                const int64_t image = n / C / 4, c = n % C, k = n / C / 2 % 2, l = n / C % 2;
                const int64_t x = ((image * H + r[k]) * W + q[l]) * C + c, y = ((image * Ho + i) * Wo + j) * C + c;
                term(to, back ? x : y, a[k] * b[l] * (vvt_ref)from[back ? y : x]);
            }
        }
}

void vvo_resize_bilinear_fwd(vvo_out y, const vv_real *x, int64_t B, int64_t H, int64_t W, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners)
{
    interpolate(y, x, B, H, W, Ho, Wo, C, align_corners, 0);
}

void vvo_resize_bilinear_bwd(vvo_out dx, const vv_real *dy, int64_t B, int64_t H, int64_t W, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners)
{
    interpolate(dx, dy, B, H, W, Ho, Wo, C, align_corners, 1);
}

/* ---- relu, sigmoid ----------------------------------------------------------------------------------------------- */
void vvo_relu_fwd(vvo_out y, const vv_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y.v[i] += isnan(x[i]) || x[i] > 0 ? (vvt_ref)x[i] : 0;
}

void vvo_relu_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) term(dx, i, isnan(x[i]) || x[i] > 0 ? (vvt_ref)dy[i] : 0);
}

void vvo_sigmoid_fwd(vvo_out y, const vv_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y.v[i] += 1 / (1 + expl(-(vvt_ref)x[i]));
}

void vvo_sigmoid_bwd(vvo_out dx, const vv_real *dy, const vv_real *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) term(dx, i, (vvt_ref)dy[i] * (vvt_ref)y[i] * (1 - (vvt_ref)y[i]));
}
