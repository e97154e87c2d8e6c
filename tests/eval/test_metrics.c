/* Every measure on numbers small enough to compute by hand. */
#include "eval/metrics.h"

#include <math.h>

#include "vvt.h"

#define NEAR(got, want) ck_assert_double_eq_tol(got, want, 1e-14)

/* ---- depth ----------------------------------------------------------------------------------------------------------------- */
START_TEST(depth_by_hand)
{
    const double d[5] = {1, 2, 4, 10, 5}, z[5] = {1.5, 2, 2, 12, 700};
    const unsigned char valid[5] = {1, 1, 1, 1, 0};
    const vv_depth_errors e = vv_depth_compare(z, d, valid, 5);
    ck_assert_int_eq(e.pixels, 4);
    NEAR(e.rmse, sqrt((0.25 + 0 + 4 + 4) / 4));
    NEAR(e.abs_rel, (0.5 + 0 + 0.5 + 0.2) / 4);
    NEAR(e.delta1, 2. / 4); /* 1.5 and 1/2 are too far, 1.2 is not */
    const double a = log(1.5), b = log(2.), c = log(1.2);
    NEAR(e.rmse_log, sqrt((a * a + b * b + c * c) / 4));
    NEAR(vv_depth_compare(z, d, NULL, 5).rmse, sqrt((0.25 + 4 + 4 + 695. * 695) / 5));
    const double edge = 1.25, one = 1; /* a ratio of exactly 1.25 is outside, from both sides */
    NEAR(vv_depth_compare(&edge, &one, NULL, 1).delta1, 0);
    NEAR(vv_depth_compare(&one, &edge, NULL, 1).delta1, 0);
}
END_TEST

START_TEST(measures_of_nothing)
{
    const double x[2] = {1, 2};
    const unsigned char none[2] = {0, 0};
    const vv_depth_errors e = vv_depth_compare(x, x, none, 2);
    ck_assert(e.pixels == 0 && isnan(e.rmse) && isnan(e.rmse_log) && isnan(e.abs_rel) && isnan(e.delta1));
    const vv_class_counts c = {.classes = 3};
    const vv_mask_counts m = {0};
    ck_assert(isnan(vv_mean_iou(&c)) && isnan(vv_pixel_accuracy(&c)));
    ck_assert(isnan(vv_ciou(&m)) && isnan(vv_giou(&m)) && isnan(vv_precision_half(&m)));
    vv_average a = {0};
    vv_average_add(&a, NAN);
    ck_assert(isnan(vv_average_of(&a)));
    vv_average_add(&a, 1);
    vv_average_add(&a, NAN);
    vv_average_add(&a, 4);
    NEAR(vv_average_of(&a), 2.5);
}
END_TEST

START_TEST(alignment)
{
    double s, o;
    const double q[5] = {0, 1, 2, 3, 1e6}, p[5] = {7, 5, 3, 1, -40};
    const unsigned char valid[5] = {1, 1, 1, 1, 0};
    ck_assert(vv_align(&s, &o, q, p, valid, 5)); /* exactly p = 7 - 2 q */
    NEAR(s, -2);
    NEAR(o, 7);
    /* points (0,0), (1,0), (2,3): slope 3/2, through the means (1,1) */
    const double x[3] = {0, 1, 2}, y[3] = {0, 0, 3};
    ck_assert(vv_align(&s, &o, x, y, NULL, 3));
    NEAR(s, 1.5);
    NEAR(o, -0.5);
    const double flat[3] = {0.1, 0.1, 0.1}; /* whose mean is not 0.1 to the last bit */
    ck_assert(vv_align(&s, &o, flat, y, NULL, 3));
    NEAR(s, 0);
    NEAR(o, 1);
    ck_assert(vv_align(&s, &o, x, y, (const unsigned char[3]){0, 0, 1}, 3));
    NEAR(s, 0);
    NEAR(o, 3);
    ck_assert(!vv_align(&s, &o, x, y, (const unsigned char[3]){0, 0, 0}, 3));
    NEAR(s, 0);
    NEAR(o, 0);
}
END_TEST

START_TEST(from_disparity)
{
    const double q[6] = {0, 1, 2, 3, 9, -5};
    double z[6];
    vv_depth_from_disparity(z, q, 6, 0.5, -0.5, 0.3, 10); /* disparities -0.5, 0, 0.5, 1, 4, -3 */
    const double want[6] = {10, 10, 2, 1, 0.3, 10};
    for (int i = 0; i < 6; i++) NEAR(z[i], want[i]);
    const double small = 0.05;
    vv_depth_from_disparity(z, &small, 1, 1, 0, 0.3, 10);
    NEAR(z[0], 10);
}
END_TEST

START_TEST(order_of_points)
{
    const double z[6] = {1, 2, 3, 4, 5, 5}; /* two rows of three */
    const vv_point_pair pair[] = {
        {{0, 0}, {0, 1}, 0},       /* 1 before 2: right */
        {{0, 0}, {0, 1}, 1},       /* wrong */
        {{1, 0}, {0, 2}, 1},       /* 4 behind 3: right */
        {{1, 1}, {1, 2}, 0},       /* a tie is wrong, whatever is said */
        {{1, 1}, {1, 2}, 1},       /* */
        {{0.4, 0}, {1.4, 1.6}, 0}, /* row 0, column 1 before column 2: right */
        {{0.5, 0}, {0, 2}, 1},     /* a half goes up: 4 behind 3: right */
        {{-3, 9}, {-0.6, 70}, 0},  /* outside: the corners 1 and 5: right */
    };
    static const int right[8] = {1, 0, 1, 0, 0, 1, 1, 1};
    for (int i = 0; i < 8; i++) ck_assert_msg(vv_order_correct(z, 2, 3, &pair[i], 1) == right[i], "pair %d", i);
    ck_assert_int_eq(vv_order_correct(z, 2, 3, pair, 8), 5);
    ck_assert_int_eq(vv_order_correct(z, 2, 3, pair, 0), 0);
}
END_TEST

/* ---- classes --------------------------------------------------------------------------------------------------------------- */
START_TEST(classes_by_hand)
{
    vv_class_counts c = {.classes = 5};
    /* two pictures; class 3 is nowhere, class 4 only predicted, class 2 only labelled */
    const unsigned char l1[6] = {0, 0, 1, 1, 2, 255}, p1[6] = {0, 1, 1, 1, 4, 0};
    const unsigned char l2[4] = {0, 0, 0, 1}, p2[4] = {0, 0, 200, 0};
    vv_class_add(&c, p1, l1, 6);
    vv_class_add(&c, p2, l2, 4);
    NEAR(vv_class_iou(&c, 0), 3. / 6); /* truth 5, predicted 4 (not the one without a label), both 3 */
    NEAR(vv_class_iou(&c, 1), 2. / 4);
    NEAR(vv_class_iou(&c, 2), 0);
    ck_assert(isnan(vv_class_iou(&c, 3)));
    NEAR(vv_class_iou(&c, 4), 0);
    NEAR(vv_mean_iou(&c), (3. / 6 + 2. / 4) / 4);
    NEAR(vv_pixel_accuracy(&c), 5. / 9);
}
END_TEST

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
START_TEST(masks_by_hand)
{
    vv_mask_counts lisa = {0}, lavt = {.empty_is_wrong = 1}, *both[2] = {&lisa, &lavt};
    const unsigned char a[4] = {1, 1, 0, 0}, b[4] = {0, 255, 1, 0}, c[4] = {1, 1, 1, 0}, none[4] = {0};
    for (int k = 0; k < 2; k++) {
        vv_mask_add(both[k], a, b, 4);       /* 1 of 3 */
        vv_mask_add(both[k], a, c, 4);       /* 2 of 3 */
        vv_mask_add(both[k], none, c, 4);    /* 0 of 3 */
        vv_mask_add(both[k], none, none, 4); /* nothing of nothing */
        vv_mask_add_counts(both[k], 1, 2);   /* exactly one half counts */
        NEAR(vv_ciou(both[k]), 4. / 11);
        NEAR(vv_giou(both[k]), (1. / 3 + 2. / 3 + 0 + (k == 0) + 0.5) / 5);
        NEAR(vv_precision_half(both[k]), (k == 0 ? 3. : 2.) / 5);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("metrics", &tc);
    tcase_add_test(tc, depth_by_hand);
    tcase_add_test(tc, measures_of_nothing);
    tcase_add_test(tc, alignment);
    tcase_add_test(tc, from_disparity);
    tcase_add_test(tc, order_of_points);
    tcase_add_test(tc, classes_by_hand);
    tcase_add_test(tc, masks_by_hand);
    return s;
}
VVT_MAIN(suite)
