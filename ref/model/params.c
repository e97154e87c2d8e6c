#include "model/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* ---- declaring ---------------------------------------------------------------------------------------------------------- */
vv_declare vv_declare_begin(vv_part *part, vv_params *params, const char *prefix)
{
    *part = (vv_part){params, prefix, params->n, 0};
    return (vv_declare){.part = part};
}

vv_tensor *vv_declare_shape(vv_declare *d, const char *scope, const char *name, int ndim, const int64_t *dim)
{
    char full[VV_NAME_MAX];
    if (d->err.status != VV_OK) return NULL;
    snprintf(full, sizeof full, "%s%s%s", d->part->prefix, scope, name);
    vv_tensor *x = vv_param_new(d->part->params, full, ndim, dim, &d->err);
    if (x) d->part->n++;
    return x;
}

vv_tensor *vv_declare_matrix(vv_declare *d, const char *scope, const char *name, int64_t out, int64_t in)
{
    const int64_t dim[2] = {out, in};
    return vv_declare_shape(d, scope, name, 2, dim);
}

vv_tensor *vv_declare_vector(vv_declare *d, const char *scope, const char *name, int64_t n)
{
    return vv_declare_shape(d, scope, name, 1, &n);
}

vv_affine vv_declare_affine(vv_declare *d, const char *scope, const char *name, int64_t out, int64_t in)
{
    char weight[128], bias[128];
    const int64_t dim[2] = {out, in};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    vv_tensor *w = vv_declare_shape(d, scope, weight, in ? 2 : 1, dim);
    return (vv_affine){w, vv_declare_vector(d, scope, bias, out)};
}

vv_status vv_declare_end(vv_declare *d, vv_error *err)
{
    return d->err.status == VV_OK ? VV_OK : vv_fail(err, d->err.status, "%s", d->err.msg);
}

/* ---- values ------------------------------------------------------------------------------------------------------------- */
vv_status vv_param_fill(vv_tensor *x, vv_fill fill, double scale, uint64_t seed, vv_error *err)
{
    const uint64_t stream = vv_stream(x->name);
    vv_real *v = vv_calloc(x->n, sizeof *v);
    if (!v) return vv_no_memory(err, x->name);
#pragma omp parallel for schedule(static) if (x->n > 4096)
    for (int64_t i = 0; i < x->n; i++) switch (fill) {
        case VV_FILL_CONSTANT:
            v[i] = (float)scale;
            break;
        case VV_FILL_NORMAL:
            v[i] = (float)(scale * vv_random_normal(seed, stream, (uint64_t)i));
            break;
        case VV_FILL_UNIFORM:
            v[i] = (float)(scale * (2 * vv_random_uniform(seed, stream, (uint64_t)i) - 1));
            break;
        }
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    free(v);
    return VV_OK;
}

/* ---- checkpoints -------------------------------------------------------------------------------------------------------- */
/* the part's own name of parameter i, without its prefix */
static const char *own_name(const vv_part *p, int64_t i)
{
    return p->params->at[p->first + i]->name + strlen(p->prefix);
}

const char *vv_part_prefix(const vv_part *p, const vv_weights *w, const char *const *prefixes)
{
    char name[VV_NAME_MAX];
    for (; *prefixes; prefixes++) {
        snprintf(name, sizeof name, "%s%s", *prefixes, own_name(p, 0));
        if (vv_weights_find(w, name, NULL)) return *prefixes;
    }
    return NULL;
}

vv_status vv_param_load(vv_tensor *x, const vv_weights *w, const char *name, vv_error *err)
{
    const vv_st *file = NULL;
    const vv_st_entry *e = vv_weights_find(w, name, &file);
    if (!e) return vv_fail(err, VV_FILE, "%s: %s: expected this tensor; found none", vv_weights_path(w), name);
    int same = e->ndim == x->ndim;
    for (int i = 0; same && i < x->ndim; i++) same = e->shape[i] == x->dim[i];
    if (!same) {
        char want[200], got[200];
        return vv_fail(err, VV_FILE, "%s: %s: expected shape %s; found %s", vv_st_path(file), name,
                       vv_shape_text(x->dim, x->ndim, want, sizeof want),
                       vv_shape_text(e->shape, e->ndim, got, sizeof got));
    }
    vv_real *v = vv_calloc(x->n, sizeof *v);
    if (!v) return vv_no_memory(err, name);
    const vv_status s = vv_st_read_real(file, e, v, err);
    if (s == VV_OK) vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    vv_st_done(file, e);
    free(v);
    return s;
}

/* every tensor under the prefix must be one of ours: a name we do not know is a model we do not know */
static vv_status refuse_unknown(const vv_part *p, const vv_weights *w, const char *prefix,
                                int (*ignore)(const void *ctx, const char *name), const void *ctx, vv_error *err)
{
    char name[VV_NAME_MAX];
    for (int64_t i = 0; i < vv_weights_count(w); i++) {
        const vv_st *file = NULL;
        const vv_st_entry *e = vv_weights_at(w, i, &file);
        const size_t skip = strlen(prefix);
        if (strncmp(e->name, prefix, skip) || (ignore && ignore(ctx, e->name + skip))) continue;
        snprintf(name, sizeof name, "%s%s", p->prefix, e->name + skip);
        if (!vv_param_find(p->params, name))
            return vv_fail(err, VV_FILE, "%s: %s: expected only tensors of this configuration; found an unknown one",
                           vv_st_path(file), e->name);
    }
    return VV_OK;
}

vv_status vv_part_load(const vv_part *p, const vv_weights *w, const char *prefix,
                       int (*ignore)(const void *ctx, const char *name), const void *ctx, vv_error *err)
{
    VV_TRY(refuse_unknown(p, w, prefix, ignore, ctx, err));
    for (int64_t i = 0; i < p->n; i++) {
        char name[VV_NAME_MAX];
        snprintf(name, sizeof name, "%s%s", prefix, own_name(p, i));
        VV_TRY(vv_param_load(p->params->at[p->first + i], w, name, err));
        vv_progress("load", i + 1, p->n);
    }
    return VV_OK;
}

static vv_status fetch(void *ctx, int64_t i, vv_real *dst, vv_error *err)
{
    (void)err;
    const vv_tensor *x = ((const vv_params *)ctx)->at[i];
    vvb_download(dst, x->data, x->n * (int64_t)sizeof *dst);
    return VV_OK;
}

vv_status vv_params_save(const vv_params *ps, const char *dir, vv_dtype dtype, int64_t max_shard_bytes, vv_error *err)
{
    vv_st_decl *decl = vv_calloc(ps->n, sizeof *decl);
    if (!decl) return vv_no_memory(err, dir);
    for (int64_t i = 0; i < ps->n; i++) {
        const vv_tensor *x = ps->at[i];
        decl[i] = (vv_st_decl){.name = x->name, .dtype = dtype, .ndim = x->ndim};
        for (int k = 0; k < x->ndim; k++) decl[i].shape[k] = x->dim[k];
    }
    const vv_status s = vv_weights_save(dir, decl, ps->n, max_shard_bytes, fetch, (void *)ps, err);
    free(decl);
    return s;
}
