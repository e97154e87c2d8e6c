/* A small segmentation head, run on features and texts that collect gradients too. */
#ifndef VVT_MASK_H
#define VVT_MASK_H

#include <math.h>

#include "model/tower.h"

/* n numbers std N(0,1) of the stream; rounded to float, so that both builds start from the same */
static inline vv_real *mask_numbers(const char *stream, double std, int64_t n)
{
    vv_real *v = vv_calloc(n, sizeof *v);
    ck_assert_ptr_nonnull(v);
    for (int64_t i = 0; i < n; i++) v[i] = (vv_real)(float)(std * vv_random_normal(17, vv_stream(stream), (uint64_t)i));
    return v;
}

static inline void mask_put(vv_tensor *x, const vv_real *v) { vvb_upload(x->data, v, x->n * (int64_t)sizeof *v); }

static inline vv_mask_config mask_config(const char *json)
{
    vv_mask_config c = {.width = 10, .depth = 3};
    json_t *o = NULL;
    VVT_OK(vv_json_parse(&o, json, strlen(json), "test", err));
    VVT_OK(vv_mask_config_parse(&c, o, "test", err));
    json_decref(o);
    return c;
}

#define MASK_SMALL "\"dim\": 32, \"heads\": 2, \"mlp\": 12, \"text_dim\": 6"

typedef struct {
    vv_params ps;
    vv_mask *m;
    vv_tensor *features, *text; /* parameters behind those of the head: [B h w, C], [P, text_dim] */
    int64_t B, h, w, P;
    int32_t image_of[8];
    int64_t Hh, Ww; /* the logits are resized to this */
    vv_real *c;     /* cotangent [P,Hh,Ww] */
    vv_trace_fn trace;
    void *trace_ctx;
    int flags; /* of the tape */
} mask_case;

/* N(0, 1/inputs), biases 0.1 N(0,1), norms 1 + 0.1 N(0,1), embeddings and tokens N(0,1): no part is without effect */
static inline void mask_fill(const vv_params *ps)
{
    for (int64_t p = 0; p < ps->n; p++) {
        vv_tensor *x = ps->at[p];
        const int one = x->ndim == 1, norm = one && strstr(x->name, ".weight");
        const int unit = x->dim[0] == 1 || strstr(x->name, "tokens.") || strstr(x->name, "gaussian");
        vv_real *v = mask_numbers(x->name, one ? 0.1 : unit ? 1 : 1 / sqrt((double)(x->n / x->dim[0])), x->n);
        for (int64_t i = 0; norm && i < x->n; i++) v[i] = (vv_real)(float)(1 + v[i]);
        mask_put(x, v);
        free(v);
    }
}

/* a head of that configuration with B pictures of h x w and the instances of image_of (ended by -1) */
static inline void mask_start(mask_case *k, vv_mask_config c, int64_t B, int64_t h, int64_t w, const int32_t *image_of)
{
    *k = (mask_case){.B = B, .h = h, .w = w, .Hh = 4 * h + 3, .Ww = 3 * w + 1};
    while (image_of[k->P] >= 0) k->image_of[k->P] = image_of[k->P], k->P++;
    VVT_OK(vv_mask_new(&k->m, &k->ps, &c, err));
    mask_fill(&k->ps);
    const int64_t f[2] = {B * h * w, c.width}, x[2] = {k->P, c.text_dim};
    vv_error e = {0};
    k->features = vv_param_new(&k->ps, "features", 2, f, &e);
    k->text = vv_param_new(&k->ps, "text", 2, x, &e);
    ck_assert_msg(k->features && k->text, "%s", e.msg);
    vv_real *a = mask_numbers("features", 1, k->features->n), *b = mask_numbers("text", 1, k->text->n);
    mask_put(k->features, a);
    mask_put(k->text, b);
    free(a);
    free(b);
    k->c = mask_numbers("cotangent", 1, k->P * k->Hh * k->Ww);
}

static inline void mask_finish(mask_case *k)
{
    vv_mask_free(k->m);
    vv_params_free(&k->ps);
    free(k->c);
}

typedef struct {
    vv_real *logits, *resized; /* on the host */
    int64_t n_logits;
    double loss; /* resized . c */
    vv_memory memory;
} mask_out;

static inline void mask_out_free(mask_out *o)
{
    free(o->logits);
    free(o->resized);
}

/* forward; with backward != 0 gradients too, in the parameters; without they stay as they are */
static inline mask_out mask_run(mask_case *k, int backward)
{
    const int64_t dim[3] = {k->P, k->Hh, k->Ww};
    mask_out o = {0};
    vv_tape *t = vv_tape_new(&k->ps, k->flags | (backward ? VV_RECORD : 0));
    if (backward) vv_params_zero_grad(&k->ps);
    if (k->trace) vv_trace(t, k->trace, k->trace_ctx);
    vv_tensor *logits = vv_mask_forward(t, k->m, k->features, k->B, k->h, k->w, k->text, k->image_of, k->P);
    vv_tensor *big = vv_mask_resize(t, "mask_head#resized", logits, k->Hh, k->Ww);
    vv_tensor *loss = vv_dot(t, NULL, big, vv_input(t, NULL, VV_REALS, 3, dim, k->c));
    if (backward) vv_backward(t, loss, 1);
    VVT_OK(vv_tape_status(t, err));
    vv_real l;
    vvb_download(&l, loss->data, sizeof l);
    o.loss = (double)l;
    o.n_logits = logits->n;
    o.logits = tower_get(logits->data, logits->n);
    o.resized = tower_get(big->data, big->n);
    o.memory = *vv_tape_memory(t);
    vv_tape_free(t);
    return o;
}

/* RMS(a - b) / max(RMS(b), floor) */
static inline double mask_distance(const vv_real *a, const vv_real *b, int64_t n, double floor)
{
    double d = 0, r = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        r += (double)b[i] * (double)b[i];
    }
    return sqrt(d / (double)n) / fmax(sqrt(r / (double)n), floor);
}

/* gradients that are truly zero: a key's bias adds the same to all scores of a row, and the softmax does not see it */
static inline int mask_zero_gradient(const char *name) { return strstr(name, ".k_proj.bias") != NULL; }

#endif
