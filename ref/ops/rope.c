#include "ops/ops.h"

vv_rope_angles vv_rope_table(vv_tape *t, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta)
{
    vv_rope_angles a = {NULL, NULL};
    if (!vv_ready(t, 0)) return a;
    if (P < 1 || D % (2 * P)) {
        vv_tape_fail(t, VV_USAGE, "rope: expected a head width divisible by %lld; got %lld", (long long)(2 * P),
                     (long long)D);
        return a;
    }
    const int64_t dim[2] = {N, D / 2};
    vv_tensor *cos = vv_new(t, "rotary#cos", 2, dim), *sin = vv_new(t, "rotary#sin", 2, dim);
    if (!vv_ready(t, 2, cos, sin)) return a;
    VV_RUN(t, N * D, vvb_rope_table(vv_f(cos), vv_f(sin), pos, N, P, D, theta));
    return (vv_rope_angles){cos, sin};
}

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *cos = nd->saved[0], *y = nd->out;
    const int64_t N = cos->dim[0], D = 2 * cos->dim[1], heads = nd->n[0], C = vv_last(y);
    if (x->has_grad) {
        char full[VV_NAME_MAX];
        vv_tape_fail(t, VV_USAGE, "%s: rope: expected to be the only reader of x", vv_name(y, full));
        return;
    }
    /* y took over x's memory and is x's only reader, so its gradient, turned back in place, becomes x's */
    VV_RUN(t, 3 * N * heads * D, vvb_rope_bwd(y->grad, C, y->grad, C, vv_f(cos), vv_f(nd->saved[1]), N, heads, D));
    vv_grad_hand_over(t, x, y);
}
static const vv_opdef ROPE = {"rope", backward};

vv_tensor *vv_rope(vv_tape *t, const char *name, vv_tensor *x, vv_rope_angles a, int64_t heads)
{
    if (!vv_ready(t, 3, x, a.cos, a.sin)) return NULL;
    const int64_t N = a.cos->dim[0], D = 2 * a.cos->dim[1], C = vv_last(x);
    if (!vv_expect(t, "rope", name, vv_rows(x) == N && heads * D <= C && !x->is_param,
                   "an activation with a row for each row of the table, at least as wide as the rotated heads",
                   "x table", x, a.cos))
        return NULL;
    vv_tensor *y = vv_alias(t, name, x, x->ndim, x->dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 3 * N * heads * D, vvb_rope_fwd(vv_f(y), C, vv_f(x), C, vv_f(a.cos), vv_f(a.sin), N, heads, D));
    return vv_done(t, (vv_node){.op = &ROPE, .in = {x}, .out = y, .saved = {a.cos, a.sin}, .n = {heads}});
}
