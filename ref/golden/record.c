#include "golden/record.h"
#include "base/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const vv_record_options *o;
    vv_st_decl *decl;
    int64_t n, cap, next; /* declared so far; the next one to be written */
    vv_stw *out;          /* NULL while names are collected */
    vv_real *host;        /* one tensor on its way to the file */
    int64_t host_n;
    vv_error err;
} recorder;

static const char *const kind_of[] = {"in", "act", "dact"};

/* ---- first pass: names and shapes ------------------------------------------------------------------------------------- */
static void declare(recorder *r, const char *kind, const char *name, vv_dtype type, int ndim, const int64_t *shape)
{
    if (r->err.status != VV_OK) return;
    if (r->n == r->cap) {
        const int64_t cap = r->cap ? 2 * r->cap : 256;
        vv_st_decl *more = realloc(r->decl, (size_t)cap * sizeof *more);
        if (!more) {
            vv_no_memory(&r->err, "recording");
            return;
        }
        r->decl = more;
        r->cap = cap;
    }
    char *key = vv_asprintf("u%d/%s/%s/%s", r->o->update, r->o->task, kind, name);
    if (!key) {
        vv_no_memory(&r->err, "recording");
        return;
    }
    vv_st_decl *d = &r->decl[r->n++];
    *d = (vv_st_decl){.name = key, .dtype = type, .ndim = ndim};
    for (int i = 0; i < ndim; i++) d->shape[i] = shape[i];
}

/* Inputs and weights are float values in both builds, so they are stored as such. */
static vv_dtype stored(const char *kind)
{
    const int wide = sizeof(vv_real) == sizeof(double) && strcmp(kind, "in") && strcmp(kind, "w");
    return wide ? VV_DT_F64 : VV_DT_F32;
}

/* ---- second pass: values ------------------------------------------------------------------------------------------------- */
static void write_next(recorder *r, const vv_real *values, int64_t n)
{
    if (r->err.status != VV_OK) return;
    if (n > r->host_n) {
        free(r->host);
        r->host_n = 0;
        if (!(r->host = vv_calloc(n, sizeof *r->host))) {
            vv_no_memory(&r->err, "recording");
            return;
        }
        r->host_n = n;
    }
    vvb_download(r->host, values, n * (int64_t)sizeof *values);
    if (vv_stw_write_real(r->out, r->next++, r->host, &r->err) == VV_OK) vv_progress("record", r->next, r->n);
}

static void emit(recorder *r, const char *kind, const char *name, const vv_tensor *x, const vv_real *values)
{
    if (r->out) write_next(r, values, x->n);
    else declare(r, kind, name, stored(kind), x->ndim, x->dim);
}

static void on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    char name[VV_NAME_MAX];
    const int loss = x->ndim == 0 && !x->scope; /* a scalar outside every module */
    if (x->kind != VV_REALS || (loss && event == VV_EVENT_GRAD)) return;
    emit(ctx, loss ? "loss" : kind_of[event], vv_name(x, name), x, event == VV_EVENT_GRAD ? x->grad : vv_f(x));
}

/* ---- both ------------------------------------------------------------------------------------------------------------------ */
static vv_status pass(recorder *r, int flags, vv_run_fn run, void *ctx)
{
    const vv_record_options *o = r->o;
    for (int64_t i = 0; i < o->n_extra; i++) {
        const vv_st_decl *d = &o->extra[i].decl;
        if (!r->out) declare(r, "in", d->name, d->dtype, d->ndim, d->shape);
        else VV_TRY(vv_stw_write(r->out, r->next++, o->extra[i].bytes, &r->err));
    }
    for (int64_t i = 0; i < o->params->n; i++)
        emit(r, "w", o->params->at[i]->name, o->params->at[i], vv_f(o->params->at[i]));
    vv_params_zero_grad(o->params);
    vv_tape *t = vv_tape_new(o->params, flags);
    if (!t) return vv_no_memory(&r->err, "tape");
    vv_trace(t, on_event, r);
    if (run(t, ctx, &r->err) != VV_OK) {
        vv_tape_free(t);
        return r->err.status;
    }
    for (int64_t i = 0; i < o->params->n; i++)
        if (o->params->at[i]->has_grad) emit(r, "dw", o->params->at[i]->name, o->params->at[i], o->params->at[i]->grad);
    vv_tape_free(t);
    vv_params_zero_grad(o->params);
    return r->err.status;
}

static int required(const char *key) { return !strchr(key, '#') && !strstr(key, "/dact/"); }

static char *index_text(const recorder *r)
{
    json_t *list = json_array();
    int ok = list != NULL;
    for (int64_t i = 0; ok && i < r->n; i++) {
        const char *key = r->decl[i].name;
        const int exact = strstr(key, "/in/") || strstr(key, "/w/");
        json_t *entry =
            json_pack("{s:s, s:s, s:b}", "key", key, "class", exact ? "EXACT" : "CHAIN", "required", required(key));
        ok = !json_array_append_new(list, entry);
    }
    char *text = ok ? vv_json_text(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

static vv_status open_file(recorder *r)
{
    char format[16];
    const char *meta[32] = {"versavit_golden", format, "precision", VV_REAL_NAME, "index"};
    int n = 6;
    char *index = index_text(r);
    if (!index) return vv_no_memory(&r->err, r->o->path);
    snprintf(format, sizeof format, "%d", VV_GOLDEN_FORMAT);
    meta[5] = index;
    for (const char *const *m = r->o->meta; m && *m && n < 31; m++) meta[n++] = *m;
    const vv_status s = vv_stw_open(&r->out, r->o->path, r->decl, r->n, meta, 0, &r->err);
    free(index);
    return s;
}

vv_status vv_record(const vv_record_options *o, vv_run_fn run, void *ctx, vv_error *err)
{
    recorder r = {.o = o};
    vv_status s = pass(&r, o->tape_flags | VV_DRY, run, ctx);
    if (s == VV_OK) s = open_file(&r);
    if (s == VV_OK) s = pass(&r, o->tape_flags, run, ctx);
    if (s == VV_OK) s = vv_stw_commit(r.out, &r.err);
    else vv_stw_abort(r.out);
    for (int64_t i = 0; i < r.n; i++) free((char *)r.decl[i].name);
    free(r.decl);
    free(r.host);
    return s == VV_OK ? VV_OK : vv_fail(err, r.err.status, "%s", r.err.msg);
}
