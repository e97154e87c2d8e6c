#include "golden/fault.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/fault_parts.h"

static const double SMALL_PART = 0.05, AT_MOST = 0.2; /* of the error may be left by a cause */

/* ---- for the causes ---------------------------------------------------------------------------------------------------- */
int vv_suspect_at(vv_suspect *s, double left, const char *fmt, ...)
{
    if (!(s->f->cause[0] ? left < 0.5 * s->f->left : left <= s->enough)) return 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->f->cause, sizeof s->f->cause, fmt, ap);
    va_end(ap);
    s->f->left = left;
    return 1;
}

int vv_suspect_is(vv_suspect *s, const double *y, const char *fmt, ...)
{
    char text[VV_FAULT_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return vv_suspect_at(s, vv_distance(y, s->g, s->n), "%s", text);
}

vv_status vv_suspect_load(double **out, const vv_suspect *s, const vv_golden_entry *e, vv_error *err)
{
    return vv_entry_doubles(out, s->j->golden.path, e->at, err);
}

vv_status vv_suspect_weight(double **out, const vv_suspect *s, const char *name, int64_t n, vv_error *err)
{
    const vv_st_entry *w = vv_golden_weight(&s->j->golden, s->e, name);
    *out = NULL;
    return w && w->n == n ? vv_entry_doubles(out, s->j->golden.path, w, err) : VV_OK;
}

static int same_task(const vv_golden_entry *a, const vv_golden_entry *b)
{
    return a->task_n == b->task_n && !strncmp(a->task, b->task, (size_t)a->task_n);
}

const vv_golden_entry *vv_suspect_before(const vv_suspect *s, vv_golden_kind kind, int64_t n, int k)
{
    const vv_golden_entry *entry = s->j->golden.entry;
    for (int64_t i = s->e - entry; i-- > 0;)
        if (entry[i].kind == kind && !entry[i].sample && entry[i].n == n && same_task(&entry[i], s->e) && k-- == 0)
            return &entry[i];
    return NULL;
}

static int64_t number_of(const json_t *config, const char *name)
{
    const json_t *own = json_object_get(config, name);
    if (json_is_integer(own)) return json_integer_value(own);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        const int64_t x = json_is_object(value) ? number_of(value, name) : 0;
        if (x > 0) return x;
    }
    return 0;
}

int64_t vv_suspect_config(const vv_suspect *s, const char *name)
{
    const json_t *vision = json_object_get(s->j->golden.config, "vision_config");
    const int64_t x = !strncmp(s->e->name, "visual", 6) && vision ? number_of(vision, name) : 0;
    return x > 0 ? x : number_of(s->j->golden.config, name);
}

/* ---- the cause -------------------------------------------------------------------------------------------------------------- */
static vv_status families(vv_suspect *s, vv_error *err)
{
    VV_TRY(vv_cause_pointwise(s, err));
    VV_TRY(vv_cause_norm(s, err));
    VV_TRY(vv_cause_linear(s, err));
    VV_TRY(vv_cause_rotary(s, err));
    VV_TRY(vv_cause_attention(s, err));
    VV_TRY(vv_cause_adamw(s, err));
    VV_TRY(vv_cause_left_out(s, err));
    VV_TRY(vv_cause_layout(s, err));
    return vv_cause_factor(s, err);
}

static vv_status find_cause(vv_fault *f, const vv_judged *j, vv_error *err)
{
    const vv_judgement *x = f->first;
    const vv_golden_entry *e = x->entry;
    const vv_candidate_tensor *t = vv_candidate_find(&j->candidate, e->key, NULL);
    double *r = NULL, *g = NULL;
    if (x->verdict != VV_FAIL || e->class != VV_CHAIN || e->sample) return VV_OK;
    vv_suspect s = {.j = j, .e = e, .n = e->n, .f = f};
    s.cols = e->ndim > 0 ? e->shape[e->ndim - 1] : 1;
    s.rows = s.cols > 0 ? e->n / s.cols : 0;
    s.work = vv_calloc(e->n, sizeof *s.work);
    vv_status status = s.work ? vv_entry_doubles(&r, j->golden.path, e->at, err) : vv_no_memory(err, e->key);
    if (status == VV_OK) status = vv_candidate_read(&g, &j->candidate, t, err);
    if (status == VV_OK) {
        s.r = r;
        s.g = g;
        s.limit = x->limit;
        s.error = vv_distance(r, g, e->n);
        s.enough = fmax(SMALL_PART * s.error, fmin(x->limit, AT_MOST * s.error));
        status = families(&s, err);
    }
    free(s.work);
    free(r);
    free(g);
    return status;
}

/* ---- the place -------------------------------------------------------------------------------------------------------------- */
vv_status vv_fault_find(vv_fault *f, const vv_judged *j, vv_error *err)
{
    *f = (vv_fault){.first = j->first};
    vv_fault_precision(f->precision, j);
    if (!j->first) return VV_OK;
    for (int64_t i = j->first - j->at; i-- > 0 && f->n_before < VV_FAULT_BEFORE;) {
        const vv_judgement *x = &j->at[i];
        if (!x->measured || x->entry->class != VV_CHAIN || !same_task(x->entry, j->first->entry)) continue;
        memmove(f->before + 1, f->before, sizeof *f->before * (VV_FAULT_BEFORE - 1)); /* the nearest stays last */
        f->before[0] = x;
        f->n_before++;
    }
    return find_cause(f, j, err);
}
