/* AdamW and clipping against torch (golden/torch/adamw.safetensors), and the rules around them. */
#include <math.h>

#include "io/safetensors.h"
#include "optim/adamw.h"
#include "vvt.h"

/* The update is computed in double and rounded once in the float build: six updates lose at most six roundings of p, relative to its
 * own size, and the quotient a few u of a step that is at most about lr. The double build only differs in the order of a few operations. */
#define LIMIT (sizeof(vv_real) == 8 ? 1e-14 : 6 * 0x1p-24)

static const char *const names[3] = {"a", "b", "c"};
static vv_st *torch;

static const vv_st_entry *entry(const char *what, int k, const char *name)
{
    char key[32];
    if (k < 0) snprintf(key, sizeof key, "%s.%s", what, name);
    else snprintf(key, sizeof key, "%s.%d.%s", what, k, name);
    return vv_st_find(torch, key);
}

static double rel_rms(const vv_st_entry *e, const vv_real *got)
{
    double sum = 0, diff = 0, *want = calloc((size_t)e->n, sizeof *want);
    VVT_OK(vv_st_read_f64(torch, e, want, err));
    for (int64_t i = 0; i < e->n; i++) {
        sum += want[i] * want[i];
        diff += (want[i] - (double)vvt_peek(got, i)) * (want[i] - (double)vvt_peek(got, i));
    }
    free(want);
    return sqrt(diff / sum);
}

/* an entry of the file into memory of the backend */
static void load(const vv_st_entry *e, void *to)
{
    vv_real *v = calloc((size_t)e->n, sizeof *v);
    VVT_OK(vv_st_read_real(torch, e, v, err));
    vvb_upload(to, v, e->n * (int64_t)sizeof *v);
    free(v);
}

static void three_params(vv_params *ps)
{
    for (int i = 0; i < 3; i++) {
        const vv_st_entry *e = entry("p", -1, names[i]);
        ck_assert_ptr_nonnull(e);
        vv_tensor *x = vv_param_new(ps, names[i], e->ndim, e->shape, NULL);
        load(e, x->data);
        ck_assert_ptr_nonnull(x->grad = vvb_alloc(x->n * (int64_t)sizeof(vv_real)));
    }
}

static int group_of(const void *ctx, const vv_tensor *p)
{
    (void)ctx;
    return p->name[0] == 'b';
}

static const vv_adamw_group groups[2] = {{1e-2, 0.9, 0.99, 1e-8, 0.1}, {3e-3, 0.8, 0.999, 1e-6, 0}};

static void set_up(vv_params *ps, vv_adamw **o)
{
    VVT_OK(vv_st_open(&torch, vvt_root("golden/torch/adamw.safetensors"), err));
    three_params(ps);
    VVT_OK(vv_adamw_new(o, ps, groups, 2, group_of, NULL, err));
}

static void tear_down(vv_params *ps, vv_adamw *o)
{
    vv_adamw_free(o);
    vv_params_free(ps);
    vv_st_close(torch);
}

static void load_gradients(vv_params *ps, int k)
{
    for (int i = 0; i < 3; i++) {
        const vv_st_entry *g = entry("g", k, names[i]);
        ps->at[i]->has_grad = g != NULL;
        if (g) load(g, ps->at[i]->grad);
    }
}

static void check(const char *what, int k, int i, const vv_real *got)
{
    const vv_st_entry *e = entry(what, k, names[i]);
    if (!e) return;
    const double error = rel_rms(e, got);
    ck_assert_msg(error <= LIMIT, "%s of %s after update %d: relative RMS %.3e, limit %.3e", what, names[i], k, error,
                  LIMIT);
}

START_TEST(same_as_torch)
{
    vv_params ps = {0};
    vv_adamw *o;
    set_up(&ps, &o);
    for (int k = 0; k < 6; k++) {
        double norm = 0, want = 0;
        load_gradients(&ps, k);
        VVT_OK(vv_adamw_step(o, 1, &norm, err));
        char key[32];
        snprintf(key, sizeof key, "norm.%d", k);
        VVT_OK(vv_st_read_f64(torch, vv_st_find(torch, key), &want, err));
        ck_assert_msg(fabs(norm / want - 1) < 1e-14, "norm %d: %.17g, expected %.17g", k, norm,
                      want); /* both in double */
        for (int i = 0; i < 3; i++) {
            check("p", k, i, ps.at[i]->data);
            if (o->m[i]) check("m", k, i, o->m[i]);
            if (o->v[i]) check("v", k, i, o->v[i]);
        }
    }
    ck_assert_int_eq(o->t[0], 6);
    ck_assert_int_eq(o->t[2], 4); /* skipped twice: its own count */
    tear_down(&ps, o);
}
END_TEST

START_TEST(zero_gradient_still_decays)
{
    vv_params ps = {0};
    vv_adamw *o;
    set_up(&ps, &o);
    vv_tensor *a = ps.at[0];
    const vv_real before = vvt_peek(a->data, 3);
    vvb_zero(a->grad, a->n * (int64_t)sizeof(vv_real));
    a->has_grad = 1;
    VVT_OK(vv_adamw_step(o, 0, NULL, err));
    ck_assert_double_eq_tol((double)vvt_peek(a->data, 3), (double)before * (1 - 1e-2 * 0.1),
                            fabs((double)before) * VV_U * 2);
    ck_assert_int_eq(o->t[1], 0); /* without a gradient nothing happened */
    tear_down(&ps, o);
}
END_TEST

/* lr wd = 1e-7: 1 - lr wd is 1 - 1.19e-7 in float, 19 % too much */
START_TEST(small_decay_is_not_rounded_away)
{
    vv_params ps = {0};
    vv_adamw *o;
    set_up(&ps, &o);
    vv_tensor *a = ps.at[0];
    o->group[0].lr = 1e-5;
    o->group[0].weight_decay = 1e-2;
    double sum = 0, want = 0;
    for (int64_t i = 0; i < a->n; i++) vvt_poke(a->data, i, (vv_real)(1 + 0.9 * (double)i / (double)a->n));
    vvb_zero(a->grad, a->n * (int64_t)sizeof(vv_real));
    a->has_grad = 1;
    for (int64_t i = 0; i < a->n; i++) want += (double)vvt_peek(a->data, i);
    VVT_OK(vv_adamw_step(o, 0, NULL, err));
    for (int64_t i = 0; i < a->n; i++) sum += (double)vvt_peek(a->data, i);
    if (sizeof(vv_real) == 8) ck_assert_double_eq_tol(1 - sum / want, 1e-7, 1e-14);
    else ck_assert_double_eq_tol(1 - sum / want, 1e-7, 3e-8); /* rounding of p itself, averaged over 85 values */
    tear_down(&ps, o);
}
END_TEST

START_TEST(not_finite_changes_nothing)
{
    vv_params ps = {0};
    vv_adamw *o;
    vv_error e = {0};
    set_up(&ps, &o);
    load_gradients(&ps, 0);
    vvt_poke(ps.at[1]->grad, 7, (vv_real)NAN);
    const vv_real before = vvt_peek(ps.at[0]->data, 0);
    vvt_expect_error(&e, vv_adamw_step(o, 1, NULL, &e), VV_NONFINITE, "b: ", "not finite", NULL);
    ck_assert(vvt_peek(ps.at[0]->data, 0) == before);
    ck_assert_int_eq(o->t[0], 0);
    tear_down(&ps, o);
}
END_TEST

static int no_group(const void *ctx, const vv_tensor *p)
{
    (void)ctx;
    return p->name[0] == 'c' ? 2 : 0;
}

START_TEST(unknown_group_is_refused)
{
    vv_params ps = {0};
    vv_adamw *o, *other = NULL;
    vv_error e = {0};
    set_up(&ps, &o);
    vvt_expect_error(&e, vv_adamw_new(&other, &ps, groups, 2, no_group, NULL, &e), VV_USAGE, "c: ", "0 to 1",
                     (char *)NULL);
    tear_down(&ps, o);
}
END_TEST

/* bits do not depend on the number of threads, for a size that is split */
START_TEST(same_bits_on_any_threads)
{
    enum { N = 50001 };
    static vv_real p[4][N], g[N];
    vv_real *x[4]; /* p, m, v, g of the backend */
    double sum[4];
    for (int k = 0; k < 4; k++) ck_assert_ptr_nonnull(x[k] = vvb_alloc((int64_t)sizeof g));
    for (int threads = 1; threads <= 4; threads++) {
        vvb_init(threads);
        for (int i = 0; i < N; i++) {
            p[threads - 1][i] = (vv_real)(i % 97) / 7;
            g[i] = (vv_real)((i * 31) % 113 - 50) / 3;
        }
        vvb_upload(x[0], p[threads - 1], (int64_t)sizeof g);
        vvb_zero(x[1], (int64_t)sizeof g);
        vvb_zero(x[2], (int64_t)sizeof g);
        vvb_upload(x[3], g, (int64_t)sizeof g);
        const vvb_adamw_args a = {1e-3, 0.9, 0.999, 1e-8, 1e-2, 0.5, 1};
        vvb_adamw(x[0], x[1], x[2], x[3], N, &a);
        vvb_download(p[threads - 1], x[0], (int64_t)sizeof g);
        sum[threads - 1] = vvb_sum_squares(x[3], N);
        ck_assert_int_eq(memcmp(p[0], p[threads - 1], sizeof p[0]), 0);
        ck_assert(sum[threads - 1] == sum[0]);
    }
    for (int k = 0; k < 4; k++) vvb_free(x[k], (int64_t)sizeof g);
    vvb_init(0);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("adamw", &tc);
    tcase_add_test(tc, same_as_torch);
    tcase_add_test(tc, zero_gradient_still_decays);
    tcase_add_test(tc, small_decay_is_not_rounded_away);
    tcase_add_test(tc, not_finite_changes_nothing);
    tcase_add_test(tc, unknown_group_is_refused);
    tcase_add_test(tc, same_bits_on_any_threads);
    return s;
}
VVT_MAIN(suite)
