/* Golden files and candidates made by hand, for the tests of the judge. */
#ifndef VVT_JUDGING_H
#define VVT_JUDGING_H

#include <math.h>

#include "golden/fault.h"
#include "vvt.h"

enum { JD_TENSORS = 512 };

/* A tensor to be written: F64 from v, or I64 from ints. */
typedef struct {
    const char *key;
    int ndim;
    int64_t shape[VV_ST_MAXDIM];
    const double *v;
    const int64_t *ints;
} jd_tensor;

static inline int64_t jd_count(const jd_tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->ndim; i++) n *= x->shape[i];
    return n;
}

/* meta: key, value, ..., NULL */
static inline void jd_write(const char *path, const jd_tensor *x, int64_t n, const char *const *meta)
{
    vv_st_decl *d = vv_calloc(n, sizeof *d);
    vv_stw *w = NULL;
    ck_assert_ptr_nonnull(d);
    for (int64_t i = 0; i < n; i++) {
        d[i] = (vv_st_decl){.name = x[i].key, .dtype = x[i].ints ? VV_DT_I64 : VV_DT_F64, .ndim = x[i].ndim};
        memcpy(d[i].shape, x[i].shape, sizeof d[i].shape);
    }
    VVT_OK(vv_stw_open(&w, path, d, n, meta, 1, err));
    for (int64_t i = 0; i < n; i++) VVT_OK(vv_stw_write(w, i, x[i].ints ? (const void *)x[i].ints : x[i].v, err));
    VVT_OK(vv_stw_commit(w, err));
    free(d);
}

/* a golden file of format 2 with this index */
static inline const char *jd_golden(const char *name, const jd_tensor *x, int64_t n, const char *index)
{
    const char *const meta[] = {"versavit_golden", "2", "precision", "double", "index", index, NULL};
    jd_write(vvt_path(name), x, n, meta);
    return vvt_path(name);
}

static inline const char *jd_candidate(const char *name, const jd_tensor *x, int64_t n)
{
    jd_write(vvt_path(name), x, n, NULL);
    return vvt_path(name);
}

/* twelve numbers [3,4]; their squares add up to 650 */
static const double JD_R[12] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12};
#define JD_KEY "u1/vision/act/a"
static inline jd_tensor jd_twelve(const char *key, const double *v) { return (jd_tensor){key, 2, {3, 4}, v, NULL}; }

typedef struct {
    vv_status status;
    vv_judged j; /* empty unless the status is VV_OK or VV_DIFFERS */
    vv_error err;
} jd_outcome;

/* what the judge says of vvt_path("cand") by vvt_path("ref"); free with vv_judged_free */
static inline jd_outcome jd_judge(const vv_judge_options *o)
{
    jd_outcome r = {0};
    r.status = vv_judge(&r.j, vvt_path("ref"), vvt_path("cand"), o, &r.err);
    return r;
}

static const vv_judge_options JD_BY_FLOORS = {.limit = -1, .ignore_extra = 1, .scope = VV_SCOPE_UPDATE};

static inline void jd_with(double *to, int at, double value)
{
    memcpy(to, JD_R, sizeof JD_R);
    to[at] = value;
}

/* tensor "a" on both sides; v NULL: not in the candidate. fields: of its entry, after the key */
static inline void jd_one(const double *ref, const double *cand, const char *fields)
{
    char index[700];
    snprintf(index, sizeof index, "[{\"key\":\"" JD_KEY "\"%s%s}]", *fields ? "," : "", fields);
    jd_golden("ref", &(jd_tensor){JD_KEY, 2, {3, 4}, ref, NULL}, 1, index);
    jd_candidate("cand", &(jd_tensor){JD_KEY, 2, {3, 4}, cand, NULL}, cand ? 1 : 0);
}

static inline void jd_expect_verdict(const vv_judge_options *o, vv_status status, vv_verdict v)
{
    jd_outcome r = jd_judge(o);
    ck_assert_msg(r.status == status, "status %d, expected %d: %s", (int)r.status, (int)status, r.err.msg);
    ck_assert_int_eq(r.j.n, 1);
    ck_assert_str_eq(vv_verdict_name(r.j.at[0].verdict), vv_verdict_name(v));
    ck_assert_int_eq(r.j.failed, status == VV_DIFFERS && v != VV_MISSING);
    ck_assert_int_eq(r.j.missing, v == VV_MISSING);
    ck_assert_int_eq(r.j.absent, v == VV_ABSENT);
    ck_assert(r.j.first == (r.j.failed ? &r.j.at[0] : NULL) && r.j.first_missing == (r.j.missing ? &r.j.at[0] : NULL));
    vv_judged_free(&r.j);
}

static inline void jd_expect(double limit, vv_status status, vv_verdict v)
{
    vv_judge_options o = JD_BY_FLOORS;
    o.limit = limit;
    jd_expect_verdict(&o, status, v);
}

#endif
