/* The depth head: its sizes, its gradients, batches, threads, what nothing reads, and the taps it refuses. */
#include "model/dpt.h"

/* Two summation orders of the same few layers part by some tens of roundings. */
static const double ROUNDING = 256 * VV_U;

/* ---- sizes ----------------------------------------------------------------------------------------------------------- */
/* Published heads and those that the paper's text allows. The counts of Depth Anything V2 are those of its checkpoints. */
static const struct {
    const char *name, *config;
    int64_t width, depth, count;
} SIZES[] = {
    {"dpt4", "{\"taps\": [7, 15, 23, 31]}", 1280, 32, 38812097},
    {"dpt4r", "{}", 1280, 32, 38812097},
    {"dpt3a", "{\"out_channels\": [512, 1024, 1280], \"features\": 384}", 1280, 32, 38822017},
    {"dpt3b", "{\"out_channels\": [1024, 1024, 1024], \"output_features\": 256, \"unused_unit\": false}", 1280, 32,
     38748737},
    {"dpt3lite", "{\"taps\": [10, 21, 31]}", 1280, 32, 17050305},
    {"small", "{\"out_channels\": [48, 96, 192, 384], \"features\": 64}", 384, 12, 2728513},
    {"base", "{\"out_channels\": [96, 192, 384, 768], \"features\": 128}", 768, 12, 10890305},
    {"large", "{}", 1024, 24, 30947009},
    {"giant", "{\"out_channels\": [1536, 1536, 1536, 1536], \"features\": 384}", 1536, 40, 121651457},
};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES };

START_TEST(parameter_counts)
{
    vv_params ps = {.dry = 1};
    vv_dpt *m = NULL;
    int64_t count = 0;
    const vv_dpt_config c = dpt_config(SIZES[_i].config, &(dpt_size){SIZES[_i].width, SIZES[_i].depth, 14, 0, 0, 0});
    VVT_OK(vv_dpt_new(&m, &ps, &c, err));
    for (int64_t i = 0; i < ps.n; i++) count += ps.at[i]->n;
    ck_assert_msg(count == SIZES[_i].count, "%s: %lld parameters, expected %lld", SIZES[_i].name, (long long)count,
                  (long long)SIZES[_i].count);
    vv_dpt_free(m);
    vv_params_free(&ps);
}
END_TEST

/* height and width of the map that each level's layer returns */
typedef struct {
    int64_t size[VV_DPT_LEVELS][2];
} maps;

static void see_maps(void *ctx, vv_event event, const vv_tensor *x)
{
    char name[VV_NAME_MAX];
    int level;
    if (event != VV_EVENT_ACT || sscanf(vv_name(x, name), "depth_head.scratch.layer%d_rn", &level) != 1) return;
    ((maps *)ctx)->size[level - 1][0] = x->dim[1];
    ((maps *)ctx)->size[level - 1][1] = x->dim[2];
}

/* the paper's head, without data: an odd side is halved up */
static void expect_maps(const char *config, int64_t h, int64_t w, const maps *want)
{
    vv_params ps = {.dry = 1};
    vv_dpt *m = NULL;
    maps got = {{{0}}};
    const vv_dpt_config c = dpt_config(config, &(dpt_size){1280, 32, 14, 0, 0, 0});
    VVT_OK(vv_dpt_new(&m, &ps, &c, err));
    vv_tape *t = vv_tape_new(&ps, VV_DRY);
    vv_trace(t, see_maps, &got);
    const int64_t dim[2] = {3 * h * w, 1280};
    vv_tensor *x = vv_input(t, "tap", VV_REALS, 2, dim, NULL), *tap[VV_DPT_LEVELS] = {x, x, x, x};
    vv_tensor *d = vv_dpt_forward(t, m, tap, 3, h, w);
    VVT_OK(vv_tape_status(t, err));
    ck_assert(d->ndim == 3 && d->dim[0] == 3 && d->dim[1] == 14 * h && d->dim[2] == 14 * w);
    ck_assert_mem_eq(&got, want, sizeof got);
    vv_tape_free(t);
    vv_dpt_free(m);
    vv_params_free(&ps);
}

START_TEST(sizes_of_maps)
{
    expect_maps("{}", 37, 38, &(maps){{{148, 152}, {74, 76}, {37, 38}, {19, 19}}});
    expect_maps("{}", 1, 2, &(maps){{{4, 8}, {2, 4}, {1, 2}, {1, 1}}});
    expect_maps("{\"taps\": [10, 21, 31]}", 37, 5, &(maps){{{148, 20}, {74, 10}, {37, 5}}});
    expect_maps("{\"taps\": [10, 21, 31], \"first_scale\": 2}", 37, 5, &(maps){{{74, 10}, {37, 5}, {19, 3}}});
}
END_TEST

/* ---- what nothing reads, and what is dead ------------------------------------------------------------------------------- */
static int is_unused(const dpt_setup *s, const vv_tensor *x)
{
    char unit[64];
    snprintf(unit, sizeof unit, "refinenet%d.resConfUnit1", (int)s->config.levels);
    return strstr(x->name, unit) != NULL;
}

/* Nothing reads the deepest resConfUnit1: NaN there changes nothing, and it gets no gradient. Every other parameter gets one. */
START_TEST(unused_unit)
{
    dpt_setup s;
    int unused = 0;
    dpt_start(&s, SMALL[_i].config, &SMALL[_i].size);
    dpt_out before = dpt_run(&s, 0, NULL, NULL);
    for (int64_t i = 0; i < s.params.n; i++) {
        vv_tensor *x = s.params.at[i];
        if (!is_unused(&s, x)) continue;
        vv_real *v = vv_calloc(x->n, sizeof *v);
        for (int64_t k = 0; k < x->n; k++) v[k] = (vv_real)NAN;
        dpt_set(x, v);
        free(v);
        unused++;
    }
    ck_assert_int_eq(unused, s.config.unused_unit ? 4 : 0);
    dpt_out after = dpt_run(&s, VV_RECORD, NULL, NULL);
    ck_assert_mem_eq(after.d, before.d, (size_t)after.n * sizeof *after.d);
    for (int64_t i = 0; i < s.params.n; i++) {
        int read = i >= s.config.depth;
        for (int64_t l = 0; l < s.config.levels; l++) read |= s.config.taps[l] == i;
        ck_assert_msg(s.params.at[i]->has_grad == (read && !is_unused(&s, s.params.at[i])), "%s", s.params.at[i]->name);
    }
    free(before.d);
    free(after.d);
    dpt_finish(&s);
}
END_TEST

START_TEST(dead)
{
    dpt_setup s;
    dpt_start(&s, SMALL[0].config, &SMALL[0].size);
    vv_tensor *bias = vv_param_find(&s.params, "depth_head.scratch.output_conv2.2.bias");
    for (int alive = 0; alive < 2; alive++) {
        const vv_real v = alive ? 1000 : -1000;
        dpt_set(bias, &v);
        dpt_out o = dpt_run(&s, VV_RECORD, NULL, NULL);
        vv_real g;
        vvb_download(&g, bias->grad, sizeof g);
        ck_assert_int_eq(o.dead, !alive);
        ck_assert_int_eq(g == 0, !alive);
        free(o.d);
    }
    vv_real one[2] = {0, (vv_real)1e-30};
    vv_tape *t = vv_tape_new(NULL, 0);
    const int64_t dim[3] = {1, 1, 2};
    ck_assert(!vv_dpt_dead(vv_input(t, NULL, VV_REALS, 3, dim, one))); /* a single living pixel */
    one[1] = (vv_real)NAN;
    ck_assert(!vv_dpt_dead(vv_input(t, NULL, VV_REALS, 3, dim, one)));
    vv_tape_free(t);
    dpt_finish(&s);
}
END_TEST

/* picture p of a batch as a batch of its own */
static void alone(dpt_setup *one, const dpt_setup *all, int i, int64_t p)
{
    dpt_size z = SMALL[i].size;
    z.B = 1;
    dpt_start(one, SMALL[i].config, &z);
    for (int64_t k = 0; k < one->config.depth; k++) {
        vv_real *v = tower_get(all->tap[k]->data, all->tap[k]->n);
        dpt_set(one->tap[k], v + p * one->tap[k]->n);
        free(v);
    }
    const int64_t n = z.h * z.w * z.patch * z.patch;
    memcpy(one->cotangent, all->cotangent + p * n, (size_t)n * sizeof *one->cotangent);
}

START_TEST(batch_equals_one_by_one)
{
    dpt_setup all, one;
    dpt_start(&all, SMALL[_i].config, &SMALL[_i].size);
    dpt_out o = dpt_run(&all, VV_RECORD, NULL, NULL);
    vv_real **sum = vv_calloc(all.params.n, sizeof *sum);
    for (int64_t p = 0; p < all.B; p++) {
        alone(&one, &all, _i, p);
        dpt_out q = dpt_run(&one, VV_RECORD, NULL, NULL);
        ck_assert_double_lt(tower_distance(o.d + p * q.n, q.d, q.n), ROUNDING);
        for (int64_t i = 0; i < one.params.n; i++) {
            vv_tensor *x = all.params.at[i];
            if (!x->has_grad) continue;
            const int tap = i < one.config.depth;
            vv_real *g = tower_get(one.params.at[i]->grad, one.params.at[i]->n);
            if (!sum[i]) sum[i] = vv_calloc(x->n, sizeof **sum);
            for (int64_t k = 0; k < one.params.at[i]->n; k++) sum[i][tap ? p * one.params.at[i]->n + k : k] += g[k];
            free(g);
        }
        free(q.d);
        dpt_finish(&one);
    }
    for (int64_t i = 0; i < all.params.n; i++) {
        const vv_tensor *x = all.params.at[i];
        if (!x->has_grad) continue;
        vv_real *g = tower_get(x->grad, x->n);
        ck_assert_msg(tower_distance(g, sum[i], x->n) < ROUNDING, "%s", x->name);
        free(g);
        free(sum[i]);
    }
    free(sum);
    free(o.d);
    dpt_finish(&all);
}
END_TEST

/* large enough that every operation is cut into parts; with checkpoints on even numbers of threads */
START_TEST(threads_and_checkpoints_change_no_bit)
{
    const int64_t threads = vvb_get_info()->threads;
    dpt_setup s;
    dpt_start(&s, "{\"out_channels\": [24, 32, 40, 40], \"features\": 32}", &(dpt_size){48, 3, 14, 2, 5, 7});
    vv_real **grad = vv_calloc(s.params.n, sizeof *grad);
    dpt_out first = {0};
    for (int run = 1; run <= 4; run++) {
        vvb_init(run);
        dpt_out o = dpt_run(&s, VV_RECORD | (run % 2 ? 0 : VV_CHECKPOINT), NULL, NULL);
        if (run == 1) first = o;
        else ck_assert_mem_eq(o.d, first.d, (size_t)o.n * sizeof *o.d);
        for (int64_t i = 0; i < s.params.n; i++) {
            if (!s.params.at[i]->has_grad) continue;
            vv_real *g = tower_get(s.params.at[i]->grad, s.params.at[i]->n);
            if (run == 1) grad[i] = g;
            else ck_assert_mem_eq(g, grad[i], (size_t)s.params.at[i]->n * sizeof *g);
            if (run > 1) free(g);
        }
        if (run > 1) free(o.d);
    }
    vvb_init((int)threads);
    for (int64_t i = 0; i < s.params.n; i++) free(grad[i]);
    free(grad);
    free(first.d);
    dpt_finish(&s);
}
END_TEST

/* ---- finite differences ------------------------------------------------------------------------------------------------ */
#ifdef VV_DOUBLE
/* What the ReLUs read: the smallest of it, and a number that changes with any sign of it. */
typedef struct {
    double margin;
    uint64_t signs;
} kinks;

static void see_kinks(void *ctx, vv_event event, const vv_tensor *x)
{
    static const char *const read[] = {".conv1", "_rn", "#sum", ".output_conv2.0", ".output_conv2.2"};
    kinks *k = ctx;
    char name[VV_NAME_MAX];
    int relu = 0;
    if (event != VV_EVENT_ACT) return;
    for (int i = 0; i < 5; i++) {
        const size_t n = strlen(read[i]), all = strlen(vv_name(x, name));
        relu |= all >= n && !strcmp(name + all - n, read[i]);
    }
    vv_real *v = relu ? tower_get(x->data, x->n) : NULL;
    for (int64_t i = 0; v && i < x->n; i++) {
        k->margin = fmin(k->margin, fabs(v[i]));
        k->signs = k->signs * 6364136223846793005u + (v[i] > 0) + 1;
    }
    free(v);
}

/* With one weight moved the head is a polynomial between kinks: the points keep a margin, and no sign changes on the way. */
START_TEST(finite_differences)
{
    enum { SAMPLES = 6 };
    const double h = 1e-6, margin = 1e-5;
    dpt_setup s;
    dpt_start(&s, SMALL[_i].config, &SMALL[_i].size);
    kinks here = {INFINITY, 0};
    dpt_out o = dpt_run(&s, VV_RECORD, see_kinks, &here);
    free(o.d);
    ck_assert_msg(here.margin >= margin, "a ReLU reads %.1e", here.margin);
    for (int64_t i = 0; i < s.params.n; i++) {
        vv_tensor *x = s.params.at[i];
        if (!x->has_grad) continue;
        double d2 = 0, g2 = 0;
        vv_real *v = tower_get(x->data, x->n), *g = tower_get(x->grad, x->n);
        for (int k = 0; k < SAMPLES; k++) {
            const int64_t at = (int64_t)(vv_random_uniform(3, vv_stream(x->name), (uint64_t)k) * (double)x->n);
            const vv_real keep = v[at];
            double loss[2];
            for (int side = 0; side < 2; side++) {
                kinks there = {INFINITY, 0};
                v[at] = keep + (side ? h : -h);
                dpt_set(x, v);
                o = dpt_run(&s, 0, see_kinks, &there);
                loss[side] = o.loss;
                ck_assert_msg(there.signs == here.signs, "%s: a kink is crossed", x->name);
                free(o.d);
            }
            v[at] = keep;
            const double fd = (loss[1] - loss[0]) / (2 * h);
            d2 += (fd - g[at]) * (fd - g[at]);
            g2 += g[at] * g[at];
        }
        dpt_set(x, v);
        ck_assert_msg(g2 > 0 && sqrt(d2) <= 1e-7 * sqrt(g2), "%s: relative L2 %.2e", x->name, sqrt(d2 / g2));
        free(v);
        free(g);
    }
    dpt_finish(&s);
}
END_TEST
#endif

/* ---- refused ---------------------------------------------------------------------------------------------------------- */
START_TEST(refused_taps)
{
    dpt_setup s;
    dpt_start(&s, SMALL[0].config, &SMALL[0].size);
    const int64_t grids[][3] = {{2, 3, 3}, {1, 2, 3}, {0, 2, 3}, {2, -2, -3}, {2, 0, 3}};
    for (int i = 0; i < 6; i++) {
        vv_error e = {0};
        vv_tape *t = vv_tape_new(&s.params, 0);
        const int64_t narrow[2] = {12, 4};
        vv_tensor *tap[VV_DPT_LEVELS] = {s.tap[0], s.tap[1], s.tap[2], s.tap[2]};
        if (i == 5) tap[3] = vv_input(t, "tap", VV_REALS, 2, narrow, NULL);
        ck_assert_ptr_null(i < 5 ? vv_dpt_forward(t, s.head, tap, grids[i][0], grids[i][1], grids[i][2])
                                 : vv_dpt_forward(t, s.head, tap, 2, 2, 3));
        vvt_expect_error(&e, vv_tape_status(t, &e), VV_USAGE, "depth head", "one for each patch",
                         i < 5 ? "[12,5]" : "[12,4]", NULL);
        vv_tape_free(t);
    }
    dpt_finish(&s);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("depth head", &tc);
    tcase_add_loop_test(tc, parameter_counts, 0, N_SIZES);
    tcase_add_test(tc, sizes_of_maps);
    tcase_add_loop_test(tc, unused_unit, 0, N_SMALL);
    tcase_add_test(tc, dead);
    tcase_add_loop_test(tc, batch_equals_one_by_one, 0, N_SMALL);
    tcase_add_test(tc, threads_and_checkpoints_change_no_bit);
#ifdef VV_DOUBLE
    tcase_add_loop_test(tc, finite_differences, 0, N_SMALL);
#endif
    tcase_add_test(tc, refused_taps);
    return s;
}
VVT_MAIN(suite)
