/* The comparator: verdicts, order, floors, damaged indexes. */
#include "golden/recordings.h"

static const double R[12] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12}; /* RMS^2 = 650/12 */
static const int64_t INTS[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, (int64_t)1 << 53};

static void index_of(char *text, size_t size, const char *class, int required, const char *floor)
{
    snprintf(text, size, "[{\"key\":\"a\",\"class\":\"%s\",\"required\":%s%s%s}]", class, required ? "true" : "false",
             floor ? ",\"floor\":" : "", floor ? floor : "");
}

typedef struct {
    vv_status status;
    vv_compare_summary sum;
    rec_told told;
    vv_error err;
} outcome;

static outcome compare(const vv_compare_options *o)
{
    outcome r = {.told = {.used = 0}};
    r.status = vv_compare(vvt_path("ref"), vvt_path("cand"), o, rec_tell, &r.told, &r.sum, &r.err);
    return r;
}

/* one tensor "a" on both sides; v NULL: not in the candidate */
static outcome one(const double *ref, const double *cand, const char *class, int required, const char *floor,
                   double limit)
{
    char index[200];
    index_of(index, sizeof index, class, required, floor);
    rec_write(vvt_path("ref"), &(rec_tensor){"a", VV_DT_F64, ref, NULL, 3}, 1, index);
    rec_write(vvt_path("cand"), &(rec_tensor){"a", VV_DT_F64, cand, NULL, 3}, cand ? 1 : 0, NULL);
    return compare(&(vv_compare_options){.limit = limit});
}

static void expect(const outcome *o, vv_status status, vv_verdict v)
{
    char want[64];
    snprintf(want, sizeof want, "a %s\n", vv_verdict_name(v));
    ck_assert_str_eq(o->told.text, want);
    ck_assert_int_eq(o->status, status);
    ck_assert_str_eq(o->err.msg, "");
    ck_assert_int_eq(o->sum.tensors, 1);
    ck_assert_int_eq(o->sum.failed, status == VV_DIFFERS && v != VV_MISSING);
    ck_assert_int_eq(o->sum.missing, v == VV_MISSING);
    ck_assert_str_eq(o->sum.first_missing, v == VV_MISSING ? "a" : "");
    ck_assert_int_eq(o->sum.absent, v == VV_ABSENT);
    ck_assert_str_eq(o->sum.first, status == VV_DIFFERS && v != VV_MISSING ? "a" : "");
}

static void with(double *to, const double *from, int at, double value)
{
    memcpy(to, from, 12 * sizeof *to);
    to[at] = value;
}

/* ---- verdicts -------------------------------------------------------------------------------------------------------- */
START_TEST(numbers)
{
    double g[12];
    outcome o = one(R, R, "CHAIN", 1, NULL, 0);
    expect(&o, VV_OK, VV_PASS);
    with(g, R, 4, 5.5); /* relative RMS 0.5 / sqrt(650) */
    const double rel = 0.5 / sqrt(650);
    o = one(R, g, "CHAIN", 1, NULL, rel * 1.001);
    expect(&o, VV_OK, VV_PASS);
    ck_assert_double_eq_tol(o.told.last.rel_rms, rel, 1e-15);
    ck_assert(o.told.last.worst == 4 && o.told.last.want == 5 && o.told.last.got == 5.5 && o.told.last.max_abs == 0.5);
    o = one(R, g, "CHAIN", 1, NULL, rel * 0.999);
    expect(&o, VV_DIFFERS, VV_FAIL);
    o = one(R, g, "CHAIN", 1, NULL, 0);
    expect(&o, VV_DIFFERS, VV_FAIL);
    o = one(R, g, "EXACT", 1, NULL, 1); /* no limit helps an exact one */
    expect(&o, VV_DIFFERS, VV_FAIL);
    o = one(R, R, "EXACT", 1, NULL, -1);
    expect(&o, VV_OK, VV_PASS);
    with(g, R, 11, nextafter(-12, 0)); /* one bit of a double */
    o = one(R, g, "EXACT", 1, NULL, -1);
    expect(&o, VV_DIFFERS, VV_FAIL);
}
END_TEST

START_TEST(floors_judge)
{
    double g[12];
    with(g, R, 4, 5.5);
    char floor[32];
    const double rel = 0.5 / sqrt(650);
    snprintf(floor, sizeof floor, "%.17g", rel / 15.9); /* just within the default of 16 floors */
    outcome o = one(R, g, "CHAIN", 1, floor, -1);
    expect(&o, VV_OK, VV_PASS);
    snprintf(floor, sizeof floor, "%.17g", rel / 16.1);
    o = one(R, g, "CHAIN", 1, floor, -1);
    expect(&o, VV_DIFFERS, VV_FAIL);
    o = compare(&(vv_compare_options){.limit = -1, .multiple = 17});
    expect(&o, VV_OK, VV_PASS);
    o = compare(&(vv_compare_options){.limit = 0, .multiple = 17}); /* a limit wins over floors */
    expect(&o, VV_DIFFERS, VV_FAIL);
    o = one(R, g, "CHAIN", 1, NULL, -1);
    vvt_expect_error(&o.err, o.status, VV_FILE, "ref", "a", "floor", (char *)NULL);
}
END_TEST

START_TEST(missing_and_shapes)
{
    outcome o = one(R, NULL, "CHAIN", 1, "1e-7", -1);
    expect(&o, VV_DIFFERS, VV_MISSING);
    o = compare(&(vv_compare_options){.limit = -1, .present = 1}); /* only what is there */
    expect(&o, VV_OK, VV_ABSENT);
    o = one(R, NULL, "CHAIN", 0, "1e-7", -1);
    expect(&o, VV_OK, VV_ABSENT);
    o = one(R, R, "CHAIN", 0, "1e-7", -1);
    expect(&o, VV_OK, VV_PASS);
    rec_write(vvt_path("cand"), &(rec_tensor){"a", VV_DT_F64, R, NULL, 4}, 1, NULL); /* [4,3] for [3,4] */
    o = compare(&(vv_compare_options){.limit = 1e9});
    expect(&o, VV_DIFFERS, VV_SHAPE);
}
END_TEST

/* squares of such numbers overflow or vanish; differences must still be seen */
START_TEST(extremes)
{
    static const double size[3] = {1e200, 1e-170, 1e-300};
    for (int k = 0; k < 3; k++) {
        double r[12], g[12];
        for (int i = 0; i < 12; i++) r[i] = size[k] * R[i];
        with(g, r, 5, 1.5 * r[5]);
        outcome o = one(r, g, "EXACT", 1, NULL, -1);
        expect(&o, VV_DIFFERS, VV_FAIL);
        o = one(r, g, "CHAIN", 1, "1e-7", -1);
        expect(&o, VV_DIFFERS, VV_FAIL);
        o = one(r, r, "CHAIN", 1, "1e-7", -1);
        expect(&o, VV_OK, VV_PASS);
    }
}
END_TEST

START_TEST(not_finite)
{
    static const double zeros[12] = {0}, ones[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    double g[12];
    for (int k = 0; k < 3; k++) {
        with(g, R, 7, k == 0 ? NAN : k == 1 ? INFINITY : -INFINITY);
        outcome o = one(R, g, "CHAIN", 1, NULL, 1e30);
        expect(&o, VV_DIFFERS, VV_NOT_FINITE);
        ck_assert_int_eq(o.told.last.worst, 7); /* where it is */
        o = one(R, g, "EXACT", 1, NULL, -1);
        ck_assert_int_eq(o.status, VV_DIFFERS);
        o = one(g, R, "CHAIN", 1, NULL, 1e30);
        expect(&o, VV_DIFFERS, VV_UNTRUSTED);
        o = one(g, g, "CHAIN", 1, NULL, 1e30); /* agreeing with it proves nothing */
        expect(&o, VV_DIFFERS, VV_UNTRUSTED);
        o = one(g, g, "EXACT", 1, NULL, -1);
        ck_assert_int_eq(o.status, VV_DIFFERS);
    }
    outcome o = one(zeros, zeros, "CHAIN", 1, NULL, 1);
    expect(&o, VV_DIFFERS, VV_UNTRUSTED);
    o = one(ones, R, "CHAIN", 1, NULL, 1e30);
    expect(&o, VV_DIFFERS, VV_UNTRUSTED);
    o = one(ones, ones, "EXACT", 1, NULL, -1); /* an input may well be constant */
    expect(&o, VV_OK, VV_PASS);
}
END_TEST

START_TEST(whole_numbers)
{
    static const char *const index = "[{\"key\":\"a\",\"class\":\"EXACT\"}]";
    int64_t other[12];
    memcpy(other, INTS, sizeof other);
    rec_write(vvt_path("ref"), &(rec_tensor){"a", VV_DT_I64, NULL, INTS, 3}, 1, index);
    rec_write(vvt_path("cand"), &(rec_tensor){"a", VV_DT_I64, NULL, other, 3}, 1, NULL);
    outcome o = compare(&(vv_compare_options){.limit = -1});
    expect(&o, VV_OK, VV_PASS);
    other[11]--;
    rec_write(vvt_path("cand"), &(rec_tensor){"a", VV_DT_I64, NULL, other, 3}, 1, NULL);
    o = compare(&(vv_compare_options){.limit = -1});
    expect(&o, VV_DIFFERS, VV_FAIL);
    ck_assert_int_eq(o.told.last.worst, 11);
    other[11] += 2; /* 2^53 + 1: no double holds it, and it must not pass for 2^53 */
    rec_write(vvt_path("cand"), &(rec_tensor){"a", VV_DT_I64, NULL, other, 3}, 1, NULL);
    o = compare(&(vv_compare_options){.limit = -1});
    vvt_expect_error(&o.err, o.status, VV_FILE, "cand", "a", "2^53", (char *)NULL);
}
END_TEST

/* ---- several tensors ----------------------------------------------------------------------------------------------------- */
START_TEST(order_and_extras)
{
    double g[12];
    with(g, R, 0, 2);
    const rec_tensor ref[3] = {
        {"a", VV_DT_F64, R, NULL, 3}, {"b", VV_DT_F64, R, NULL, 3}, {"c", VV_DT_F64, R, NULL, 3}};
    const rec_tensor cand[4] = {{"a", VV_DT_F64, g, NULL, 3},
                                {"b", VV_DT_F64, R, NULL, 3},
                                {"c", VV_DT_F64, g, NULL, 3},
                                {"d", VV_DT_F64, R, NULL, 3}};
    rec_write(vvt_path("cand"), cand, 4, NULL);
    rec_write(vvt_path("ref"), ref, 3, "[{\"key\":\"c\"},{\"key\":\"b\"},{\"key\":\"a\"}]");
    outcome o = compare(&(vv_compare_options){.limit = 0, .ignore_extra = 1});
    ck_assert_str_eq(o.told.text, "c FAIL\nb PASS\na FAIL\n"); /* the index's order */
    ck_assert_str_eq(o.sum.first, "c");
    ck_assert(o.status == VV_DIFFERS && o.sum.tensors == 3 && o.sum.failed == 2 && o.sum.extra == 1);
    rec_write(vvt_path("ref"), ref, 3, NULL); /* without an index: the file's */
    o = compare(&(vv_compare_options){.limit = 0, .ignore_extra = 1});
    ck_assert_str_eq(o.told.text, "a FAIL\nb PASS\nc FAIL\n");
    ck_assert_str_eq(o.sum.first, "a");
    o = compare(&(vv_compare_options){.limit = 1, .ignore_extra = 1});
    ck_assert_int_eq(o.status, VV_OK);
    o = compare(&(vv_compare_options){.limit = 1}); /* the extra one counts unless it is ignored */
    ck_assert(o.status == VV_DIFFERS && o.sum.failed == 0 && o.sum.extra == 1);
    vv_compare_summary sum;
    ck_assert_int_eq(vv_compare(vvt_path("ref"), vvt_path("cand"), &(vv_compare_options){.limit = 0, .ignore_extra = 1},
                                NULL, NULL, &sum, NULL),
                     VV_DIFFERS);
}
END_TEST

START_TEST(precisions_compare)
{
    static const float f[12] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12};
    rec_write(vvt_path("ref"), &(rec_tensor){"a", VV_DT_F64, R, NULL, 3}, 1, NULL);
    vv_stw *w = NULL;
    const vv_st_decl d = {"a", VV_DT_F32, 2, {3, 4}};
    VVT_OK(vv_stw_open(&w, vvt_path("cand"), &d, 1, NULL, 0, err));
    VVT_OK(vv_stw_write(w, 0, f, err));
    VVT_OK(vv_stw_commit(w, err));
    outcome o = compare(&(vv_compare_options){.limit = 0});
    expect(&o, VV_OK, VV_PASS);
}
END_TEST

/* ---- damage --------------------------------------------------------------------------------------------------------------------- */
START_TEST(damaged)
{
    static const struct {
        const char *index, *word;
    } bad[] = {{"", "index"},
               {"{}", "index"},
               {"[{\"key\":\"a\"}", "index"},
               {"[{\"key\":\"a\"}] x", "index"},
               {"[{\"key\":\"a\",\"key\":\"a\"}]", "index"},
               {"[1]", "key"},
               {"[{}]", "key"},
               {"[{\"key\":7}]", "key"},
               {"[{\"key\":\"z\"}]", "z"},
               {"[{\"key\":\"a\",\"class\":3}]", "class"},
               {"[{\"key\":\"a\",\"class\":\"ROUGH\"}]", "class"},
               {"[{\"key\":\"a\",\"required\":\"yes\"}]", "required"},
               {"[{\"key\":\"a\",\"floor\":-1}]", "floor"},
               {"[{\"key\":\"a\",\"floor\":\"1e-7\"}]", "floor"}};
    const rec_tensor x = {"a", VV_DT_F64, R, NULL, 3};
    rec_write(vvt_path("cand"), &x, 1, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rec_write(vvt_path("ref"), &x, 1, bad[i].index);
        outcome o = compare(&(vv_compare_options){.limit = 1});
        vvt_expect_error(&o.err, o.status, VV_FILE, "ref", bad[i].word, (char *)NULL);
    }
    rec_write(vvt_path("ref"), &x, 1, NULL);
    vvt_write("cand", "not a tensor file", 17);
    outcome o = compare(&(vv_compare_options){.limit = 1});
    vvt_expect_error(&o.err, o.status, VV_FILE, "cand", "expected", (char *)NULL);
    remove(vvt_path("ref"));
    o = compare(&(vv_compare_options){.limit = 1});
    vvt_expect_error(&o.err, o.status, VV_FILE, "ref", "cannot be opened", (char *)NULL);
}
END_TEST

/* ---- adding floors --------------------------------------------------------------------------------------------------------------------- */
START_TEST(floors_added)
{
    double near[12], far[12];
    with(near, R, 0, 1.0001);
    with(far, R, 0, 1.001);
    const char *index = "[{\"key\":\"b\",\"class\":\"CHAIN\",\"required\":true},{\"key\":\"a\",\"class\":\"EXACT\","
                        "\"required\":false}]";
    rec_tensor x[2] = {{"a", VV_DT_F64, R, NULL, 3}, {"b", VV_DT_F64, R, NULL, 3}};
    rec_write(vvt_path("ref"), x, 2, index);
    x[1].v = near;
    rec_write(vvt_path("c0"), x, 2, NULL);
    x[1].v = far;
    rec_write(vvt_path("c1"), x, 2, NULL);
    char path[2][600]; /* vvt_path's own buffers are few */
    const char *const cand[2] = {path[0], path[1]};
    for (int k = 0; k < 2; k++) snprintf(path[k], sizeof path[k], "%s", vvt_path(k ? "c1" : "c0"));
    VVT_OK(vv_golden_floors(vvt_path("ref"), cand, 2, vvt_path("out"), err));
    rec_told told = {.used = 0};
    vv_compare_summary sum;
    VVT_OK(vv_compare(vvt_path("out"), vvt_path("c1"), &(vv_compare_options){.limit = -1}, rec_tell, &told, &sum, err));
    ck_assert_str_eq(told.text, "b PASS\na PASS\n");
    ck_assert_double_eq_tol(told.most, 1, 0.01); /* the largest of the candidates, three digits */
    VVT_OK(vv_golden_floors(vvt_path("ref"), cand, 0, vvt_path("out"), err)); /* nobody: one rounding of a float */
    told = (rec_told){.used = 0};
    ck_assert_int_eq(
        vv_compare(vvt_path("out"), vvt_path("c0"), &(vv_compare_options){.limit = -1}, rec_tell, &told, &sum, NULL),
        VV_DIFFERS);
    ck_assert_double_eq_tol(told.most, 0.0001 / sqrt(650) / 5.96e-8, 1);
    vv_error err = {0}; /* a candidate that is not correct makes no floor */
    with(far, R, 3, NAN);
    rec_write(vvt_path("c1"), x, 2, NULL);
    remove(vvt_path("out"));
    vvt_expect_error(&err, vv_golden_floors(vvt_path("ref"), cand, 2, vvt_path("out"), &err), VV_FILE, "c1", "b",
                     "NOT FINITE", (char *)NULL);
    err = (vv_error){0};
    rec_write(vvt_path("c1"), x, 1, NULL);
    vvt_expect_error(&err, vv_golden_floors(vvt_path("ref"), cand, 2, vvt_path("out"), &err), VV_FILE, "c1", "b",
                     "found none", (char *)NULL);
    FILE *f = fopen(vvt_path("out"), "rb");
    ck_assert_ptr_null(f);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("compare", &tc);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, floors_judge);
    tcase_add_test(tc, missing_and_shapes);
    tcase_add_test(tc, extremes);
    tcase_add_test(tc, not_finite);
    tcase_add_test(tc, whole_numbers);
    tcase_add_test(tc, order_and_extras);
    tcase_add_test(tc, precisions_compare);
    tcase_add_test(tc, damaged);
    tcase_add_test(tc, floors_added);
    return s;
}
VVT_MAIN(suite)
