#include "ops/ops.h"

/* y[i] = a[i] b[i]^T;   da[i] = dy[i] b[i],   db[i] = dy[i]^T a[i] */
static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *a = nd->in[0], *b = nd->in[1], *y = nd->out;
    const int64_t B = y->dim[0], M = y->dim[1], N = y->dim[2], K = a->dim[2];
    const vv_into da = vv_grad(t, a), db = vv_grad(t, b);
    VV_RUN(
        t, 2 * y->n * K * (a->needs_grad + b->needs_grad), for (int64_t i = 0; i < B; i++) {
            const vv_real *dy = y->grad + i * M * N;
            if (da.p) vvb_matmul(da.p + i * M * K, K, dy, N, 0, vv_f(b) + i * N * K, K, 0, M, K, N, 1, da.acc);
            if (db.p) vvb_matmul(db.p + i * N * K, K, dy, N, 1, vv_f(a) + i * M * K, K, 0, N, K, M, 1, db.acc);
        });
}
static const vv_opdef BATCHED_MATMUL = {"batched_matmul", backward};

vv_tensor *vv_batched_matmul(vv_tape *t, const char *name, vv_tensor *a, vv_tensor *b)
{
    if (!vv_ready(t, 2, a, b)) return NULL;
    if (!vv_expect(t, "batched_matmul", name,
                   a->ndim == 3 && b->ndim == 3 && a->dim[0] == b->dim[0] && a->dim[2] == b->dim[2],
                   "a [B,M,K] and b [B,N,K]", "a b", a, b))
        return NULL;
    const int64_t B = a->dim[0], M = a->dim[1], N = b->dim[1], K = a->dim[2], dim[3] = {B, M, N};
    vv_tensor *y = vv_new(t, name, 3, dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(
        t, 2 * y->n * K, for (int64_t i = 0; i < B; i++) {
            vvb_matmul(vv_f(y) + i * M * N, N, vv_f(a) + i * M * K, K, 0, vv_f(b) + i * N * K, K, 1, M, N, K, 1, 0);
        });
    return vv_done(t, (vv_node){.op = &BATCHED_MATMUL, .in = {a, b}, .out = y});
}
