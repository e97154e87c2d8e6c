/* The forward of the depth head; the picture of it is in the header. */
#include "model/dpt_parts.h"

static const double EPS = 1e-6;
static const char *const RN[VV_DPT_LEVELS] = {"layer1_rn", "layer2_rn", "layer3_rn", "layer4_rn"};
static const char *const REFINENET[VV_DPT_LEVELS] = {"refinenet1", "refinenet2", "refinenet3", "refinenet4"};

/* What a segment keeps until its backward: its level, and a size; [B,h,w] of the grid, or [.,h,w] of what it returns. */
typedef struct {
    const vv_dpt *m;
    int64_t level, size[3];
} place;

/* stride 1 and the size of x */
static vv_tensor *conv(vv_tape *t, const char *name, vv_tensor *x, const vv_affine *a)
{
    return vv_conv2d(t, name, x, a->weight, a->bias, 1, a->weight->dim[2] / 2);
}

/* tap [B h w,C] to r [B,..,F] */
static vv_tensor *reassemble(vv_tape *t, const void *ctx, vv_tensor *x)
{
    const place *at = ctx;
    const vv_dpt_level *l = &at->m->level[at->level];
    const int64_t scale = vv_dpt_scale(&at->m->config, at->level);
    const int64_t grid[4] = {at->size[0], at->size[1], at->size[2], at->m->config.width};
    if (l->tap_norm.weight) {
        vv_enter(t, "tap_norm", at->level);
        x = vv_layernorm(t, "", x, l->tap_norm.weight, l->tap_norm.bias, EPS);
        vv_leave(t);
    }
    vv_enter(t, "projects", at->level);
    x = conv(t, "", vv_view(t, NULL, x, 4, grid), &l->project);
    vv_leave(t);
    vv_enter(t, "resize_layers", at->level);
    if (scale > 1) x = vv_conv_transpose2d(t, "", x, l->resize.weight, l->resize.bias);
    else if (scale == 0) x = vv_conv2d(t, "", x, l->resize.weight, l->resize.bias, 2, 1);
    vv_leave(t);
    vv_enter(t, "scratch", -1);
    x = conv(t, RN[at->level], x, &l->rn);
    vv_leave(t);
    return x;
}

/* RCU */
static vv_tensor *unit(vv_tape *t, const char *name, const vv_dpt_unit *u, vv_tensor *x)
{
    vv_enter(t, name, -1);
    vv_tensor *z = conv(t, "conv1", vv_relu(t, NULL, x), &u->conv1);
    z = conv(t, "conv2", vv_relu(t, NULL, z), &u->conv2);
    z = vv_add(t, "", z, x);
    vv_leave(t);
    return z;
}

static vv_tensor *unit1(vv_tape *t, const void *ctx, vv_tensor *b)
{
    const place *at = ctx;
    return unit(t, "resConfUnit1", &at->m->level[at->level].unit1, b);
}

static vv_tensor *after_sum(vv_tape *t, const void *ctx, vv_tensor *a)
{
    const place *at = ctx;
    const vv_dpt_level *l = &at->m->level[at->level];
    a = unit(t, "resConfUnit2", &l->unit2, a);
    a = vv_resize_bilinear(t, "#up", a, at->size[1], at->size[2], 1);
    return conv(t, "out_conv", a, &l->out_conv);
}

/* a alone, or with b */
static vv_tensor *fuse(vv_tape *t, const place *at, vv_tensor *a, vv_tensor *b)
{
    vv_enter(t, REFINENET[at->level], -1);
    if (b) a = vv_add(t, "#sum", vv_segment(t, unit1, at, sizeof *at, b), a);
    a = vv_segment(t, after_sum, at, sizeof *at, a);
    vv_leave(t);
    return a;
}

static vv_tensor *output(vv_tape *t, const void *ctx, vv_tensor *p)
{
    const place *at = ctx;
    const vv_dpt *m = at->m;
    p = conv(t, "output_conv1", p, &m->output_conv1);
    p = vv_resize_bilinear(t, "output_conv1#up", p, at->size[1], at->size[2], 1);
    p = conv(t, "output_conv2.0", p, &m->output_conv2_0);
    p = vv_relu(t, "output_conv2.1", p);
    p = conv(t, "output_conv2.2", p, &m->output_conv2_2);
    if (m->config.final == VV_DPT_RELU) p = vv_relu(t, "output_conv2.3", p);
    if (m->config.final == VV_DPT_SOFTPLUS) p = vv_softplus(t, "output_conv2.3", p);
    return p;
}

vv_tensor *vv_dpt_forward(vv_tape *t, const vv_dpt *m, vv_tensor *const *tap, int64_t B, int64_t h, int64_t w)
{
    const vv_dpt_config *c = &m->config;
    const int64_t L = c->levels, depth[3] = {B, c->patch * h, c->patch * w};
    vv_tensor *r[VV_DPT_LEVELS] = {0}, *p = NULL;
    for (int64_t i = 0; i < L; i++)
        if (!vv_ready(t, 1, tap[i]) ||
            !vv_expect(t, "depth head", "tap",
                       B > 0 && h > 0 && w > 0 && tap[i]->ndim == 2 && tap[i]->dim[0] == vv_mul(B, vv_mul(h, w)) &&
                           vv_last(tap[i]) == c->width,
                       "rows of the tower's width, one for each patch of B grids h x w", "tap", tap[i]))
            return NULL;
    vv_enter(t, "depth_head", -1);
    for (int64_t i = 0; i < L; i++) {
        const place at = {m, i, {B, h, w}};
        r[i] = vv_segment(t, reassemble, &at, sizeof at, tap[i]);
    }
    vv_enter(t, "scratch", -1);
    for (int64_t i = L - 1; i >= 0 && vv_ready(t, 1, r[i]); i--) {
        const int64_t *own = r[i]->dim, *next = i ? r[i - 1]->dim : NULL;
        const place at = {m, i, {B, next ? next[1] : 2 * own[1], next ? next[2] : 2 * own[2]}};
        p = fuse(t, &at, p ? p : r[i], p ? r[i] : NULL);
    }
    const place at = {m, 0, {depth[0], depth[1], depth[2]}};
    p = vv_segment(t, output, &at, sizeof at, p);
    vv_leave(t);
    vv_leave(t);
    return vv_view(t, NULL, p, 3, depth);
}

int vv_dpt_dead(const vv_tensor *d) { return d->n > 0 && vvb_sum_squares(vv_f(d), d->n) == 0; }
