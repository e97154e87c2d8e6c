#include "golden/compare.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const double DEFAULT_MULTIPLE = 16, LEAST_FLOOR = 0x1p-24;
static const int64_t INDEX_BYTES = 64 << 20, EXACT_IN_DOUBLE = (int64_t)1 << 53;

const char *vv_verdict_name(vv_verdict v)
{
    static const char *const name[] = {"PASS", "FAIL", "MISSING", "SHAPE", "NOT FINITE", "absent", "UNTRUSTED"};
    return name[v];
}

/* ---- one tensor ------------------------------------------------------------------------------------------------------ */
static vv_status read_doubles(double **out, const vv_st *st, const vv_st_entry *e, vv_error *err)
{
    double *v = vv_calloc(e->n, sizeof *v);
    if (!v) return vv_no_memory(err, e->name);
    vv_status s = VV_OK;
    if (vv_dtype_is_real(e->dtype)) {
        s = vv_st_read_f64(st, e, v, err);
    } else {
        int64_t *i = vv_calloc(e->n, sizeof *i);
        s = i ? vv_st_read_i64(st, e, i, err) : vv_no_memory(err, e->name);
        for (int64_t k = 0; s == VV_OK && k < e->n; k++) {
            v[k] = (double)i[k];
            if (i[k] > EXACT_IN_DOUBLE || i[k] < -EXACT_IN_DOUBLE)
                s = vv_fail(err, VV_FILE, "%s: %s: expected whole numbers up to 2^53; found %lld", vv_st_path(st),
                            e->name, (long long)i[k]);
        }
        free(i);
    }
    if (s == VV_OK) *out = v;
    else free(v);
    return s;
}

/* the differences of n numbers; sets worst, want, got, max_abs, rel_rms and a verdict that is PASS so far */
static void measure(vv_comparison *c, const double *r, const double *g, int64_t n)
{
    double sum_r = 0, sum_d = 0, top = 0; /* top: scales the squares, so that they neither overflow nor vanish */
    int finite_r = 1, finite_g = 1, constant = 1;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(g[i] - r[i]), most = fmax(fabs(r[i]), d);
        top = isfinite(most) && most > top ? most : top;
    }
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(g[i] - r[i]), ri = top > 0 ? r[i] / top : 0, di = top > 0 ? d / top : 0;
        finite_r &= isfinite(r[i]) != 0;
        if (!isfinite(g[i]) && finite_g) {
            finite_g = 0;
            c->worst = i;
        }
        constant &= r[i] == r[0];
        sum_r += ri * ri;
        sum_d += di * di;
        if (finite_g && d > c->max_abs) {
            c->max_abs = d;
            c->worst = i;
        }
    }
    if (n > 0) {
        c->want = r[c->worst];
        c->got = g[c->worst];
    }
    c->rel_rms = n == 0 ? 0 : sum_r > 0 ? sqrt(sum_d / sum_r) : top * sqrt(sum_d / (double)n);
    if (!finite_r || (constant && n > 8)) c->verdict = VV_UNTRUSTED;
    else if (!finite_g) c->verdict = VV_NOT_FINITE;
}

static int same_shape(const vv_st_entry *a, const vv_st_entry *b)
{
    if (a->ndim != b->ndim) return 0;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return 0;
    return 1;
}

static vv_status compare_one(vv_comparison *c, const vv_st *ref, const vv_st_entry *re, const vv_st *cand,
                             const vv_st_entry *ce, vv_error *err)
{
    double *r = NULL, *g = NULL;
    if (!same_shape(re, ce)) {
        c->verdict = VV_SHAPE;
        return VV_OK;
    }
    vv_status s = read_doubles(&r, ref, re, err);
    if (s == VV_OK) s = read_doubles(&g, cand, ce, err);
    if (s == VV_OK) measure(c, r, g, re->n);
    free(r);
    free(g);
    return s;
}

/* ---- the index --------------------------------------------------------------------------------------------------------- */
/* the list of the metadata, or one made from the file's own order, every tensor CHAIN and required */
static vv_status load_index(json_t **out, const vv_st *st, vv_error *err)
{
    const char *text = vv_st_metadata(st, "index");
    if (text) {
        errno = 0;
        *out = strlen(text) < (size_t)INDEX_BYTES ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
        if (json_is_array(*out) && errno != ENOMEM) return VV_OK;
        json_decref(*out);
        *out = NULL;
        if (errno == ENOMEM) return vv_no_memory(err, vv_st_path(st));
        return vv_fail(err, VV_FILE, "%s: __metadata__.index: expected a JSON list", vv_st_path(st));
    }
    if (!(*out = json_array())) return vv_no_memory(err, vv_st_path(st));
    for (int64_t i = 0; i < vv_st_count(st); i++)
        if (json_array_append_new(
                *out, json_pack("{s:s, s:s, s:b}", "key", vv_st_at(st, i)->name, "class", "CHAIN", "required", 1)))
            return vv_no_memory(err, vv_st_path(st));
    return VV_OK;
}

typedef struct {
    const char *key;
    int exact, required;
    double floor;
} entry;

static vv_status read_entry(entry *e, const json_t *item, const vv_st *st, vv_error *err)
{
    const char *class = NULL;
    *e = (entry){.required = 1};
    VV_TRY(vv_json_need(item, vv_st_path(st), "key", err));
    VV_TRY(vv_json_string(item, vv_st_path(st), "key", &e->key, err));
    VV_TRY(vv_json_string(item, vv_st_path(st), "class", &class, err));
    VV_TRY(vv_json_bool(item, vv_st_path(st), "required", &e->required, err));
    VV_TRY(vv_json_real(item, vv_st_path(st), "floor", 0, HUGE_VAL, &e->floor, err));
    e->exact = class && !strcmp(class, "EXACT");
    if (class && !e->exact && strcmp(class, "CHAIN"))
        return vv_fail(err, VV_FILE, "%s: index: %s: class: expected \"EXACT\" or \"CHAIN\"; found \"%.40s\"",
                       vv_st_path(st), e->key, class);
    if (!vv_st_find(st, e->key))
        return vv_fail(err, VV_FILE, "%s: index: %s is not in the file", vv_st_path(st), e->key);
    return VV_OK;
}

/* ---- all tensors --------------------------------------------------------------------------------------------------------- */
static vv_status judge(vv_comparison *c, const entry *e, const vv_st *ref, const vv_st *cand,
                       const vv_compare_options *o, vv_error *err)
{
    const vv_st_entry *ce = vv_st_find(cand, e->key), *re = vv_st_find(ref, e->key);
    *c = (vv_comparison){.key = e->key, .floor = e->floor};
    if (!ce) {
        c->verdict = e->required && !o->present ? VV_MISSING : VV_ABSENT;
        return VV_OK;
    }
    if (o->limit >= 0) c->limit = o->limit;
    else if (e->floor > 0) c->limit = e->floor * (o->multiple > 0 ? o->multiple : DEFAULT_MULTIPLE);
    else if (!e->exact)
        return vv_fail(err, VV_FILE, "%s: %s: expected a floor in the index; found none (give --limit, or add floors)",
                       vv_st_path(ref), e->key);
    if (e->exact) c->limit = 0;
    VV_TRY(compare_one(c, ref, re, cand, ce, err));
    if (e->exact && c->verdict == VV_UNTRUSTED) c->verdict = VV_PASS; /* an input may well be constant */
    const int equal = c->limit == 0 ? c->max_abs == 0 && c->rel_rms == 0 : c->rel_rms <= c->limit; /* false for NaN */
    if (c->verdict == VV_PASS && !equal) c->verdict = VV_FAIL;
    return VV_OK;
}

static vv_status compare_all(const vv_st *ref, const vv_st *cand, const json_t *index, const vv_compare_options *o,
                             vv_compare_fn fn, void *ctx, vv_compare_summary *sum, vv_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(index, i, item)
    {
        entry e;
        vv_comparison c;
        VV_TRY(read_entry(&e, item, ref, err));
        VV_TRY(judge(&c, &e, ref, cand, o, err));
        sum->tensors++;
        sum->absent += c.verdict == VV_ABSENT;
        const int failed = c.verdict != VV_PASS && c.verdict != VV_ABSENT && c.verdict != VV_MISSING;
        if (failed && sum->failed++ == 0) snprintf(sum->first, sizeof sum->first, "%s", e.key);
        if (c.verdict == VV_MISSING && sum->missing++ == 0)
            snprintf(sum->first_missing, sizeof sum->first_missing, "%s", e.key);
        if (fn) fn(ctx, &c);
    }
    for (int64_t k = 0; k < vv_st_count(cand); k++) sum->extra += !vv_st_find(ref, vv_st_at(cand, k)->name);
    return sum->failed || sum->missing || (sum->extra && !o->ignore_extra) ? VV_DIFFERS : VV_OK;
}

vv_status vv_compare(const char *reference, const char *candidate, const vv_compare_options *o, vv_compare_fn fn,
                     void *ctx, vv_compare_summary *sum, vv_error *err)
{
    vv_st *ref = NULL, *cand = NULL;
    json_t *index = NULL;
    *sum = (vv_compare_summary){0};
    vv_status s = vv_st_open(&ref, reference, err);
    if (s == VV_OK) s = vv_st_open(&cand, candidate, err);
    if (s == VV_OK) s = load_index(&index, ref, err);
    if (s == VV_OK) s = compare_all(ref, cand, index, o, fn, ctx, sum, err);
    json_decref(index);
    vv_st_close(ref);
    vv_st_close(cand);
    return s;
}

/* ---- floors -------------------------------------------------------------------------------------------------------------- */
static vv_status add_floor(json_t *item, const vv_st *ref, vv_st *const *cand, int64_t n, vv_error *err)
{
    entry e;
    VV_TRY(read_entry(&e, item, ref, err));
    if (e.exact) return VV_OK;
    double floor = LEAST_FLOOR;
    for (int64_t k = 0; k < n; k++) {
        vv_comparison c = {.key = e.key};
        const vv_st_entry *ce = vv_st_find(cand[k], e.key);
        if (!ce) return vv_fail(err, VV_FILE, "%s: %s: expected this tensor; found none", vv_st_path(cand[k]), e.key);
        VV_TRY(compare_one(&c, ref, vv_st_find(ref, e.key), cand[k], ce, err));
        if (c.verdict != VV_PASS)
            return vv_fail(err, VV_FILE, "%s: %s: %s", vv_st_path(cand[k]), e.key, vv_verdict_name(c.verdict));
        floor = fmax(floor, c.rel_rms);
    }
    char text[32]; /* three digits say enough, and print the same everywhere */
    snprintf(text, sizeof text, "%.2e", floor);
    return json_object_set_new(item, "floor", json_real(strtod(text, NULL))) ? vv_no_memory(err, e.key) : VV_OK;
}

static vv_status copy_with_index(const vv_st *ref, const json_t *index, const char *out, vv_error *err)
{
    static const char *const keep[] = {"versavit_golden", "precision", "case", "vision_config", "tap"};
    const char *meta[2 * (sizeof keep / sizeof *keep) + 3] = {0};
    size_t m = 0;
    char *text = vv_json_text(index, JSON_COMPACT | JSON_REAL_PRECISION(3));
    const int64_t n = vv_st_count(ref);
    vv_st_decl *decl = vv_calloc(n, sizeof *decl);
    vv_stw *w = NULL;
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
        if (vv_st_metadata(ref, keep[i])) {
            meta[m++] = keep[i];
            meta[m++] = vv_st_metadata(ref, keep[i]);
        }
    meta[m++] = "index";
    meta[m++] = text;
    for (int64_t i = 0; decl && i < n; i++) {
        const vv_st_entry *e = vv_st_at(ref, i);
        decl[i] = (vv_st_decl){.name = e->name, .dtype = e->dtype, .ndim = e->ndim};
        memcpy(decl[i].shape, e->shape, sizeof e->shape);
    }
    vv_status s = text && decl ? vv_stw_open(&w, out, decl, n, meta, 0, err) : vv_no_memory(err, out);
    for (int64_t i = 0; s == VV_OK && i < n; i++) s = vv_stw_write(w, i, vv_st_at(ref, i)->data, err);
    if (s == VV_OK) s = vv_stw_commit(w, err);
    else vv_stw_abort(w);
    free(text);
    free(decl);
    return s;
}

vv_status vv_golden_floors(const char *reference, const char *const *candidate, int64_t n, const char *out,
                           vv_error *err)
{
    vv_st *ref = NULL, **cand = vv_calloc(n, sizeof(vv_st *));
    json_t *index = NULL, *item;
    size_t i;
    vv_status s = cand ? vv_st_open(&ref, reference, err) : vv_no_memory(err, out);
    for (int64_t k = 0; s == VV_OK && k < n; k++) s = vv_st_open(&cand[k], candidate[k], err);
    if (s == VV_OK) s = load_index(&index, ref, err);
    if (s == VV_OK) json_array_foreach(index, i, item) if (s == VV_OK) s = add_floor(item, ref, cand, n, err);
    if (s == VV_OK) s = copy_with_index(ref, index, out, err);
    json_decref(index);
    for (int64_t k = 0; cand && k < n; k++) vv_st_close(cand[k]);
    free(cand);
    vv_st_close(ref);
    return s;
}
