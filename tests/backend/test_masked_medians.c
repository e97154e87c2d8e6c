/* Medians of valid pixels: against sorting, on hand-made rows, with any number of threads. And the search for the first number that is
 * not finite. */
#include "vvt_check.h"

/* at of B rows, by the backend; mask may be NULL */
static void find(int32_t *at, const vv_real *x, const vv_real *d, const int32_t *mask, int64_t B, int64_t N)
{
    const int64_t bytes = B * N * (int64_t)sizeof(vv_real);
    vvt_buffer bx = vvt_buffer_new(x, bytes), bd = vvt_buffer_new(d, bytes);
    vvt_buffer bm = vvt_buffer_new(mask, mask ? B * N * (int64_t)sizeof *mask : 0);
    vvt_buffer ba = vvt_buffer_new(at, 2 * B * (int64_t)sizeof *at);
    vvb_masked_medians(vvt_buffer_at(&ba), vvt_buffer_at(&bx), vvt_buffer_at(&bd), mask ? vvt_buffer_at(&bm) : NULL, B,
                       N);
    ck_assert_ptr_null(vvb_error());
    ck_assert(vvt_buffer_intact(&ba) && vvt_buffer_intact(&bx) && vvt_buffer_intact(&bd) && vvt_buffer_intact(&bm));
    vvt_buffer_get(&ba, at);
    vvt_buffer_free(&bx);
    vvt_buffer_free(&bd);
    vvt_buffer_free(&bm);
    vvt_buffer_free(&ba);
}

START_TEST(by_hand)
{
    static const struct {
        int n;
        vv_real x[6];
        int32_t mask[6], want[2];
    } row[] = {
        {0, {0}, {0}, {-1, -1}},
        {1, {7}, {1}, {0, 0}},
        {1, {7}, {0}, {-1, -1}},
        {2, {9, 3}, {1, 1}, {1, 0}},                         /* lower is the smaller */
        {3, {9, 3, 5}, {1, 1, 1}, {2, 2}},                   /* odd: the same */
        {4, {4, 1, 3, 2}, {1, 1, 1, 1}, {3, 2}},             /* 2 and 3 */
        {4, {4, 1, 3, 2}, {1, 0, 1, 1}, {2, 2}},             /* masked: 2 3 4 */
        {5, {2, 1, 2, 2, 8}, {1, 1, 1, 1, 1}, {0, 0}},       /* ties: the first */
        {6, {5, 2, 5, 2, 5, 2}, {1, 1, 1, 1, 1, 1}, {1, 0}}, /* two values */
        {6, {1, 7, 7, 1, 7, 9}, {1, 1, 1, 1, 1, 1}, {1, 1}}, /* both middles 7 */
        {4, {-1, -0.0, 0.0, 3}, {1, 1, 1, 1}, {1, 1}},       /* -0 equals 0 */
        {4, {-2, -1, 0.0, -0.0}, {1, 1, 1, 1}, {1, 2}},      /* above the lower middle too */
        {3, {-3e38f, -1e-38f, 3e38f}, {9, -1, 1}, {1, 1}},   /* any mask but 0 */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int32_t at[2] = {77, 77};
        find(at, row[i].x, row[i].x, row[i].mask, 1, row[i].n);
        ck_assert_msg(at[0] == row[i].want[0] && at[1] == row[i].want[1], "row %d: %d %d, expected %d %d", (int)i,
                      at[0], at[1], row[i].want[0], row[i].want[1]);
    }
}
END_TEST

/* where the label is not finite the pixel is invalid, for both maps; the value there does not matter */
START_TEST(labels_not_finite)
{
    const vv_real x[] = {1, 2, 3, 4, 5}, d[] = {1, (vv_real)INFINITY, 1, (vv_real)NAN, -(vv_real)INFINITY};
    int32_t at[2];
    find(at, x, d, NULL, 1, 5);
    ck_assert(at[0] == 0 && at[1] == 2);
}
END_TEST

/* random, with many ties or none, many sizes */
START_TEST(by_sorting)
{
    static const int64_t size[] = {1, 2, 3, 4, 5, 17, 50, 257, 1000, 20001};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (vvt_fill f = VVT_INTEGERS; f <= VVT_POSITIVE; f++) {
            const int64_t N = size[s];
            enum { B = 3 };
            vv_real *x = vv_calloc(B * N, sizeof *x), *d = vv_calloc(B * N, sizeof *d);
            int32_t *mask = vv_calloc(B * N, sizeof *mask), got[2 * B], want[2 * B];
            vvt_fill_array(x, B * N, f, "x");
            vvt_fill_array(d, B * N, VVT_NORMAL, "d");
            for (int64_t i = 0; i < B * N; i++) {
                mask[i] = d[i] > -1;
                if (d[i] > 2) d[i] = (vv_real)INFINITY;
            }
            vvo_medians(want, x, d, mask, B, N);
            for (int threads = 1; threads <= 4; threads++) {
                vvb_init(threads);
                find(got, x, d, mask, B, N);
                ck_assert_msg(!memcmp(got, want, sizeof want), "%lld %s, %d threads: %d %d, expected %d %d",
                              (long long)N, vvt_fill_name(f), threads, got[0], got[1], want[0], want[1]);
            }
            free(x);
            free(d);
            free(mask);
        }
    vvb_init(0);
}
END_TEST

START_TEST(first_nonfinite)
{
    enum { N = 40000 };
    static vv_real x[N];
    for (int k = 0; k < 4; k++) {
        static const int64_t place[] = {0, 17, 16384, N - 1};
        const vv_real bad[] = {(vv_real)NAN, (vv_real)INFINITY, -(vv_real)INFINITY, (vv_real)NAN};
        vvt_fill_array(x, N, VVT_NORMAL, "x");
        vvt_buffer b = vvt_buffer_new(x, sizeof x);
        ck_assert_int_eq(vvb_first_nonfinite(vvt_buffer_at(&b), N), -1);
        vvt_buffer_free(&b);
        x[place[k]] = x[N - 1] = bad[k];
        b = vvt_buffer_new(x, sizeof x);
        ck_assert_int_eq(vvb_first_nonfinite(vvt_buffer_at(&b), N), place[k]);
        ck_assert_int_eq(vvb_first_nonfinite(vvt_buffer_at(&b), 0), -1);
        ck_assert_int_eq(vvb_first_nonfinite(vvt_buffer_at(&b), place[k]), -1);
        vvt_buffer_free(&b);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("backend/masked_medians", &tc);
    tcase_add_test(tc, by_hand);
    tcase_add_test(tc, labels_not_finite);
    tcase_add_test(tc, by_sorting);
    tcase_add_test(tc, first_nonfinite);
    return s;
}

VVT_MAIN(suite)
