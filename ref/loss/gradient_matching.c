#include "loss/depth_maps.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *p = nd->in[0], *d = nd->in[1], *mask = nd->in[2], *at = nd->in[3];
    const vv_into dp = vv_grad(t, p);
    VV_RUN(t, 30 * d->n,
           vvb_gradient_matching_bwd(dp.p, nd->out->grad, vv_f(p), vv_f(d), vv_i(mask), vv_i(at), d->dim[0], d->dim[1],
                                     d->dim[2], nd->ctx, dp.acc));
}
static const vv_opdef GRADIENT_MATCHING = {"gradient_matching", backward};

vv_tensor *vv_gradient_matching(vv_tape *t, const char *name, vv_depth_maps *m, const vv_depth_config *c,
                                vv_depth_report *report)
{
    if (!vv_depth_ready(t, "gradient_matching", name, m, c)) return NULL;
    vv_tensor *y = vv_new(t, name, 0, NULL), *info = vv_depth_info(t, m);
    const void *how = vv_keep(t, &c->how, sizeof c->how);
    if (!vv_ready(t, 2, y, info)) return NULL;
    VV_RUN(t, 20 * m->d->n,
           vvb_gradient_matching_fwd(vv_f(y), vv_i(info), vv_f(m->p), vv_f(m->d), vv_i(m->mask), vv_i(m->medians),
                                     m->d->dim[0], m->d->dim[1], m->d->dim[2], &c->how));
    if (!vv_depth_reported(t, "gradient_matching", name, info, m, report)) return NULL;
    return vv_done(t,
                   (vv_node){.op = &GRADIENT_MATCHING, .in = {m->p, m->d, m->mask, m->medians}, .out = y, .ctx = how});
}
