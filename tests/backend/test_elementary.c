/* exp, log, tanh, erf, sin, cos through the backend, and pow and sigmoid of base/elementary.h: errors in ulps, special
 * values, the same bits everywhere. VVT_EXHAUSTIVE=1 adds every float (a few minutes on two cores).
 *
 * The judge is the C library in long double. Its own error, one unit of long double, is added to the tolerance: nothing where
 * long double has 64 bits or more, but one ulp in the double build of a platform whose long double is double.         */
#include <float.h>
#include <math.h>

#include "backend/backend.h"
#include "base/elementary.h"
#include "vvt.h"

#ifdef VV_DOUBLE
typedef uint64_t word;
#define MANT_DIG DBL_MANT_DIG
#define MIN_EXP DBL_MIN_EXP
#define MAX_EXP DBL_MAX_EXP
#define REAL_MIN DBL_MIN
#define RESULT_HASH 0x697d65781465a279u
#else
typedef uint32_t word;
#define MANT_DIG FLT_MANT_DIG
#define MIN_EXP FLT_MIN_EXP
#define MAX_EXP FLT_MAX_EXP
#define REAL_MIN FLT_MIN
#define RESULT_HASH 0xacf41077efcc80b0u
#endif

static const long double TOLERANCE = 1 + (long double)LDBL_EPSILON / (2 * (long double)VV_U);

static const struct {
    const char *name;
    vvb_function id;
    long double (*judge)(long double);
    double (*judge_of_float)(double); /* 29 bits more than a float has */
    double lo, hi;                    /* where the function is interesting */
} F[] = {
    {"exp", VVB_EXP, expl, exp, -750, 715},   {"log", VVB_LOG, logl, log, 0, 4},
    {"tanh", VVB_TANH, tanhl, tanh, -21, 21}, {"erf", VVB_ERF, erfl, erf, -6.5, 6.5},
    {"sin", VVB_SIN, sinl, sin, -100, 100},   {"cos", VVB_COS, cosl, cos, -100, 100},
};
enum { FUNCTIONS = sizeof F / sizeof F[0] };

static word bits(vv_real x)
{
    word w;
    memcpy(&w, &x, sizeof w);
    return w;
}

static vv_real from_bits(word w)
{
    vv_real x;
    memcpy(&x, &w, sizeof x);
    return x;
}

/* Counter-based, so that every platform sees the same arguments. */
static uint64_t random_word(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* |got - want| in units of the last place of want. Overflow counts as the first number beyond the largest. */
static long double ulps(vv_real got, long double want)
{
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
    const long double top = ldexpl(1, MAX_EXP);
    const long double w = fabsl(want) > top ? copysignl(top, want) : want;
    const long double g = isinf(got) ? copysignl(top, (long double)got) : (long double)got;
    int e = MIN_EXP;
    if (w != 0) (void)frexpl(w, &e);
    return fabsl(g - w) / ldexpl(1, (e < MIN_EXP ? MIN_EXP : e > MAX_EXP ? MAX_EXP : e) - MANT_DIG);
}

static int outside(int f, vv_real x)
{
    return (F[f].id == VVB_SIN || F[f].id == VVB_COS) && !(fabs((double)x) <= 0x1p21);
}

static long double want(int f, vv_real x) { return outside(f, x) ? NAN : F[f].judge((long double)x); }

/* ---- the arguments: from double arithmetic, so that they are the same everywhere ---------------------------------- */
enum { AROUND = 3, RANDOM = 300000, CAPACITY = 1 << 20 };

static int64_t around(vv_real *x, int64_t n, double c)
{
    const word w = bits((vv_real)c);
    for (word d = 0; d <= 2 * AROUND; d++) {
        const vv_real v = from_bits(w + d - AROUND);
        x[n++] = v;
        x[n++] = -v;
    }
    return n;
}

static int64_t arguments(vv_real *x, int f)
{
    /* zeros, infinities, NaN, the largest and the smallest; powers of two */
    int64_t n = 0;
    const vv_real special[] = {0, (vv_real)INFINITY, (vv_real)NAN, REAL_MIN, REAL_MIN / 2, from_bits(1), from_bits(2)};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        x[n++] = special[i];
        x[n++] = -special[i];
    }
    for (int e = MIN_EXP - MANT_DIG + 3; e < MAX_EXP; e++) n = around(x, n, ldexp(1, e));

    /* borders of intervals and of the range: exp, tanh, erf, log */
    static const double border[] = {0.5,
                                    27.0 / 32,
                                    125.0 / 128,
                                    20,
                                    6,
                                    5.9215871957945,
                                    19.0615474653984,
                                    9.010913,
                                    3.832507,
                                    88.72283,
                                    -87.33655,
                                    -103.2789,
                                    -103.97208,
                                    -104,
                                    89,
                                    709.7827127,
                                    -708.396418,
                                    -745.133219,
                                    -744.4400,
                                    -746,
                                    710,
                                    1e-8,
                                    0x1p-27,
                                    1,
                                    1.41421356,
                                    0.70710678};
    for (size_t i = 0; i < sizeof border / sizeof *border; i++) n = around(x, n, border[i]);
    for (int i = 1; i < 128; i++) n = around(x, n, i / 8.0);
    for (int i = 1; i < 2200; i++) n = around(x, n, (i - 0.5) * 0.6931471805599453);

    /* multiples of pi/4: all small ones, then leaps up to 2^21 and just beyond */
    for (int64_t k = 1; k < 2670200; k += k < 4096 ? 1 : 997) n = around(x, n, 0.7853981633974483 * (double)k);
    n = around(x, n, 0x1p21);

    for (int64_t i = 0; i < RANDOM; i++) {
        const uint64_t r = random_word((uint64_t)(f * 4 + 1) * RANDOM + (uint64_t)i);
        const double u = (double)(r >> 11) * 0x1p-53;
        x[n++] = from_bits((word)(r >> (64 - 8 * sizeof(word))));
        x[n++] = (vv_real)(F[f].lo + (F[f].hi - F[f].lo) * u);
        if (i % 4 == 0) x[n++] = (vv_real)((2 * u - 1) * 0x1p21);
    }
    ck_assert(n <= CAPACITY);
    return n;
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */
static vv_real *x, *y;

static void setup(void)
{
    x = vvb_alloc(CAPACITY * (int64_t)sizeof *x);
    y = vvb_alloc(CAPACITY * (int64_t)sizeof *y);
    ck_assert(x && y);
}

static void teardown(void)
{
    vvb_free(x, CAPACITY * (int64_t)sizeof *x);
    vvb_free(y, CAPACITY * (int64_t)sizeof *y);
}

START_TEST(sampled)
{
    const int f = _i;
    const int64_t n = arguments(x, f);
    vvb_elementary(y, x, n, F[f].id);
    int64_t worst = 0;
    long double most = 0;
    for (int64_t i = 0; i < n; i++) {
        const long double e = ulps(y[i], want(f, x[i]));
        if (e > most) most = e, worst = i;
    }
    printf("%-4s %s: %lld arguments, at most %.3Lf ulp, at %a\n", F[f].name, VV_REAL_NAME, (long long)n, most,
           (double)x[worst]);
    ck_assert_msg(most <= TOLERANCE, "%s(%a) = %a, should be %La: %.3Lf ulp", F[f].name, (double)x[worst],
                  (double)y[worst], want(f, x[worst]), most);
}
END_TEST

static vv_real at(int f, double v)
{
    vv_real r, a = (vv_real)v;
    vvb_elementary(&r, &a, 1, F[f].id);
    return r;
}

START_TEST(special_values)
{
    static const struct {
        int f;
        double x, y;
    } c[] = {
        {0, 0, 1},
        {0, -0.0, 1},
        {0, INFINITY, INFINITY},
        {0, -INFINITY, 0},
        {0, 1e30, INFINITY},
        {0, -1e30, 0},
        {0, NAN, NAN},
        {1, 0, -INFINITY},
        {1, -0.0, -INFINITY},
        {1, 1, 0},
        {1, -1, NAN},
        {1, -1e-40, NAN},
        {1, -INFINITY, NAN},
        {1, INFINITY, INFINITY},
        {1, NAN, NAN},
        {2, 0, 0},
        {2, -0.0, -0.0},
        {2, INFINITY, 1},
        {2, -INFINITY, -1},
        {2, NAN, NAN},
        {2, 1e-40, 1e-40},
        {2, -30, -1},
        {3, 0, 0},
        {3, -0.0, -0.0},
        {3, INFINITY, 1},
        {3, -INFINITY, -1},
        {3, NAN, NAN},
        {3, -7, -1},
        {4, 0, 0},
        {4, -0.0, -0.0},
        {4, INFINITY, NAN},
        {4, -INFINITY, NAN},
        {4, NAN, NAN},
        {4, 0x1.000002p21, NAN},
        {4, -1e30, NAN},
        {4, -1e-40, -1e-40},
        {5, 0, 1},
        {5, -0.0, 1},
        {5, INFINITY, NAN},
        {5, -INFINITY, NAN},
        {5, NAN, NAN},
        {5, 0x1.000002p21, NAN},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        const vv_real got = at(c[i].f, c[i].x), y0 = (vv_real)c[i].y;
        ck_assert_msg(isnan(y0) ? isnan(got) : bits(got) == bits(y0), "%s(%a) = %a, should be %a", F[c[i].f].name,
                      c[i].x, (double)got, c[i].y);
    }
}
END_TEST

/* The same value at every position, for every length and alignment, in place, on long arrays shared by threads. */
START_TEST(position)
{
    const int f = _i;
    for (int i = 0; i < 64; i++) {
        const vv_real v = (vv_real)(F[f].lo / 8 + (F[f].hi - F[f].lo) / 8 * (i + 0.3) / 64), alone = at(f, v);
        for (int64_t n = 0; n < 70; n++) {
            const int64_t start = (n * 7 + i) % 19;
            for (int64_t j = 0; j < n + 2; j++) x[start + j] = v, y[start + j] = 77;
            vvb_elementary(y + start, x + start, n, F[f].id);
            vvb_elementary(x + start, x + start, n, F[f].id);
            for (int64_t j = 0; j < n; j++) {
                ck_assert_msg(bits(y[start + j]) == bits(alone), "%s(%a): element %d of %d differs", F[f].name,
                              (double)v, (int)j, (int)n);
                ck_assert(bits(x[start + j]) == bits(alone));
            }
            ck_assert(y[start + n] == 77 && y[start + n + 1] == 77 && x[start + n] == v);
        }
    }
    const int64_t n = 3 * 16384 + 5;
    for (int64_t i = 0; i < n; i++) x[i] = (vv_real)(F[f].lo + (F[f].hi - F[f].lo) * (double)(i % 1003) / 1003);
    vvb_elementary(y, x, n, F[f].id);
    for (int64_t i = 1003; i < n; i++) ck_assert(bits(y[i]) == bits(y[i - 1003]));
    for (int64_t i = 0; i < 1003; i++) ck_assert(bits(y[i]) == bits(at(f, x[i])));
}
END_TEST

static uint64_t fnv1a(uint64_t h, uint64_t w, int bytes)
{
    for (int k = 0; k < bytes; k++) h = (h ^ (w >> 8 * k & 0xff)) * 0x100000001b3u;
    return h;
}

/* Results over the sampled arguments are the same bits for every compiler, instruction set and C library: one constant.
 * (NaN is counted as one value; its sign and payload are the processor's.)                                            */
START_TEST(same_bits_everywhere)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int f = 0; f < FUNCTIONS; f++) {
        const int64_t n = arguments(x, f);
        vvb_elementary(y, x, n, F[f].id);
        for (int64_t i = 0; i < n; i++) h = fnv1a(h, isnan(y[i]) ? 1 : bits(y[i]), sizeof(word));
        for (int64_t i = 0; i < n; i++) {
            const vv_real s = vv_sigmoid_real(x[i]);
            h = fnv1a(h, isnan(s) ? 1 : bits(s), sizeof(word));
        }
    }
    for (int i = 0; i < 10000; i++) h = fnv1a(h, vv_bits(vv_pow(2 + i, -i / 10007.0)), 8);
    ck_assert_msg(h == RESULT_HASH, "hash of all results: 0x%016llx, should be 0x%016llx", (unsigned long long)h,
                  (unsigned long long)RESULT_HASH);
}
END_TEST

START_TEST(sigmoid)
{
    long double most = 0;
    for (int f = 0; f < FUNCTIONS; f++) {
        const int64_t n = arguments(x, f);
        for (int64_t i = 0; i < n; i++) y[i] = vv_sigmoid_real(x[i]);
        for (int64_t i = 0; i < n; i++) {
            const long double e = expl(-fabsl((long double)x[i]));
            const long double d = ulps(y[i], (x[i] < 0 ? e : 1) / (1 + e));
            if (d > most) most = d;
        }
    }
    printf("sigmoid %s: at most %.3Lf ulp\n", VV_REAL_NAME, most);
    ck_assert(most <= 4 * TOLERANCE);
    ck_assert(vv_sigmoid_real((vv_real)INFINITY) == 1 && vv_sigmoid_real((vv_real)-INFINITY) == 0);
    ck_assert(isnan(vv_sigmoid_real((vv_real)NAN)) && vv_sigmoid_real(0) == (vv_real)0.5);
}
END_TEST

/* the short form: the same bits as exp wherever its result is normal, 0 below, NaN for NaN */
START_TEST(bounded)
{
    const vv_real least = sizeof(vv_real) == 4 ? -87 : -708, most = sizeof(vv_real) == 4 ? 88 : 709;
    for (int64_t i = 0; i <= 1000000; i++) {
        const vv_real at = least + (most - least) * (vv_real)i / 1000000, got = vv_exp_bounded(at),
                      want = vv_exp_real(at);
        ck_assert_msg(!memcmp(&got, &want, sizeof got), "exp(%.17g): %.17g, %.17g", (double)at, (double)got,
                      (double)want);
    }
    ck_assert(vv_exp_bounded(least * (vv_real)1.001) == 0 && vv_exp_bounded(-(vv_real)INFINITY) == 0);
    ck_assert(vv_exp_bounded((vv_real)NAN) != vv_exp_bounded((vv_real)NAN));
}
END_TEST

START_TEST(power)
{
    /* theta^(-k/F) of the rotary embeddings, then bases near 1 and anywhere, results down to 2^-1000 and up to 2^1000 */
    long double rope = 0, any = 0;
    for (int theta = 100; theta <= 10000000; theta *= 10)
        for (int n = 1; n <= 128; n++)
            for (int k = 0; k < n; k++) {
                const double e = -(double)k / n;
                const long double d = fabsl((long double)vv_pow(theta, e) / powl(theta, e) - 1);
                if (d > rope) rope = d;
            }
    for (uint64_t i = 0; i < 400000; i++) {
        const double u = (double)(random_word(2 * i) >> 11) * 0x1p-53 - 0.5;
        const double v = (double)(random_word(2 * i + 1) >> 11) * 0x1p-52 - 1;
        const double x0 = i % 2 ? vv_from_bits((uint64_t)((u + 0.5) * 0x7fep52) + 1) : 1 + u / (double)(1 + i % 1000);
        const double e = v * 693 / fabs(log(x0)) / (double)(1 + i % 7);
        const long double d = fabsl((long double)vv_pow(x0, e) / powl(x0, e) - 1);
        const long double r = d / (4e-16L + LDBL_EPSILON + fabsl(e * logl(x0)) * 0x1p-58L);
        if (r > any) any = r;
    }
    printf("pow: relative error at most %.2Le for theta^(-k/F); elsewhere at most %.2Lf of the bound\n", rope, any);
    ck_assert(rope <= 5e-16L + LDBL_EPSILON && any <= 1);
    ck_assert(vv_pow(1, 1e300) == 1 && vv_pow(5, 0) == 1 && vv_pow(2, 1024) == INFINITY && vv_pow(2, -1100) == 0);
    ck_assert(vv_pow(2, 0.5e300) == INFINITY && vv_pow(0.5, 1e300) == 0 && vv_pow(DBL_MIN / 4, 1) == DBL_MIN / 4);
    ck_assert(isnan(vv_pow(-1, 2)) && isnan(vv_pow(0, 2)) && isnan(vv_pow(NAN, 2)) && isnan(vv_pow(2, NAN)));
    ck_assert(isnan(vv_pow(INFINITY, 1)) && isnan(vv_pow(2, -INFINITY)));
}
END_TEST

#ifndef VV_DOUBLE
/* Judged by the double C library: its error is 2^-28 ulp of a float. */
static double ulps_of_float(float got, double w)
{
    if (w != w || got != got) return w != w && got != got ? 0 : HUGE_VAL;
    const double a = fabs(w) > 0x1p128 ? copysign(0x1p128, w) : w;
    const double g = isinf(got) ? copysign(0x1p128, got) : got;
    const uint64_t e = vv_bits(a) >> 52 & 0x7ff; /* biased: 897 is that of the smallest normal float */
    const double unit = vv_from_bits(((e < 897 ? 897 : e > 1150 ? 1150 : e) - 23) << 52);
    return fabs(g - a) / unit;
}

START_TEST(every_float)
{
    enum { CHUNK = 1 << 12 };
    const int f = _i;
    double most = 0;
    uint32_t worst = 0;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t c = 0; c < (int64_t)1 << 20; c++) {
        float in[CHUNK], out[CHUNK];
        double chunk_most = 0;
        uint32_t chunk_worst = 0;
        for (int i = 0; i < CHUNK; i++) in[i] = from_bits((uint32_t)(c * CHUNK + i));
        vvb_elementary(out, in, CHUNK, F[f].id);
        for (int i = 0; i < CHUNK; i++) {
            const double e = ulps_of_float(out[i], outside(f, in[i]) ? NAN : F[f].judge_of_float((double)in[i]));
            if (e > chunk_most) chunk_most = e, chunk_worst = bits(in[i]);
        }
#pragma omp critical
        if (chunk_most > most || (chunk_most == most && chunk_worst < worst)) most = chunk_most, worst = chunk_worst;
    }
    printf("%-4s float: all 2^32 arguments, at most %.4f ulp, at %a\n", F[f].name, most, (double)from_bits(worst));
    fflush(stdout);
    ck_assert(most <= 1);
}
END_TEST
#endif

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("backend/elementary", &tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, special_values);
    tcase_add_loop_test(tc, sampled, 0, FUNCTIONS);
    tcase_add_loop_test(tc, position, 0, FUNCTIONS);
    tcase_add_test(tc, sigmoid);
    tcase_add_test(tc, bounded);
    tcase_add_test(tc, power);
    tcase_add_test(tc, same_bits_everywhere);
#ifndef VV_DOUBLE
    const char *all = getenv("VVT_EXHAUSTIVE");
    if (all && !strcmp(all, "1")) tcase_add_loop_test(tc, every_float, 0, FUNCTIONS);
#endif
    return s;
}

VVT_MAIN(suite)
