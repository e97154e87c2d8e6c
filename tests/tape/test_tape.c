/* The tape: names, sticky errors, gradients by hand, what is skipped, the order of a trace. */
#include "tape/small.h"

/* ---- names ----------------------------------------------------------------------------------------------------- */
static void expect_name(vv_tape *t, const char *name, const char *want)
{
    char buf[VV_NAME_MAX];
    const vv_tensor *x = vv_new(t, name, 1, DIM(1));
    ck_assert_ptr_nonnull(x);
    ck_assert_str_eq(vv_name(x, buf), want);
}

START_TEST(names)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    expect_name(t, "x", "x");
    expect_name(t, "", "");
    vv_enter(t, "visual", -1);
    expect_name(t, "patch_embed", "visual.patch_embed");
    vv_enter(t, "blocks", 3);
    expect_name(t, "", "visual.blocks.3");
    expect_name(t, "#part", "visual.blocks.3#part");
    vv_enter(t, "attn", -1);
    expect_name(t, "qkv", "visual.blocks.3.attn.qkv");
    expect_name(t, "qkv#rotated", "visual.blocks.3.attn.qkv#rotated");
    const vv_tensor *kept = vv_new(t, "late", 1, DIM(1));
    vv_leave(t);
    expect_name(t, "mlp", "visual.blocks.3.mlp");
    vv_leave(t);
    vv_enter(t, "blocks", 0);
    expect_name(t, "norm1", "visual.blocks.0.norm1");
    vv_leave(t);
    expect_name(t, "merger", "visual.merger");
    vv_leave(t);
    vv_leave(t); /* one too many does nothing */
    expect_name(t, "y", "y");
    char buf[VV_NAME_MAX];
    ck_assert_str_eq(vv_name(kept, buf), "visual.blocks.3.attn.late"); /* the scopes of when it was made */
    vv_tape_free(t);
}
END_TEST

START_TEST(long_names)
{
    char word[101], buf[VV_NAME_MAX + 8];
    vv_tape *t = vv_tape_new(NULL, 0);
    memset(word, 'a', 100);
    word[100] = 0;
    for (int depth = 0; depth < 5; depth++) {
        memset(buf, '!', sizeof buf);
        vv_name(vv_new(t, "end", 1, DIM(1)), buf);
        const size_t want = (size_t)(depth * 101 + 3); /* "aaa." and "end" */
        ck_assert_uint_eq(strlen(buf), want < VV_NAME_MAX ? want : VV_NAME_MAX - 1);
        for (size_t i = VV_NAME_MAX; i < sizeof buf; i++) ck_assert_int_eq(buf[i], '!');
        vv_enter(t, word, -1);
    }
    vv_tape_free(t);
}
END_TEST

/* ---- sticky errors ----------------------------------------------------------------------------------------------- */
START_TEST(errors_stick)
{
    vv_params ps = {0};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    vv_tensor *w = small_param(&ps, "w", 2, DIM(16, 17), 0, 1), *v = small_param(&ps, "v", 2, DIM(3, 16), 0, 1);
    for (int again = 0; again < 2; again++) {
        vv_enter(t, "visual", -1);
        vv_enter(t, "blocks", 0);
        vv_tensor *x = small_input(t, "x", 2, DIM(4, 16), 1, 0);
        vv_enter(t, "mlp", -1);
        ck_assert_ptr_null(vv_linear(t, "fc1", x, w, NULL, NULL));
        vv_leave(t);
        ck_assert_ptr_null(vv_linear(t, "fc2", x, v, NULL, NULL)); /* fine in itself */
        ck_assert_ptr_null(vv_gelu(t, "act", x, VVB_GELU_ERF));
        ck_assert_ptr_null(vv_view(t, "flat", x, 1, DIM(64)));
        ck_assert_ptr_null(vv_input(t, "late", VV_REALS, 1, DIM(1), NULL));
        ck_assert_ptr_null(vv_linear(t, "worse", NULL, w, NULL, NULL));
        vv_leave(t);
        vv_error err = {0};
        const vv_status s = vv_tape_status(t, &err);
        vvt_expect_error(&err, s, VV_USAGE, "visual.blocks.0.mlp.fc1", "linear", "[4,16]", "[16,17]", (char *)NULL);
        ck_assert_int_eq(vv_tape_status(t, NULL), VV_USAGE);
        vv_tape_reset(t);
        small_ok(t);
    }
    char buf[VV_NAME_MAX]; /* after the reset everything works again, from the empty scope */
    vv_tensor *y = vv_linear(t, "y", small_input(t, "x", 2, DIM(1, 16), 1, 0), v, NULL, NULL);
    ck_assert_ptr_nonnull(y);
    ck_assert_str_eq(vv_name(y, buf), "y");
    small_expect(vv_f(y), 3, (const double[]){120, 376, 632});
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

START_TEST(errors_of_the_caller)
{
    vv_tape *t = vv_tape_new(NULL, VV_RECORD);
    vv_tensor *x = small_input(t, "x", 2, DIM(2, 3), 1, 0);
    ck_assert_ptr_null(vv_tape_fail(t, VV_FILE, "the %s", "first"));
    vv_tape_fail(t, VV_MEMORY, "the second");
    vv_error err = {0};
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_FILE, "the first", (char *)NULL);
    vv_tape_reset(t);
    x = small_input(t, "x", 2, DIM(2, 3), 1, 0);
    vv_backward(t, x, 1); /* no scalar */
    err = (vv_error){0};
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "x", "backward", "[2,3]", (char *)NULL);
    vv_tape_reset(t);
    vv_backward(t, NULL, 1); /* of a model that failed: nothing happens */
    small_ok(t);
    vv_tape_free(t);
}
END_TEST

/* ---- gradients ----------------------------------------------------------------------------------------------------- */
/* h [2,2] = x + p is read by a linear, by a dot, by a view (and a dot) and twice by an add. With W = [[1,2],[3,4]]:
 *   L = sum(h W^T * c) + sum(h * e) + sum(view(h) * f) + sum((h + h) * g)
 *   dh = c W + e + f + 2 g;  dp = column sums of dh. */
static void fan_out(int order, vv_trace_fn fn, void *ctx, double *dp, double *dW)
{
    vv_params ps = {0};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    vv_trace(t, fn, ctx);
    vv_tensor *p = small_param(&ps, "p", 1, DIM(2), 1, 1), *W = small_param(&ps, "W", 2, DIM(2, 2), 1, 1);
    vv_tensor *x = small_input(t, "x", 2, DIM(2, 2), 5, -1), *h = vv_add(t, "h", x, p), *part[4] = {0};
    for (int i = 0; i < 4; i++) {
        const int k = (i + order) % 4;
        vv_tensor *c = small_input(t, NULL, 2, DIM(2, 2), 1 + k, 1);
        if (k == 0) part[k] = vv_dot(t, "lin", vv_linear(t, "hW", h, W, NULL, NULL), c);
        if (k == 1) part[k] = vv_dot(t, "dot", h, c);
        if (k == 2) part[k] = vv_dot(t, "flat", vv_view(t, NULL, h, 1, DIM(4)), c);
        if (k == 3) part[k] = vv_dot(t, "twice", vv_add(t, "hh", h, h), c);
    }
    vv_tensor *a = vv_add(t, NULL, part[0], part[1]), *b = vv_add(t, NULL, part[2], part[3]);
    vv_backward(t, vv_add(t, "total", a, b), 1);
    small_ok(t);
    vv_real *got_p = small_get(p->grad, 2), *got_W = small_get(W->grad, 4);
    for (int i = 0; i < 2; i++) dp[i] = (double)got_p[i];
    for (int i = 0; i < 4; i++) dW[i] = (double)got_W[i];
    free(got_p);
    free(got_W);
    vv_tape_free(t);
    vv_params_free(&ps);
}

static void watch_h(void *ctx, vv_event event, const vv_tensor *x)
{
    char name[VV_NAME_MAX];
    if (event != VV_EVENT_GRAD || strcmp(vv_name(x, name), "h")) return;
    /* c W + e + f + 2 g with c = 1 2 3 4, e = 2 3 4 5, f = 3 4 5 6, g = 4 5 6 7 */
    small_expect(x->grad, 4, (const double[]){7 + 2 + 3 + 8, 10 + 3 + 4 + 10, 15 + 4 + 5 + 12, 22 + 5 + 6 + 14});
    ++*(int *)ctx;
}

START_TEST(fan_out_adds)
{
    for (int order = 0; order < 4; order++) { /* whoever comes back first assigns, the others add */
        double dp[2], dW[4];
        int told = 0;
        fan_out(order, watch_h, &told, dp, dW);
        ck_assert_int_eq(told, 1); /* the gradient is told once, when it is final */
        ck_assert(dp[0] == 20 + 36 && dp[1] == 27 + 47);
        /* dW = c^T h with h = x + p = [[6,6],[4,4]] */
        ck_assert(dW[0] == 1 * 6 + 3 * 4 && dW[1] == 1 * 6 + 3 * 4 && dW[2] == 2 * 6 + 4 * 4 && dW[3] == 2 * 6 + 4 * 4);
    }
}
END_TEST

/* L = 3 sum(view(p x)): forward and backward of one small batch */
static void one_batch(vv_tape *t, vv_tensor *w, double first, double scale)
{
    vv_tensor *x = small_input(t, "x", 2, DIM(2, 3), first, 1);
    vv_tensor *y = vv_view(t, NULL, vv_linear(t, "y", x, w, NULL, NULL), 1, DIM(4));
    vv_backward(t, vv_dot(t, "loss", y, small_input(t, NULL, 1, DIM(4), 1, 1)), scale);
    small_ok(t);
    vv_tape_reset(t);
}

START_TEST(batches_add)
{
    vv_params ps = {0};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    vv_tensor *w = small_param(&ps, "w", 2, DIM(2, 3), 0, 1);
    /* x = [[a,a+1,a+2],[a+3,a+4,a+5]], dy = scale [[1,2],[3,4]]: dw = dy^T x */
    const double first[6] = {9, 13, 17, 12, 18, 24}, second[6] = {9 + 40, 53, 57, 12 + 60, 78, 84};
    double sum[6];
    for (int i = 0; i < 6; i++) sum[i] = first[i] + 2 * second[i];
    one_batch(t, w, 0, 1);
    small_expect(w->grad, 6, first);
    const int64_t bytes = ps.bytes;
    one_batch(t, w, 10, 2);
    small_expect(w->grad, 6, sum);
    vv_params_zero_grad(&ps);
    ck_assert_int_eq(w->has_grad, 0);
    one_batch(t, w, 0, 1); /* the old sum is gone, its memory used again */
    small_expect(w->grad, 6, first);
    ck_assert_int_eq(ps.bytes, bytes);
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

START_TEST(views)
{
    vv_params ps = {0};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    vv_tensor *p = small_param(&ps, "p", 2, DIM(2, 6), 1, 1);
    vv_tensor *a = vv_view(t, "a", p, 3, DIM(2, 2, 3)), *b = vv_view(t, "b", a, 2, DIM(4, 3));
    ck_assert_ptr_eq(a->data, p->data);
    ck_assert_int_eq(b->ndim, 2);
    ck_assert_int_eq(b->dim[0], 4);
    vv_tensor *l = vv_add(t, NULL, vv_dot(t, NULL, b, small_input(t, NULL, 1, DIM(12), 0, 1)),
                          vv_dot(t, NULL, a, small_input(t, NULL, 1, DIM(12), 100, 0)));
    vv_backward(t, l, 1);
    small_ok(t);
    small_expect(p->grad, 12, (const double[]){100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111});
    ck_assert_ptr_null(vv_view(t, "c", p, 2, DIM(5, 2)));
    vv_error err = {0};
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "c: view", "[2,6]", "[5,2]", (char *)NULL);
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

/* ---- what costs nothing ------------------------------------------------------------------------------------------ */
/* x [4,8] -> a [4,16] -> gelu -> b [4,8] -> c [4,8], loss = sum(c); returns the memory */
static vv_memory frozen_chain(int trainable_a, int trainable_b, vv_params *ps)
{
    vv_tape *t = vv_tape_new(ps, VV_RECORD);
    vv_tensor *wa = small_param(ps, "wa", 2, DIM(16, 8), 0, 0.01), *wb = small_param(ps, "wb", 2, DIM(8, 16), 0, 0.01);
    vv_tensor *wc = small_param(ps, "wc", 2, DIM(8, 8), 0, 0.01);
    wa->needs_grad = trainable_a;
    wb->needs_grad = trainable_b;
    vv_tensor *x = small_input(t, "x", 2, DIM(4, 8), 0, 0.1), *one = small_input(t, NULL, 2, DIM(4, 8), 1, 0);
    vv_tensor *h = vv_gelu(t, "act", vv_linear(t, "a", x, wa, NULL, NULL), VVB_GELU_ERF);
    vv_tensor *b = vv_linear(t, "b", h, wb, NULL, NULL);
    ck_assert_int_eq(b->needs_grad, trainable_a || trainable_b);
    vv_backward(t, vv_dot(t, "loss", vv_linear(t, "c", b, wc, NULL, NULL), one), 1);
    small_ok(t);
    const vv_memory m = *vv_tape_memory(t);
    vv_tape_free(t);
    return m;
}

START_TEST(frozen_parameters)
{
    const int64_t R = sizeof(vv_real), all_data = (128 + 128 + 64) * R;
    const double lin = 2 * 4 * 8 * 16; /* FLOPs of one product of a or b */
    vv_params all = {0}, some = {0}, last = {0};
    const vv_memory m_all = frozen_chain(1, 1, &all), m_some = frozen_chain(0, 1, &some),
                    m_last = frozen_chain(0, 0, &last);
    ck_assert_int_eq(all.bytes, 2 * all_data);
    ck_assert_int_eq(some.bytes, all_data + (128 + 64) * R);
    ck_assert_int_eq(last.bytes, all_data + 64 * R);
    ck_assert_ptr_null(vv_param_find(&some, "wa")->grad);
    ck_assert_int_eq(vv_param_find(&some, "wa")->has_grad, 0);
    ck_assert_ptr_null(vv_param_find(&last, "wb")->grad);
    /* a frozen prefix costs no activation gradients: only those of c and the loss are left */
    ck_assert_int_eq(m_last.gradients_peak, (4 * 8 + 1) * R);
    ck_assert_int_eq(m_some.gradients_peak, (4 * 8 + 4 * 8) * R);
    ck_assert_int_eq(m_all.gradients_peak, (4 * 16 + 4 * 16) * R);
    /* backward: dot 2n, c one or two products, b one or two, gelu 14n, a one (its input needs none) */
    ck_assert_double_eq(m_last.flops_backward, 2 * 32 + lin / 2);
    ck_assert_double_eq(m_some.flops_backward, 2 * 32 + lin + lin);
    ck_assert_double_eq(m_all.flops_backward, 2 * 32 + lin + 2 * lin + 14 * 64 + lin);
    ck_assert_double_eq(m_all.flops_forward, m_last.flops_forward);
    vv_params_free(&all);
    vv_params_free(&some);
    vv_params_free(&last);
}
END_TEST

START_TEST(nothing_to_do)
{
    vv_params ps = {0};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    vv_tensor *x = small_input(t, "x", 2, DIM(2, 2), 1, 0), *w = small_param(&ps, "w", 2, DIM(2, 2), 1, 0);
    w->needs_grad = 0;
    vv_backward(t, vv_dot(t, "loss", vv_linear(t, "y", x, w, NULL, NULL), x), 1); /* everything is frozen */
    small_ok(t);
    ck_assert_int_eq(vv_tape_memory(t)->gradients_peak, 0);
    ck_assert_double_eq(vv_tape_memory(t)->flops_backward, 0);
    ck_assert_ptr_null(w->grad);
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

/* ---- traces --------------------------------------------------------------------------------------------------------- */
START_TEST(trace_order)
{
    vv_params ps = {0};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    small_events e = {"", 0};
    vv_trace(t, small_event, &e);
    vv_tensor *w = small_param(&ps, "w", 2, DIM(2, 2), 1, 0), *unused = small_param(&ps, "u", 2, DIM(2, 2), 1, 0);
    vv_tensor *x = small_input(t, "x", 2, DIM(3, 2), 1, 0);
    vv_enter(t, "net", -1);
    vv_tensor *a = vv_linear(t, "a", x, w, NULL, NULL);
    vv_linear(t, "side", a, unused, NULL, NULL); /* its gradient never comes */
    vv_tensor *v = vv_view(t, NULL, a, 1, DIM(6));
    vv_tensor *b = vv_gelu(t, "", v, VVB_GELU_QUICK);
    vv_leave(t);
    vv_backward(t, vv_dot(t, "total", b, small_input(t, NULL, 1, DIM(6), 1, 0)), 1);
    small_ok(t);
    ck_assert_str_eq(e.text, "in x[3,2]\nact net.a[3,2]\nact net.side[3,2]\nact net[6]\nact total[]\n"
                             "grad total[]\ngrad net[6]\ngrad net.a[3,2]\n");
    ck_assert_int_eq(unused->has_grad, 0);
    ck_assert_ptr_null(unused->grad);
    ck_assert_int_eq(vv_tape_memory(t)->gradients, 0); /* every buffer went back */
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("tape", &tc);
    tcase_add_test(tc, names);
    tcase_add_test(tc, long_names);
    tcase_add_test(tc, errors_stick);
    tcase_add_test(tc, errors_of_the_caller);
    tcase_add_test(tc, fan_out_adds);
    tcase_add_test(tc, batches_add);
    tcase_add_test(tc, views);
    tcase_add_test(tc, frozen_parameters);
    tcase_add_test(tc, nothing_to_do);
    tcase_add_test(tc, trace_order);
    return s;
}
VVT_MAIN(suite)
