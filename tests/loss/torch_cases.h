/* The cases of a file as scripts/torch/record_losses.py writes it, computed here. */
#ifndef VVT_TORCH_CASES_H
#define VVT_TORCH_CASES_H

#include "io/safetensors.h"
#include "loss/loss.h"
#include "vvt.h"

typedef struct {
    const char *name, *in; /* of the case, of its inputs */
    int depth;             /* or masks */
    vv_real loss, term[2];
    vv_real *grad; /* [n], of the prediction */
    int64_t n, B;
    int32_t *medians; /* [2,B,2] as found here; of depth */
} torch_case;

static const char *const TORCH_TERM[2][2] = {{"bce", "dice"}, {"ssi", "gradient_matching"}};

static inline const vv_st_entry *torch_entry(const vv_st *st, const char *folder, const char *name)
{
    char key[200];
    snprintf(key, sizeof key, "%s/%s", folder, name);
    return vv_st_find(st, key);
}

static inline const vv_st_entry *torch_input(const vv_st *st, const torch_case *c, const char *name)
{
    char folder[100];
    snprintf(folder, sizeof folder, "in/%s", c->in);
    return torch_entry(st, folder, name);
}

static inline vv_tensor *torch_reals(vv_tape *t, const vv_st *st, const vv_st_entry *e)
{
    vv_real *host = vv_calloc(e->n, sizeof *host);
    VVT_OK(vv_st_read_real(st, e, host, err));
    vv_tensor *x = vv_input(t, NULL, VV_REALS, e->ndim, e->shape, host);
    free(host);
    return x;
}

static inline vv_tensor *torch_ints(vv_tape *t, const vv_st *st, const vv_st_entry *e)
{
    if (!e) return NULL;
    int64_t *wide = vv_calloc(e->n, sizeof *wide);
    int32_t *host = vv_calloc(e->n, sizeof *host);
    VVT_OK(vv_st_read_i64(st, e, wide, err));
    for (int64_t i = 0; i < e->n; i++) host[i] = (int32_t)wide[i];
    vv_tensor *x = vv_input(t, NULL, VV_INTS, e->ndim, e->shape, host);
    free(wide);
    free(host);
    return x;
}

/* the terms under their names */
static inline void torch_on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    torch_case *c = ctx;
    for (int k = 0; k < 2 && event == VV_EVENT_ACT; k++)
        if (!strcmp(x->name, TORCH_TERM[c->depth][k])) vvb_download(&c->term[k], x->data, sizeof(vv_real));
}

static inline vv_tensor *torch_depth(vv_tape *t, const vv_st *st, torch_case *c, vv_tensor *p, const json_t *config,
                                     int forced)
{
    vv_depth_config how = vv_depth_config_default();
    VVT_OK(vv_depth_config_parse(&how, config, c->name, err));
    vv_depth_maps m = {.p = p,
                       .d = torch_reals(t, st, torch_input(st, c, "d")),
                       .mask = torch_ints(t, st, torch_input(st, c, "mask"))};
    vv_tensor *found = vv_depth_medians(t, "found", &m);
    c->B = p->dim[0];
    c->medians = vv_calloc(4 * c->B, sizeof *c->medians);
    if (found) vvb_download(c->medians, found->data, 4 * c->B * (int64_t)sizeof *c->medians);
    if (forced) m.medians = torch_ints(t, st, torch_input(st, c, "medians"));
    return vv_depth_loss(t, "loss", &m, &how, NULL);
}

static inline vv_tensor *torch_masks(vv_tape *t, const vv_st *st, torch_case *c, vv_tensor *x, const json_t *config)
{
    vv_seg_config how = vv_seg_config_default();
    VVT_OK(vv_seg_config_parse(&how, config, c->name, err));
    return vv_seg_loss(t, "loss", x, torch_reals(t, st, torch_input(st, c, "z")), &how, NULL);
}

/* forced: with the medians of the file */
static inline torch_case torch_run(const vv_st *st, const json_t *one, int forced)
{
    torch_case c = {.name = json_string_value(json_object_get(one, "name")),
                    .in = json_string_value(json_object_get(one, "in"))};
    const json_t *config = json_object_get(one, "config");
    const vv_st_entry *e = torch_input(st, &c, "p");
    vv_params params = {0};
    vv_error error = {0};
    c.depth = e != NULL;
    if (!e) e = torch_input(st, &c, "x");
    vv_tensor *x = vv_param_new(&params, "x", e->ndim, e->shape, &error);
    vv_real *host = vv_calloc(e->n, sizeof *host);
    VVT_OK(vv_st_read_real(st, e, host, err));
    vvb_upload(x->data, host, e->n * (int64_t)sizeof *host);
    vv_tape *t = vv_tape_new(&params, VV_RECORD);
    vv_trace(t, torch_on_event, &c);
    vv_tensor *loss = c.depth ? torch_depth(t, st, &c, x, config, forced) : torch_masks(t, st, &c, x, config);
    vv_backward(t, loss, 1);
    ck_assert_msg(vv_tape_status(t, &error) == VV_OK, "%s: %s", c.name, error.msg);
    vvb_download(&c.loss, loss->data, sizeof c.loss);
    vvb_download(host, x->grad, e->n * (int64_t)sizeof *host);
    c.grad = host;
    c.n = e->n;
    vv_tape_free(t);
    vv_params_free(&params);
    return c;
}

static inline void torch_case_free(torch_case *c)
{
    free(c->grad);
    free(c->medians);
}

/* {"cases": [...]} of the file; json_decref it */
static inline json_t *torch_cases(const vv_st *st)
{
    json_t *root = NULL;
    const char *text = vv_st_metadata(st, "cases");
    ck_assert_ptr_nonnull(text);
    VVT_OK(vv_json_parse(&root, text, strlen(text), "cases", err));
    return root;
}

#endif
