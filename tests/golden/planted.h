/* Mistakes planted into a candidate that is otherwise a committed golden file: for the tests of likely causes. */
#ifndef VVT_PLANTED_H
#define VVT_PLANTED_H

#include "golden/judging.h"

enum { PL_TENSORS = 4096 };
static vv_golden pl_golden;
static jd_tensor pl_tensor[PL_TENSORS];
static double *pl_value[PL_TENSORS], *pl_truth[PL_TENSORS];

static inline int pl_find(const char *key)
{
    for (int64_t i = 0; i < pl_golden.n; i++)
        if (!strcmp(pl_golden.entry[i].key, key)) return (int)i;
    ck_abort_msg("%s is not in %s", key, pl_golden.path);
    return -1;
}

/* golden numbers of a tensor; its weights may lie beside the file. The candidate's are pl_at's. */
static inline const double *pl_of(const char *key) { return pl_truth[pl_find(key)]; }
static inline double *pl_at(const char *key) { return pl_value[pl_find(key)]; }
static inline int64_t pl_count(const char *key) { return pl_golden.entry[pl_find(key)].n; }

/* the candidate is the golden file again */
static inline void pl_fresh(void)
{
    for (int64_t i = 0; i < pl_golden.n; i++)
        memcpy(pl_value[i], pl_truth[i], sizeof(double) * (size_t)pl_golden.entry[i].n);
}

static inline void pl_open(const char *folder)
{
    VVT_OK(vv_golden_open(&pl_golden, vvt_root(folder), err));
    ck_assert_int_le(pl_golden.n, PL_TENSORS);
    for (int64_t i = 0; i < pl_golden.n; i++) {
        const vv_golden_entry *e = &pl_golden.entry[i];
        VVT_OK(vv_golden_doubles(&pl_truth[i], &pl_golden, e->at, err));
        ck_assert_ptr_nonnull(pl_value[i] = vv_calloc(e->n, sizeof *pl_value[i]));
        pl_tensor[i] = (jd_tensor){.key = e->key, .ndim = e->at->ndim, .v = pl_value[i]};
        memcpy(pl_tensor[i].shape, e->at->shape, sizeof e->at->shape);
    }
    pl_fresh();
}

static inline void pl_close(void)
{
    for (int64_t i = 0; i < pl_golden.n; i++) {
        free(pl_value[i]);
        free(pl_truth[i]);
    }
    vv_golden_close(&pl_golden);
}

/* the first divergent tensor is key, and its cause holds the words (NULL: there is none); then everything is right again */
static inline void pl_located(const char *key, const char *words)
{
    vv_judged j;
    vv_fault f;
    vv_error why = {0};
    jd_candidate("cand", pl_tensor, pl_golden.n);
    const vv_judge_options o = {.limit = -1, .scope = VV_SCOPE_UPDATE};
    const vv_status s = vv_judge(&j, pl_golden.path, vvt_path("cand"), &o, &why);
    ck_assert_msg(s == VV_DIFFERS, "%s: status %d %s", key, (int)s, why.msg);
    VVT_OK(vv_fault_find(&f, &j, err));
    ck_assert_str_eq(f.first->entry->key, key);
    if (words)
        ck_assert_msg(strstr(f.cause, words) != NULL, "%s: expected the cause \"%s\"; found \"%s\" (left %g of %g)",
                      key, words, f.cause, f.left, f.first->m.rel_rms);
    else ck_assert_msg(!f.cause[0], "%s: expected no cause; found \"%s\"", key, f.cause);
    vv_judged_free(&j);
    pl_fresh();
}

#endif
