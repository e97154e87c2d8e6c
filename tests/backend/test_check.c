/* Who judges the judges: the comparator, the fills and the guards must notice what they are there for. */
#include "vvt_check.h"

enum { ROWS = 16, COLS = 20, LD = 23, N = ROWS * LD, K = 100 };

static vv_real got[N];
static vvt_ref ref[N], gauge[N];
static const vvt_spec SPEC = {
    .name = "test", .repeat = "", .class = VVT_DOT, .k = K, .rows = ROWS, .cols = COLS, .ld = LD, .quiet = 1};

/* A sum of K products each time, got right but for a relative error of `off` times sqrt(K) u gauge. */
static void setup_sums(double off)
{
    for (int i = 0; i < N; i++) {
        vv_real a[K], b[K];
        char stream[32];
        snprintf(stream, sizeof stream, "check %d", i);
        vvt_fill_array(a, K, VVT_NORMAL, stream);
        vvt_fill_array(b, K, VVT_UNIFORM, stream);
        ref[i] = gauge[i] = 0;
        for (int k = 0; k < K; k++) {
            ref[i] += (vvt_ref)a[k] * (vvt_ref)b[k];
            gauge[i] += fabsl((vvt_ref)a[k] * (vvt_ref)b[k]);
        }
        got[i] = (vv_real)(ref[i] + (i % 2 ? off : -off) * 10 * VV_U * gauge[i]); /* sqrt(K) = 10 */
    }
}

static vvt_verdict verdict(vvt_spec s) { return vvt_compare(got, ref, gauge, &s).verdict; }

START_TEST(dot_class)
{
    setup_sums(0);
    ck_assert_int_eq(verdict(SPEC), VVT_PASS);
    setup_sums(0.8);
    ck_assert_int_eq(verdict(SPEC), VVT_PASS);
    setup_sums(2); /* each within 4 sqrt(K) u gauge, but not all of them together */
    ck_assert_int_eq(verdict(SPEC), VVT_FAIL);
    ck_assert_int_eq(vvt_compare(got, ref, gauge, &SPEC).failures, 0);
    setup_sums(0);
    const int at = 3 * LD + 7;
    got[at] += (vv_real)(4.2L * 10 * VV_U * gauge[at]);
    ck_assert_int_eq(verdict(SPEC), VVT_FAIL);
    ck_assert_int_eq(vvt_compare(got, ref, gauge, &SPEC).failures, 1);
    setup_sums(0);
    got[2 * LD + COLS] = 1e9f; /* in the gap between two rows: not looked at */
    ck_assert_int_eq(verdict(SPEC), VVT_PASS);
}
END_TEST

START_TEST(exact_and_ulp)
{
    vvt_spec exact = SPEC, ulp = SPEC;
    exact.class = VVT_EXACT;
    ulp.class = VVT_ULP;
    ulp.k = 1;
    for (int i = 0; i < N; i++) {
        got[i] = (vv_real)(i * 0.37);
        ref[i] = (vvt_ref)got[i];
        gauge[i] = 0;
    }
    ck_assert_int_eq(verdict(exact), VVT_PASS);
    got[5] = (vv_real)(1 + 2 * VV_U);
    ref[5] = 1;
    ck_assert_int_eq(verdict(exact), VVT_FAIL);
    ck_assert_int_eq(verdict(ulp), VVT_PASS);
    got[5] = (vv_real)(1 + 4 * VV_U);
    ck_assert_int_eq(verdict(ulp), VVT_FAIL);
    gauge[5] = 2 * VV_U; /* an error allowed besides */
    ck_assert_int_eq(verdict(ulp), VVT_PASS);
}
END_TEST

START_TEST(nonfinite_values)
{
    static const double pair[][4] = {/* got, ref, the same, both not finite */
                                     {NAN, 1, 0, 0},      {INFINITY, 1, 0, 0},         {1, NAN, 0, 0},
                                     {1, INFINITY, 0, 0}, {NAN, INFINITY, 0, 1},       {INFINITY, -INFINITY, 0, 1},
                                     {NAN, NAN, 1, 1},    {-INFINITY, -INFINITY, 1, 1}};
    for (size_t i = 0; i < sizeof pair / sizeof pair[0]; i++) {
        setup_sums(0);
        got[4] = (vv_real)pair[i][0];
        ref[4] = (vvt_ref)pair[i][1];
        vvt_spec s = SPEC;
        ck_assert_int_eq(verdict(s), isfinite(pair[i][1]) ? VVT_FAIL : VVT_UNTRUSTED);
        s.nonfinite_expected = 1;
        ck_assert_int_eq(verdict(s), pair[i][2] != 0 ? VVT_PASS : VVT_FAIL);
        s.nonfinite_expected = 2;
        ck_assert_int_eq(verdict(s), pair[i][3] != 0 ? VVT_PASS : VVT_FAIL);
    }
}
END_TEST

START_TEST(untrusted)
{
    vvt_spec declared = SPEC;
    declared.zeros_expected = 1;
    setup_sums(0);
    for (int i = 0; i < N; i++)
        if (i % 3 == 0) ref[i] = 0, got[i] = 0;
    ck_assert_int_eq(verdict(SPEC), VVT_UNTRUSTED);
    ck_assert_int_eq(verdict(declared), VVT_PASS);
    for (int i = 0; i < N; i++) ref[i] = 2, got[i] = 2;
    ck_assert_int_eq(verdict(SPEC), VVT_UNTRUSTED);
    ck_assert_int_eq(verdict(declared), VVT_PASS);
    setup_sums(0);
    gauge[1] = NAN; /* a gauge that would let everything pass */
    ck_assert_int_eq(verdict(SPEC), VVT_UNTRUSTED);
    setup_sums(0);
    got[1] = 1e9f; /* wrong and untrusted: still not a pass */
    gauge[1] = INFINITY;
    ck_assert_int_eq(verdict(SPEC), VVT_UNTRUSTED);
}
END_TEST

START_TEST(fills)
{
    enum { MANY = 20000 };
    static vv_real x[MANY], again[MANY];
    int seen[9] = {0};
    for (int f = VVT_INTEGERS; f <= VVT_POSITIVE; f++) {
        double sum = 0, sum2 = 0;
        vvt_fill_array(x, MANY, (vvt_fill)f, "stream");
        vvt_fill_array(again, MANY, (vvt_fill)f, "stream");
        ck_assert(!memcmp(x, again, sizeof x));
        vvt_fill_array(again, MANY, (vvt_fill)f, "another");
        ck_assert(memcmp(x, again, sizeof x) != 0);
        for (int i = 0; i < MANY; i++) {
            const double v = (double)x[i];
            sum += v / MANY;
            sum2 += v * v / MANY;
            if (f == VVT_INTEGERS) {
                if (!(v == floor(v) && fabs(v) <= 4)) ck_abort_msg("%g is not one of the integers", v);
                seen[(int)v + 4]++;
            }
            if (!(f == VVT_POSITIVE ? v > 0.5 && v < 1.5 : f == VVT_UNIFORM ? fabs(v) < 1 : 1)) ck_abort_msg("%g", v);
        }
        static const double mean[] = {0, 0, 0, 1}, square[] = {60 / 9., 1 / 3., 1, 13 / 12.};
        ck_assert_double_eq_tol(sum, mean[f], 0.07);
        ck_assert_double_eq_tol(sum2, square[f], 0.03 * square[f]);
    }
    for (int k = 0; k < 9; k++) ck_assert_int_gt(seen[k], MANY / 12);
}
END_TEST

START_TEST(guards)
{
    const vv_real host[3] = {1, 2, 3};
    for (int n = 0; n <= 3; n++)
        for (int side = 0; side < 2; side++)
            for (int64_t k = 1; k <= VVT_GUARD; k++) {
                vvt_buffer b = vvt_buffer_new(host, n * (int64_t)sizeof *host);
                if (!vvt_buffer_intact(&b)) ck_abort_msg("a fresh buffer looks damaged");
                vvb_zero((char *)vvt_buffer_at(&b) + (side ? b.bytes + k - 1 : -k), 1);
                if (vvt_buffer_intact(&b)) ck_abort_msg("one byte outside was not noticed");
                vvt_buffer_free(&b);
            }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("backend/check", &tc);
    tcase_add_test(tc, dot_class);
    tcase_add_test(tc, exact_and_ulp);
    tcase_add_test(tc, nonfinite_values);
    tcase_add_test(tc, untrusted);
    tcase_add_test(tc, fills);
    tcase_add_test(tc, guards);
    return s;
}

VVT_MAIN(suite)
