/* Verdicts: numbers, floors, precisions, scopes, samples, and everything that may be missing. */
#include "golden/judging.h"
#include "golden/record.h"

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */
START_TEST(numbers)
{
    double g[12];
    const double rel = 0.5 / sqrt(650);
    jd_one(JD_R, JD_R, "");
    jd_expect(0, VV_OK, VV_PASS);
    jd_with(g, 4, 5.5);
    jd_one(JD_R, g, "");
    jd_expect(rel * 1.001, VV_OK, VV_PASS);
    jd_expect(rel * 0.999, VV_DIFFERS, VV_FAIL);
    jd_expect(0, VV_DIFFERS, VV_FAIL);
    jd_outcome r = jd_judge(&(vv_judge_options){.limit = 1});
    const vv_judgement *x = &r.j.at[0];
    ck_assert_double_eq_tol(x->m.rel_rms, rel, 1e-15);
    ck_assert(x->m.worst == 4 && x->m.want == 5 && x->m.got == 5.5 && x->m.max_abs == 0.5);
    char at[200];
    ck_assert_str_eq(vv_index_text(x->entry, 4, at, sizeof at), "[1,0]");
    ck_assert(x->near_n == 4 && x->near_first == 4 && x->near_got[0] == 5.5 && x->near_want[3] == -8);
    ck_assert_double_eq_tol(x->m.cosine, (650 + 2.5) / sqrt(650 * (650 + 30.25 - 25)), 1e-12);
    ck_assert(x->m.ulp[VV_ULP_50] == 0 && x->m.ulp[VV_ULP_99] == 0 &&
              x->m.ulp[VV_ULP_MAX] == 0.5 * 0x1p21); /* 5 in [4,8): units of 2^-21 */
    vv_judged_free(&r.j);
    jd_one(JD_R, g, "\"class\":\"EXACT\"");
    jd_expect(1, VV_DIFFERS, VV_FAIL); /* no limit helps */
    jd_one(JD_R, JD_R, "\"class\":\"EXACT\"");
    jd_expect(-1, VV_OK, VV_PASS);
    jd_with(g, 11, nextafter(-12, 0)); /* one bit of a double */
    jd_one(JD_R, g, "\"class\":\"EXACT\"");
    jd_expect(-1, VV_DIFFERS, VV_FAIL);
}
END_TEST

START_TEST(percentiles)
{
    double r[1000], g[1000];
    vv_measure m;
    for (int i = 0; i < 1000; i++) {
        r[i] = 1;
        g[i] = 1 + (double)(i * 7 % 1000) * 0x1p-23; /* 0 .. 999 units of the last place, stirred */
    }
    VVT_OK(vv_measure_pair(&m, r, g, 1000, 0, -1, err));
    ck_assert_double_eq_tol(m.ulp[VV_ULP_50], 499, 1e-6);
    ck_assert_double_eq_tol(m.ulp[VV_ULP_99], 989, 1e-6);
    ck_assert_double_eq_tol(m.ulp[VV_ULP_MAX], 999, 1e-6);
    r[0] = 0;
    g[0] = 0x1p-149; /* the least float */
    VVT_OK(vv_measure_pair(&m, r, g, 1, 0, -1, err));
    ck_assert_double_eq(m.ulp[VV_ULP_MAX], 1);
    ck_assert_double_eq(m.rel_rms, 0x1p-149); /* absolute where nothing is expected */
    VVT_OK(vv_measure_pair(&m, r, g, 1, 0x1p-140, -1, err));
    ck_assert_double_eq(m.rel_rms, 0x1p-9);
    VVT_OK(vv_measure_pair(&m, r, g, 0, 0, -1, err));
    ck_assert_double_eq(m.rel_rms, 0);
}
END_TEST

START_TEST(floors_judge)
{
    double g[12];
    char fields[200];
    const double rel = 0.5 / sqrt(650);
    jd_with(g, 4, 5.5);
    snprintf(fields, sizeof fields, "\"floor\":%.17g", rel / 12.9); /* just within the default of 13 floors */
    jd_one(JD_R, g, fields);
    jd_expect(-1, VV_OK, VV_PASS);
    snprintf(fields, sizeof fields, "\"floor\":%.17g", rel / 13.1);
    jd_one(JD_R, g, fields);
    jd_expect(-1, VV_DIFFERS, VV_FAIL);
    vv_judge_options o = JD_BY_FLOORS;
    o.multiple = 14;
    jd_expect_verdict(&o, VV_OK, VV_PASS);
    o.limit = 0; /* a limit wins over floors */
    jd_expect_verdict(&o, VV_DIFFERS, VV_FAIL);
    jd_one(JD_R, g, "");
    jd_outcome r = jd_judge(&JD_BY_FLOORS);
    vvt_expect_error(&r.err, r.status, VV_FILE, "ref", JD_KEY, "floor", (char *)NULL);
    ck_assert(r.j.at == NULL);
}
END_TEST

START_TEST(precisions)
{
    double g[12];
    const double rel = 0.5 / sqrt(650);
    jd_with(g, 4, 5.5);
    char fields[400];
    snprintf(fields, sizeof fields,
             "\"floor\":1e-7,\"local\":1e-8,\"bands\":{\"bf16\":[1e-9,%.17g],\"tf32\":[1e-9,%.17g]},\"local_bands\":{"
             "\"bf16\":[0,%.17g]}",
             rel / 12, rel / 14, rel / 14);
    jd_one(JD_R, g, fields);
    vv_judge_options o = JD_BY_FLOORS;
    jd_expect_verdict(&o, VV_DIFFERS, VV_FAIL);
    o.precision = VV_AS_BF16;
    jd_expect_verdict(&o, VV_OK, VV_PASS);
    o.precision = VV_AS_TF32;
    jd_expect_verdict(&o, VV_DIFFERS, VV_FAIL);
    o.precision = VV_AS_FP16;
    jd_outcome r = jd_judge(&o);
    vvt_expect_error(&r.err, r.status, VV_FILE, "ref", JD_KEY, "fp16", (char *)NULL);
    const char *const meta[] = {"resync", "layer", NULL}; /* local bands now */
    jd_write(vvt_path("cand"), &(jd_tensor){JD_KEY, 2, {3, 4}, g, NULL}, 1, meta);
    o.precision = VV_AS_BF16;
    jd_expect_verdict(&o, VV_DIFFERS, VV_FAIL);
    o.multiple = 18;
    jd_expect_verdict(&o, VV_OK, VV_PASS);
    char floors[100]; /* somebody's own floors */
    snprintf(floors, sizeof floors, "[{\"key\":\"" JD_KEY "\",\"local\":%.17g}]", rel);
    jd_golden("own", &(jd_tensor){JD_KEY, 2, {3, 4}, JD_R, NULL}, 1, floors);
    o = JD_BY_FLOORS;
    o.floors = vvt_path("own");
    jd_expect_verdict(&o, VV_OK, VV_PASS);
}
END_TEST

START_TEST(scale_of_nothing)
{
    static const double zeros[12] = {0};
    double g[12] = {0};
    g[3] = 1e-9; /* RMS 2.9e-10 */
    jd_one(zeros, g, "\"floor\":1e-7,\"scale\":0.001");
    jd_expect(-1, VV_OK, VV_PASS);
    jd_one(zeros, g, "\"floor\":1e-7,\"scale\":0.0001");
    jd_expect(-1, VV_DIFFERS, VV_FAIL);
    jd_one(JD_R, g, "\"floor\":1e-7,\"scale\":1e-30"); /* the larger of both */
    jd_expect(1.01, VV_OK, VV_PASS);
    jd_expect(0.99, VV_DIFFERS, VV_FAIL);
    jd_one(zeros, zeros, "\"floor\":1e-7");
    jd_expect(-1, VV_DIFFERS, VV_UNTRUSTED);
}
END_TEST

/* squares of such numbers overflow or vanish; differences must still be seen */
START_TEST(extremes)
{
    static const double size[3] = {1e200, 1e-170, 1e-300};
    for (int k = 0; k < 3; k++) {
        double r[12], g[12];
        for (int i = 0; i < 12; i++) g[i] = r[i] = size[k] * JD_R[i];
        g[5] *= 1.5;
        jd_one(r, g, "\"class\":\"EXACT\"");
        jd_expect(-1, VV_DIFFERS, VV_FAIL);
        jd_one(r, g, "\"floor\":1e-7");
        jd_expect(-1, VV_DIFFERS, VV_FAIL);
        jd_one(r, r, "\"floor\":1e-7");
        jd_expect(-1, VV_OK, VV_PASS);
    }
}
END_TEST

START_TEST(not_finite)
{
    static const double ones[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    double g[12];
    for (int k = 0; k < 3; k++) {
        jd_with(g, 7, k == 0 ? NAN : k == 1 ? INFINITY : -INFINITY);
        jd_one(JD_R, g, "");
        jd_expect(1e30, VV_DIFFERS, VV_NOT_FINITE);
        jd_outcome r = jd_judge(&(vv_judge_options){.limit = 1});
        ck_assert_int_eq(r.j.at[0].m.worst, 7); /* where it is */
        vv_judged_free(&r.j);
        jd_one(JD_R, g, "\"class\":\"EXACT\"");
        jd_expect(-1, VV_DIFFERS, VV_NOT_FINITE);
        jd_one(g, JD_R, "");
        jd_expect(1e30, VV_DIFFERS, VV_UNTRUSTED);
        jd_one(g, g, ""); /* agreeing with it proves nothing */
        jd_expect(1e30, VV_DIFFERS, VV_UNTRUSTED);
        jd_one(g, g, "\"class\":\"EXACT\""); /* labels may be unknown: the same bits */
        jd_expect(-1, VV_OK, VV_PASS);
        jd_one(g, JD_R, "\"class\":\"EXACT\"");
        jd_expect(-1, VV_DIFFERS, VV_FAIL);
        double h[12];
        memcpy(h, g, sizeof h);
        h[9] = 0;
        jd_one(g, h, "\"class\":\"EXACT\"");
        jd_expect(-1, VV_DIFFERS, VV_FAIL);
        h[9] = g[9];
        h[2] = NAN;
        jd_one(g, h, "\"class\":\"EXACT\"");
        jd_expect(-1, VV_DIFFERS, VV_NOT_FINITE);
        r = jd_judge(&JD_BY_FLOORS);
        ck_assert_int_eq(r.j.at[0].m.worst, 2);
        vv_judged_free(&r.j);
        h[2] = g[2];
        h[7] = k == 0 ? -g[7] : NAN; /* other bits */
        jd_one(g, h, "\"class\":\"EXACT\"");
        jd_expect(-1, VV_DIFFERS, VV_NOT_FINITE);
    }
    jd_one(ones, JD_R, "");
    jd_expect(1e30, VV_DIFFERS, VV_UNTRUSTED);
    jd_one(ones, ones, "\"class\":\"EXACT\""); /* an input may well be constant */
    jd_expect(-1, VV_OK, VV_PASS);
}
END_TEST

/* A golden file says which data it was written with. What is not judged is not looked at; a sample's digest is that of the whole. */
START_TEST(damaged)
{
    static const double two[2] = {1, 2};
    const jd_tensor x[2] = {jd_twelve(JD_KEY, JD_R), {"u1/vision/act/other", 1, {2}, two, NULL}};
    char sha[2][65], text[400], none[400];
    vv_sha256(JD_R, sizeof JD_R, sha[0]);
    vv_sha256(two, sizeof two, sha[1]);
    snprintf(text, sizeof text, "{\"" JD_KEY "\":\"%s\",\"u1/vision/act/other\":\"%s\"}", sha[0], sha[1]);
    snprintf(none, sizeof none, "{\"u1/vision/act/other\":\"%s\"}", sha[1]);
    const char *meta[] = {"versavit_golden",
                          "2",
                          "index",
                          "[{\"key\":\"" JD_KEY "\",\"floor\":1},{\"key\":\"u1/vision/act/other\",\"required\":false}]",
                          "sha256",
                          text,
                          NULL};
    jd_write(vvt_path("ref"), x, 2, meta);
    jd_candidate("cand", x, 1);
    jd_outcome r = jd_judge(&JD_BY_FLOORS);
    ck_assert_int_eq(r.status, VV_OK);
    vv_judged_free(&r.j);
    sha[1][63] ^= 1;
    snprintf(text, sizeof text, "{\"" JD_KEY "\":\"%s\",\"u1/vision/act/other\":\"%s\"}", sha[0], sha[1]);
    jd_write(vvt_path("ref"), x, 2, meta);
    r = jd_judge(&JD_BY_FLOORS);
    ck_assert_int_eq(r.status, VV_OK);
    vv_judged_free(&r.j);
    sha[0][0] ^= 1;
    snprintf(text, sizeof text, "{\"" JD_KEY "\":\"%s\"}", sha[0]);
    jd_write(vvt_path("ref"), x, 2, meta);
    r = jd_judge(&JD_BY_FLOORS);
    vvt_expect_error(&r.err, r.status, VV_FILE, "ref", JD_KEY, "damaged", "sha256", sha[0], (char *)NULL);
    meta[5] = none;
    jd_write(vvt_path("ref"), x, 2, meta);
    r = jd_judge(&JD_BY_FLOORS);
    vvt_expect_error(&r.err, r.status, VV_FILE, "ref", JD_KEY, "damaged", "in its metadata", (char *)NULL);
}
END_TEST

START_TEST(whole_numbers)
{
    int64_t a[3] = {1, 2, (int64_t)1 << 53}, b[3] = {1, 2, (int64_t)1 << 53};
    const jd_tensor x = {JD_KEY, 1, {3}, NULL, a}, y = {JD_KEY, 1, {3}, NULL, b};
    jd_golden("ref", &x, 1, "[{\"key\":\"" JD_KEY "\",\"class\":\"EXACT\"}]");
    jd_candidate("cand", &y, 1);
    jd_expect(-1, VV_OK, VV_PASS);
    b[2]--;
    jd_candidate("cand", &y, 1);
    jd_expect(-1, VV_DIFFERS, VV_FAIL);
    b[2] += 2; /* 2^53 + 1: no double holds it, and it must not pass for 2^53 */
    jd_candidate("cand", &y, 1);
    jd_outcome r = jd_judge(&JD_BY_FLOORS);
    vvt_expect_error(&r.err, r.status, VV_FILE, "cand", JD_KEY, "2^53", (char *)NULL);
}
END_TEST

/* ---- what is there --------------------------------------------------------------------------------------------------------- */
START_TEST(missing_and_shapes)
{
    jd_one(JD_R, NULL, "\"floor\":1e-7");
    jd_expect(-1, VV_DIFFERS, VV_MISSING);
    vv_judge_options o = JD_BY_FLOORS;
    o.present = 1; /* only what is there */
    jd_expect_verdict(&o, VV_OK, VV_ABSENT);
    jd_one(JD_R, NULL, "\"floor\":1e-7,\"required\":false");
    jd_expect(-1, VV_OK, VV_ABSENT);
    jd_one(JD_R, JD_R, "\"floor\":1e-7,\"required\":false");
    jd_expect(-1, VV_OK, VV_PASS);
    jd_candidate("cand", &(jd_tensor){JD_KEY, 2, {4, 3}, JD_R, NULL}, 1); /* as many numbers */
    jd_expect(1e9, VV_DIFFERS, VV_SHAPE);
    const char *map =
        "{\"rules\":[{\"from\":\".*\",\"do\":[{\"fit\":true}]}]}"; /* a mapping may say that this is fine */
    o = JD_BY_FLOORS;
    o.map = vvt_write("fit.json", map, strlen(map));
    jd_expect_verdict(&o, VV_OK, VV_PASS);
    map = "{\"rules\":[{\"from\":\"x|y\",\"to\":\"" JD_KEY "\"}]}"; /* two become one */
    o.map = vvt_write("two.json", map, strlen(map));
    const jd_tensor two[2] = {jd_twelve("x", JD_R), jd_twelve("y", JD_R)};
    jd_candidate("cand", two, 2);
    jd_expect_verdict(&o, VV_DIFFERS, VV_DUPLICATE);
}
END_TEST

START_TEST(scopes)
{
    static const char *const keys[] = {"u1/t/in/x",     "u1/t/act/out", "u1/t/act/mid", "u1/t/loss/total",
                                       "u1/t/dact/mid", "u1/t/dw/w",    "u1/t/dstep/w"};
    char index[1000] = "[";
    jd_tensor x[7];
    for (int i = 0; i < 7; i++) {
        x[i] = jd_twelve(keys[i], JD_R);
        snprintf(index + strlen(index), sizeof index - strlen(index),
                 "%s{\"key\":\"%s\",\"class\":\"%s\",\"floor\":1e-7%s}", i ? "," : "", keys[i], i ? "CHAIN" : "EXACT",
                 i == 1 ? ",\"output\":true" : "");
    }
    strcat(index, "]");
    jd_golden("ref", x, 7, index);
    jd_candidate("cand", x, 0);
    static const int missing[4] = {3, 4, 6, 7};
    for (int s = 0; s < 4; s++) {
        vv_judge_options o = JD_BY_FLOORS;
        o.scope = (vv_judge_scope)s;
        jd_outcome r = jd_judge(&o);
        ck_assert_int_eq(r.status, VV_DIFFERS);
        ck_assert_int_eq(r.j.missing, missing[s]);
        ck_assert_int_eq(r.j.absent, 7 - missing[s]);
        vv_judged_free(&r.j);
    }
}
END_TEST

START_TEST(order_and_extras)
{
    double g[12];
    jd_with(g, 0, 2);
    const jd_tensor ref[3] = {jd_twelve("u1/t/act/a", JD_R), jd_twelve("u1/t/act/b", JD_R),
                              jd_twelve("u1/t/act/c", JD_R)};
    const jd_tensor cand[4] = {jd_twelve("u1/t/act/a", g), jd_twelve("u1/t/act/b", JD_R), jd_twelve("u1/t/act/c", g),
                               jd_twelve("d", JD_R)};
    jd_candidate("cand", cand, 4);
    jd_golden("ref", ref, 3, "[{\"key\":\"u1/t/act/c\"},{\"key\":\"u1/t/act/b\"},{\"key\":\"u1/t/act/a\"}]");
    jd_outcome r = jd_judge(&(vv_judge_options){.limit = 0, .ignore_extra = 1});
    ck_assert(r.status == VV_DIFFERS && r.j.n == 3 && r.j.failed == 2 && r.j.extra == 1);
    ck_assert_str_eq(r.j.first->entry->key, "u1/t/act/c"); /* the index's order */
    ck_assert_str_eq(r.j.first_extra, "d");
    vv_judged_free(&r.j);
    jd_candidate("ref", ref, 3); /* no golden file: the file's order */
    r = jd_judge(&(vv_judge_options){.limit = 0, .ignore_extra = 1});
    ck_assert_str_eq(r.j.first->entry->key, "u1/t/act/a");
    vv_judged_free(&r.j);
    r = jd_judge(&(vv_judge_options){.limit = 1, .ignore_extra = 1});
    ck_assert_int_eq(r.status, VV_OK);
    vv_judged_free(&r.j);
    r = jd_judge(&(vv_judge_options){.limit = 1}); /* the extra one counts unless it is ignored */
    ck_assert(r.status == VV_DIFFERS && r.j.failed == 0 && r.j.extra == 1);
    vv_judged_free(&r.j);
}
END_TEST

/* ---- part of it, none of it --------------------------------------------------------------------------------------------------- */
START_TEST(samples)
{
    enum { N = 3 * VV_SAMPLES };
    double *whole = vv_calloc(N, sizeof *whole), *kept = vv_calloc(VV_SAMPLES, sizeof *kept), squares = 0;
    for (int64_t i = 0; i < N; i++) {
        whole[i] = (double)(i * 7919 % 1009) - 504;
        squares += whole[i] * whole[i];
    }
    for (int64_t i = 0; i < VV_SAMPLES; i++) kept[i] = whole[vv_sample_at(N, i)];
    char index[300];
    snprintf(index, sizeof index,
             "[{\"key\":\"" JD_KEY "\",\"floor\":1e-7,\"sample\":4096,\"shape\":[3,4096],\"rms\":%.17g}]",
             sqrt(squares / N));
    jd_golden("ref", &(jd_tensor){JD_KEY, 1, {VV_SAMPLES}, kept, NULL}, 1, index);
    jd_candidate("cand", &(jd_tensor){JD_KEY, 2, {3, VV_SAMPLES}, whole, NULL}, 1);
    jd_expect(-1, VV_OK, VV_PASS);
    jd_candidate("cand", &(jd_tensor){JD_KEY, 1, {VV_SAMPLES}, kept, NULL}, 1); /* sampled as well */
    jd_expect(-1, VV_OK, VV_PASS);
    jd_candidate("cand", &(jd_tensor){JD_KEY, 1, {N}, whole, NULL}, 1);
    jd_expect(-1, VV_DIFFERS, VV_SHAPE);
    whole[vv_sample_at(N, 4000)] += 1;
    jd_candidate("cand", &(jd_tensor){JD_KEY, 2, {3, VV_SAMPLES}, whole, NULL}, 1);
    jd_outcome r = jd_judge(&JD_BY_FLOORS);
    ck_assert_int_eq(r.status, VV_DIFFERS);
    char at[200], want[200];
    snprintf(want, sizeof want, "[2,%d]", (int)(vv_sample_at(N, 4000) - 2 * VV_SAMPLES)); /* a place in the whole */
    ck_assert_str_eq(vv_index_text(r.j.at[0].entry, r.j.at[0].m.worst, at, sizeof at), want);
    vv_judged_free(&r.j);
    free(whole);
    free(kept);
}
END_TEST

START_TEST(unreadable)
{
    jd_one(JD_R, JD_R, "\"floor\":1e-7");
    vvt_write("cand", "not a tensor file", 17);
    jd_outcome r = jd_judge(&JD_BY_FLOORS);
    vvt_expect_error(&r.err, r.status, VV_FILE, "cand", "expected", (char *)NULL);
    remove(vvt_path("ref"));
    r = jd_judge(&JD_BY_FLOORS);
    vvt_expect_error(&r.err, r.status, VV_FILE, "ref", "cannot be opened", (char *)NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("judge", &tc);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, percentiles);
    tcase_add_test(tc, floors_judge);
    tcase_add_test(tc, precisions);
    tcase_add_test(tc, scale_of_nothing);
    tcase_add_test(tc, extremes);
    tcase_add_test(tc, not_finite);
    tcase_add_test(tc, damaged);
    tcase_add_test(tc, whole_numbers);
    tcase_add_test(tc, missing_and_shapes);
    tcase_add_test(tc, scopes);
    tcase_add_test(tc, order_and_extras);
    tcase_add_test(tc, samples);
    tcase_add_test(tc, unreadable);
    return s;
}
VVT_MAIN(suite)
