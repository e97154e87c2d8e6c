#include "golden/floors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/candidate.h"
#include "golden/judge.h"

static const double LEAST_FLOOR = 0x1p-24;
enum { CONSTANT = 8 };

typedef struct {
    vv_candidate file;
    vv_precision precision;
    int local;
} measured;

typedef struct {
    vv_golden truth;
    measured *cand;
    int64_t n;
    vv_band *band; /* [entries][2][VV_PRECISIONS]; hi 0: nobody measured it */
} floors;

static vv_band *band_of(const floors *f, int64_t entry, int local, vv_precision p)
{
    return &f->band[(entry * 2 + local) * VV_PRECISIONS + (int)p];
}

static vv_status what_it_is(measured *m, vv_error *err)
{
    const char *emulated = vv_candidate_metadata(&m->file, "emulated"),
               *resync = vv_candidate_metadata(&m->file, "resync");
    m->precision = VV_AS_FLOAT;
    if (emulated && (!vv_precision_parse(emulated, &m->precision) || m->precision == VV_AS_FLOAT))
        return vv_fail(err, VV_FILE, "%s: emulated: expected tf32, bf16 or fp16; found \"%.40s\"", m->file.path,
                       emulated);
    m->local = resync != NULL;
    if (resync && strcmp(resync, "layer"))
        return vv_fail(err, VV_FILE, "%s: resync: expected \"layer\"; found \"%.40s\"", m->file.path, resync);
    return VV_OK;
}

/* ---- measuring --------------------------------------------------------------------------------------------------------- */
static vv_status measure_one(const floors *f, int64_t i, const measured *m, const double *want, vv_error *err)
{
    const vv_golden_entry *e = &f->truth.entry[i];
    const vv_candidate_tensor *t = vv_candidate_find(&m->file, e->key, NULL);
    vv_measure r;
    double *got = NULL;
    if (!t && !e->required) return VV_OK;
    if (!t) return vv_fail(err, VV_FILE, "%s: %s: expected this tensor; found none", m->file.path, e->key);
    if (t->e.n != e->at->n || t->e.ndim != e->at->ndim ||
        memcmp(t->e.shape, e->at->shape, sizeof *t->e.shape * (size_t)t->e.ndim))
        return vv_fail(err, VV_FILE, "%s: %s: %s", m->file.path, e->key, vv_verdict_name(VV_SHAPE));
    VV_TRY(vv_candidate_read(&got, &m->file, t, err));
    const vv_status s = vv_measure_pair(&r, want, got, e->at->n, e->scale, e->sample ? e->rms : -1, err);
    free(got);
    if (s != VV_OK) return s;
    if (!r.finite_r || !r.finite_g)
        return vv_fail(err, VV_FILE, "%s: %s: %s", r.finite_r ? m->file.path : f->truth.path, e->key,
                       vv_verdict_name(VV_NOT_FINITE));
    if (r.constant && e->at->n > CONSTANT && !(e->scale > 0))
        return vv_fail(err, VV_FILE,
                       "%s: %s: %s: it is the same number everywhere; give it a \"scale\" or the class EXACT",
                       f->truth.path, e->key, vv_verdict_name(VV_UNTRUSTED));
    if (m->precision == VV_AS_FLOAT && e->bound > 0 && r.rel_rms * r.base > e->bound)
        return vv_fail(err, VV_FILE, "%s: %s: expected an RMS error of at most %.3g, the proven bound; found %.3g",
                       m->file.path, e->key, e->bound, r.rel_rms * r.base);
    vv_band *b = band_of(f, i, m->local, m->precision);
    b->lo = b->hi > 0 ? fmin(b->lo, r.rel_rms) : r.rel_rms;
    b->hi = fmax(b->hi, fmax(r.rel_rms, LEAST_FLOOR));
    return VV_OK;
}

static vv_status measure_all(floors *f, vv_error *err)
{
    for (int64_t i = 0; i < f->truth.n; i++) {
        double *want = NULL;
        if (f->truth.entry[i].class != VV_CHAIN || f->truth.entry[i].kind == VV_KIND_ALT) continue;
        VV_TRY(vv_entry_doubles(&want, f->truth.path, f->truth.entry[i].at, err));
        vv_status s = VV_OK;
        for (int64_t k = 0; s == VV_OK && k < f->n; k++) s = measure_one(f, i, &f->cand[k], want, err);
        free(want);
        if (s != VV_OK) return s;
    }
    return VV_OK;
}

/* ---- steps ----------------------------------------------------------------------------------------------------------------- */
static vv_status rms_of(double *rms, const floors *f, const vv_st_entry *e, vv_error *err)
{
    double *v = NULL, sum = 0;
    VV_TRY(vv_entry_doubles(&v, f->truth.path, e, err));
    for (int64_t i = 0; i < e->n; i++) sum += v[i] * v[i];
    free(v);
    *rms = sqrt(sum / (double)vv_max(e->n, 1));
    return VV_OK;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* the steps of the task that entry `first` belongs to: ratio[i] = RMS(w) / RMS(dstep) or its scale, 0 for all others */
static vv_status raise_steps(floors *f, int64_t first, double *ratio, double *sorted, vv_error *err)
{
    const vv_golden_entry *e0 = &f->truth.entry[first];
    for (int64_t i = 0; i < f->truth.n; i++) {
        const vv_golden_entry *e = &f->truth.entry[i];
        const vv_st_entry *w = e->kind == VV_KIND_DSTEP ? vv_golden_weight(&f->truth, e, e->name) : NULL;
        double rms_w = 0, rms_step = 0;
        ratio[i] = 0;
        if (!w || e->task_n != e0->task_n || strncmp(e->task, e0->task, (size_t)e->task_n)) continue;
        VV_TRY(rms_of(&rms_w, f, w, err));
        VV_TRY(rms_of(&rms_step, f, e->at, err));
        rms_step = fmax(rms_step, e->scale); /* what errors are measured by */
        if (rms_step > 0) ratio[i] = rms_w / rms_step;
    }
    for (int local = 0; local < 2; local++)
        for (int p = 0; p < VV_PRECISIONS; p++) {
            int64_t n = 0;
            for (int64_t i = 0; i < f->truth.n; i++) {
                const vv_band *b = band_of(f, i, local, (vv_precision)p);
                if (ratio[i] > 0 && b->hi > 0) sorted[n++] = b->hi / ratio[i];
            }
            qsort(sorted, (size_t)n, sizeof *sorted, by_size);
            for (int64_t i = 0; n > 0 && i < f->truth.n; i++) {
                vv_band *b = band_of(f, i, local, (vv_precision)p);
                if (ratio[i] > 0 && b->hi > 0) b->hi = fmax(b->hi, sorted[n / 2] * ratio[i]);
            }
        }
    return VV_OK;
}

static vv_status steps(floors *f, vv_error *err)
{
    double *ratio = vv_calloc(f->truth.n, sizeof *ratio), *sorted = vv_calloc(f->truth.n, sizeof *sorted);
    vv_status s = ratio && sorted ? VV_OK : vv_no_memory(err, f->truth.path);
    const vv_golden_entry *last = NULL;
    for (int64_t i = 0; s == VV_OK && i < f->truth.n; i++) {
        const vv_golden_entry *e = &f->truth.entry[i];
        if (e->kind != VV_KIND_DSTEP ||
            (last && last->task_n == e->task_n && !strncmp(last->task, e->task, (size_t)e->task_n)))
            continue;
        s = raise_steps(f, i, ratio, sorted, err);
        last = e;
    }
    free(ratio);
    free(sorted);
    return s;
}

/* ---- the index ------------------------------------------------------------------------------------------------------------ */
static json_t *three_digits(double x)
{
    char text[32]; /* they say enough, and print the same everywhere */
    snprintf(text, sizeof text, "%.2e", x);
    return json_real(strtod(text, NULL));
}

static int set_bands(const floors *f, int64_t i, json_t *item, int local)
{
    const char *field = local ? "local_bands" : "bands";
    for (int p = VV_AS_TF32; p < VV_PRECISIONS; p++) {
        const vv_band *b = band_of(f, i, local, (vv_precision)p);
        if (b->hi == 0) continue;
        if (!json_object_get(item, field) && json_object_set_new(item, field, json_object())) return 1;
        json_t *pair = json_pack("[o,o]", three_digits(b->lo), three_digits(b->hi));
        if (json_object_set_new(json_object_get(item, field), vv_precision_name((vv_precision)p), pair)) return 1;
    }
    return 0;
}

static vv_status set_index(const floors *f, vv_error *err)
{
    for (int64_t i = 0; i < f->truth.n; i++) {
        json_t *item = f->truth.entry[i].item;
        int failed = 0;
        for (int local = 0; local < 2; local++) {
            const vv_band *b = band_of(f, i, local, VV_AS_FLOAT);
            if (b->hi > 0) failed |= json_object_set_new(item, local ? "local" : "floor", three_digits(b->hi));
            failed |= set_bands(f, i, item, local);
        }
        if (failed) return vv_no_memory(err, f->truth.path);
    }
    return VV_OK;
}

static vv_status copy_with_index(const vv_golden *g, const char *out, vv_error *err)
{
    static const char *const keep[] = {"versavit_golden", "precision", "emulated", "placement",     "resync", "case",
                                       "config",          "sha256",    "tap",      "vision_config", NULL};
    const char *meta[2 * (sizeof keep / sizeof *keep) + 3] = {0};
    size_t m = 0;
    char *text = vv_json_text(g->index, JSON_COMPACT | JSON_REAL_PRECISION(15));
    const int64_t n = vv_st_count(g->st);
    vv_st_decl *decl = vv_calloc(n, sizeof *decl);
    vv_stw *w = NULL;
    for (size_t i = 0; keep[i]; i++)
        if (vv_st_metadata(g->st, keep[i])) {
            meta[m++] = keep[i];
            meta[m++] = vv_st_metadata(g->st, keep[i]);
        }
    meta[m++] = "index";
    meta[m++] = text;
    for (int64_t i = 0; decl && i < n; i++) {
        const vv_st_entry *e = vv_st_at(g->st, i);
        decl[i] = (vv_st_decl){.name = e->name, .dtype = e->dtype, .ndim = e->ndim};
        memcpy(decl[i].shape, e->shape, sizeof e->shape);
    }
    vv_status s = text && decl ? vv_stw_open(&w, out, decl, n, meta, 0, err) : vv_no_memory(err, out);
    for (int64_t i = 0; s == VV_OK && i < n; i++) s = vv_stw_write(w, i, vv_st_at(g->st, i)->data, err);
    if (s == VV_OK) s = vv_stw_commit(w, err);
    else vv_stw_abort(w);
    free(text);
    free(decl);
    return s;
}

static vv_status make(floors *f, const char *truth, const char *const *candidate, int64_t n, const char *out,
                      vv_error *err)
{
    VV_TRY(vv_golden_open(&f->truth, truth, err));
    f->band = vv_calloc(f->truth.n * 2 * VV_PRECISIONS, sizeof *f->band);
    if (!f->band || !(f->cand = vv_calloc(n, sizeof *f->cand))) return vv_no_memory(err, out);
    for (; f->n < n; f->n++) {
        VV_TRY(vv_candidate_open(&f->cand[f->n].file, candidate[f->n], err));
        const vv_status s = what_it_is(&f->cand[f->n], err);
        if (s != VV_OK) {
            f->n++; /* it is open */
            return s;
        }
    }
    VV_TRY(measure_all(f, err));
    VV_TRY(steps(f, err));
    VV_TRY(set_index(f, err));
    return copy_with_index(&f->truth, out, err);
}

vv_status vv_golden_floors(const char *truth, const char *const *candidate, int64_t n, const char *out, vv_error *err)
{
    floors f = {.n = 0};
    const vv_status s = make(&f, truth, candidate, n, out, err);
    for (int64_t k = 0; k < f.n; k++) vv_candidate_close(&f.cand[k].file);
    free(f.cand);
    free(f.band);
    vv_golden_close(&f.truth);
    return s;
}
