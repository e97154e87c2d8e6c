/* Causes that scale or leave out: the difference is a multiple of something known. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/fault_parts.h"

static const double LEAST_TOLERANCE = 1e-6, MOST_TOLERANCE = 1e-2; /* of a factor, relative */

/* the least squares a of g = a r */
static double slope(const double *r, const double *g, int64_t n)
{
    double rr = 0, rg = 0;
    for (int64_t i = 0; i < n; i++) {
        rr += r[i] * r[i];
        rg += r[i] * g[i];
    }
    return rr > 0 ? rg / rr : 0;
}

/* ---- what number a factor is ---------------------------------------------------------------------------------------------- */
typedef struct {
    double a, tolerance;
    char text[VV_FAULT_TEXT / 2]; /* "" until it is known */
} factor;

static int same(const factor *f, double x) { return fabs(f->a - x) <= f->tolerance * fabs(x); }

/* a is v, 1/v or a root of them */
static void is_number(factor *f, double v, const char *what)
{
    if (f->text[0] || !(fabs(v) > 1e-12) || fabs(fabs(v) - 1) < 1e-9) return;
    const struct {
        double value;
        const char *as;
    } form[] = {{v, "%s"},
                {1 / v, "1 / %s"},
                {v > 0 ? sqrt(v) : 0, "sqrt(%s)"},
                {v > 0 ? 1 / sqrt(v) : 0, "1 / sqrt(%s)"},
                {v > 1 ? sqrt((v - 1) / v) : 0, "sqrt((n-1)/n), n = %s: the unbiased variance"},
                {v > 1 ? sqrt(v / (v - 1)) : 0, "sqrt(n/(n-1)), n = %s: a variance divided by n, where n-1 is due"},
                {v > 1 ? v / (v - 1) : 0, "n/(n-1), n = %s"},
                {v > 1 ? (v - 1) / v : 0, "(n-1)/n, n = %s"}};
    for (size_t i = 0; i < sizeof form / sizeof *form && !f->text[0]; i++)
        if (form[i].value != 0 && same(f, form[i].value)) {
            const char *hole = strstr(form[i].as, "%s");
            snprintf(f->text, sizeof f->text, "%.*s%s%s", (int)(hole - form[i].as), form[i].as, what, hole + 2);
        }
}

static void is_dimension(factor *f, const vv_suspect *s)
{
    char what[120];
    for (int i = 0; i < s->e->ndim; i++) {
        snprintf(what, sizeof what, "%lld (its axis %d)", (long long)s->e->shape[i], i);
        is_number(f, (double)s->e->shape[i], what);
    }
    for (int64_t k = 0; k < s->j->golden.n; k++) { /* counts come from inputs */
        const vv_golden_entry *e = &s->j->golden.entry[k];
        if (e->kind != VV_KIND_IN || e->task_n != s->e->task_n || strncmp(e->task, s->e->task, (size_t)e->task_n))
            continue;
        for (int i = 0; i < e->ndim; i++) {
            snprintf(what, sizeof what, "%lld (axis %d of %.60s)", (long long)e->shape[i], i, e->name);
            is_number(f, (double)e->shape[i], what);
        }
        snprintf(what, sizeof what, "%lld (the size of %.60s)", (long long)e->n, e->name);
        is_number(f, (double)e->n, what);
    }
}

/* labels that count, pixels of a mask: numbers above zero in an input of whole numbers */
static vv_status is_count(factor *f, const vv_suspect *s, vv_error *err)
{
    char what[120];
    for (int64_t k = 0; !f->text[0] && k < s->j->golden.n; k++) {
        const vv_golden_entry *e = &s->j->golden.entry[k];
        if (e->kind != VV_KIND_IN || e->n > 1 << 20 || e->task_n != s->e->task_n ||
            strncmp(e->task, s->e->task, (size_t)e->task_n))
            continue;
        double *v = NULL;
        VV_TRY(vv_suspect_load(&v, s, e, err));
        int64_t n = 0, valid = 0;
        for (int64_t i = 0; i < e->n; i++) {
            n += v[i] > 0;
            valid += v[i] != VV_IGNORED;
        }
        free(v);
        snprintf(what, sizeof what, "%lld (numbers above zero in %.60s)", (long long)n, e->name);
        is_number(f, (double)n, what);
        snprintf(what, sizeof what, "%lld (labels of %.60s that are not ignored)", (long long)valid, e->name);
        if (valid < e->n) is_number(f, (double)valid, what);
    }
    return VV_OK;
}

static void is_setting(factor *f, const json_t *object, const char *path)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[120], what[160];
        snprintf(name, sizeof name, "%.80s%s%.30s", path, *path ? "." : "", key);
        if (json_is_object(value)) is_setting(f, value, name);
        const double v = json_number_value(value);
        if (!json_is_number(value) || !strcmp(key, "seed")) continue;
        snprintf(what, sizeof what, "%.10g (%s)", v, name);
        is_number(f, v, what);
    }
}

static vv_status known(factor *f, const vv_suspect *s, vv_error *err)
{
    char what[80];
    if (same(f, -1)) snprintf(f->text, sizeof f->text, "-1: the sign");
    is_number(f, 2, "2");
    const int64_t heads = vv_suspect_config(s, "num_heads"), width = vv_suspect_config(s, "embed_dim");
    const int64_t head = heads > 0 && width > 0 ? width / heads : vv_suspect_config(s, "head_dim");
    snprintf(what, sizeof what, "%lld (the size of a head)", (long long)head);
    is_number(f, (double)head, what);
    is_dimension(f, s);
    VV_TRY(is_count(f, s, err));
    is_setting(f, s->j->golden.cases, "");
    is_setting(f, s->j->golden.config, "");
    const double whole = fabs(f->a) > 1 ? f->a : 1 / f->a;
    snprintf(what, sizeof what, "%.0f", floor(fabs(whole) + 0.5));
    if (fabs(whole) < 1e6) is_number(f, floor(fabs(whole) + 0.5), what);
    return VV_OK;
}

vv_status vv_cause_factor(vv_suspect *s, vv_error *err)
{
    const double a = slope(s->r, s->g, s->n);
    const int single = s->n < 4;
    if (a == 0 || !isfinite(a)) return VV_OK;
    for (int64_t i = 0; i < s->n; i++) s->work[i] = a * s->r[i];
    const double left = vv_distance(s->work, s->g, s->n) / fmin(1, fabs(a));
    factor f = {.a = a, .tolerance = fmin(MOST_TOLERANCE, fmax(LEAST_TOLERANCE, fmax(4 * left, s->limit)))};
    f.tolerance = fmin(f.tolerance, 0.1 * fabs(a - 1)); /* nor may it reach over 1 */
    VV_TRY(known(&f, s, err));
    if (f.text[0]) (void)vv_suspect_at(s, left, "times %.9g everywhere; that is %s", a, f.text);
    else if (!single) (void)vv_suspect_at(s, left, "times %.9g everywhere", a);
    return VV_OK;
}

/* ---- what is left out --------------------------------------------------------------------------------------------------------- */
/* d = g - r is a times the tensor */
static void is_multiple(vv_suspect *s, const double *d, const double *x, const char *name, const char *missing,
                        const char *twice)
{
    const double a = slope(x, d, s->n);
    if (a == 0 || !isfinite(a)) return;
    for (int64_t i = 0; i < s->n; i++) s->work[i] = s->r[i] + a * x[i];
    const double left = vv_distance(s->work, s->g, s->n), off = 8 * left / fmax(s->error, 1e-300);
    if (fabs(a + 1) < 1e-3 + off) (void)vv_suspect_at(s, left, "%s %s", name, missing);
    else if (fabs(a - 1) < 1e-3 + off) (void)vv_suspect_at(s, left, "%s %s", name, twice);
    else (void)vv_suspect_at(s, left, "the difference is %.6g times %s", a, name);
}

static vv_status recorded(vv_suspect *s, const double *d, vv_golden_kind kind, vv_error *err)
{
    const vv_golden_entry *x;
    if (s->n < 4) return VV_OK;
    for (int k = 0; (x = vv_suspect_before(s, kind, s->n, k)); k++) {
        double *v = NULL;
        VV_TRY(vv_suspect_load(&v, s, x, err));
        is_multiple(s, d, v, x->name, "is left out of the sum (a residual?)", "is added once too often");
        free(v);
    }
    return VV_OK;
}

static vv_status weight_decay(vv_suspect *s, const double *d, vv_error *err)
{
    double *w = NULL;
    if (s->e->kind != VV_KIND_DW && s->e->kind != VV_KIND_DSTEP) return VV_OK;
    VV_TRY(vv_suspect_weight(&w, s, s->e->name, s->n, err));
    if (w) is_multiple(s, d, w, "the weight itself (weight decay)", "is left out", "is added once too often");
    free(w);
    return VV_OK;
}

/* a weight of st with `cols` numbers that is +-v */
static vv_status name_vector(const vv_suspect *s, const vv_st *st, const double *v, double allowed, char *name,
                             size_t size, vv_error *err)
{
    for (int64_t k = 0; st && k < vv_st_count(st); k++) {
        const vv_st_entry *e = vv_st_at(st, k);
        double *w = NULL, d[2] = {0, 0}, top = 0;
        if (e->n != s->cols || !vv_dtype_is_real(e->dtype) || (st == s->j->golden.st && !strstr(e->name, "/w/")))
            continue;
        VV_TRY(vv_entry_doubles(&w, vv_st_path(st), e, err));
        for (int64_t c = 0; c < s->cols; c++) {
            top += w[c] * w[c];
            d[0] += (v[c] + w[c]) * (v[c] + w[c]);
            d[1] += (v[c] - w[c]) * (v[c] - w[c]);
        }
        free(w);
        for (int i = 0; i < 2; i++)
            if (top > 0 && d[i] <= allowed * allowed * top)
                snprintf(name, size, ": %.200s %s", e->name, i ? "is added once too often" : "is left out");
    }
    return VV_OK;
}

/* the same vector in each row */
static vv_status bias(vv_suspect *s, const double *d, vv_error *err)
{
    char name[300] = "";
    if (s->rows < 4 || s->e->ndim != 2) return VV_OK;
    double *v = vv_calloc(s->cols, sizeof *v);
    if (!v) return vv_no_memory(err, s->e->key);
    for (int64_t i = 0; i < s->n; i++) v[i % s->cols] += d[i] / (double)s->rows;
    for (int64_t i = 0; i < s->n; i++) s->work[i] = s->r[i] + v[i % s->cols];
    const double left = vv_distance(s->work, s->g, s->n), allowed = fmax(1e-3, 8 * left / fmax(s->error, 1e-300));
    vv_status status = VV_OK;
    if (left <= s->enough) {
        status = name_vector(s, s->j->golden.st, v, allowed, name, sizeof name, err);
        if (status == VV_OK) status = name_vector(s, s->j->golden.weights, v, allowed, name, sizeof name, err);
        (void)vv_suspect_at(s, left, "the difference is the same vector in each row%s", name[0] ? name : " (a bias?)");
    }
    free(v);
    return status;
}

vv_status vv_cause_left_out(vv_suspect *s, vv_error *err)
{
    double *d = vv_calloc(s->n, sizeof *d);
    if (!d) return vv_no_memory(err, s->e->key);
    for (int64_t i = 0; i < s->n; i++) d[i] = s->g[i] - s->r[i];
    vv_status status = recorded(s, d, s->e->kind, err);
    if (status == VV_OK) status = weight_decay(s, d, err);
    if (status == VV_OK) status = bias(s, d, err);
    free(d);
    return status;
}
