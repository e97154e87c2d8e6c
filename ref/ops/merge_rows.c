#include <stdlib.h>

#include "ops/ops.h"

/* Each gradient is asked for just before it is written: a and b may be the same tensor. */
static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *y = nd->out;
    for (int k = 0; k < 2; k++) {
        vv_tensor *x = nd->in[k], *idx = nd->saved[k];
        const vv_into dx = vv_grad(t, x);
        VV_RUN(t, x->n, vvb_scatter_rows_bwd(dx.p, y->grad, vv_i(idx), idx->n, vv_last(y), dx.acc));
    }
}
static const vv_opdef MERGE_ROWS = {"merge_rows", backward};

/* Marks the rows that idx [n] names; a row beyond R or named already is an error. */
static int take_rows(vv_tape *t, const vv_tensor *y, char *taken, int64_t R, const int32_t *idx, int64_t n,
                     const char *letter)
{
    for (int64_t i = 0; i < n; i++) {
        if (idx[i] < 0 || idx[i] >= R || taken[idx[i]]++) {
            char full[VV_NAME_MAX];
            vv_tape_fail(t, VV_USAGE,
                         "%s: merge_rows: expected each row from 0 to %lld once; got %d at place %lld of %s",
                         vv_name(y, full), (long long)R - 1, (int)idx[i], (long long)i, letter);
            return 0;
        }
    }
    return 1;
}

/* R distinct indices below R: every row has its own */
static int rows_valid(vv_tape *t, const vv_tensor *y, const int32_t *idx_a, int64_t Ra, const int32_t *idx_b,
                      int64_t Rb)
{
    char *taken = vv_calloc(Ra + Rb, 1);
    if (!taken) vv_tape_fail(t, VV_MEMORY, "merge_rows: out of memory");
    const int ok =
        taken && take_rows(t, y, taken, Ra + Rb, idx_a, Ra, "a") && take_rows(t, y, taken, Ra + Rb, idx_b, Rb, "b");
    free(taken);
    return ok;
}

vv_tensor *vv_merge_rows(vv_tape *t, const char *name, vv_tensor *a, const int32_t *idx_a, vv_tensor *b,
                         const int32_t *idx_b)
{
    if (!vv_ready(t, 2, a, b)) return NULL;
    const int64_t C = vv_last(a), Ra = vv_rows(a), Rb = vv_rows(b), dim[2] = {Ra + Rb, C};
    if (!vv_expect(t, "merge_rows", name, C > 0 && vv_last(b) == C, "rows of one length", "a b", a, b)) return NULL;
    vv_tensor *y = vv_new(t, name, 2, dim);
    if (!vv_ready(t, 1, y) || !rows_valid(t, y, idx_a, Ra, idx_b, Rb)) return NULL;
    vv_tensor *ia = vv_indices(t, idx_a, Ra), *ib = vv_indices(t, idx_b, Rb);
    if (!vv_ready(t, 2, ia, ib)) return NULL;
    VV_RUN(t, 0, {
        vvb_scatter_rows_fwd(vv_f(y), vv_f(a), vv_i(ia), Ra, C);
        vvb_scatter_rows_fwd(vv_f(y), vv_f(b), vv_i(ib), Rb, C);
    });
    return vv_done(t, (vv_node){.op = &MERGE_ROWS, .in = {a, b}, .out = y, .saved = {ia, ib}});
}
