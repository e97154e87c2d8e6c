/* The derivative of every operation, through the tape, against central differences of its own forward: a random projection
 * <y, r> makes each a scalar function of its inputs, all of which are parameters here.
 *
 * Differences prove something in the double build alone (in float the best step leaves an error of 1e-5), so the float build
 * runs the same forwards and backwards, says that it skips the differences, and keeps the tests that need none. */
#include "ops/ops.h"
#include "vvt_check.h"

enum { INPUTS = 4 };

typedef struct {
    const char *name;
    vv_tensor *(*build)(vv_tape *t, vv_tensor **in);
    struct {
        int ndim;
        int64_t dim[VV_MAXDIM];
    } in[INPUTS];
} grad_case;

/* ---- the operations, each in the uses that its backward tells apart ----------------------------------------------------- */
static const int32_t CU[] = {0, 3, 3, 4, 9};                                           /* lengths 3, 0, 1, 5 */
static const int32_t POS[] = {0, 0, 0, 1, 1, 0, 1, 1, 5, 2, 7, 3, 2, 9, 4, 4, 30, 11}; /* 9 tokens, 2 coordinates */
static const int32_t INDEX[] = {2, 0, 2, 2, 4};

static vv_tensor *linear_plain(vv_tape *t, vv_tensor **in) { return vv_linear(t, "y", in[0], in[1], NULL, NULL); }
static vv_tensor *linear_bias(vv_tape *t, vv_tensor **in) { return vv_linear(t, "y", in[0], in[1], in[2], NULL); }
static vv_tensor *linear_all(vv_tape *t, vv_tensor **in) { return vv_linear(t, "y", in[0], in[1], in[2], in[3]); }
static vv_tensor *linear_self(vv_tape *t, vv_tensor **in) /* its own input is the residual */
{
    vv_tensor *x = vv_add(t, "x", in[0], in[2]);
    return vv_linear(t, "y", x, in[1], in[2], x);
}
static vv_tensor *linear_adapter(vv_tape *t, vv_tensor **in) /* x is read three times */
{
    static vv_adapter adapter;
    adapter = (vv_adapter){in[2], in[3], 0.7};
    in[1]->adapter = &adapter;
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_linear(t, "y", x, in[1], NULL, NULL);
}
static vv_tensor *scale(vv_tape *t, vv_tensor **in) { return vv_scale(t, "y", in[0], -0.3); }
static vv_tensor *scale_and_more(vv_tape *t, vv_tensor **in)
{
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_add(t, "y", vv_scale(t, "scaled", x, -0.3), x);
}
static vv_tensor *layernorm(vv_tape *t, vv_tensor **in) { return vv_layernorm(t, "y", in[0], in[1], in[2], 1e-6); }
static vv_tensor *gelu_erf(vv_tape *t, vv_tensor **in) { return vv_gelu(t, "y", in[0], VVB_GELU_ERF); }
static vv_tensor *gelu_quick(vv_tape *t, vv_tensor **in) { return vv_gelu(t, "y", in[0], VVB_GELU_QUICK); }
static vv_tensor *add(vv_tape *t, vv_tensor **in) { return vv_add(t, "y", in[0], in[1]); }
static vv_tensor *add_self(vv_tape *t, vv_tensor **in)
{
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_add(t, "y", x, x);
}
static vv_tensor *gather(vv_tape *t, vv_tensor **in) { return vv_gather_rows(t, "y", in[0], INDEX, 5); }
static vv_tensor *gather_and_more(vv_tape *t, vv_tensor **in) /* a second reader: the gradient is added to */
{
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_add(t, "y", vv_gather_rows(t, "rows", x, INDEX, 5), x);
}
static vv_tensor *unit_rows(vv_tape *t, vv_tensor **in) { return vv_unit_rows(t, "y", in[0], 5); }
static vv_tensor *rmsnorm(vv_tape *t, vv_tensor **in) { return vv_rmsnorm(t, "y", in[0], in[1], 1e-6); }
static vv_tensor *silu_mul(vv_tape *t, vv_tensor **in) { return vv_silu_mul(t, "y", in[0], in[1]); }
static vv_tensor *silu_mul_and_more(vv_tape *t, vv_tensor **in) /* another reader of each, before and after */
{
    vv_tensor *g = vv_gelu(t, "g", in[0], VVB_GELU_ERF), *u = vv_gelu(t, "u", in[1], VVB_GELU_ERF);
    return vv_add(t, "y", vv_add(t, "sum", vv_silu_mul(t, "gated", g, u), g), vv_silu_mul(t, "again", u, g));
}
static const int32_t PLACE_A[] = {5, 0, 3}, PLACE_B[] = {1, 4, 2, 6};
static vv_tensor *merge(vv_tape *t, vv_tensor **in) { return vv_merge_rows(t, "y", in[0], PLACE_A, in[1], PLACE_B); }
static vv_tensor *merge_same(vv_tape *t, vv_tensor **in) /* a tensor with itself */
{
    static const int32_t even[] = {0, 2, 4}, odd[] = {5, 3, 1};
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_merge_rows(t, "y", x, even, x, odd);
}
static const int32_t TARGET[] = {3, 0, 8, 3, 5};
static const double WEIGHT[] = {0.3, 1, 0.25, 0, -0.5};
static vv_tensor *cross_entropy(vv_tape *t, vv_tensor **in)
{
    return vv_linear_cross_entropy(t, "y", in[0], in[1], TARGET, WEIGHT, 5, NULL);
}
static vv_tensor *cross_entropy_tied(vv_tape *t, vv_tensor **in) /* w is the embedding too, x has a second reader */
{
    vv_tensor *x = vv_rmsnorm(t, "x", vv_gather_rows(t, "embedded", in[0], INDEX, 5), in[1], 1e-6);
    vv_tensor *loss = vv_linear_cross_entropy(t, "ce", x, in[0], TARGET, WEIGHT, 5, NULL);
    return vv_add(t, "y", loss, vv_linear_cross_entropy(t, "more", x, in[0], TARGET, WEIGHT, 5, NULL));
}
static vv_tensor *view(vv_tape *t, vv_tensor **in)
{
    const int64_t dim[] = {7, 2};
    return vv_gelu(t, "y", vv_view(t, NULL, vv_add(t, "x", in[0], in[1]), 2, dim), VVB_GELU_ERF);
}
static vv_tensor *rope(vv_tape *t, vv_tensor **in) /* in place, the first 2 of 3 heads of 8 */
{
    return vv_rope(t, "y", vv_add(t, "x", in[0], in[1]), vv_rope_table(t, POS, 9, 2, 8, 100), 2);
}
static vv_tensor *attention(vv_tape *t, vv_tensor **in) /* 2 heads of 3 in 4 segments */
{
    return vv_attention(t, "y", vv_add(t, "qkv", in[0], in[1]), NULL, NULL,
                        &(vvb_attention_args){.cu_q = CU, .S = 4, .H = 2, .Hkv = 2, .scale = 0.7});
}
static vv_tensor *attention_causal(vv_tape *t, vv_tensor **in) /* packed: 4 heads of 3 share 2 heads of keys */
{
    return vv_attention(t, "y", vv_add(t, "qkv", in[0], in[1]), NULL, NULL,
                        &(vvb_attention_args){.cu_q = CU, .S = 4, .H = 4, .Hkv = 2, .scale = 0.7, .causal = 1});
}
static vv_tensor *attention_cross(vv_tape *t, vv_tensor **in) /* 9 queries in 4 segments look at 7 keys in 3 */
{
    static const int32_t cu_k[] = {0, 3, 5, 7}, k_of[] = {0, 0, 1, 2};
    vv_tensor *q = vv_gelu(t, "q", in[0], VVB_GELU_ERF), *k = vv_gelu(t, "k", in[1], VVB_GELU_ERF),
              *v = vv_gelu(t, "v", in[2], VVB_GELU_ERF);
    return vv_attention(
        t, "y", q, k, v,
        &(vvb_attention_args){.cu_q = CU, .cu_k = cu_k, .k_of = k_of, .S = 4, .Sk = 3, .H = 4, .Hkv = 2, .scale = 0.7});
}
static vv_tensor *relu(vv_tape *t, vv_tensor **in) { return vv_relu(t, "y", in[0]); }
static vv_tensor *softplus(vv_tape *t, vv_tensor **in) { return vv_softplus(t, "y", in[0]); }
static vv_tensor *softplus_and_more(vv_tape *t, vv_tensor **in)
{
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_add(t, "y", vv_softplus(t, "s", x), x);
}
static vv_tensor *sigmoid(vv_tape *t, vv_tensor **in) { return vv_sigmoid(t, "y", in[0]); }
static vv_tensor *batched_matmul(vv_tape *t, vv_tensor **in) { return vv_batched_matmul(t, "y", in[0], in[1]); }
static vv_tensor *batched_matmul_self(vv_tape *t, vv_tensor **in)
{
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_ERF);
    return vv_batched_matmul(t, "y", x, x);
}
static vv_tensor *conv(vv_tape *t, vv_tensor **in) { return vv_conv2d(t, "y", in[0], in[1], in[2], 1, 1); }
static vv_tensor *conv_pixel(vv_tape *t, vv_tensor **in) { return vv_conv2d(t, "y", in[0], in[1], in[2], 1, 0); }
static vv_tensor *conv_strided(vv_tape *t, vv_tensor **in) { return vv_conv2d(t, "y", in[0], in[1], NULL, 2, 1); }
static vv_tensor *conv_transpose(vv_tape *t, vv_tensor **in)
{
    return vv_conv_transpose2d(t, "y", in[0], in[1], in[2]);
}
static vv_tensor *conv_transpose_plain(vv_tape *t, vv_tensor **in)
{
    return vv_conv_transpose2d(t, "y", in[0], in[1], NULL);
}
static vv_tensor *resize_corners(vv_tape *t, vv_tensor **in) { return vv_resize_bilinear(t, "y", in[0], 7, 2, 1); }
static vv_tensor *resize_centers(vv_tape *t, vv_tensor **in) { return vv_resize_bilinear(t, "y", in[0], 2, 9, 0); }
static vv_tensor *residual_unit(vv_tape *t, vv_tensor **in) /* and each of its operations has a second reader */
{
    vv_tensor *x = vv_conv_transpose2d(t, "x", in[0], in[2], NULL);
    vv_tensor *h = vv_conv2d(t, "conv1", vv_relu(t, "act1", x), in[1], NULL, 1, 1);
    h = vv_conv2d(t, "conv2", vv_relu(t, "act2", h), in[1], in[3], 1, 1);
    vv_tensor *y = vv_add(t, "y", h, x), *small = vv_resize_bilinear(t, "small", y, 2, 3, 1);
    return vv_add(t, "again", vv_resize_bilinear(t, "large", vv_sigmoid(t, "gate", small), 4, 6, 0), y);
}
static vv_tensor *block(vv_tape *t, vv_tensor **in) /* as a transformer composes them: [9,8], weights [24,8], [8,8] */
{
    vv_tensor *x = vv_gelu(t, "x", in[0], VVB_GELU_QUICK);
    vv_tensor *qkv = vv_linear(t, "qkv", vv_layernorm(t, "norm", x, in[3], in[3], 1e-6), in[1], NULL, NULL);
    qkv = vv_rope(t, "turned", qkv, vv_rope_table(t, POS, 9, 2, 4, 100), 4);
    vv_tensor *o = vv_attention(t, "o", qkv, NULL, NULL,
                                &(vvb_attention_args){.cu_q = CU, .S = 4, .H = 2, .Hkv = 2, .scale = 0.5});
    return vv_linear(t, "y", o, in[2], in[3], x);
}

static const grad_case CASES[] = {
    {"linear", linear_plain, {{2, {5, 7}}, {2, {6, 7}}}},
    {"linear, bias", linear_bias, {{3, {2, 3, 7}}, {3, {6, 7, 1}}, {1, {6}}}},
    {"linear, bias and residual", linear_all, {{2, {5, 7}}, {2, {6, 7}}, {1, {6}}, {2, {5, 6}}}},
    {"linear, its input as residual", linear_self, {{2, {5, 7}}, {2, {7, 7}}, {1, {7}}}},
    {"linear, with an adapter", linear_adapter, {{2, {5, 7}}, {2, {6, 7}}, {2, {2, 7}}, {2, {6, 2}}}},
    {"scale", scale, {{2, {5, 7}}}},
    {"scale, and a second reader", scale_and_more, {{2, {5, 7}}}},
    {"layernorm", layernorm, {{3, {2, 3, 9}}, {1, {9}}, {1, {9}}}},
    {"gelu erf", gelu_erf, {{2, {5, 7}}}},
    {"gelu quick", gelu_quick, {{2, {5, 7}}}},
    {"add, a bias", add, {{3, {2, 3, 7}}, {1, {7}}}},
    {"add, repeated rows", add, {{2, {6, 7}}, {2, {2, 7}}}},
    {"add, same shape", add, {{2, {6, 7}}, {2, {6, 7}}}},
    {"add, to itself", add_self, {{2, {6, 7}}}},
    {"gather_rows, repeated", gather, {{2, {5, 7}}}},
    {"gather_rows, and a second reader", gather_and_more, {{2, {5, 7}}}},
    {"unit_rows", unit_rows, {{2, {4, 7}}}},
    {"rmsnorm", rmsnorm, {{3, {2, 3, 9}}, {1, {9}}}},
    {"rmsnorm, of each head", rmsnorm, {{2, {5, 12}}, {1, {4}}}},
    {"silu_mul", silu_mul, {{2, {5, 7}}, {2, {5, 7}}}},
    {"silu_mul, and more readers", silu_mul_and_more, {{2, {5, 7}}, {2, {5, 7}}}},
    {"merge_rows", merge, {{2, {3, 7}}, {2, {4, 7}}}},
    {"merge_rows, of one tensor", merge_same, {{2, {3, 7}}}},
    {"linear_cross_entropy", cross_entropy, {{3, {1, 5, 7}}, {2, {9, 7}}}},
    {"linear_cross_entropy, tied", cross_entropy_tied, {{2, {9, 7}}, {1, {7}}}},
    {"view", view, {{2, {2, 7}}, {1, {7}}}},
    {"rope, in place", rope, {{2, {9, 24}}, {1, {24}}}},
    {"attention", attention, {{2, {9, 18}}, {1, {18}}}},
    {"attention, causal, shared keys", attention_causal, {{2, {9, 24}}, {1, {24}}}},
    {"attention, of others' keys", attention_cross, {{2, {9, 12}}, {2, {7, 6}}, {2, {7, 6}}}},
    {"relu", relu, {{2, {5, 7}}}},
    {"softplus", softplus, {{2, {5, 7}}}},
    {"softplus, and a second reader", softplus_and_more, {{2, {5, 7}}}},
    {"sigmoid", sigmoid, {{2, {5, 7}}}},
    {"batched_matmul", batched_matmul, {{3, {2, 5, 3}}, {3, {2, 4, 3}}}},
    {"batched_matmul, with itself", batched_matmul_self, {{3, {2, 5, 3}}}},
    {"conv2d", conv, {{4, {2, 4, 5, 3}}, {4, {2, 3, 3, 3}}, {1, {2}}}},
    {"conv2d, 1 x 1", conv_pixel, {{4, {2, 4, 5, 3}}, {4, {2, 3, 1, 1}}, {1, {2}}}},
    {"conv2d, stride 2", conv_strided, {{4, {1, 5, 4, 2}}, {4, {3, 2, 3, 2}}}},
    {"conv_transpose2d", conv_transpose, {{4, {2, 3, 2, 3}}, {4, {3, 2, 2, 2}}, {1, {2}}}},
    {"conv_transpose2d, no bias", conv_transpose_plain, {{4, {1, 3, 2, 3}}, {4, {3, 2, 3, 3}}}},
    {"resize_bilinear, corners aligned", resize_corners, {{4, {2, 3, 5, 2}}}},
    {"resize_bilinear, centres", resize_centers, {{4, {2, 5, 4, 2}}}},
    {"a residual unit", residual_unit, {{4, {1, 2, 3, 2}}, {4, {3, 3, 3, 3}}, {4, {2, 3, 2, 2}}, {1, {3}}}},
    {"a block", block, {{2, {9, 8}}, {2, {24, 8}}, {2, {8, 8}}, {1, {8}}}},
};
enum { N_CASES = sizeof CASES / sizeof CASES[0] };

/* ---- running one ------------------------------------------------------------------------------------------------------- */
typedef struct {
    const grad_case *c;
    vv_params params;
    vv_tensor *in[INPUTS];
    int n;
} running;

static running start(const grad_case *c)
{
    running r = {.c = c};
    for (r.n = 0; r.n < INPUTS && c->in[r.n].ndim; r.n++) {
        char name[64];
        vv_error err = {0};
        snprintf(name, sizeof name, "%s %d", c->name, r.n);
        vv_tensor *x = r.in[r.n] = vv_param_new(&r.params, name, c->in[r.n].ndim, c->in[r.n].dim, &err);
        ck_assert_msg(x != NULL, "%s", err.msg);
        vv_real *host = vv_calloc(x->n, sizeof *host);
        vvt_fill_array(host, x->n, VVT_NORMAL, name);
        vvb_upload(x->data, host, x->n * (int64_t)sizeof *host);
        free(host);
    }
    return r;
}

/* <f(inputs), projection>; with flags VV_RECORD the gradients of scale times it are added to those of the inputs */
static double run(running *r, int flags, double scale)
{
    vv_error err = {0};
    vv_tape *t = vv_tape_new(&r->params, flags);
    vv_tensor *y = r->c->build(t, r->in), *loss = NULL;
    vv_real value = 0;
    if (y) {
        vv_real *host = vv_calloc(y->n, sizeof *host);
        vvt_fill_array(host, y->n, VVT_NORMAL, "projection");
        loss = vv_dot(t, "loss", y, vv_input(t, "projection", VV_REALS, y->ndim, y->dim, host));
        free(host);
    }
    if (loss) vvb_download(&value, loss->data, sizeof value);
    if (loss && flags & VV_RECORD) vv_backward(t, loss, scale);
    if (vv_tape_status(t, &err) != VV_OK) ck_abort_msg("%s: %s", r->c->name, err.msg);
    const vv_memory *m = vv_tape_memory(t);
    if (m->gradients != 0)
        ck_abort_msg("%s: %lld bytes of gradients were not given back", r->c->name, (long long)m->gradients);
    vv_tape_free(t);
    return (double)value;
}

static vv_real *download(const vv_real *p, int64_t n)
{
    vv_real *host = vv_calloc(n, sizeof *host);
    ck_assert(p && host);
    vvb_download(host, p, n * (int64_t)sizeof *host);
    return host;
}

#ifdef VV_DOUBLE
/* ---- differences ---------------------------------------------------------------------------------------------------------- */
enum { COORDINATES = 64, DIRECTIONS = 4 };
static const double H = 1e-5, TOLERANCE = 1e-7;
static double worst; /* of all cases */

/* the derivative of input k along d, by central differences */
static double difference(running *r, int k, const double *x, const double *d)
{
    const int64_t n = r->in[k]->n, bytes = n * (int64_t)sizeof(double);
    double *moved = vv_calloc(n, sizeof *moved), f[2];
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < n; i++) moved[i] = x[i] + (side ? H : -H) * d[i];
        vvb_upload(r->in[k]->data, moved, bytes);
        f[side] = run(r, 0, 1);
    }
    vvb_upload(r->in[k]->data, x, bytes);
    free(moved);
    return (f[1] - f[0]) / (2 * H);
}

/* relL2 of `count` derivatives of input k: along single coordinates, or along random directions */
static double error_of(running *r, int k, const double *x, const double *grad, int count, int directions)
{
    const int64_t n = r->in[k]->n;
    double *d = vv_calloc(n, sizeof *d), off = 0, all = 0;
    for (int i = 0; i < count; i++) {
        double exact = 0;
        char stream[32];
        snprintf(stream, sizeof stream, "direction %d", i);
        memset(d, 0, (size_t)n * sizeof *d);
        if (directions) vvt_fill_array(d, n, VVT_NORMAL, stream);
        else d[count == n ? i : (i * 7919 + 13) % n] = 1;
        for (int64_t j = 0; j < n; j++) exact += grad[j] * d[j];
        const double e = difference(r, k, x, d) - exact;
        off += e * e;
        all += exact * exact;
    }
    free(d);
    return sqrt(off / (all > 0 ? all : 1));
}

START_TEST(differences)
{
    running r = start(&CASES[_i]);
    run(&r, VV_RECORD, 1);
    for (int k = 0; k < r.n; k++) {
        const int64_t n = r.in[k]->n;
        double *grad = download(r.in[k]->grad, n), *x = download(vv_f(r.in[k]), n);
        const double one = error_of(&r, k, x, grad, (int)vv_min(n, COORDINATES), 0);
        const double along = error_of(&r, k, x, grad, DIRECTIONS, 1);
        if (!(one <= TOLERANCE && along <= TOLERANCE))
            ck_abort_msg("%s, input %d: relative error %.3g of coordinates, %.3g along directions, allowed %g",
                         r.c->name, k, one, along, TOLERANCE);
        worst = fmax(worst, fmax(one, along));
        free(grad);
        free(x);
    }
    vv_params_free(&r.params);
    if (_i == N_CASES - 1) printf("ops/grad, differences: relative error at most %.2g, allowed %g\n", worst, TOLERANCE);
}
END_TEST
#else
START_TEST(differences)
{
    if (_i == 0) printf("skipped: ops/grad, differences: float is too coarse for them; repeat with REAL=double\n");
    running r = start(&CASES[_i]);
    run(&r, VV_RECORD, 1); /* it runs, at least */
    vv_params_free(&r.params);
}
END_TEST
#endif

/* ---- what needs no differences: both builds ---------------------------------------------------------------------------------- */
/* |a - f b| is small against b as a whole */
static void expect_multiple(const running *r, int k, const vv_real *a, const vv_real *b, double f)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < r->in[k]->n; i++) {
        const double e = (double)a[i] - f * (double)b[i];
        off += e * e;
        all += f * (double)b[i] * f * (double)b[i];
    }
    if (!(all > 0 && sqrt(off) <= 64 * VV_U * sqrt(all)))
        ck_abort_msg("%s, input %d: RMS of the gradients %g, off by %g", r->c->name, k, sqrt(all), sqrt(off));
}

/* A second backward adds to the gradients of parameters; vv_params_zero_grad starts anew; scale multiplies. */
START_TEST(accumulation)
{
    running r = start(&CASES[_i]);
    vv_real *once[INPUTS];
    run(&r, VV_RECORD, 1);
    for (int k = 0; k < r.n; k++) once[k] = download(r.in[k]->grad, r.in[k]->n);
    run(&r, VV_RECORD, 1);
    for (int k = 0; k < r.n; k++) {
        vv_real *twice = download(r.in[k]->grad, r.in[k]->n);
        expect_multiple(&r, k, twice, once[k], 2);
        free(twice);
    }
    vv_params_zero_grad(&r.params);
    run(&r, VV_RECORD, -0.5);
    for (int k = 0; k < r.n; k++) {
        vv_real *scaled = download(r.in[k]->grad, r.in[k]->n);
        expect_multiple(&r, k, scaled, once[k], -0.5);
        free(scaled);
        free(once[k]);
    }
    vv_params_free(&r.params);
}
END_TEST

/* A frozen input gets no gradient, and the others get the one they had. */
START_TEST(frozen)
{
    running all = start(&CASES[_i]);
    run(&all, VV_RECORD, 1);
    for (int off = 0; off < all.n && all.n > 1; off++) {
        running r = start(&CASES[_i]);
        r.in[off]->needs_grad = 0;
        run(&r, VV_RECORD, 1);
        ck_assert_ptr_null(r.in[off]->grad);
        for (int k = 0; k < r.n; k++) {
            if (k == off) continue;
            vv_real *a = download(r.in[k]->grad, r.in[k]->n), *b = download(all.in[k]->grad, all.in[k]->n);
            expect_multiple(&r, k, a, b, 1);
            free(a);
            free(b);
        }
        vv_params_free(&r.params);
    }
    vv_params_free(&all.params);
}
END_TEST

/* both inputs have gradients, of zeros */
static void expect_zero_gradients(const running *r)
{
    for (int k = 0; k < 2; k++) {
        vv_real *g = download(r->in[k]->grad, r->in[k]->n);
        for (int64_t i = 0; i < r->in[k]->n; i++)
            if (g[i] != 0) ck_abort_msg("gradient %d[%lld] of nothing is %g", k, (long long)i, (double)g[i]);
        free(g);
    }
}

/* No rows at all: everything runs, and the gradients of weights are zero. */
START_TEST(empty)
{
    static const grad_case none = {"no rows", NULL, {{2, {24, 8}}, {1, {8}}}};
    running r = start(&none);
    const int64_t dim[] = {0, 8};
    const int32_t cu[] = {0};
    vv_error err = {0};
    vv_tape *t = vv_tape_new(&r.params, VV_RECORD);
    vv_tensor *x = vv_add(t, "x", vv_input(t, "in", VV_REALS, 2, dim, NULL), r.in[1]);
    vv_tensor *qkv = vv_linear(t, "qkv", vv_layernorm(t, "norm", x, r.in[1], r.in[1], 1e-6), r.in[0], NULL, NULL);
    qkv = vv_rope(t, "turned", qkv, vv_rope_table(t, POS, 0, 1, 4, 100), 4);
    vv_tensor *y = vv_gelu(
        t, "y", vv_attention(t, "o", qkv, NULL, NULL, &(vvb_attention_args){.cu_q = cu, .H = 2, .Hkv = 2, .scale = 1}),
        VVB_GELU_ERF);
    y = vv_gather_rows(t, "rows", y, NULL, 0);
    vv_backward(t, vv_dot(t, "loss", y, vv_input(t, "r", VV_REALS, 2, dim, NULL)), 1);
    ck_assert_msg(vv_tape_status(t, &err) == VV_OK, "%s", err.msg);
    expect_zero_gradients(&r);
    vv_tape_free(t);
    vv_params_free(&r.params);
}
END_TEST

/* A decoder's operations without rows: the loss is 0, and so are the gradients. One of the merged tensors may have rows. */
START_TEST(empty_decoder)
{
    static const grad_case none = {"no rows", NULL, {{2, {24, 8}}, {1, {8}}}};
    static const int32_t all[24] = {7,  0,  1,  2,  3,  4,  5,  6,  8,  9,  10, 11,
                                    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    running r = start(&none);
    const int64_t dim[] = {0, 8};
    vv_error err = {0};
    vv_real value = 1;
    vv_tape *t = vv_tape_new(&r.params, VV_RECORD);
    vv_tensor *x = vv_input(t, "in", VV_REALS, 2, dim, NULL);
    vv_tensor *merged = vv_merge_rows(t, "merged", x, NULL, r.in[0], all), *ce = NULL;
    ck_assert(merged && merged->dim[0] == 24);
    x = vv_rmsnorm(t, "norm", vv_merge_rows(t, "nothing", x, NULL, x, NULL), r.in[1], 1e-6);
    x = vv_silu_mul(t, "gated", x, vv_add(t, "x", x, r.in[1]));
    vv_tensor *loss = vv_linear_cross_entropy(t, "loss", x, r.in[0], NULL, NULL, 0, &ce);
    vv_backward(t, loss, 1);
    ck_assert_msg(vv_tape_status(t, &err) == VV_OK, "%s", err.msg);
    vvb_download(&value, vv_f(loss), sizeof value);
    ck_assert(value == 0 && ce && ce->n == 0);
    expect_zero_gradients(&r);
    vv_tape_free(t);
    vv_params_free(&r.params);
}
END_TEST

/* The terms that linear_cross_entropy sums have a name of their own and are told to the trace, before their sum. */
static char told[200];
static void note(void *ctx, vv_event event, const vv_tensor *x)
{
    char full[VV_NAME_MAX];
    (void)ctx;
    if (event == VV_EVENT_ACT) snprintf(told + strlen(told), sizeof told - strlen(told), "%s ", vv_name(x, full));
}

START_TEST(tokens)
{
    static const grad_case two = {"tokens", NULL, {{2, {5, 7}}, {2, {9, 7}}}};
    running r = start(&two);
    vv_error err = {0};
    vv_tape *t = vv_tape_new(&r.params, VV_RECORD);
    vv_tensor *ce = NULL;
    vv_trace(t, note, NULL);
    vv_enter(t, "head", -1);
    vv_tensor *loss = vv_linear_cross_entropy(t, "loss", r.in[0], r.in[1], TARGET, WEIGHT, 5, &ce);
    vv_leave(t);
    ck_assert_msg(vv_tape_status(t, &err) == VV_OK, "%s", err.msg);
    ck_assert_str_eq(told, "head.loss#tokens head.loss ");
    ck_assert(!ce->needs_grad && loss->needs_grad);
    vv_real one[5], all;
    double sum = 0;
    vvb_download(one, vv_f(ce), sizeof one);
    vvb_download(&all, vv_f(loss), sizeof all);
    for (int i = 0; i < 5; i++) {
        ck_assert(one[i] > 0);
        sum += WEIGHT[i] * (double)one[i];
    }
    ck_assert_double_eq_tol((double)all, sum, 64 * VV_U * (fabs(sum) + 1));
    vv_tape_free(t);
    vv_params_free(&r.params);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("ops/grad", &tc);
    tcase_add_loop_test(tc, differences, 0, N_CASES);
    tcase_add_loop_test(tc, accumulation, 0, N_CASES);
    tcase_add_loop_test(tc, frozen, 0, N_CASES);
    tcase_add_test(tc, empty);
    tcase_add_test(tc, empty_decoder);
    tcase_add_test(tc, tokens);
    return s;
}

VVT_MAIN(suite)
