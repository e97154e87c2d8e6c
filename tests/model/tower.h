/* A small tower with weights large enough that attention is far from uniform, run on packed pictures. */
#ifndef VVT_TOWER_H
#define VVT_TOWER_H

#include <math.h>

#include "base/rng.h"
#include "model/versavit.h"
#include "vvt.h"

/* n numbers mean + std N(0,1) of the stream; rounded to float, so that both builds start from the same. */
static inline vv_real *tower_numbers(const char *stream, double mean, double std, int64_t n)
{
    vv_real *v = vv_calloc(n, sizeof *v);
    ck_assert_ptr_nonnull(v);
    for (int64_t i = 0; i < n; i++)
        v[i] = (vv_real)(float)(mean + std * vv_random_normal(7, vv_stream(stream), (uint64_t)i));
    return v;
}

/* Matrices N(0, 1/fan_in), biases 0.1 N(0,1), norm weights 1 + 0.1 N(0,1). */
static inline void tower_fill(vv_params *ps)
{
    for (int64_t p = 0; p < ps->n; p++) {
        vv_tensor *x = ps->at[p];
        const int matrix = x->ndim > 1, norm = !matrix && strstr(x->name, ".weight");
        vv_real *v = tower_numbers(x->name, norm ? 1 : 0, matrix ? 1 / sqrt((double)(x->n / x->dim[0])) : 0.1, x->n);
        vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
        free(v);
    }
}

/* data/configs/micro.json */
static inline vv_model tower_micro(void)
{
    vv_model m;
    VVT_OK(vv_model_from_config(&m, vvt_root("data/configs/micro.json"), VV_VISION, err));
    tower_fill(m.params);
    return m;
}

static inline int64_t tower_tokens(const vv_grid *g, int64_t n)
{
    int64_t N = 0;
    for (int64_t i = 0; i < n; i++) N += g[i].t * g[i].h * g[i].w;
    return N;
}

static inline int64_t tower_width(const vv_vit *m)
{
    const vv_vit_config *c = &m->config;
    return c->in_channels * c->temporal_patch_size * c->patch_size * c->patch_size;
}

/* Everything a run produces, on the host. */
typedef struct {
    vv_real *merged, *tap, *grad; /* grad: of all parameters, one after the other; NULL without cotangents */
    int64_t n_merged, n_tap, n_grad;
    double loss;
    vv_memory memory;
} tower_out;

static inline void tower_out_free(tower_out *o)
{
    free(o->merged);
    free(o->tap);
    free(o->grad);
}

static inline vv_real *tower_get(const void *p, int64_t n)
{
    vv_real *v = vv_calloc(n, sizeof *v);
    ck_assert_ptr_nonnull(v);
    ck_assert_ptr_nonnull(p);
    vvb_download(v, p, n * (int64_t)sizeof *v);
    return v;
}

/* What to run: pixel_values of the packed pictures; with cotangents also L = merged . c + tap . c_tap and its backward. */
typedef struct {
    const vv_vit *vit;
    const vv_grid *grid;
    int64_t n, tap;
    const vv_real *pixels, *c, *c_tap;
    int flags;
    int forward_only; /* the loss without its gradients */
} tower_in;

static inline tower_out tower_run(const tower_in *in)
{
    const vv_vit_config *c = &in->vit->config;
    const int64_t N = tower_tokens(in->grid, in->n), merge = c->spatial_merge_size * c->spatial_merge_size;
    const int64_t x_dim[2] = {N, tower_width(in->vit)}, m_dim[2] = {N / merge, c->hidden_size},
                  t_dim[2] = {N, c->embed_dim};
    vv_params *ps = in->vit->part.params;
    vv_tape *t = vv_tape_new(ps, in->flags | (in->c ? VV_RECORD : 0));
    vv_tensor *tap = NULL;
    const vv_vit_wanted want = {&in->tap, 1, &tap, 1};
    tower_out o = {0};
    vv_params_zero_grad(ps);
    vv_tensor *merged =
        vv_vit_forward(t, in->vit, vv_input(t, "pixel_values", VV_REALS, 2, x_dim, in->pixels), in->grid, in->n, &want);
    VVT_OK(vv_tape_status(t, err));
    o.merged = tower_get(merged->data, o.n_merged = merged->n);
    o.tap = tower_get(tap->data, o.n_tap = tap->n);
    if (in->c) {
        vv_tensor *loss = vv_add(t, "total", vv_dot(t, NULL, merged, vv_input(t, "c", VV_REALS, 2, m_dim, in->c)),
                                 vv_dot(t, NULL, tap, vv_input(t, "c_tap", VV_REALS, 2, t_dim, in->c_tap)));
        if (!in->forward_only) vv_backward(t, loss, 1);
        VVT_OK(vv_tape_status(t, err));
        vv_real l;
        vvb_download(&l, loss->data, sizeof l);
        o.loss = (double)l;
        for (int64_t i = 0; i < ps->n && !in->forward_only; i++) o.n_grad += ps->at[i]->n;
        o.grad = vv_calloc(o.n_grad, sizeof *o.grad);
        for (int64_t i = 0, at = 0; i < ps->n && at < o.n_grad; at += ps->at[i++]->n) {
            ck_assert_msg(ps->at[i]->has_grad, "%s has no gradient", ps->at[i]->name);
            vvb_download(o.grad + at, ps->at[i]->grad, ps->at[i]->n * (int64_t)sizeof *o.grad);
        }
    }
    o.memory = *vv_tape_memory(t);
    vv_tape_free(t);
    return o;
}

/* RMS(a - b) / RMS(b) */
static inline double tower_distance(const vv_real *a, const vv_real *b, int64_t n)
{
    double d = 0, r = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        r += (double)b[i] * (double)b[i];
    }
    return sqrt(d / r);
}

#endif
