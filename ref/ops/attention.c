#include "ops/ops.h"

/* H * the sum of squared segment lengths: the number of scores */
static double scores(const int32_t *cu, int64_t S, int64_t H)
{
    double n2 = 0;
    for (int64_t s = 0; s < S; s++) n2 += (double)(cu[s + 1] - cu[s]) * (cu[s + 1] - cu[s]);
    return n2 * (double)H;
}

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *qkv = nd->in[0], *o = nd->out;
    const int64_t S = nd->n[0], H = nd->n[1], C = vv_last(o), D = C / H, ld = 3 * C;
    const vv_real *x = vv_f(qkv);
    const vv_into d = vv_grad(t, qkv);
    if (d.acc) { /* the backend writes dq, dk, dv: what the other reader left there would be lost */
        char full[VV_NAME_MAX];
        vv_tape_fail(t, VV_USAGE, "%s: attention: expected to be the only reader of qkv", vv_name(o, full));
        return;
    }
    VV_RUN(t, scores(nd->table, S, H) * (double)(10 * D + 8),
           vvb_attention_bwd(d.p, d.p + C, d.p + 2 * C, o->grad, vv_f(o), C, vv_f(nd->saved[0]), x, ld, x + C, ld,
                             x + 2 * C, ld, nd->table, S, H, D, nd->s));
}
static const vv_opdef ATTENTION = {"attention", backward};

static int segments_valid(const int32_t *cu, int64_t S, int64_t N)
{
    if (cu[0] != 0 || cu[S] != N) return 0;
    for (int64_t s = 0; s < S; s++)
        if (cu[s + 1] < cu[s]) return 0;
    return 1;
}

vv_tensor *vv_attention(vv_tape *t, const char *name, vv_tensor *qkv, const int32_t *cu, int64_t S, int64_t H,
                        double scale)
{
    if (!vv_ready(t, 1, qkv)) return NULL;
    const int64_t N = vv_rows(qkv), C = vv_last(qkv) / 3;
    if (!vv_expect(t, "attention", name, H > 0 && vv_last(qkv) % (3 * H) == 0 && !qkv->is_param,
                   "an activation of q, k and v, each divisible by the heads", "qkv", qkv))
        return NULL;
    if (!vv_expect(t, "attention", name, segments_valid(cu, S, N), "segments that cover the rows, from 0 upwards",
                   "qkv", qkv))
        return NULL;
    const int64_t dim[2] = {N, C};
    vv_tensor *o = vv_new(t, name, 2, dim), *lse = vv_saved(t, N * H);
    const int32_t *table = vv_keep(t, cu, S + 1);
    if (!vv_ready(t, 2, o, lse)) return NULL;
    const vv_real *x = vv_f(qkv);
    VV_RUN(t, scores(cu, S, H) * (double)(4 * (C / H) + 5),
           vvb_attention_fwd(vv_f(o), C, vv_f(lse), x, 3 * C, x + C, 3 * C, x + 2 * C, 3 * C, cu, S, H, C / H, scale));
    return vv_done(
        t, (vv_node){.op = &ATTENTION, .in = {qkv}, .out = o, .saved = {lse}, .n = {S, H}, .s = scale, .table = table});
}
