/* The dense heads at paper size: depth on 532x532 pixels, segmentation with 8 instances on 560x560. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "model/dpt_head.h"
#include "model/mask_head.h"

enum { WIDTH = 1280, BLOCKS = 32, DEPTH_GRID = 38, MASK_GRID = 40, INSTANCES = 8, TEXT = 4096 };

typedef struct {
    vv_params params, inputs; /* inputs are parameters, so that they get gradients as the tower's layers do */
    vv_dpt *dpt;
    vv_mask *mask;
    vv_tensor *feature[VV_DPT_LEVELS], *text;
} heads;

static vv_status input(heads *h, vv_tensor **x, const char *name, int64_t rows, int64_t cols, vv_error *err)
{
    const int64_t dim[2] = {rows, cols};
    *x = vv_param_new(&h->inputs, name, 2, dim, err);
    return *x ? VV_OK : VV_MEMORY;
}

static vv_status set_up(heads *h, int depth, vv_error *err)
{
    if (depth) {
        vv_dpt_config c = {.width = WIDTH, .depth = BLOCKS, .patch = 14};
        json_t *defaults = json_object();
        const vv_status s = vv_dpt_config_parse(&c, defaults, "depth_head", err);
        json_decref(defaults);
        VV_TRY(s);
        VV_TRY(vv_dpt_new(&h->dpt, &h->params, &c, err));
        VV_TRY(input(h, &h->feature[0], "tap.0", DEPTH_GRID * DEPTH_GRID, WIDTH, err));
        VV_TRY(input(h, &h->feature[1], "tap.1", DEPTH_GRID * DEPTH_GRID, WIDTH, err));
        VV_TRY(input(h, &h->feature[2], "tap.2", DEPTH_GRID * DEPTH_GRID, WIDTH, err));
        h->feature[3] = h->feature[2]; /* the deepest serves two levels */
    } else {
        vv_mask_config c = {.width = WIDTH, .depth = BLOCKS};
        json_t *defaults = json_object();
        const vv_status s = vv_mask_config_parse(&c, defaults, "mask_head", err);
        json_decref(defaults);
        VV_TRY(s);
        VV_TRY(vv_mask_new(&h->mask, &h->params, &c, err));
        VV_TRY(input(h, &h->feature[0], "features", MASK_GRID * MASK_GRID, WIDTH, err));
        VV_TRY(input(h, &h->text, "text", INSTANCES, TEXT, err));
    }
    VV_TRY(bench_fill(&h->params, err));
    return bench_fill(&h->inputs, err);
}

static vv_tensor *forward(heads *h, vv_tape *t)
{
    const int32_t image_of[INSTANCES] = {0};
    if (h->dpt) return vv_dpt_forward(t, h->dpt, h->feature, 1, DEPTH_GRID, DEPTH_GRID);
    vv_tensor *logits =
        vv_mask_forward(t, h->mask, h->feature[0], 1, MASK_GRID, MASK_GRID, h->text, image_of, INSTANCES);
    return vv_mask_resize(t, "masks", logits, 14 * MASK_GRID, 14 * MASK_GRID);
}

/* as large as y, a constant */
static vv_tensor *cotangent(vv_tape *t, const vv_tensor *y)
{
    vv_real *v = vv_calloc(y->n, sizeof *v);
    for (int64_t i = 0; v && i < y->n; i++) v[i] = (vv_real)(i % 255) / 256 - (vv_real)0.5;
    vv_tensor *c = v ? vv_input(t, "cotangent", VV_REALS, y->ndim, y->dim, v) : NULL;
    free(v);
    return c;
}

static vv_status run(heads *h, vv_tape *t, int backward, vv_error *err)
{
    vv_tensor *y = forward(h, t);
    if (backward && y) {
        vv_params_zero_grad(&h->params);
        vv_params_zero_grad(&h->inputs);
        vv_backward(t, vv_dot(t, "loss", y, cotangent(t, y)), 1);
    }
    vvb_sync();
    return vv_tape_status(t, err);
}

vv_status bench_heads(int *known, bench_result *r, const bench_settings *s, vv_error *err)
{
    const int depth = !strncmp(r->name, "depth_", 6), backward = strstr(r->name, "_train") != NULL;
    *known = !strcmp(r->name, "depth_forward") || !strcmp(r->name, "depth_train") || !strcmp(r->name, "mask_forward") ||
             !strcmp(r->name, "mask_train");
    if (!*known) return VV_OK;
    heads h = {0};
    vv_status st = set_up(&h, depth, err);
    vv_tape *t = st == VV_OK ? vv_tape_new(&h.params, backward ? VV_RECORD : 0) : NULL;
    if (st == VV_OK && !t) st = vv_no_memory(err, r->name);
    for (int64_t i = 0; st == VV_OK && i <= s->repeat; i++) { /* the first one pays for the memory */
        const double t0 = vv_seconds();
        st = run(&h, t, backward, err);
        if (i) r->seconds = bench_least(r->seconds, vv_seconds() - t0);
        r->flops = vv_tape_memory(t)->flops_forward + vv_tape_memory(t)->flops_backward;
        vv_tape_reset(t);
        vv_progress(r->name, i + 1, s->repeat + 1);
    }
    if (t) r->peak_bytes = h.params.peak + vv_tape_memory(t)->activations_peak + vv_tape_memory(t)->gradients_peak;
    vv_tape_free(t);
    vv_dpt_free(h.dpt);
    vv_mask_free(h.mask);
    vv_params_free(&h.params);
    vv_params_free(&h.inputs);
    return st;
}
