/* Reading recordings of golden/torch and judging by them. */
#ifndef VVT_RECORDED_H
#define VVT_RECORDED_H

#include "io/safetensors.h"
#include "model/tower.h"

static const double LIMIT = sizeof(vv_real) == 8 ? 1e-11 : 1e-5; /* relative RMS */

static inline vv_st *recorded_open(const char *name)
{
    char path[128];
    vv_st *st = NULL;
    snprintf(path, sizeof path, "golden/torch/%s.safetensors", name);
    VVT_OK(vv_st_open(&st, vvt_root(path), err));
    return st;
}

static inline const vv_st_entry *recorded_find(const vv_st *st, const char *task, const char *name)
{
    char key[300];
    snprintf(key, sizeof key, "u1/%s/%s", task, name);
    const vv_st_entry *e = vv_st_find(st, key);
    ck_assert_msg(e != NULL, "%s: no %s", vv_st_path(st), key);
    return e;
}

static inline double *recorded_numbers(const vv_st *st, const vv_st_entry *e)
{
    double *v = vv_calloc(e->n, sizeof *v);
    VVT_OK(vv_st_read_f64(st, e, v, err));
    return v;
}

static inline int32_t *recorded_ids(const vv_st *st, const char *task, const char *name, int64_t *n)
{
    const vv_st_entry *e = recorded_find(st, task, name);
    int64_t *wide = vv_calloc(e->n, sizeof *wide);
    int32_t *v = vv_calloc(e->n, sizeof *v);
    VVT_OK(vv_st_read_i64(st, e, wide, err));
    for (int64_t i = 0; i < e->n; i++) v[i] = (int32_t)wide[i];
    if (n) *n = e->n;
    free(wide);
    return v;
}

/* the tensor's numbers become the recorded ones */
static inline void recorded_load(const vv_st *st, const vv_st_entry *e, const vv_tensor *x)
{
    ck_assert_int_eq(e->n, x->n);
    vv_real *v = vv_calloc(e->n, sizeof *v);
    VVT_OK(vv_st_read_real(st, e, v, err));
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    free(v);
}

/* all parameters from "w/NAME" of a task */
static inline void recorded_weights(const vv_st *st, const char *task, const vv_params *ps)
{
    for (int64_t i = 0; i < ps->n; i++) {
        char name[VV_NAME_MAX];
        snprintf(name, sizeof name, "w/%s", ps->at[i]->name);
        recorded_load(st, recorded_find(st, task, name), ps->at[i]);
    }
}

/* RMS(got - want) / RMS(want) */
static inline double recorded_distance(const vv_real *got, const double *want, int64_t n)
{
    double d = 0, r = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        r += want[i] * want[i];
    }
    return sqrt(d / r);
}

/* What has been compared, and where we are furthest away. */
typedef struct {
    const vv_st *st;
    const char *task;
    int seen[512];
    double worst;
    char key[VV_NAME_MAX];
} recorded_verdict;

static inline void recorded_note(recorded_verdict *v, const char *key, double d)
{
    if (d <= v->worst || isnan(v->worst)) return; /* NaN is worse than all */
    v->worst = d;
    snprintf(v->key, sizeof v->key, "%s", key);
}

static inline void recorded_judge(recorded_verdict *v, const vv_st_entry *e, const void *backend, int64_t n)
{
    for (int64_t i = 0; i < vv_st_count(v->st); i++)
        if (vv_st_at(v->st, i) == e) v->seen[i] = 1;
    ck_assert_msg(e->n == n, "%s: %lld numbers, ours are %lld", e->name, (long long)e->n, (long long)n);
    vv_real *got = tower_get(backend, n);
    double *want = recorded_numbers(v->st, e);
    recorded_note(v, e->name, recorded_distance(got, want, n));
    free(got);
    free(want);
}

/* for vv_trace: judges every activation and gradient that is recorded */
static inline void recorded_trace(void *ctx, vv_event event, const vv_tensor *x)
{
    recorded_verdict *v = ctx;
    char name[VV_NAME_MAX], key[VV_NAME_MAX + 40];
    if (event == VV_EVENT_IN) return;
    snprintf(key, sizeof key, "u1/%s/%s/%s", v->task, event == VV_EVENT_ACT ? "act" : "dact", vv_name(x, name));
    const vv_st_entry *e = vv_st_find(v->st, key);
    if (e) recorded_judge(v, e, event == VV_EVENT_ACT ? x->data : x->grad, x->n);
}

/* the gradients of all parameters against "dw/NAME" */
static inline void recorded_gradients(recorded_verdict *v, const vv_params *ps)
{
    for (int64_t i = 0; i < ps->n; i++) {
        char name[VV_NAME_MAX];
        ck_assert_msg(ps->at[i]->has_grad, "%s", ps->at[i]->name);
        snprintf(name, sizeof name, "dw/%s", ps->at[i]->name);
        recorded_judge(v, recorded_find(v->st, v->task, name), ps->at[i]->grad, ps->at[i]->n);
    }
}

#endif
