/* The order of draws, and the shares of several sources. */
#include <math.h>

#include "data/dataset.h"
#include "vvt.h"

enum { MOST = 2000 };

START_TEST(every_sample_once)
{
    static unsigned char seen[MOST];
    for (int n = 1; n <= MOST; n++) {
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < n; i++) {
            const int64_t at = vv_draw(7, "depth", n % 5, i, n);
            ck_assert(at >= 0 && at < n);
            ck_assert_msg(!seen[at], "n %d: sample %d comes twice", n, (int)at);
            seen[at] = 1;
        }
    }
}
END_TEST

static int same_places(uint64_t s1, const char *t1, int64_t e1, uint64_t s2, const char *t2, int64_t e2)
{
    int same = 0;
    for (int i = 0; i < MOST; i++) same += vv_draw(s1, t1, e1, i, MOST) == vv_draw(s2, t2, e2, i, MOST);
    return same;
}

/* Two independent orders agree in one place on average (Poisson): 10 or more has a chance of 1e-7. */
START_TEST(orders_differ)
{
    ck_assert_int_eq(same_places(1, "depth", 3, 1, "depth", 3), MOST);
    for (int k = 0; k < 10; k++) {
        ck_assert_int_lt(same_places(1, "depth", k, 1, "depth", k + 1), 10);
        ck_assert_int_lt(same_places((uint64_t)k, "depth", 0, (uint64_t)k + 1, "depth", 0), 10);
        ck_assert_int_lt(same_places((uint64_t)k, "depth", 0, (uint64_t)k, "caption", 0), 10);
        ck_assert_int_lt(same_places((uint64_t)k, "depth", 0, (uint64_t)k << 32, "depth", 1), 10);
    }
    int in_place = 0;
    for (int i = 0; i < MOST; i++) in_place += vv_draw(1, "depth", 0, i, MOST) == i;
    ck_assert_int_lt(in_place, 10);
}
END_TEST

/* Over many epochs, sample 0 of 10 stands everywhere equally often: chi squared of 9 degrees, 27.9 has a chance of 0.001. */
START_TEST(places_are_equally_likely)
{
    enum { N = 10, EPOCHS = 5000 };
    for (int sample = 0; sample < N; sample += 3) {
        double count[N] = {0}, chi = 0;
        for (int e = 0; e < EPOCHS; e++)
            for (int i = 0; i < N; i++) count[i] += vv_draw(11, "caption", e, i, N) == sample;
        for (int i = 0; i < N; i++) chi += (count[i] - EPOCHS / N) * (count[i] - EPOCHS / N) / (EPOCHS / N);
        ck_assert_msg(chi < 27.9, "sample %d: chi squared %g", sample, chi);
    }
}
END_TEST

START_TEST(large_numbers)
{
    const int64_t sizes[] = {((int64_t)1 << 62), ((int64_t)1 << 62) - 1, ((int64_t)1 << 40) + 1, 14000000};
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 50; i++) {
            const int64_t at = vv_draw(3, "x", INT64_MAX, sizes[k] - 1 - i, sizes[k]);
            ck_assert(at >= 0 && at < sizes[k]);
        }
}
END_TEST

/* ---- shares --------------------------------------------------------------------------------------------------------- */

static const struct {
    int n;
    double weight[4];
} mixes[] = {{1, {3}},
             {2, {1, 1}},
             {2, {1, 3}},
             {2, {1e-3, 1}},
             {3, {0.5, 0.3, 0.2}},
             {4, {7, 1, 1, 5}},
             {4, {1e100, 1e-100, 1e100, 1}}};
enum { MIXES = sizeof mixes / sizeof *mixes };

START_TEST(shares)
{
    const int n = mixes[_i].n;
    int64_t taken[4] = {0}, again[4] = {0};
    double sum = 0;
    for (int i = 0; i < n; i++) sum += mixes[_i].weight[i];
    for (int j = 1; j <= 3000; j++) {
        const int64_t k = vv_deal(mixes[_i].weight, taken, n);
        ck_assert_int_eq(k, vv_deal(mixes[_i].weight, again, n));
        int64_t all = 0;
        for (int i = 0; i < n; i++) {
            all += taken[i];
            ck_assert_msg(fabs((double)taken[i] - mixes[_i].weight[i] / sum * j) < n, "source %d after %d draws: %d", i,
                          j, (int)taken[i]);
        }
        ck_assert_int_eq(all, j);
    }
}
END_TEST

START_TEST(shares_by_hand)
{
    const double weight[2] = {1, 3};
    const int want[8] = {1, 0, 1, 1, 1, 0, 1, 1};
    int64_t taken[2] = {0};
    for (int j = 0; j < 8; j++) ck_assert_int_eq(vv_deal(weight, taken, 2), want[j]);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("sampler", &tc);
    tcase_add_test(tc, every_sample_once);
    tcase_add_test(tc, orders_differ);
    tcase_add_test(tc, places_are_equally_likely);
    tcase_add_test(tc, large_numbers);
    tcase_add_loop_test(tc, shares, 0, MIXES);
    tcase_add_test(tc, shares_by_hand);
    return s;
}
VVT_MAIN(suite)
