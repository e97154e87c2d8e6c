/* Bilinear interpolation with both rules for corners, and its adjoint. */
#include "oracle/cases.h"

enum { Y, X }; /* forward: y, x; backward: dx, dy */

/* sizes Hh, Ho, C, and the width of x; 0 stands for a width of 1 to 4. Variants: the rule, and how widths relate */
static const struct {
    int align_corners, B, times, per;
} KIND[] = {{0, 1, 7, 2}, {1, 2, 2, 1}, {0, 2, 1, 3}, {1, 1, 3, 4}, {0, 1, 1, 1}, {1, 2, 1, 1}};

typedef struct {
    int64_t B, Hh, Ww, Ho, Wo, C;
    int align_corners;
} sizes_of_call;

static sizes_of_call sizes_of(const vvt_call *c)
{
    const int v = c->how.variant;
    const int64_t Ww = c->dim.n[3] ? c->dim.n[3] : (c->dim.n[0] + v) % 4 + 1;
    const int64_t Wo = vv_max(1, Ww * KIND[v].times / KIND[v].per);
    return (sizes_of_call){KIND[v].B, c->dim.n[0], Ww, c->dim.n[1], Wo, c->dim.n[2], KIND[v].align_corners};
}

static void fwd_shape(vvt_call *c)
{
    const sizes_of_call s = sizes_of(c);
    vvt_output(c, "y", VVT_OUT, s.B * s.Ho * s.Wo, s.C, 4)->zeros_expected = 1; /* all the same, of one pixel */
    vvt_input(c, "x", s.B * s.Hh * s.Ww, s.C);
}

static void fwd_run(vvt_call *c)
{
    const sizes_of_call s = sizes_of(c);
    vvb_resize_bilinear_fwd(vvt_at(c, Y), vvt_at(c, X), s.B, s.Hh, s.Ww, s.Ho, s.Wo, s.C, s.align_corners);
}

static void fwd_oracle(vvt_call *c)
{
    const sizes_of_call s = sizes_of(c);
    vvo_resize_bilinear_fwd(vvt_want(c, Y), vvt_host(c, X), s.B, s.Hh, s.Ww, s.Ho, s.Wo, s.C, s.align_corners);
}

static void bwd_shape(vvt_call *c)
{
    const sizes_of_call s = sizes_of(c);
    const double rows = 2 * (double)s.Ho / (double)s.Hh + 1, cols = 2 * (double)s.Wo / (double)s.Ww + 1;
    vvt_output(c, "dx", VVT_GRAD, s.B * s.Hh * s.Ww, s.C, rows * cols)->zeros_expected = 1; /* pixels between */
    vvt_input(c, "dy", s.B * s.Ho * s.Wo, s.C);
}

static void bwd_run(vvt_call *c)
{
    const sizes_of_call s = sizes_of(c);
    vvb_resize_bilinear_bwd(vvt_at(c, Y), vvt_at(c, X), s.B, s.Hh, s.Ww, s.Ho, s.Wo, s.C, s.align_corners, c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    const sizes_of_call s = sizes_of(c);
    vvo_resize_bilinear_bwd(vvt_want(c, Y), vvt_host(c, X), s.B, s.Hh, s.Ww, s.Ho, s.Wo, s.C, s.align_corners);
}

#define SIZES                                                                                                          \
    .sizes = 3, .least = {{1}}, .medium = {{7, 11, 5, 6}}, .variants = sizeof KIND / sizeof KIND[0],                   \
    .large = {{{19, 37, 33, 40}}, {{160, 560, 1, 20}}, {{90, 31, 7, 120}}, {{2, 65, 300, 2}}}
static const vvt_op OPS[] = {
    {"resize_bilinear_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"resize_bilinear_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

/* ---- what is known without the oracle ---------------------------------------------------------------------------- */
enum { MOST = 560 * 560 };

static void resize(vv_real *out, const vv_real *in, int64_t H, int64_t W, int64_t Ho, int64_t Wo, int align_corners,
                   int back)
{
    const int64_t size = (int64_t)sizeof *in, small = H * W * size, large = Ho * Wo * size;
    vvt_buffer from = vvt_buffer_new(in, back ? large : small), to = vvt_buffer_new(out, back ? small : large);
    if (back) vvb_resize_bilinear_bwd(vvt_buffer_at(&to), vvt_buffer_at(&from), 1, H, W, Ho, Wo, 1, align_corners, 0);
    else vvb_resize_bilinear_fwd(vvt_buffer_at(&to), vvt_buffer_at(&from), 1, H, W, Ho, Wo, 1, align_corners);
    ck_assert_ptr_null(vvb_error());
    vvt_buffer_get(&to, out);
    vvt_buffer_free(&from);
    vvt_buffer_free(&to);
}

static const struct {
    int64_t H, W, Ho, Wo;
    int exact[2]; /* for each rule: shares are multiples of a small power of 1/2, and nothing is rounded */
} RAMP[] = {{5, 9, 9, 33, {0, 1}},        {38, 19, 76, 38, {0, 0}}, {19, 38, 37, 75, {0, 0}},
            {160, 160, 560, 560, {0, 0}}, {3, 4, 48, 8, {1, 0}},    {33, 17, 17, 5, {0, 1}},
            {304, 7, 532, 3, {0, 0}},     {1, 1, 4, 3, {1, 1}},     {6, 5, 1, 1, {0, 1}}};
static vv_real x[MOST], y[MOST], g[MOST], dx[MOST];

/* A ramp stays that ramp: y = 3 + 2 s - t at the place (s,t), held at the border, or from end to end. */
START_TEST(ramps)
{
    const int align_corners = _i % 2;
    const int64_t H = RAMP[_i / 2].H, W = RAMP[_i / 2].W, Ho = RAMP[_i / 2].Ho, Wo = RAMP[_i / 2].Wo;
    for (int64_t i = 0; i < H * W; i++) x[i] = (vv_real)(3 + 2 * (i / W) - i % W);
    resize(y, x, H, W, Ho, Wo, align_corners, 0);
    for (int64_t k = 0; k < Ho * Wo; k++) {
        const double i = (double)(k / Wo), j = (double)(k % Wo), h = (double)H, w = (double)W, ho = (double)Ho,
                     wo = (double)Wo;
        double s = Ho > 1 ? i * (h - 1) / (ho - 1) : 0, t = Wo > 1 ? j * (w - 1) / (wo - 1) : 0;
        if (!align_corners) {
            s = fmin(fmax((i + 0.5) * h / ho - 0.5, 0), h - 1);
            t = fmin(fmax((j + 0.5) * w / wo - 0.5, 0), w - 1);
        }
        const double want = 3 + 2 * s - t, most = 3 + 2 * h + w;
        ck_assert_msg(RAMP[_i / 2].exact[align_corners] ? (double)y[k] == want
                                                        : fabs((double)y[k] - want) <= 8 * VV_U * most,
                      "%lld: %.9g, not %.9g", (long long)k, (double)y[k], want);
    }
    if (align_corners && Ho > 1 && Wo > 1) { /* corners are met exactly */
        ck_assert(y[0] == x[0] && y[Wo - 1] == x[W - 1]);
        ck_assert(y[Ho * Wo - 1] == x[H * W - 1]);
    }
}
END_TEST

/* <resize(x), g> = <x, adjoint(g)>, within the rounding of both: 8 u of the sums of absolute values each */
START_TEST(adjoint)
{
    const int64_t H = RAMP[_i / 2].H, W = RAMP[_i / 2].W, Ho = RAMP[_i / 2].Ho, Wo = RAMP[_i / 2].Wo;
    double one = 0, other = 0, most = 0;
    vvt_fill_array(x, H * W, VVT_NORMAL, "adjoint x");
    vvt_fill_array(g, Ho * Wo, VVT_NORMAL, "adjoint g");
    resize(y, x, H, W, Ho, Wo, _i % 2, 0);
    resize(dx, g, H, W, Ho, Wo, _i % 2, 1);
    for (int64_t i = 0; i < Ho * Wo; i++) {
        one += (double)y[i] * (double)g[i];
        most += fabs((double)y[i] * (double)g[i]);
    }
    for (int64_t i = 0; i < H * W; i++) {
        other += (double)x[i] * (double)dx[i];
        most += fabs((double)x[i] * (double)dx[i]);
    }
    ck_assert_msg(fabs(one - other) <= 8 * VV_U * most, "%.17g and %.17g", one, other);
}
END_TEST

static Suite *suite(void)
{
    const int n = 2 * (int)(sizeof RAMP / sizeof RAMP[0]);
    Suite *s = vvt_op_suite("backend/resize_bilinear", OPS, 2);
    tcase_add_loop_test(vvt_more(s, "ramps"), ramps, 0, n);
    tcase_add_loop_test(vvt_more(s, "adjoint"), adjoint, 0, n);
    return s;
}

VVT_MAIN(suite)
