/* One depth loss on arrays of the host: value, terms, gradient, report. */
#ifndef VVT_LOSS_RUN_H
#define VVT_LOSS_RUN_H

#include "loss/loss.h"
#include "vvt_check.h"

enum { LOSS_PIXELS = 4096, LOSS_MAPS = 16 };

typedef struct {
    int64_t B, Hh, Ww;
    const vv_real *p, *d;
    const int32_t *mask;    /* or NULL */
    const int32_t *medians; /* forced, or NULL */
    const char *const *sample;
    vv_depth_config how;
} depth_call;

typedef struct {
    vv_status status;
    vv_error err;
    double loss, ssi, gm;
    vv_real grad[LOSS_PIXELS];
    int32_t medians[4 * LOSS_MAPS]; /* as traced */
    vv_depth_report report;
} depth_result;

static inline void depth_event(void *ctx, vv_event event, const vv_tensor *x)
{
    depth_result *r = ctx;
    vv_real v;
    if (event != VV_EVENT_ACT) return;
    if (x->kind == VV_INTS) {
        vvb_download(r->medians, x->data, x->n * (int64_t)sizeof(int32_t));
        return;
    }
    vvb_download(&v, x->data, sizeof v);
    if (!strcmp(x->name, "ssi")) r->ssi = (double)v;
    if (!strcmp(x->name, "gradient_matching")) r->gm = (double)v;
}

/* backward != 0: with the gradient of scale 1 */
static inline depth_result depth_run(const depth_call *c, int backward)
{
    static depth_result r;
    const int64_t dim[3] = {c->B, c->Hh, c->Ww}, at[3] = {2, c->B, 2}, n = c->B * c->Hh * c->Ww;
    vv_params params = {0};
    memset(&r, 0, sizeof r);
    ck_assert(n <= LOSS_PIXELS && c->B <= LOSS_MAPS);
    vv_tensor *p = vv_param_new(&params, "prediction", 3, dim, &r.err);
    ck_assert_msg(p != NULL, "%s", r.err.msg);
    vvb_upload(p->data, c->p, n * (int64_t)sizeof(vv_real));
    vv_tape *t = vv_tape_new(&params, backward ? VV_RECORD : 0);
    vv_trace(t, depth_event, &r);
    vv_depth_maps m = {.p = p, .d = vv_input(t, NULL, VV_REALS, 3, dim, c->d), .sample = c->sample};
    if (c->mask) m.mask = vv_input(t, NULL, VV_INTS, 3, dim, c->mask);
    if (c->medians) m.medians = vv_input(t, NULL, VV_INTS, 3, at, c->medians);
    vv_tensor *loss = vv_depth_loss(t, "loss", &m, &c->how, &r.report);
    vv_real value = 0;
    if (loss) vvb_download(&value, loss->data, sizeof value);
    if (backward) vv_backward(t, loss, 1);
    if (p->has_grad) vvb_download(r.grad, p->grad, n * (int64_t)sizeof(vv_real));
    r.loss = (double)value;
    r.status = vv_tape_status(t, &r.err);
    vv_tape_free(t);
    vv_params_free(&params);
    return r;
}

static inline depth_result depth_ok(const depth_call *c, int backward)
{
    const depth_result r = depth_run(c, backward);
    ck_assert_msg(r.status == VV_OK, "%s", r.err.msg);
    return r;
}

#endif
