/* Cases as a test makes them, and reading what they hold: every number that has an independent way is computed by it from what the file holds and
 * nothing else, as who checks a program by the file would. */
#ifndef VVT_GOLDEN_MADE_H
#define VVT_GOLDEN_MADE_H

#include <math.h>
#include <stdarg.h>

#include "golden/case.h"
#include "golden/files.h"

/* relative RMS; the float build's own rounding is below 2e-5 in all that is computed here from its recorded values */
static const double LIMIT = sizeof(vv_real) == 8 ? 1e-12 : 2e-5;

typedef struct {
    vv_st *st;
    json_t *index, *root; /* root: the case */
} golden;

static inline const char *case_file(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "data/cases/%s.json", name);
    return vvt_root(path);
}

static inline golden make(const char *name, const char *out, const char *from)
{
    const vv_golden_options o = {.out = vvt_path(out), .from = from};
    VVT_OK(vv_golden_make(case_file(name), &o, err));
    golden g = {gf_open(o.out), NULL, NULL};
    g.index = gf_json(g.st, "index");
    g.root = gf_json(g.st, "case");
    return g;
}

static inline void close_golden(golden *g)
{
    vv_st_close(g->st);
    json_decref(g->index);
    json_decref(g->root);
}

static inline const char *keyf(const char *fmt, ...)
{
    static char buf[8][300];
    static int next;
    char *key = buf[next++ % 8];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(key, sizeof buf[0], fmt, ap);
    va_end(ap);
    return key;
}

static inline int64_t count(const golden *g, const char *key) { return gf_at(g->st, key)->n; }

static inline vv_real *reals(const golden *g, const char *key)
{
    vv_real *v = vv_calloc(count(g, key), sizeof *v);
    VVT_OK(vv_st_read_real(g->st, gf_at(g->st, key), v, err));
    return v;
}

static inline int32_t *ints(const golden *g, const char *key)
{
    const int64_t n = count(g, key);
    int64_t *wide = vv_calloc(n, sizeof *wide);
    int32_t *v = vv_calloc(n, sizeof *v);
    VVT_OK(vv_st_read_i64(g->st, gf_at(g->st, key), wide, err));
    for (int64_t i = 0; i < n; i++) v[i] = (int32_t)wide[i];
    free(wide);
    return v;
}

static inline double number(const golden *g, const char *key)
{
    double *v = gf_values(g->st, key);
    const double x = v[0];
    free(v);
    return x;
}

/* want [n] against what is recorded; size: what an error is measured by when it is more than the RMS of want */
static inline void agrees(const golden *g, const char *key, const double *want, int64_t n, double size)
{
    double *got = gf_values(g->st, key), d = 0, sum = 0;
    ck_assert_int_eq(count(g, key), n);
    for (int64_t i = 0; i < n; i++) {
        d += (got[i] - want[i]) * (got[i] - want[i]) / (double)n;
        sum += want[i] * want[i] / (double)n;
    }
    ck_assert_msg(sqrt(d) <= LIMIT * fmax(sqrt(sum), size), "%s: RMS %.3g, off by %.3g", key, sqrt(sum), sqrt(d));
    free(got);
}

#endif
