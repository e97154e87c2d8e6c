/* The convolution and its gradients, the transposed convolution and its gradients. */
#include "oracle/cases.h"

enum { Y, X, W, B };             /* forward */
enum { DX, DW, DB, DY, BX, BW }; /* backward */
enum { MEDIUM_W = 6, BATCH_OF_ODD = 1, BATCH_OF_EVEN = 2 };

/* sizes H, Ci, Co, and the width of the map; 0 stands for a width of 0 to 4 */
static int64_t width(const vvt_call *c)
{
    const int64_t H = c->dim.n[0];
    return c->dim.n[3] ? c->dim.n[3] : c->how.variant % 2 ? H % 4 + 1 : (H + 3) % 4;
}
static int64_t batch(const vvt_call *c) { return c->how.variant % 2 ? BATCH_OF_ODD : BATCH_OF_EVEN; }

/* ---- conv2d ------------------------------------------------------------------------------------------------------ */
static const struct {
    int64_t kh, kw, stride, pad;
    int bias;
} KERNEL[] = {
    {3, 3, 1, 1, 1}, {3, 3, 1, 1, 0},
    {3, 3, 2, 1, 1}, {1, 1, 1, 0, 0}, /* the last is vvb_linear */
    {2, 2, 2, 0, 1}, {1, 1, 2, 0, 1},
    {3, 2, 1, 2, 0}, {4, 5, 3, 2, 0}, /* more padding than kernel; larger than the map */
    {2, 1, 3, 1, 1},                  /* pixels that no window sees */
    {1, 2, 4, 0, 0},                  /* steps longer than a window; maps without one */
};
enum { KERNELS = sizeof KERNEL / sizeof KERNEL[0] };

static vvo_conv shape_of(const vvt_call *c)
{
    const int v = c->how.variant;
    return (vvo_conv){batch(c),     c->dim.n[0],  width(c),         c->dim.n[1],  c->dim.n[2],
                      KERNEL[v].kh, KERNEL[v].kw, KERNEL[v].stride, KERNEL[v].pad};
}

static vvb_conv_shape args(const vvo_conv *s)
{
    return (vvb_conv_shape){s->B, s->Hh, s->Ww, s->Ci, s->Co, s->kh, s->kw, s->stride, s->pad};
}

static int64_t pixels(const vvo_conv *s)
{
    return s->B * vvb_conv_size(s->Hh, s->kh, s->stride, s->pad) * vvb_conv_size(s->Ww, s->kw, s->stride, s->pad);
}

static void fwd_shape(vvt_call *c)
{
    const vvo_conv s = shape_of(c);
    const int64_t K = s.kh * s.kw * s.Ci;
    vvt_output(c, "y", VVT_OUT, pixels(&s), s.Co, (double)K + 1)->zeros_expected =
        s.Ci == 0 || s.pad >= s.kw || s.Hh == 0; /* windows that see nothing */
    vvt_input(c, "x", s.B * s.Hh * s.Ww, s.Ci);
    vvt_input(c, "w", s.Co, K);
    vvt_input(c, "b", 1, s.Co)->role = KERNEL[c->how.variant].bias ? VVT_IN : VVT_ABSENT;
}

static void fwd_run(vvt_call *c)
{
    const vvo_conv s = shape_of(c);
    const vvb_conv_shape a = args(&s);
    vvb_conv2d_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_at(c, W), vvt_at(c, B), &a);
}

static void fwd_oracle(vvt_call *c)
{
    const vvo_conv s = shape_of(c);
    vvo_conv2d_fwd(vvt_want(c, Y), vvt_host(c, X), vvt_host(c, W), vvt_host(c, B), &s);
}

static void bwd_shape(vvt_call *c)
{
    const vvo_conv s = shape_of(c);
    const int64_t P = pixels(&s), K = s.kh * s.kw * s.Ci;
    vvt_output(c, "dx", VVT_GRAD, s.B * s.Hh * s.Ww, s.Ci, (double)(s.kh * s.kw * s.Co))->zeros_expected =
        s.stride > 1 || s.Co == 0 || P == 0; /* pixels that no window sees */
    vvt_output(c, "dw", VVT_ADDED, s.Co, K, (double)P);
    vvt_output(c, "db", VVT_ADDED, 1, s.Co, (double)P);
    vvt_input(c, "dy", P, s.Co);
    vvt_input(c, "x", s.B * s.Hh * s.Ww, s.Ci);
    vvt_input(c, "w", s.Co, K);
}

static void bwd_run(vvt_call *c)
{
    const vvo_conv s = shape_of(c);
    const vvb_conv_shape a = args(&s);
    vvb_conv2d_bwd(vvt_at(c, DX), vvt_at(c, DW), vvt_at(c, DB), vvt_at(c, DY), vvt_at(c, BX), vvt_at(c, BW), &a,
                   c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    const vvo_conv s = shape_of(c);
    vvo_conv2d_bwd(vvt_want(c, DX), vvt_want(c, DW), vvt_want(c, DB), vvt_host(c, DY), vvt_host(c, BX), vvt_host(c, BW),
                   &s);
}

/* ---- conv_transpose2d -------------------------------------------------------------------------------------------- */
static const int64_t K_OF[] = {2, 4, 1, 3};

static void tr_fwd_shape(vvt_call *c)
{
    const int64_t H = c->dim.n[0], Ci = c->dim.n[1], Co = c->dim.n[2], k = K_OF[c->how.variant],
                  P = batch(c) * H * width(c);
    vvt_output(c, "y", VVT_OUT, P * k * k, Co, (double)Ci + 1)->zeros_expected = Ci == 0;
    vvt_input(c, "x", P, Ci);
    vvt_input(c, "w", Ci, Co * k * k);
    vvt_input(c, "b", 1, Co)->role = c->how.variant % 2 ? VVT_ABSENT : VVT_IN;
}

static void tr_fwd_run(vvt_call *c)
{
    vvb_conv_transpose2d_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_at(c, W), vvt_at(c, B), batch(c), c->dim.n[0], width(c),
                             c->dim.n[1], c->dim.n[2], K_OF[c->how.variant]);
}

static void tr_fwd_oracle(vvt_call *c)
{
    vvo_conv_transpose2d_fwd(vvt_want(c, Y), vvt_host(c, X), vvt_host(c, W), vvt_host(c, B), batch(c), c->dim.n[0],
                             width(c), c->dim.n[1], c->dim.n[2], K_OF[c->how.variant]);
}

static void tr_bwd_shape(vvt_call *c)
{
    const int64_t H = c->dim.n[0], Ci = c->dim.n[1], Co = c->dim.n[2], k = K_OF[c->how.variant],
                  P = batch(c) * H * width(c);
    vvt_output(c, "dx", VVT_GRAD, P, Ci, (double)(k * k * Co))->zeros_expected = Co == 0;
    vvt_output(c, "dw", VVT_ADDED, Ci, Co * k * k, (double)P);
    vvt_output(c, "db", VVT_ADDED, 1, Co, (double)(k * k * P));
    vvt_input(c, "dy", P * k * k, Co);
    vvt_input(c, "x", P, Ci);
    vvt_input(c, "w", Ci, Co * k * k);
}

static void tr_bwd_run(vvt_call *c)
{
    vvb_conv_transpose2d_bwd(vvt_at(c, DX), vvt_at(c, DW), vvt_at(c, DB), vvt_at(c, DY), vvt_at(c, BX), vvt_at(c, BW),
                             batch(c), c->dim.n[0], width(c), c->dim.n[1], c->dim.n[2], K_OF[c->how.variant],
                             c->how.acc);
}

static void tr_bwd_oracle(vvt_call *c)
{
    vvo_conv_transpose2d_bwd(vvt_want(c, DX), vvt_want(c, DW), vvt_want(c, DB), vvt_host(c, DY), vvt_host(c, BX),
                             vvt_host(c, BW), batch(c), c->dim.n[0], width(c), c->dim.n[1], c->dim.n[2],
                             K_OF[c->how.variant]);
}

/* maps of many tiles; long rows of windows; many output channels; a panel of many numbers; few channels, in whole
 * registers: bands of rows, blocks that are not full, rows without a window */
#define SIZES                                                                                                          \
    .sizes = 3, .medium = {{9, 5, 7, MEDIUM_W}},                                                                       \
    .large = {{{40, 17, 10, 60}}, {{9, 400, 7, 11}}, {{3, 5, 1300, 4}}, {{70, 3, 5, 130}},                             \
              {{2, 1400, 6, 3}},  {{50, 8, 32, 60}}, {{13, 24, 8, 23}}, {{2, 8, 8, 1}}}
static const vvt_op OPS[] = {
    {"conv2d_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, .variants = KERNELS, .exact = KERNELS,
     SIZES},
    {"conv2d_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, .variants = KERNELS, .exact = KERNELS,
     SIZES},
    {"conv_transpose2d_fwd", .shape = tr_fwd_shape, .run = tr_fwd_run, .oracle = tr_fwd_oracle, .variants = 4,
     .exact = 4, SIZES},
    {"conv_transpose2d_bwd", .shape = tr_bwd_shape, .run = tr_bwd_run, .oracle = tr_bwd_oracle, .variants = 4,
     .exact = 4, SIZES},
};

/* ---- adjoints: with small integers every sum is exact, so both sides are equal ----------------------------------- */
enum { MOST = 4000 };
typedef struct {
    vv_real host[MOST];
    vvt_buffer buffer;
    int64_t n;
} array;

static vv_real *make(array *a, const char *stream, int64_t n)
{
    ck_assert(n <= MOST);
    a->n = n;
    vvt_fill_array(a->host, n, VVT_INTEGERS, stream);
    if (!stream[0]) memset(a->host, 0, sizeof a->host);
    a->buffer = vvt_buffer_new(a->host, n * (int64_t)sizeof *a->host);
    return vvt_buffer_at(&a->buffer);
}

static void fetch(array *a)
{
    ck_assert(vvt_buffer_intact(&a->buffer));
    vvt_buffer_get(&a->buffer, a->host);
    vvt_buffer_free(&a->buffer);
}

static double inner(const array *a, const array *b)
{
    double sum = 0;
    ck_assert(a->n == b->n);
    for (int64_t i = 0; i < a->n; i++) sum += (double)a->host[i] * (double)b->host[i];
    return sum;
}

/* <y(x), g> = <x, dx(g)> = <w, dw(g)> */
START_TEST(adjoint_conv2d)
{
    static array x, w, y, g, dx, dw;
    const vvb_conv_shape s = {.B = 2,
                              .Hh = 7,
                              .Ww = 10,
                              .Ci = 3,
                              .Co = 5,
                              .kh = KERNEL[_i].kh,
                              .kw = KERNEL[_i].kw,
                              .stride = KERNEL[_i].stride,
                              .pad = KERNEL[_i].pad};
    const int64_t n =
        s.B * vvb_conv_size(s.Hh, s.kh, s.stride, s.pad) * vvb_conv_size(s.Ww, s.kw, s.stride, s.pad) * s.Co;
    vv_real *ax = make(&x, "adjoint x", s.B * s.Hh * s.Ww * s.Ci),
            *aw = make(&w, "adjoint w", s.Co * s.Ci * s.kh * s.kw);
    vv_real *ag = make(&g, "adjoint g", n);
    vvb_conv2d_fwd(make(&y, "", n), ax, aw, NULL, &s);
    vvb_conv2d_bwd(make(&dx, "", x.n), make(&dw, "", w.n), NULL, ag, ax, aw, &s, 0);
    fetch(&x), fetch(&w), fetch(&y), fetch(&g), fetch(&dx), fetch(&dw);
    ck_assert(inner(&y, &g) != 0);
    ck_assert_double_eq(inner(&y, &g), inner(&x, &dx));
    ck_assert_double_eq(inner(&y, &g), inner(&w, &dw));
}
END_TEST

/* The transposed convolution is the adjoint of the convolution with the same weights and stride k, and a linear of each
 * pixel. */
START_TEST(adjoint_transpose)
{
    static array x, w, y, g, dx, dw, back, small;
    enum { SIDE = 5, CI = 6, CO = 4 };
    const int64_t k = K_OF[_i], P = 2 * SIDE * SIDE;
    const vvb_conv_shape s = {
        .B = 2, .Hh = k * SIDE, .Ww = k * SIDE, .Ci = CO, .Co = CI, .kh = k, .kw = k, .stride = k};
    vv_real *ax = make(&x, "adjoint x", P * CI), *aw = make(&w, "adjoint w", CI * CO * k * k);
    vv_real *ag = make(&g, "adjoint g", P * k * k * CO);
    vvb_conv_transpose2d_fwd(make(&y, "", g.n), ax, aw, NULL, 2, SIDE, SIDE, CI, CO, k);
    vvb_conv_transpose2d_bwd(make(&dx, "", x.n), make(&dw, "", w.n), NULL, ag, ax, aw, 2, SIDE, SIDE, CI, CO, k, 0);
    vvb_conv2d_fwd(make(&back, "", x.n), ag, aw, NULL, &s);
    vvb_matmul(make(&small, "", P * CO * k * k), CO * k * k, ax, CI, 0, aw, CO * k * k, 0, P, CO * k * k, CI, 1, 0);
    fetch(&x), fetch(&w), fetch(&y), fetch(&g), fetch(&dx), fetch(&dw), fetch(&back), fetch(&small);
    ck_assert_double_eq(inner(&y, &g), inner(&x, &dx));
    ck_assert_double_eq(inner(&y, &g), inner(&w, &dw));
    ck_assert_mem_eq(dx.host, back.host, (size_t)x.n * sizeof(vv_real));
    for (int64_t i = 0; i < y.n; i++) { /* channel o of tap (u,v) of a pixel stands at (o k + u) k + v in the product */
        const int64_t o = i % CO, q = i / CO % (k * SIDE), r = i / CO / (k * SIDE);
        const int64_t at = ((r / k) * SIDE + q / k) * CO * k * k + (o * k + r % k) * k + q % k;
        ck_assert(y.host[i] == small.host[at]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = vvt_op_suite("backend/conv2d", OPS, sizeof OPS / sizeof OPS[0]);
    tcase_add_loop_test(vvt_more(s, "adjoint_conv2d"), adjoint_conv2d, 0, KERNELS);
    tcase_add_loop_test(vvt_more(s, "adjoint_transpose"), adjoint_transpose, 0, 4);
    return s;
}

VVT_MAIN(suite)
