/* Verdicts on choices: ties, and what follows from them. */
#include "golden/judging.h"

/* deciding values [2,3]; the second row is a tie within the noise of 13 floors: 13 * 1e-6 * RMS(1.48) */
static const double LOGITS[6] = {1, 2, 0.5, 2, 1e-9, 2 - 1e-6};

static void choose(const char *rule, const double *of, int64_t of_n, const double *want, const double *got, int64_t n,
                   vv_status status, vv_verdict v, int64_t ties)
{
    char index[600];
    const jd_tensor x[] = {{"u1/t/act/logits", 1, {of_n}, of, NULL}, {"u1/t/act/choice", 1, {n}, want, NULL}};
    const jd_tensor y[] = {x[0], {"u1/t/act/choice", 1, {n}, got, NULL}};
    snprintf(index, sizeof index,
             "[{\"key\":\"u1/t/act/logits\",\"floor\":1e-6},{\"key\":\"u1/t/act/"
             "choice\",\"class\":\"DISCRETE\",\"of\":\"u1/t/act/logits\",\"rule\":%s}]",
             rule);
    jd_golden("ref", x, 2, index);
    jd_candidate("cand", y, 2);
    jd_outcome r = jd_judge(&JD_BY_FLOORS);
    ck_assert_msg(r.status == status, "%s: status %d %s", rule, (int)r.status, r.err.msg);
    ck_assert_str_eq(vv_verdict_name(r.j.at[1].verdict), vv_verdict_name(v));
    ck_assert_int_eq(r.j.at[1].ties, ties);
    if (v == VV_FAIL) ck_assert_int_eq(r.j.at[1].m.worst, want[0] == got[0]);
    vv_judged_free(&r.j);
}

#define D(...) ((const double[]){__VA_ARGS__})
START_TEST(ties)
{
    choose("\"argmax\"", LOGITS, 6, D(1, 0), D(1, 0), 2, VV_OK, VV_PASS, 0);
    choose("\"argmax\"", LOGITS, 6, D(1, 0), D(1, 2), 2, VV_OK, VV_TIE, 1);
    choose("\"argmax\"", LOGITS, 6, D(1, 0), D(0, 2), 2, VV_DIFFERS, VV_FAIL, 1); /* the first row is no tie */
    choose("\"argmax\"", LOGITS, 6, D(1, 0), D(3, 0), 2, VV_DIFFERS, VV_FAIL, 0);
    choose("\"argmax\"", LOGITS, 6, D(1, 0), D(-1, 0), 2, VV_DIFFERS, VV_FAIL, 0);
    choose("\"argmax\"", LOGITS, 6, D(1, 0), D(0.5, 0), 2, VV_DIFFERS, VV_FAIL, 0);
    choose("\"median\"", LOGITS, 6, D(0, 0), D(0, 2), 2, VV_OK, VV_TIE, 1);
    choose("\"median\"", LOGITS, 6, D(0, 0), D(1, 0), 2, VV_DIFFERS, VV_FAIL, 0);
    choose("\"sign\"", LOGITS, 6, D(1, 1, 1, 1, 1, 1), D(1, 1, 1, 1, -1, 1), 6, VV_OK, VV_TIE, 1);
    choose("\"sign\"", LOGITS, 6, D(1, 1, 1, 1, 1, 1), D(-1, 1, 1, 1, -1, 1), 6, VV_DIFFERS, VV_FAIL, 1);
    choose("\"threshold\",\"threshold\":2", LOGITS, 6, D(0, 1, 0, 1, 0, 0), D(0, 0, 0, 0, 0, 1), 6, VV_OK, VV_TIE, 3);
    choose("\"threshold\",\"threshold\":2", LOGITS, 6, D(0, 1, 0, 1, 0, 0), D(1, 1, 0, 1, 0, 0), 6, VV_DIFFERS, VV_FAIL,
           0);
    choose("\"sign\"", LOGITS, 6, D(1, 1, 1, 1, 1, 1), D(1, 1, 1, 1, NAN, 1), 6, VV_DIFFERS, VV_NOT_FINITE, 0);
    choose("\"argmax\"", D(1, 1 - 3e-5), 2, D(0), D(1), 1, VV_DIFFERS, VV_FAIL, 0); /* the noise is 1.3e-5 */
    choose("\"argmax\"", D(1, 1 - 1.2e-5), 2, D(0), D(1), 1, VV_OK, VV_TIE, 1);
    choose("\"sign\"", D(1, -3e-5), 2, D(1, -1), D(1, 1), 2, VV_DIFFERS, VV_FAIL, 0);
    choose("\"sign\"", D(1, -8e-6), 2, D(1, -1), D(1, 1), 2, VV_OK, VV_TIE, 1);
    /* without a rule only equal ones are right */
    const jd_tensor x = {JD_KEY, 1, {2}, D(1, 2), NULL}, y = {JD_KEY, 1, {2}, D(1, 3), NULL};
    jd_golden("ref", &x, 1, "[{\"key\":\"" JD_KEY "\",\"class\":\"DISCRETE\"}]");
    jd_candidate("cand", &y, 1);
    jd_expect(-1, VV_DIFFERS, VV_FAIL);
}
END_TEST

/* two tensors behind a tie: both must be of the same truth */
START_TEST(alternatives)
{
    double other[12], third[12];
    jd_with(other, 3, 4);
    jd_with(third, 3, 9);
    const jd_tensor ref[] = {jd_twelve("u1/t/act/a", JD_R),    jd_twelve("u1/t/act/b", JD_R),
                             jd_twelve("u1/t/alt/a.1", other), jd_twelve("u1/t/alt/b.1", other),
                             jd_twelve("u1/t/alt/a.2", third), jd_twelve("u1/t/alt/b.2", third)};
    jd_golden(
        "ref", ref, 6,
        "[{\"key\":\"u1/t/act/a\",\"floor\":1e-7,\"alternatives\":[\"u1/t/alt/a.1\",\"u1/t/alt/a.2\"]},"
        "{\"key\":\"u1/t/act/b\",\"floor\":1e-7,\"alternatives\":[\"u1/t/alt/b.1\",\"u1/t/alt/b.2\"]},"
        "{\"key\":\"u1/t/alt/a.1\"},{\"key\":\"u1/t/alt/b.1\"},{\"key\":\"u1/t/alt/a.2\"},{\"key\":\"u1/t/alt/b.2\"}]");
    const double *const truth[3] = {JD_R, other, third};
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            const jd_tensor cand[] = {jd_twelve("u1/t/act/a", truth[a]), jd_twelve("u1/t/act/b", truth[b])};
            jd_candidate("cand", cand, 2);
            jd_outcome r = jd_judge(&JD_BY_FLOORS);
            ck_assert_int_eq(r.status, a == b ? VV_OK : VV_DIFFERS);
            ck_assert_int_eq(r.j.n, 2); /* the others are not judged */
            if (a == b) ck_assert(r.j.at[0].alternative == a && r.j.at[1].alternative == a);
            vv_judged_free(&r.j);
        }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("judge_choices", &tc);
    tcase_add_test(tc, ties);
    tcase_add_test(tc, alternatives);
    return s;
}
VVT_MAIN(suite)
