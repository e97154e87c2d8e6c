/* Floors: what candidates of each kind add to an index. */
#include "golden/floors.h"
#include "golden/judging.h"

static const char *const INDEX =
    "[{\"key\":\"u1/t/in/x\",\"class\":\"EXACT\"},{\"key\":\"u1/t/act/a\",\"output\":true,\"scale\":123456.78125},"
    "{\"key\":\"u1/t/act/b\",\"required\":false}]";
static char path[4][600];

/* a candidate whose "a" is off by `by` in its first number; rel RMS by / sqrt(650), or by its scale */
static const char *candidate(int k, double by, const char *emulated, const char *resync)
{
    double v[12];
    memcpy(v, JD_R, sizeof v);
    v[0] += by;
    const char *meta[7] = {NULL};
    int n = 0;
    if (emulated) meta[n++] = "emulated", meta[n++] = emulated;
    if (resync) meta[n++] = "resync", meta[n++] = resync;
    const jd_tensor x[] = {jd_twelve("u1/t/in/x", JD_R), jd_twelve("u1/t/act/b", v), jd_twelve("u1/t/act/a", v)};
    char name[8];
    snprintf(name, sizeof name, "c%d", k);
    jd_write(vvt_path(name), x, 3, meta);
    snprintf(path[k], sizeof path[k], "%s", vvt_path(name));
    return path[k];
}

static void truth(void)
{
    const jd_tensor x[] = {jd_twelve("u1/t/in/x", JD_R), jd_twelve("u1/t/act/a", JD_R), jd_twelve("u1/t/act/b", JD_R)};
    const char *const meta[] = {"versavit_golden",  "2",     "precision", "double", "case",
                                "{\"kind\":\"t\"}", "index", INDEX,       NULL};
    jd_write(vvt_path("ref"), x, 3, meta);
}

static vv_status make(int n, vv_error *why)
{
    const char *const list[4] = {path[0], path[1], path[2], path[3]};
    return vv_golden_floors(vvt_path("ref"), list, n, vvt_path("out"), why);
}

static void fresh(void) { remove(vvt_path("out")); }

START_TEST(kinds)
{
    vv_golden g;
    truth();
    candidate(0, 1e-5, NULL, NULL);
    candidate(1, 3e-5, NULL, NULL); /* the largest */
    VVT_OK(make(2, err));
    VVT_OK(vv_golden_open(&g, vvt_path("out"), err));
    const vv_golden_entry *a = vv_golden_find(&g, "u1/t/act/a"), *b = vv_golden_find(&g, "u1/t/act/b");
    ck_assert_double_eq_tol(b->band[0][VV_AS_FLOAT].hi, 3e-5 / sqrt(650), 1e-8);
    ck_assert_double_eq_tol(a->band[0][VV_AS_FLOAT].hi, 0x1p-24, 1e-9); /* by its scale next to nothing: one rounding */
    ck_assert_double_eq(a->scale, 123456.78125);                        /* the rest stays as it is */
    ck_assert(a->output && !b->required && b->band[1][VV_AS_FLOAT].hi == 0 && b->band[0][VV_AS_BF16].hi == 0);
    ck_assert_double_eq(vv_golden_find(&g, "u1/t/in/x")->band[0][VV_AS_FLOAT].hi, 0);
    ck_assert_str_eq(vv_st_metadata(g.st, "case"), "{\"kind\":\"t\"}");
    vv_golden_close(&g);
    /* on top of that: bands from two placements, and both with resync */
    candidate(0, 1e-2, "bf16", NULL);
    candidate(1, 4e-2, "bf16", NULL);
    candidate(2, 2e-5, NULL, "layer");
    candidate(3, 3e-3, "tf32", "layer");
    char old[600];
    snprintf(old, sizeof old, "%s", vvt_path("out"));
    ck_assert_int_eq(rename(old, vvt_path("ref")), 0);
    VVT_OK(make(4, err));
    VVT_OK(vv_golden_open(&g, vvt_path("out"), err));
    b = vv_golden_find(&g, "u1/t/act/b");
    ck_assert_double_eq_tol(b->band[0][VV_AS_FLOAT].hi, 3e-5 / sqrt(650), 1e-8);
    ck_assert_double_eq_tol(b->band[0][VV_AS_BF16].lo, 1e-2 / sqrt(650), 1e-5);
    ck_assert_double_eq_tol(b->band[0][VV_AS_BF16].hi, 4e-2 / sqrt(650), 1e-5);
    ck_assert_double_eq_tol(b->band[1][VV_AS_FLOAT].hi, 2e-5 / sqrt(650), 1e-8);
    ck_assert_double_eq_tol(b->band[1][VV_AS_TF32].hi, 3e-3 / sqrt(650), 1e-6);
    ck_assert(b->band[0][VV_AS_TF32].hi == 0 && b->band[1][VV_AS_BF16].hi == 0);
    vv_golden_close(&g);
}
END_TEST

/* four steps: two landed on their truth by accident, and get the floor that the others' rounding of weights implies; the last one, truly
 * zero, in proportion to its scale */
START_TEST(steps)
{
    vv_golden g;
    enum { N = 4 };
    const double scale = 40, size = sqrt(650 / 12.0); /* of JD_R */
    char name[2 * N][40], index[700] = "[";
    double w[N][12], step[N][12], got[N][12];
    jd_tensor x[2 * N], y[N];
    for (int k = 0; k < N; k++) {
        for (int i = 0; i < 12; i++) {
            w[k][i] = (k + 1) * JD_R[i];
            step[k][i] = JD_R[11 - i] * (k == 3 ? 1e-12 : 1);
            got[k][i] = step[k][i] + (k % 2 ? 0 : 1e-4 * w[k][i]); /* error 1e-4 RMS(w) / RMS(step) */
        }
        snprintf(name[k], sizeof name[k], "u1/update/w/%d", k);
        snprintf(name[k + N], sizeof name[k + N], "u1/update/dstep/%d", k);
        x[k] = jd_twelve(name[k], w[k]);
        x[k + N] = jd_twelve(name[k + N], step[k]);
        y[k] = jd_twelve(name[k + N], got[k]);
        snprintf(index + strlen(index), sizeof index - strlen(index),
                 "%s{\"key\":\"%s\",\"class\":\"EXACT\"},{\"key\":\"%s\",\"scale\":%g}", k ? "," : "", name[k],
                 name[k + N], k == 3 ? scale : 0);
    }
    strcat(index, "]");
    jd_golden("ref", x, 2 * N, index);
    jd_candidate("c0", y, N);
    snprintf(path[0], sizeof path[0], "%s", vvt_path("c0"));
    VVT_OK(make(1, err));
    VVT_OK(vv_golden_open(&g, vvt_path("out"), err));
    for (int k = 0; k < N; k++) {
        const double want = 1e-4 * (k + 1) * (k == 3 ? size / scale : 1);
        ck_assert_double_eq_tol(vv_golden_find(&g, name[k + N])->band[0][VV_AS_FLOAT].hi, want, 1e-2 * want);
    }
    vv_golden_close(&g);
}
END_TEST

START_TEST(refused)
{
    vv_error why = {0};
    truth();
    candidate(0, NAN, NULL, NULL);
    vvt_expect_error(&why, make(1, &why), VV_FILE, "c0", "act/a", "NOT FINITE", (char *)NULL);
    why = (vv_error){0};
    candidate(0, 0, "fp8", NULL);
    vvt_expect_error(&why, make(1, &why), VV_FILE, "c0", "emulated", "fp8", (char *)NULL);
    why = (vv_error){0};
    candidate(0, 0, "float", NULL);
    vvt_expect_error(&why, make(1, &why), VV_FILE, "c0", "emulated", (char *)NULL);
    why = (vv_error){0};
    candidate(0, 0, NULL, "state");
    vvt_expect_error(&why, make(1, &why), VV_FILE, "c0", "resync", "state", (char *)NULL);
    why = (vv_error){0};
    const jd_tensor bad = {"u1/t/act/a", 2, {4, 3}, JD_R, NULL};
    jd_candidate("c0", &bad, 1);
    vvt_expect_error(&why, make(1, &why), VV_FILE, "c0", "act/a", "SHAPE", (char *)NULL);
    why = (vv_error){0};
    jd_candidate("c0", &bad, 0);
    vvt_expect_error(&why, make(1, &why), VV_FILE, "c0", "act/a", "found none", (char *)NULL);
    static const double zeros[12] = {0};
    jd_golden("ref", &(jd_tensor){"u1/t/act/a", 2, {3, 4}, zeros, NULL}, 1, "[{\"key\":\"u1/t/act/a\"}]");
    candidate(0, 0, NULL, NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, make(1, &why), VV_FILE, "ref", "act/a", "scale", (char *)NULL);
    FILE *f = fopen(vvt_path("out"), "rb");
    ck_assert_ptr_null(f);
}
END_TEST

/* a candidate beyond a proven bound is no correct one; emulated ones have none */
START_TEST(proven)
{
    vv_error why = {0};
    jd_golden("ref", &(jd_tensor){"u1/t/act/a", 2, {3, 4}, JD_R, NULL}, 1,
              "[{\"key\":\"u1/t/act/a\",\"bound\":1e-5,\"scale\":50}]");
    candidate(0, 0.99e-5 * sqrt(12), NULL, NULL);
    candidate(1, 1, "bf16", NULL);
    VVT_OK(make(2, err));
    vv_judged j;
    const vv_judge_options o = {.limit = -1, .ignore_extra = 1};
    VVT_OK(vv_judge(&j, vvt_path("out"), path[0], &o, err));
    ck_assert_double_eq_tol(vv_proven(&j.at[0]), 1e-5 / 50, 1e-12);
    vv_judged_free(&j);
    fresh();
    candidate(0, 1.01e-5 * sqrt(12), NULL, "layer");
    vvt_expect_error(&why, make(2, &why), VV_FILE, "c0", "act/a", "proven bound", (char *)NULL);
}
END_TEST

/* Of golden/layers no floor lies above its bound, and the bound of the first layer, y = x w^T + b with 8 terms, is its naive formula. */
START_TEST(bounds_of_layers)
{
    vv_golden g;
    int64_t known = 0;
    VVT_OK(vv_golden_open(&g, "golden/layers", err));
    for (int64_t i = 0; i < g.n; i++) {
        const vv_golden_entry *e = &g.entry[i];
        double *v = NULL, squares = 0;
        if (e->bound == 0) continue;
        known++;
        VVT_OK(vv_golden_doubles(&v, &g, e->at, err));
        for (int64_t k = 0; k < e->n; k++) squares += v[k] * v[k];
        free(v);
        const double rms = sqrt(squares / (double)e->n), most = 1.005 * e->bound / (rms > e->scale ? rms : e->scale);
        ck_assert_msg(e->band[0][VV_AS_FLOAT].hi <= most && e->band[1][VV_AS_FLOAT].hi <= most,
                      "%s: floor %g, bound %g", e->key, e->band[0][VV_AS_FLOAT].hi, most); /* both have three digits */
    }
    ck_assert_int_ge(known, 60);
    double *x = NULL, *w = NULL, *b = NULL, squares = 0;
    VVT_OK(vv_golden_doubles(&x, &g, vv_st_find(g.st, "u1/layers/in/linear.0.x"), err));
    VVT_OK(vv_golden_doubles(&w, &g, vv_st_find(g.st, "u1/layers/w/linear.0.weight"), err));
    VVT_OK(vv_golden_doubles(&b, &g, vv_st_find(g.st, "u1/layers/w/linear.0.bias"), err));
    for (int r = 0; r < 5; r++)
        for (int o = 0; o < 3; o++) {
            double sum = fabs(b[o]);
            for (int i = 0; i < 7; i++) sum += fabs(x[r * 7 + i] * w[o * 7 + i]);
            squares += 64 * sum * sum;
        }
    const double want = 0x1p-24 * sqrt(squares / 15);
    ck_assert_double_eq_tol(vv_golden_find(&g, "u1/layers/act/linear.0.y")->bound, 1.005 * want, 0.005 * want);
    free(x), free(w), free(b);
    vv_golden_close(&g);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("floors", &tc);
    tcase_add_checked_fixture(tc, fresh, NULL);
    tcase_add_test(tc, kinds);
    tcase_add_test(tc, steps);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, proven);
    tcase_add_test(tc, bounds_of_layers);
    return s;
}
VVT_MAIN(suite)
