/* AdamW alone, on small tensors of its own.
 *   tensors   [{"name", "shape", "gradient": scale of its N(0,1), or null: it has none}, ...]; vectors are in group 1, others in group 0
 *   updates   [[t, max_norm], ...]: update number t of every tensor, from random moments (none at t 1); max_norm 0: no clipping
 *   lr, weight_decay   of both groups;  beta1, beta2, eps
 * Kinds w, m, v: the state before; in/<name>: the gradient; dstep; act/<name>#m, #v: the moments after; loss/grad_norm. A tensor without
 * gradient keeps its bits. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "golden/case.h"
#include "golden/steps.h"

typedef struct {
    vv_params ps;
    const json_t *tensors;
    vv_adamw_group group[2];
} adamw_run;

static vv_status fail(const vv_case *c, const char *key, const char *expected, vv_error *err)
{
    return vv_fail(err, VV_FILE, "%s: %s: expected %s", c->path, key, expected);
}

static vv_status read_groups(const vv_case *c, adamw_run *r, vv_error *err)
{
    vv_adamw_group g = vv_adamw_default();
    VV_TRY(vv_json_real(c->root, c->path, "beta1", 0, 1, &g.beta1, err));
    VV_TRY(vv_json_real(c->root, c->path, "beta2", 0, 1, &g.beta2, err));
    VV_TRY(vv_json_real(c->root, c->path, "eps", 1e-30, 1, &g.eps, err));
    const json_t *lr = json_object_get(c->root, "lr"), *decay = json_object_get(c->root, "weight_decay");
    if (json_array_size(lr) != 2) return fail(c, "lr", "two numbers", err);
    if (json_array_size(decay) != 2) return fail(c, "weight_decay", "two numbers", err);
    for (size_t k = 0; k < 2; k++) {
        r->group[k] = g;
        r->group[k].lr = json_number_value(json_array_get(lr, k));
        r->group[k].weight_decay = json_number_value(json_array_get(decay, k));
    }
    return VV_OK;
}

static vv_status declare(const vv_case *c, adamw_run *r, vv_error *err)
{
    VV_TRY(vv_json_array(c->root, c->path, "tensors", &r->tensors, err));
    for (size_t i = 0; i < json_array_size(r->tensors); i++) {
        const json_t *x = json_array_get(r->tensors, i), *shape = json_object_get(x, "shape");
        const char *name = json_string_value(json_object_get(x, "name"));
        const size_t n = json_array_size(shape);
        int64_t dim[VV_MAXDIM];
        if (!name || n < 1 || n > VV_MAXDIM || !json_object_get(x, "gradient"))
            return fail(c, "tensors", "objects with name, shape and gradient", err);
        for (size_t k = 0; k < n; k++) dim[k] = json_integer_value(json_array_get(shape, k));
        if (!vv_param_new(&r->ps, name, (int)n, dim, err)) return err->status;
    }
    return r->ps.n ? VV_OK : fail(c, "tensors", "at least one", err);
}

static int group_of(const void *ctx, const vv_tensor *p)
{
    (void)ctx;
    return vv_is_vector(p);
}

/* fresh backend memory with N(0, std^2) of that stream, or their absolute values */
static vv_real *fill(vv_case *c, const char *kind, const vv_tensor *p, double std, int positive, vv_real *to)
{
    char *stream = vv_asprintf("%s/%s", kind, p->name);
    vv_real *host = stream ? vv_case_normals(c, stream, 0, std, p->n) : NULL;
    const int64_t bytes = p->n * (int64_t)sizeof *host;
    if (host && !to) to = vvb_alloc(bytes);
    for (int64_t i = 0; host && positive && i < p->n; i++) host[i] = host[i] < 0 ? -host[i] : host[i];
    if (host && to) {
        vvb_upload(to, host, bytes);
        vv_record_reals(c->rec, kind, p->name, p->ndim, p->dim, host);
    }
    free(stream);
    free(host);
    return host ? to : NULL;
}

/* the state before update t, and the gradients: inputs all of them */
static vv_status start(vv_case *c, const adamw_run *r, vv_adamw *o, int64_t t, vv_error *err)
{
    for (int64_t i = 0; i < r->ps.n; i++) {
        vv_tensor *p = r->ps.at[i];
        const json_t *gradient = json_object_get(json_array_get(r->tensors, (size_t)i), "gradient");
        const double scale = json_number_value(gradient), size = scale > 0 ? scale : 1;
        p->has_grad = !json_is_null(gradient);
        int ok = fill(c, "w", p, 0.1, 0, p->data) != NULL;
        if (ok && p->has_grad) ok = (p->grad = fill(c, "in", p, scale, 0, p->grad)) != NULL;
        if (ok && p->has_grad && t > 1)
            ok = (o->m[i] = fill(c, "m", p, 0.3 * size, 0, NULL)) && (o->v[i] = fill(c, "v", p, size * size, 1, NULL));
        if (!ok) return vv_no_memory(err, p->name);
        o->t[i] = t - 1;
    }
    return VV_OK;
}

static vv_status record_after(vv_case *c, const vv_tensor *p, const char *part, const vv_real *values, vv_error *err)
{
    char *name = vv_asprintf("%s%s", p->name, part);
    vv_real *host = vv_calloc(p->n, sizeof *host);
    if (name && host) {
        vvb_download(host, values, p->n * (int64_t)sizeof *host);
        vv_record_reals(c->rec, "act", name, p->ndim, p->dim, host);
        if (vvb_sum_squares(values, p->n) < FLT_MIN) /* below what float holds: 0 there */
            vv_record_mark(c->rec, "act", name, "scale", json_real(FLT_MIN));
    }
    free(name);
    free(host);
    return name && host ? VV_OK : vv_no_memory(err, p->name);
}

static vv_status one(vv_case *c, adamw_run *r, int64_t t, double max_norm, vv_error *err)
{
    vv_adamw *o = NULL;
    vv_steps before = {0};
    double norm = 0;
    vv_record_task(c->rec, (int)t, "update");
    vv_status s = vv_adamw_new(&o, &r->ps, r->group, 2, group_of, NULL, err);
    if (s == VV_OK) s = start(c, r, o, t, err);
    if (s == VV_OK) s = vv_steps_begin(&before, &r->ps, err);
    if (s == VV_OK) s = vv_adamw_step(o, max_norm, &norm, err);
    vv_real single = (vv_real)norm;
    if (s == VV_OK) vv_record_reals(c->rec, "loss", "grad_norm", 0, NULL, &single);
    if (s == VV_OK) s = vv_steps_record(&before, c->rec, o, 1, err);
    for (int64_t i = 0; s == VV_OK && i < r->ps.n; i++) {
        if (!r->ps.at[i]->has_grad) continue;
        s = record_after(c, r->ps.at[i], "#m", o->m[i], err);
        if (s == VV_OK) s = record_after(c, r->ps.at[i], "#v", o->v[i], err);
    }
    vv_steps_end(&before);
    vv_adamw_free(o);
    return s;
}

static vv_status run_adamw(vv_case *c, vv_error *err)
{
    adamw_run r = {.tensors = NULL};
    const json_t *list = NULL;
    vv_status s = read_groups(c, &r, err);
    if (s == VV_OK) s = declare(c, &r, err);
    if (s == VV_OK) s = vv_json_array(c->root, c->path, "updates", &list, err);
    for (size_t i = 0; s == VV_OK && i < json_array_size(list); i++) {
        const json_t *u = json_array_get(list, i);
        const int64_t t = (int64_t)json_integer_value(json_array_get(u, 0));
        vv_case own = *c; /* each update has numbers of its own */
        own.seed += (uint64_t)t;
        s = t > 0 ? one(&own, &r, t, json_number_value(json_array_get(u, 1)), err)
                  : fail(c, "updates", "pairs of an update from 1 on and a norm", err);
    }
    vv_params_free(&r.ps);
    return s;
}

static const char *const keys[] = {"tensors", "updates", "lr", "weight_decay", "beta1", "beta2", "eps", NULL};
const vv_case_kind vv_case_adamw = {"adamw", "update", 0, keys, run_adamw};
