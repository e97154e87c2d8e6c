#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *b = nd->in[1], *y = nd->out;
    const int64_t C = nd->n[0], Rb = b->n / C;
    if (b->needs_grad) {
        const vv_into db = vv_grad(t, b);
        VV_RUN(t, y->n, {
            if (!db.acc) vvb_zero(db.p, b->n * (int64_t)sizeof(vv_real));
            vvb_add_bwd(db.p, y->grad, y->n / C, C, Rb);
        });
    }
    vv_grad_hand_over(t, x, y);
}
static const vv_opdef ADD = {"add", backward};

vv_tensor *vv_add(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *b)
{
    if (!vv_ready(t, 2, x, b)) return NULL;
    const int64_t C = vv_last(x), Rb = C ? b->n / C : 0, R = vv_rows(x);
    if (!vv_expect(t, "add", name, C > 0 && vv_last(b) == C && Rb > 0 && R % Rb == 0,
                   "b to end in x's last axis and its rows to divide x's", "x b", x, b))
        return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, x->dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, x->n, vvb_add_fwd(vv_f(y), vv_f(x), vv_f(b), R, C, Rb));
    return vv_done(t, (vv_node){.op = &ADD, .in = {x, b}, .out = y, .n = {C}});
}
