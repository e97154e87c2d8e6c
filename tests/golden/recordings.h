/* Small recordings made by hand, and what a comparison of two says. */
#ifndef VVT_RECORDINGS_H
#define VVT_RECORDINGS_H

#include <math.h>

#include "golden/compare.h"
#include "vvt.h"

/* A file of up to 8 tensors of 12 numbers; F64 unless ints. */
typedef struct {
    const char *key;
    vv_dtype dtype;
    const double *v;     /* [12] */
    const int64_t *ints; /* instead */
    int64_t rows;        /* of the shape [rows, 12/rows] */
} rec_tensor;

static inline void rec_write(const char *path, const rec_tensor *x, int64_t n, const char *index)
{
    const char *const meta[] = {"versavit_golden", "1", index ? "index" : NULL, index, NULL};
    vv_st_decl d[8] = {{0}};
    vv_stw *w = NULL;
    for (int64_t i = 0; i < n; i++) d[i] = (vv_st_decl){x[i].key, x[i].dtype, 2, {x[i].rows, 12 / x[i].rows}};
    VVT_OK(vv_stw_open(&w, path, d, n, meta, 1, err));
    for (int64_t i = 0; i < n; i++) VVT_OK(vv_stw_write(w, i, x[i].ints ? (const void *)x[i].ints : x[i].v, err));
    VVT_OK(vv_stw_commit(w, err));
}

/* What vv_compare told, in order: "key VERDICT\n". */
typedef struct {
    char text[4096];
    size_t used;
    vv_comparison last;
    double most; /* largest relative RMS over its floor */
} rec_told;

static inline void rec_tell(void *ctx, const vv_comparison *c)
{
    rec_told *t = ctx;
    if (t->used < sizeof t->text - 200)
        t->used += (size_t)snprintf(t->text + t->used, sizeof t->text - t->used, "%s %s\n", c->key,
                                    vv_verdict_name(c->verdict));
    t->last = *c;
    t->last.key = NULL;
    if (c->floor > 0) t->most = fmax(t->most, c->rel_rms / c->floor);
}

#endif
