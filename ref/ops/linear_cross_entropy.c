#include <stdlib.h>

#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->in[1], *weight = nd->in[2], *lse = nd->saved[0], *target = nd->saved[1];
    const int64_t R = target->n, V = w->dim[0], C = w->n / V;
    const vv_into dx = vv_grad(t, x), dw = vv_grad(t, w);
    VV_RUN(t, (double)(R * V) * (double)(2 * C * (1 + x->needs_grad + w->needs_grad) + 5),
           vvb_linear_cross_entropy_bwd(dx.p, dw.p, nd->out->grad, vv_f(x), vv_f(w), vv_i(target), vv_f(weight),
                                        vv_f(lse), R, V, C, dx.acc));
}
static const vv_opdef LINEAR_CROSS_ENTROPY = {"linear_cross_entropy", backward};

static vv_tensor *weights(vv_tape *t, const double *weight, int64_t R)
{
    vv_real *host = vv_calloc(R, sizeof *host);
    if (!host) return vv_tape_fail(t, VV_MEMORY, "linear_cross_entropy: out of memory");
    for (int64_t r = 0; r < R; r++) host[r] = (vv_real)weight[r];
    vv_tensor *x = vv_input(t, NULL, VV_REALS, 1, &R, host);
    free(host);
    return x;
}

static int targets_valid(vv_tape *t, const vv_tensor *loss, const int32_t *target, int64_t R, int64_t V)
{
    char full[VV_NAME_MAX];
    for (int64_t r = 0; r < R; r++)
        if (target[r] < 0 || target[r] >= V) {
            vv_tape_fail(t, VV_USAGE, "%s: linear_cross_entropy: expected targets from 0 to %lld; got %d at place %lld",
                         vv_name(loss, full), (long long)V - 1, (int)target[r], (long long)r);
            return 0;
        }
    return 1;
}

vv_tensor *vv_linear_cross_entropy(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, const int32_t *target,
                                   const double *weight, int64_t R, vv_tensor **ce)
{
    if (!vv_ready(t, 2, x, w)) return NULL;
    const int64_t V = w->ndim ? w->dim[0] : 0, C = V ? w->n / V : 0;
    if (!vv_expect(t, "linear_cross_entropy", name,
                   C > 0 && !w->adapter && x->ndim > 0 && vv_last(x) == C && vv_rows(x) == R,
                   "x to end in the row length of w, which has no adapter, and a target for each row of x",
                   "x w targets", x, w, &(vv_tensor){.ndim = 1, .dim = {R}}))
        return NULL;
    vv_tensor *loss = vv_new(t, name, 0, NULL), *lse = vv_saved(t, R);
    vv_enter(t, name, -1);
    vv_tensor *tokens = vv_new(t, "#tokens", 1, &R);
    vv_leave(t);
    if (!vv_ready(t, 3, loss, lse, tokens) || !targets_valid(t, loss, target, R, V)) return NULL;
    vv_tensor *table = vv_indices(t, target, R), *factor = weights(t, weight, R);
    if (!vv_ready(t, 2, table, factor)) return NULL;
    VV_RUN(t, (double)(R * V) * (double)(2 * C + 5),
           vvb_linear_cross_entropy_fwd(vv_f(loss), vv_f(tokens), vv_f(lse), vv_f(x), vv_f(w), vv_i(table),
                                        vv_f(factor), R, V, C));
    if (ce) *ce = tokens;
    (void)vv_done(t, (vv_node){.op = &LINEAR_CROSS_ENTROPY, .out = tokens}); /* told to the trace; no gradient */
    return vv_done(t, (vv_node){.op = &LINEAR_CROSS_ENTROPY, .in = {x, w, factor}, .out = loss, .saved = {lse, table}});
}
