/* Losses of masks by hand: numbers worked out beside them, empty masks, no masks, far logits, errors. */
#include "loss/loss.h"
#include "vvt_check.h"

#define NEAR(got, want)                                                                                                \
    ck_assert_msg(fabs((got) - (want)) <= 8 * VV_U * (1 + fabs(want)), "%s: %.17g, expected %.17g", #got, got, want)

typedef struct {
    double bce, dice, loss;
    vv_real dx[16];
} result;

static void on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    result *r = ctx;
    vv_real v = 0;
    if (event != VV_EVENT_ACT) return;
    vvb_download(&v, x->data, sizeof v);
    if (!strcmp(x->name, "bce")) r->bce = (double)v;
    if (!strcmp(x->name, "dice")) r->dice = (double)v;
}

static vv_status run(result *r, int64_t R, int64_t C, const vv_real *x, const vv_real *z, const vv_seg_config *how,
                     const char *const *sample, vv_error *err)
{
    const int64_t dim[2] = {R, C}, n = R * C;
    vv_params params = {0};
    vv_real value = 0;
    *r = (result){0, 0, 0, {0}};
    vv_tensor *logits = vv_param_new(&params, "logits", 2, dim, err);
    vvb_upload(logits->data, x, n * (int64_t)sizeof *x);
    vv_tape *t = vv_tape_new(&params, VV_RECORD);
    vv_trace(t, on_event, r);
    vv_tensor *loss = vv_seg_loss(t, "loss", logits, vv_input(t, NULL, VV_REALS, 2, dim, z), how, sample);
    if (loss) vvb_download(&value, loss->data, sizeof value);
    vv_backward(t, loss, 1);
    if (logits->has_grad) vvb_download(r->dx, logits->grad, n * (int64_t)sizeof *r->dx);
    r->loss = (double)value;
    const vv_status s = vv_tape_status(t, err);
    vv_tape_free(t);
    vv_params_free(&params);
    return s;
}

static result ok(int64_t R, int64_t C, const vv_real *x, const vv_real *z, double smooth)
{
    result r;
    vv_seg_config how = vv_seg_config_default();
    how.smooth = smooth;
    VVT_OK(run(&r, R, C, x, z, &how, NULL, err));
    return r;
}

/* Logits 0 are probabilities 1/2: bce = log 2; dice = 1 - (2 (1/2 + 1/2) + e) / (2 + 2 + e) with two of four pixels in the mask. */
START_TEST(undecided)
{
    const vv_real x[4] = {0, 0, 0, 0}, z[4] = {1, 0, 1, 0};
    const result r = ok(1, 4, x, z, 1);
    NEAR(r.bce, 0.69314718055994530942);
    NEAR(r.dice, 1 - 3.0 / 5);
    NEAR(r.loss, 2 * 0.69314718055994530942 + 0.5 * 0.4);
    /* 2 (1/2 - z)/4 + 1/2 (3 - 2 z 5)/25 1/4 */
    NEAR((double)r.dx[0], -0.25 + 0.5 * (3 - 10) / 25.0 / 4);
    NEAR((double)r.dx[1], 0.25 + 0.5 * 3 / 25.0 / 4);
}
END_TEST

/* each mask counts the same: the mean over masks of the mean over pixels */
START_TEST(mean_of_masks)
{
    const vv_real x[4] = {0, 0, 40, 40}, z[4] = {1, 1, 1, 1};
    const result r = ok(2, 2, x, z, 1e-3);
    NEAR(r.bce, 0.69314718055994530942 / 2);
    NEAR(r.dice, (1 - (2 + 1e-3) / (3 + 1e-3)) / 2);
}
END_TEST

/* no pixel in the mask: dice is nearly 1 with a tiny gradient, bce drives the logits down */
START_TEST(empty_mask)
{
    const vv_real x[4] = {0, 0, 0, 0}, z[4] = {0, 0, 0, 0};
    const result r = ok(1, 4, x, z, 1e-3);
    NEAR(r.dice, 1 - 1e-3 / 2.001);
    for (int i = 0; i < 4; i++) NEAR((double)r.dx[i], 2 * 0.125 + 0.5 * 1e-3 / (2.001 * 2.001) / 4);
}
END_TEST

START_TEST(no_masks)
{
    const vv_real none[1] = {0};
    result r = ok(0, 4, none, none, 1e-3);
    ck_assert(r.loss == 0 && r.bce == 0 && r.dice == 0);
    r = ok(2, 0, none, none, 1e-3); /* masks without pixels */
    ck_assert(r.loss == 0);
}
END_TEST

/* Confident and right, as far as a logit goes: what is left is exp(-x), to all its digits; nothing overflows. */
START_TEST(far_logits)
{
    const double tiny = exp(-60);
    const vv_real x[2] = {60, -60}, z[2] = {1, 0}, huge[2] = {3e38f, -3e38f};
    result r = ok(1, 2, x, z, 1e-3);
    ck_assert(fabs(r.bce / tiny - 1) < 8 * VV_U);
    const double want = -(2 * tiny / 2 + 0.5 * (2.001 * 2 - 2.001) / (2.001 * 2.001) * tiny);
    ck_assert_msg(fabs((double)r.dx[0] / want - 1) < 16 * VV_U, "%g", (double)r.dx[0] / want - 1);
    r = ok(1, 2, huge, z, 1e-3);
    ck_assert(r.loss == 0 && r.dx[0] == 0 && r.dx[1] == 0);
    const vv_real wrong[2] = {0, 1};
    r = ok(1, 2, huge, wrong, 1e-3);
    ck_assert(fabs(r.bce / 3e38 - 1) < 1e-6);
}
END_TEST

START_TEST(logit_not_finite)
{
    static const char *const names[] = {"one", "two"};
    const vv_real x[6] = {0, 1, 2, 3, (vv_real)INFINITY, 4}, z[6] = {0};
    const vv_seg_config how = vv_seg_config_default();
    result r;
    vv_error err = {0};
    vvt_expect_error(&err, run(&r, 2, 3, x, z, &how, names, &err), VV_NONFINITE,
                     "logits: bce: sample 1 (two): ", "not finite at pixel (0,1)", (char *)NULL);
}
END_TEST

START_TEST(wrong_arguments)
{
    const int64_t dim[2] = {2, 3}, other[2] = {3, 2};
    const vv_real x[6] = {0};
    vv_error err = {0};
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_tensor *a = vv_input(t, "a", VV_REALS, 2, dim, x), *b = vv_input(t, "b", VV_REALS, 2, other, x);
    if (_i == 0) {
        ck_assert_ptr_null(vv_bce(t, "bce", a, b, NULL));
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "bce: bce: expected ", "logits [2,3]",
                         "targets [3,2]", (char *)NULL);
    } else if (_i == 1) {
        ck_assert_ptr_null(vv_dice(t, "dice", a, a, 0, NULL));
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "smooth", (char *)NULL);
    } else {
        ck_assert_ptr_null(vv_weighted_sum(t, "sum", 1, a, 1, b));
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "two numbers", "x [2,3]", (char *)NULL);
    }
    vv_tape_free(t);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("loss/masks", &tc);
    tcase_add_test(tc, undecided);
    tcase_add_test(tc, mean_of_masks);
    tcase_add_test(tc, empty_mask);
    tcase_add_test(tc, no_masks);
    tcase_add_test(tc, far_logits);
    tcase_add_test(tc, logit_not_finite);
    tcase_add_loop_test(tc, wrong_arguments, 0, 3);
    return s;
}

VVT_MAIN(suite)
