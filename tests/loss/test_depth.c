/* Depth losses by hand: small maps whose numbers are worked out beside them, every edge case, invariances, forced medians, errors. */
#include "run.h"

/* rounding of values near 1: a few u */
#define NEAR(got, want)                                                                                                \
    ck_assert_msg(fabs((got) - (want)) <= 8 * VV_U * (1 + fabs(want)), "%s: %.17g, expected %.17g", #got, got, want)

/* p: lower median 1, mean deviation 5/4, a = -0.8 0 0.8 2.4.  d: 1, 1, b = 0 2 1 -1.  R = -0.8 -2 -0.2 3.4 */
static const vv_real P[4] = {0, 1, 2, 4}, D[4] = {1, 3, 2, 0};

static depth_call call(int64_t B, int64_t Hh, int64_t Ww, const vv_real *p, const vv_real *d)
{
    return (depth_call){.B = B, .Hh = Hh, .Ww = Ww, .p = p, .d = d, .how = vv_depth_config_default()};
}

static void expect_no_gradient(const depth_result *r, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++)
        ck_assert_msg(r->grad[i] == 0, "gradient at pixel %lld: %g", (long long)i, (double)r->grad[i]);
}

START_TEST(two_by_two)
{
    depth_call c = call(1, 2, 2, P, D);
    depth_result r = depth_ok(&c, 1);
    NEAR(r.ssi, 1.6);   /* 6.4 / 4 */
    NEAR(r.gm, 2.7);    /* (1.2 + 3.6 + 0.6 + 5.4) / 4; the coarser scales see one pixel and no pair */
    NEAR(r.loss, 2.95); /* 1.6 + 0.5 2.7 */
    ck_assert(r.medians[0] == 1 && r.medians[1] == 2 && r.medians[2] == 0 && r.medians[3] == 2);
    ck_assert(r.report.maps == 1 && r.report.pixels == 4 && r.report.flat_label == -1 && r.report.empty == 0);
    c.how.how.average = 1; /* medians 1.5, 1.5; deviations 1.25, 1; R = -0.7 -1.9 -0.1 3.5 */
    NEAR(depth_ok(&c, 0).ssi, 1.55);
    c.how = vv_depth_config_default();
    c.how.how.trim = 0.5; /* 0.2 + 0.8 stay, divided by 4 */
    NEAR(depth_ok(&c, 0).ssi, 0.25);
    c.how = vv_depth_config_default();
    c.how.how.gm = VVB_GM_PAPER; /* 1.25 d - p = 1.25 2.75 0.5 -4: 1.5 + 4.5 + 0.75 + 6.75 */
    NEAR(depth_ok(&c, 0).gm, 3.375);
    c.how.how.gm = VVB_GM_PAPER_SUM;
    NEAR(depth_ok(&c, 0).gm, 13.5);
    c.how.how.gm = VVB_GM_MEGADEPTH; /* no two pixels are two apart */
    NEAR(depth_ok(&c, 0).gm, 0.0);
}
END_TEST

/* a = -1 0 1 2, b = 0 1 2 -1, R = -1 -1 -1 3: of three equal residuals the first two stay. */
START_TEST(trimmed_ties)
{
    const vv_real p[4] = {0, 1, 2, 3}, d[4] = {1, 2, 3, 0}, want[4] = {-0.25f, -0.25f, 0, 0};
    depth_call c = call(1, 2, 2, p, d);
    c.how.lambda_gm = 0;
    c.how.how.trim = 0.5;
    c.how.how.detach = 1;
    const depth_result r = depth_ok(&c, 1);
    NEAR(r.loss, 0.5);
    for (int i = 0; i < 4; i++) ck_assert(r.grad[i] == want[i]);
}
END_TEST

/* d = 2 p + 1 fits exactly. With the first label 5: means 1.5 and 5, A = 5, sum q e = 1 + 3, slope 0.8, fit 3.8 4.6 5.4 6.2 */
START_TEST(least_squares)
{
    const vv_real p[4] = {0, 1, 2, 3}, exact[4] = {1, 3, 5, 7}, off[4] = {5, 3, 5, 7};
    depth_call c = call(1, 2, 2, p, exact);
    c.how.how.align = VVB_ALIGN_LS;
    c.how.how.gm = VVB_GM_LS;
    NEAR(depth_ok(&c, 0).loss, 0.0);
    c.d =
        off; /* A = 5, sum q e = -1.5 0 + (-0.5)(-2) + 0 + 1.5 2 = 4: slope 0.8, mean 5: R = -1.2 1.2 0.4 -0.8 + 0.4.. */
    const depth_result r = depth_ok(&c, 0);
    NEAR(r.ssi, (1.2 + 1.6 + 0.4 + 0.8) / 4);
    NEAR(r.gm, (2.8 + 1.2 + 1.6 + 2.4) / 4);
}
END_TEST

/* of two valid pixels each map is 0 and 2, or 2 and 0 */
START_TEST(few_pixels)
{
    const vv_real p[4] = {1, 77, 5, 88}, d[4] = {9, (vv_real)INFINITY, 2, (vv_real)NAN};
    const int32_t one[4] = {0, 1, 1, 1};
    depth_call c = call(1, 2, 2, p, d);
    depth_result r = depth_ok(&c, 1);
    NEAR(r.ssi, 2.0);
    ck_assert(r.report.pixels == 2 && r.grad[1] == 0 && r.grad[3] == 0);
    c.mask = one; /* one pixel is left */
    r = depth_ok(&c, 1);
    ck_assert(r.loss == 0 && r.report.single == 1 && r.report.pixels == 1 && r.medians[0] == 2);
    expect_no_gradient(&r, 0, 4);
}
END_TEST

START_TEST(nothing_valid)
{
    const vv_real d[4] = {(vv_real)INFINITY, -(vv_real)INFINITY, (vv_real)NAN, 3};
    const int32_t mask[4] = {1, 1, 1, 0};
    depth_call c = call(1, 2, 2, P, d);
    c.mask = mask;
    depth_result r = depth_ok(&c, 1);
    ck_assert(r.loss == 0 && r.report.empty == 1 && r.report.pixels == 0 && r.medians[0] == -1 && r.medians[3] == -1);
    expect_no_gradient(&r, 0, 4);
    c = call(0, 2, 2, P, D); /* no map at all */
    r = depth_ok(&c, 1);
    ck_assert(r.loss == 0 && r.report.maps == 0);
}
END_TEST

/* A flat label: skipped, or L_ssi = 1 with no gradient (mean |a| is 1 whatever p is). */
START_TEST(flat_label)
{
    const vv_real d[4] = {2.5, 2.5, 2.5, 2.5}, nearly[4] = {1000, 1000, 1000, 1000 + (vv_real)0x1p-10},
                  zero[4] = {0, 0, 0, 0};
    depth_call c = call(1, 2, 2, P, d);
    depth_result r = depth_ok(&c, 1);
    ck_assert(r.loss == 0 && r.report.flat_labels == 1 && r.report.flat_label == 0);
    expect_no_gradient(&r, 0, 4);
    c.d = nearly; /* deviation 2.4e-4, below 1e-6 of the largest label */
    ck_assert_int_eq(depth_ok(&c, 1).report.flat_labels, 1);
    c.d = zero;
    ck_assert_int_eq(depth_ok(&c, 1).report.flat_labels, 1);
    c.d = d;
    c.how.how.clamp = 1;
    c.how.lambda_gm = 0;
    r = depth_ok(&c, 1);
    NEAR(r.loss, 1.0);
    ck_assert_int_eq(r.report.flat_labels, 1);
    for (int i = 0; i < 4; i++) ck_assert(fabs((double)r.grad[i]) <= 4 * VV_U);
    vv_real both_p[8], both_d[8]; /* beside the map of two_by_two: no denominator counts its pixels */
    for (int i = 0; i < 8; i++) both_p[i] = P[i % 4], both_d[i] = i < 4 ? d[i] : D[i % 4];
    c = call(2, 2, 2, both_p, both_d);
    r = depth_ok(&c, 1);
    NEAR(r.ssi, 1.6);
    NEAR(r.gm, 2.7);
}
END_TEST

/* A dead prediction: a = 0, so R = -b and L_ssi = mean |b| = 1. It counts, and has a gradient with `clamp` alone: (v - w U) / eps. */
START_TEST(flat_prediction)
{
    const vv_real p[8] = {3, 3, 3, 3, 0, 1, 2, 4}, d[8] = {1, 3, 2, 0, 1, 3, 2, 0};
    depth_call c = call(2, 2, 2, p, d);
    depth_result r = depth_ok(&c, 1);
    NEAR(r.ssi, (4 + 6.4) / 8); /* both maps have 4 pixels in the denominator */
    ck_assert(r.report.flat_predictions == 1 && r.report.flat_prediction == 0);
    expect_no_gradient(&r, 0, 4);
    ck_assert(r.grad[4] != 0);
    c.how.how.clamp = 1;
    c.how.lambda_gm = 0;
    r = depth_ok(&c, 1); /* sign R = 0 -1 -1 1, over 8; the median's pixel is the first: U = -1/8 */
    NEAR((double)r.grad[0] * 1e-6, 0.125);
    NEAR((double)r.grad[1] * 1e-6, -0.125);
    NEAR((double)r.grad[2] * 1e-6, -0.125);
    NEAR((double)r.grad[3] * 1e-6, 0.125);
    c.how.how.align = VVB_ALIGN_LS; /* slope 0, R = mean d - d = 0.5 -1.5 -0.5 1.5; never a gradient */
    r = depth_ok(&c, 1);
    ck_assert_int_eq(r.report.flat_predictions, 1);
    expect_no_gradient(&r, 0, 4);
}
END_TEST

/* Row 1 of three alone is valid: no pixel of it is seen from the second scale on, which adds nothing. */
START_TEST(holes_at_coarse_scales)
{
    vv_real p[12] = {0}, d[12];
    for (int i = 0; i < 12; i++) d[i] = (vv_real)INFINITY;
    for (int i = 0; i < 4; i++) {
        p[4 + i] = P[i];
        d[4 + i] = D[i];
    }
    depth_call c = call(1, 3, 4, p, d);
    const depth_result r = depth_ok(&c, 1);
    NEAR(r.ssi, 1.6);
    NEAR(r.gm, (1.2 + 1.8 + 3.6) / 4);
    expect_no_gradient(&r, 0, 4);
    expect_no_gradient(&r, 8, 12);
}
END_TEST

/* 4 pixels with sum |R| 6.4, and 2 with sum 4 */
START_TEST(reductions)
{
    const vv_real p[8] = {0, 1, 2, 4, 1, 5, 0, 0}, d[8] = {1, 3, 2, 0, 9, 2, (vv_real)NAN, (vv_real)NAN};
    depth_call c = call(2, 2, 2, p, d);
    NEAR(depth_ok(&c, 0).ssi, 10.4 / 6);
    c.how.how.image = 1;
    NEAR(depth_ok(&c, 0).ssi, (6.4 / 4 + 4.0 / 2) / 2);
}
END_TEST

/* ---- invariances --------------------------------------------------------------------------------------------------------- */
enum { B = 3, HH = 9, WW = 7, N = B * HH * WW };
static vv_real p_of[N], d_of[N];
static int32_t mask_of[N];

/* multiples of 1/64, so that 3 p + 2 is exact in float */
static depth_call random_call(void)
{
    vvt_fill_array(p_of, N, VVT_NORMAL, "p");
    vvt_fill_array(d_of, N, VVT_NORMAL, "d");
    for (int i = 0; i < N; i++) {
        p_of[i] = (vv_real)(floor((double)p_of[i] * 64) / 64);
        mask_of[i] = i % 5 != 2;
        if (i % 11 == 3) d_of[i] = (vv_real)INFINITY;
    }
    depth_call c = call(B, HH, WW, p_of, d_of);
    c.mask = mask_of;
    return c;
}

static const vvb_depth_args FREE[] = {
    /* all that are blind to scale and shift of p */
    {.eps = 1e-6, .scales = 4},
    {.eps = 1e-6, .scales = 4, .average = 1, .image = 1},
    {.eps = 1e-6, .scales = 3, .trim = 0.25},
    {.eps = 1e-6, .scales = 4, .align = VVB_ALIGN_LS, .gm = VVB_GM_LS},
    {.eps = 1e-6, .scales = 4, .gm = VVB_GM_MEGADEPTH},
};

/* Each gradient is rounded a few times (twice added to, in vv_real); the median's pixel holds the sum of all others. */
START_TEST(gradient_is_orthogonal)
{
    depth_call c = random_call();
    c.how.how = FREE[_i];
    const depth_result r = depth_ok(&c, 1);
    for (int b = 0; b < B; b++) {
        double g = 0, pg = 0, all = 0, pall = 0;
        for (int i = b * HH * WW; i < (b + 1) * HH * WW; i++) {
            g += (double)r.grad[i];
            pg += (double)p_of[i] * (double)r.grad[i];
            all += fabs((double)r.grad[i]);
            pall += fabs((double)p_of[i] * (double)r.grad[i]);
        }
        ck_assert(all > 0.01);
        ck_assert_msg(fabs(g) <= 16 * VV_U * all, "switches %d, map %d: sum g %.3g of %.3g", _i, b, g, all);
        ck_assert_msg(fabs(pg) <= 16 * VV_U * pall, "switches %d, map %d: sum p g %.3g of %.3g", _i, b, pg, pall);
    }
}
END_TEST

START_TEST(blind_to_scale_and_shift)
{
    static vv_real other[N];
    depth_call c = random_call();
    c.how.how = FREE[_i];
    const double loss = depth_ok(&c, 0).loss;
    ck_assert(loss > 0.1);
    for (int i = 0; i < N; i++) other[i] = 3 * p_of[i] + 2;
    c.p = other;
    NEAR(depth_ok(&c, 0).loss, loss);
}
END_TEST

/* What the printed form lacks: half the prediction is half the loss. */
START_TEST(paper_form_shrinks)
{
    static vv_real half[N];
    depth_call c = random_call();
    c.how.how.gm = VVB_GM_PAPER;
    const double gm = depth_ok(&c, 0).gm;
    for (int i = 0; i < N; i++) half[i] = p_of[i] / 2;
    c.p = half;
    NEAR(depth_ok(&c, 0).gm, gm / 2);
}
END_TEST

/* ---- the choice of medians -------------------------------------------------------------------------------------------------- */
START_TEST(forced_medians)
{
    depth_call c = random_call();
    const depth_result found = depth_ok(&c, 1);
    static int32_t at[4 * B];
    memcpy(at, found.medians, sizeof at);
    c.medians = at;
    const depth_result same = depth_ok(&c, 1);
    ck_assert(same.loss == found.loss && !memcmp(same.grad, found.grad, sizeof found.grad));
    /* Two pixels within rounding of the median: the loss hardly knows which one is it, the gradient does. */
    const vv_real p[4] = {0, 1, 1 + (vv_real)(4 * VV_U), 4};
    const int32_t other[4] = {2, 2, 0, 0};
    depth_call near = call(1, 2, 2, p, D);
    const depth_result first = depth_ok(&near, 1);
    near.medians = other;
    const depth_result second = depth_ok(&near, 1);
    NEAR(first.loss, second.loss);
    ck_assert(fabs((double)(first.grad[1] - second.grad[1])) > 0.1);
    ck_assert(fabs((double)(first.grad[2] - second.grad[2])) > 0.1);
    ck_assert(fabs((double)(first.grad[3] - second.grad[3])) < 1e-5);
}
END_TEST

/* ---- errors -------------------------------------------------------------------------------------------------------------------- */
START_TEST(prediction_not_finite)
{
    static const char *const names[B] = {"a.png", "b.png", "c.png"};
    depth_call c = random_call();
    c.sample = _i ? names : NULL;
    p_of[2 * HH * WW + 3 * WW + 5] = _i ? (vv_real)NAN : -(vv_real)INFINITY;
    const depth_result r = depth_run(&c, 1);
    vvt_expect_error(&r.err, r.status, VV_NONFINITE, "prediction: ", _i ? "sample 2 (c.png): " : "sample 2: ",
                     "prediction is not finite at pixel (3,5)", (char *)NULL);
}
END_TEST

START_TEST(medians_not_valid)
{
    static const char *const names[B] = {"a.png", "b.png", "c.png"};
    static const int32_t wrong[] = {-1, HH * WW, 2 /* masked */, 3 /* infinite label */};
    depth_call c = random_call();
    static int32_t at[4 * B];
    memcpy(at, depth_ok(&c, 0).medians, sizeof at);
    at[2 * B + 2] = wrong[_i]; /* of the label of map 1 */
    if (_i >= 2) {
        for (int i = 0; i < N; i++) mask_of[i] = 1;
        d_of[HH * WW + 3] = (vv_real)NAN;
        mask_of[HH * WW + 2] = 0;
    }
    c.medians = at;
    c.sample = names;
    const depth_result r = depth_run(&c, 0);
    vvt_expect_error(&r.err, r.status, VV_USAGE, "ssi: ", "sample 1 (b.png)", "medians at valid pixels", (char *)NULL);
}
END_TEST

START_TEST(wrong_shapes)
{
    const int64_t dim[3] = {1, 2, 2}, flat[1] = {4}, tall[3] = {1, 4, 1};
    const vv_depth_config how = vv_depth_config_default();
    const int32_t mask[4] = {1, 1, 1, 1};
    vv_error err = {0};
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_depth_maps m = {.p = vv_input(t, "p", VV_REALS, 3, dim, P), .d = vv_input(t, "d", VV_REALS, 3, dim, D)};
    if (_i == 0) m.d = vv_input(t, "d", VV_REALS, 1, flat, D);
    if (_i == 1) m.p = vv_input(t, "p", VV_REALS, 3, tall, P);
    if (_i == 2) m.mask = vv_input(t, "mask", VV_REALS, 3, dim, P);
    if (_i == 3) m.medians = vv_input(t, "medians", VV_INTS, 2, dim, mask); /* [1,2] */
    if (_i == 4) m.medians = vv_input(t, "medians", VV_REALS, 1, flat, P);
    ck_assert_ptr_null(vv_gradient_matching(t, "gm", &m, &how, NULL));
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "gm: gradient_matching: expected ", "prediction [",
                     "label [", (char *)NULL);
    vv_tape_free(t);
}
END_TEST

START_TEST(wrong_switches)
{
    depth_call c = call(1, 2, 2, P, D);
    if (_i == 0) c.how.how.scales = 17;
    if (_i == 1) c.how.how.trim = 1;
    if (_i == 2) c.how.how.eps = 0;
    const depth_result r = depth_run(&c, 0);
    vvt_expect_error(&r.err, r.status, VV_USAGE, "0 to 16 scales", (char *)NULL);
}
END_TEST

/* shapes and FLOPs without data; a map of the head, [B,H,W,1] */
START_TEST(dry)
{
    const int64_t dim[4] = {2, 5, 4, 1};
    const vv_depth_config how = vv_depth_config_default();
    vv_params params = {.dry = 1};
    vv_tensor *p = vv_param_new(&params, "p", 4, dim, NULL);
    vv_tape *t = vv_tape_new(&params, VV_RECORD | VV_DRY);
    vv_depth_maps m = {.p = p, .d = vv_input(t, "d", VV_REALS, 3, dim, NULL)};
    vv_depth_report report;
    vv_tensor *loss = vv_depth_loss(t, "loss", &m, &how, &report);
    vv_backward(t, loss, 1);
    ck_assert_int_eq(vv_tape_status(t, NULL), VV_OK);
    ck_assert(report.maps == 2 && report.pixels == 0);
    ck_assert(vv_tape_memory(t)->flops_backward > 0);
    vv_tape_free(t);
    vv_params_free(&params);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("loss/depth", &tc);
    tcase_add_test(tc, two_by_two);
    tcase_add_test(tc, trimmed_ties);
    tcase_add_test(tc, least_squares);
    tcase_add_test(tc, few_pixels);
    tcase_add_test(tc, nothing_valid);
    tcase_add_test(tc, flat_label);
    tcase_add_test(tc, flat_prediction);
    tcase_add_test(tc, holes_at_coarse_scales);
    tcase_add_test(tc, reductions);
    tcase_add_loop_test(tc, gradient_is_orthogonal, 0, sizeof FREE / sizeof *FREE);
    tcase_add_loop_test(tc, blind_to_scale_and_shift, 0, sizeof FREE / sizeof *FREE);
    tcase_add_test(tc, paper_form_shrinks);
    tcase_add_test(tc, forced_medians);
    tcase_add_loop_test(tc, prediction_not_finite, 0, 2);
    tcase_add_loop_test(tc, medians_not_valid, 0, 4);
    tcase_add_loop_test(tc, wrong_shapes, 0, 5);
    tcase_add_loop_test(tc, wrong_switches, 0, 3);
    tcase_add_test(tc, dry);
    return s;
}

VVT_MAIN(suite)
