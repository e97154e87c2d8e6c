/* Likely causes inside AdamW: each known mistake, computed here from its formula, is planted into the committed recording of the optimizer and
 * must be called by its name. */
#include "golden/planted.h"

static void open_adamw(void) { pl_open("golden/adamw"); }

/* the mistake, in the numbers of data/cases/adamw.json */
typedef struct {
    double b1, b2, eps, decay, clip; /* clip 0: as it is due */
    double c1, c2;                   /* exponents of the corrections, added to t; NAN: no correction */
    int inside, before, coupled;
} adam;
static const adam DUE = {.b1 = 0.9, .b2 = 0.99, .eps = 1e-8, .decay = 0.1};

static double correction(double b, int t, double late) { return isnan(late) ? 1 : 1 - pow(b, t + late); }

/* plants u<t>/update/<dstep|act>/<name><#m|#v|> computed so */
static void plant(int t, const char *name, const char *after, double max_norm, adam a)
{
    char key[6][100];
    const char *const kind[6] = {"w", "m", "v", "in", "dstep", "act"};
    for (int i = 0; i < 6; i++)
        snprintf(key[i], sizeof key[i], "u%d/update/%s/%s%s", t, kind[i], name, i == 5 ? after : "");
    const double *w = pl_of(key[0]), *g = pl_of(key[3]), *m0 = t > 1 ? pl_of(key[1]) : NULL,
                 *v0 = t > 1 ? pl_of(key[2]) : NULL;
    char norm[50];
    snprintf(norm, sizeof norm, "u%d/update/loss/grad_norm", t);
    const double due = max_norm > 0 && *pl_of(norm) > max_norm ? max_norm / (*pl_of(norm) + 1e-6) : 1,
                 clip = a.clip > 0 ? a.clip : due, c1 = correction(a.b1, t, a.c1), c2 = correction(a.b2, t, a.c2);
    double *out = pl_at(key[*after ? 5 : 4]);
    for (int64_t i = 0; i < pl_count(key[0]); i++) {
        const double gi = clip * g[i] + (a.coupled ? a.decay * w[i] : 0);
        const double m = a.b1 * (m0 ? m0[i] : 0) + (1 - a.b1) * gi, v = a.b2 * (v0 ? v0[i] : 0) + (1 - a.b2) * gi * gi;
        const double root = a.inside   ? sqrt(v / c2 + a.eps)
                            : a.before ? (sqrt(v) + a.eps) / sqrt(c2)
                                       : sqrt(v / c2) + a.eps;
        out[i] = !strcmp(after, "#m")   ? m
                 : !strcmp(after, "#v") ? v
                                        : -m / c1 / root - (a.coupled ? 0 : a.decay * w[i]);
    }
}

/* the right formula is the recording: nothing is found before a mistake is planted */
START_TEST(right)
{
    plant(10, "matrix.weight", "", 1e12, DUE);
    plant(2, "matrix.weight", "#v", 1e12, DUE);
    plant(3, "map.weight", "#m", 1e15, DUE);
    vv_judged j;
    jd_candidate("cand", pl_tensor, pl_golden.n);
    const vv_judge_options o = {.limit = -1, .scope = VV_SCOPE_UPDATE};
    VVT_OK(vv_judge(&j, pl_golden.path, vvt_path("cand"), &o, err));
    vv_judged_free(&j);
    pl_fresh();
}
END_TEST

static void is(int t, double max_norm, adam a, const char *words)
{
    char key[100];
    snprintf(key, sizeof key, "u%d/update/dstep/matrix.weight", t);
    plant(t, "matrix.weight", "", max_norm, a);
    pl_located(key, words);
}

START_TEST(corrections)
{
    adam a = DUE;
    a.c1 = NAN;
    is(10, 1e12, a, "the first moment has no bias correction");
    a = DUE, a.c2 = NAN;
    is(1, 0, a, "the second moment has no bias correction");
    is(10, 1e12, a, "the second moment has no bias correction");
    a.c1 = NAN;
    is(3, 1e15, a, "the moments have no bias correction");
    a = DUE, a.c1 = a.c2 = -1;
    is(2, 1e12, a, "t counts from 0");
    a = DUE, a.c1 = a.c2 = 1;
    is(10, 1e12, a, "the next update");
}
END_TEST

START_TEST(numbers)
{
    adam a = DUE;
    a.b2 = 0.999;
    is(2, 1e12, a, "beta2 is 0.999, where 0.99 is due");
    a.b2 = 0.9;
    is(10, 1e12, a, "beta2 is 0.9, where 0.99 is due");
    a = DUE, a.b1 = 0.95;
    is(10, 1e12, a, "beta1 is 0.95, where 0.9 is due");
    plant(1, "matrix.weight", "#v", 0, (adam){.b1 = 0.9, .b2 = 0.999}); /* what one update shows of beta2 */
    pl_located("u1/update/act/matrix.weight#v", "beta2 is 0.999, where 0.99 is due");
    plant(2, "matrix.weight", "#m", 1e12, (adam){.b1 = 0.8, .b2 = 0.99});
    pl_located("u2/update/act/matrix.weight#m", "beta1 is 0.8, where 0.9 is due");
}
END_TEST

START_TEST(places)
{
    adam a = DUE;
    a.inside = 1;
    plant(10, "map.weight", "", 1e12, a);
    pl_located("u10/update/dstep/map.weight", "eps is inside the root");
    plant(1, "map.weight", "", 0, (adam){.b1 = 0.9, .b2 = 0.99, .eps = 1e-8, .decay = 0.1, .before = 1});
    pl_located("u1/update/dstep/map.weight", "eps is added before the bias correction");
    a = DUE, a.decay = 0;
    is(2, 1e12, a, "weight decay is left out");
    a = DUE, a.coupled = 1;
    is(2, 1e12, a, "weight decay goes through the moments (L2)");
    a = DUE, a.decay = 0.1 / 2e-3;
    is(2, 1e12, a, "not multiplied by the learning rate");
    a = DUE;
    plant(10, "matrix.bias", "", 1e12, a);
    pl_located("u10/update/dstep/matrix.bias", "decays (by 0.1), where none is due");
    a = DUE, a.clip = 1;
    plant(2, "huge.weight", "", 1e12, a);
    pl_located("u2/update/dstep/huge.weight", "not clipped");
}
END_TEST

/* what is no known mistake gets no name */
START_TEST(noise)
{
    static const double size[] = {1e-3, 1e-2, 1};
    for (int k = 0; k < 3; k++) {
        uint32_t state = 7;
        double *x = pl_at("u10/update/dstep/matrix.weight");
        for (int64_t i = 0; i < pl_count("u10/update/dstep/matrix.weight"); i++) {
            state = state * 1664525u + 1013904223u;
            x[i] += size[k] * ((double)(state >> 8) / 0x1p24 - 0.5);
        }
        pl_located("u10/update/dstep/matrix.weight", NULL);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("fault_adamw", &tc);
    tcase_add_unchecked_fixture(tc, open_adamw, pl_close);
    tcase_add_test(tc, right);
    tcase_add_test(tc, corrections);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, places);
    tcase_add_test(tc, noise);
    return s;
}
VVT_MAIN(suite)
