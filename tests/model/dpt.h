/* A depth head on random taps, with weights of the size that training leaves: run forward and backward, everything on the host. */
#ifndef VVT_DPT_H
#define VVT_DPT_H

#include <math.h>

#include "model/tower.h"

/* The taps are parameters too, tap.0 to tap.{depth-1}, so that they get gradients: level i reads the one that config.taps[i] says. */
typedef struct {
    vv_dpt_config config;
    vv_params params;
    vv_dpt *head;
    vv_tensor *tap[VV_DPT_LEVELS];
    int64_t B, h, w;
    vv_real *cotangent; /* of d; its random default may be overwritten */
} dpt_setup;

/* C and what is set before parsing, then the grids */
typedef struct {
    int64_t width, depth, patch, B, h, w;
} dpt_size;

static inline vv_dpt_config dpt_config(const char *text, const dpt_size *z)
{
    vv_dpt_config c = {.width = z->width, .depth = z->depth, .patch = z->patch};
    json_t *o = NULL;
    VVT_OK(vv_json_parse(&o, text, strlen(text), "depth_head", err));
    VVT_OK(vv_dpt_config_parse(&c, o, "depth_head", err));
    json_decref(o);
    return c;
}

/* mean + std N(0,1) of the stream, rounded to float: both builds start alike */
static inline void dpt_fill(vv_real *v, int64_t n, const char *stream, double mean, double std)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = (vv_real)(float)(mean + std * vv_random_normal(7, vv_stream(stream), (uint64_t)i));
}

static inline void dpt_set(vv_tensor *x, const vv_real *v) { vvb_upload(x->data, v, x->n * (int64_t)sizeof *v); }

/* taps N(0,1), matrices N(0, 1/fan_in), biases N(0, 0.1), weights of norms N(1, 0.1) */
static inline void dpt_random(dpt_setup *s)
{
    for (int64_t i = 0; i < s->params.n; i++) {
        vv_tensor *x = s->params.at[i];
        const int norm = x->ndim == 1 && strstr(x->name, ".weight"), tap = !strncmp(x->name, "tap.", 4);
        vv_real *v = vv_calloc(x->n, sizeof *v);
        dpt_fill(v, x->n, x->name, norm, tap ? 1 : x->ndim > 1 ? 1 / sqrt((double)(x->n / x->dim[0])) : 0.1);
        dpt_set(x, v);
        free(v);
    }
}

static inline void dpt_start(dpt_setup *s, const char *text, const dpt_size *z)
{
    *s = (dpt_setup){.config = dpt_config(text, z), .B = z->B, .h = z->h, .w = z->w};
    const int64_t dim[2] = {z->B * z->h * z->w, z->width}, n = dim[0] * z->patch * z->patch;
    for (int64_t k = 0; k < z->depth; k++) {
        char name[16];
        snprintf(name, sizeof name, "tap.%d", (int)k);
        ck_assert_ptr_nonnull(s->tap[k] = vv_param_new(&s->params, name, 2, dim, NULL));
    }
    VVT_OK(vv_dpt_new(&s->head, &s->params, &s->config, err));
    dpt_random(s);
    ck_assert_ptr_nonnull(s->cotangent = vv_calloc(n, sizeof *s->cotangent));
    dpt_fill(s->cotangent, n, "cotangent", 0, 1);
}

static inline void dpt_finish(dpt_setup *s)
{
    free(s->cotangent);
    vv_dpt_free(s->head);
    vv_params_free(&s->params);
}

/* d of a tape, with the taps that the levels read */
static inline vv_tensor *dpt_forward(vv_tape *t, const dpt_setup *s)
{
    vv_tensor *tap[VV_DPT_LEVELS] = {0};
    for (int64_t i = 0; i < s->config.levels; i++) tap[i] = s->tap[s->config.taps[i]];
    return vv_dpt_forward(t, s->head, tap, s->B, s->h, s->w);
}

typedef struct {
    vv_real *d;
    int64_t n;
    double loss; /* d . cotangent, added in double */
    double gauge;
    int dead;
} dpt_out;

/* Runs it, with the gradients of the loss unless flags (of the tape) say otherwise; fn, unless NULL, sees the activations. */
static inline dpt_out dpt_run(dpt_setup *s, int flags, vv_trace_fn fn, void *ctx)
{
    vv_tape *t = vv_tape_new(&s->params, flags);
    vv_params_zero_grad(&s->params);
    if (fn) vv_trace(t, fn, ctx);
    vv_tensor *d = dpt_forward(t, s);
    VVT_OK(vv_tape_status(t, err));
    dpt_out o = {.d = tower_get(d->data, d->n), .n = d->n, .dead = vv_dpt_dead(d)};
    for (int64_t i = 0; i < d->n; i++) {
        o.loss += (double)o.d[i] * (double)s->cotangent[i];
        o.gauge += fabs((double)o.d[i] * (double)s->cotangent[i]);
    }
    if (flags & VV_RECORD) {
        vv_backward(t, vv_dot(t, NULL, d, vv_input(t, NULL, VV_REALS, d->ndim, d->dim, s->cotangent)), 1);
        VVT_OK(vv_tape_status(t, err));
    }
    vv_tape_free(t);
    return o;
}

/* small heads with everything: four levels as published; three with what is optional; hardly anything */
static const struct {
    const char *config;
    dpt_size size;
} SMALL[] = {
    {"{\"out_channels\": [3, 4, 5, 4], \"features\": 4}", {5, 3, 3, 2, 2, 3}},
    {"{\"out_channels\": [3, 2, 4], \"features\": 4, \"first_scale\": 2, \"tap_norm\": \"ln\", \"unused_unit\": false, "
     "\"final_act\": \"softplus\"}",
     {6, 3, 5, 2, 3, 1}},
    {"{\"out_channels\": [2, 3, 4], \"features\": 3, \"output_features\": 2, \"final_act\": \"none\"}",
     {4, 4, 4, 1, 1, 3}},
};
enum { N_SMALL = sizeof SMALL / sizeof *SMALL };

#endif
