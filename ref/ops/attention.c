#include "ops/ops.h"

/* the number of scores: pairs of query and key that see each other, times the heads */
static double scores(const vvb_attention_args *a)
{
    const int32_t *cu_k = a->cu_k ? a->cu_k : a->cu_q;
    double pairs = 0;
    for (int64_t s = 0; s < a->S; s++) {
        const int64_t key = a->k_of ? a->k_of[s] : s;
        const double n = a->cu_q[s + 1] - a->cu_q[s], m = cu_k[key + 1] - cu_k[key];
        pairs += n * m - (a->causal ? n * (n - 1) / 2 : 0);
    }
    return pairs * (double)a->H;
}

/* q, k and v as the node keeps them: three tensors, or one whose rows hold them side by side */
typedef struct {
    const vv_real *q, *k, *v;
    int64_t ldq, ldk;
} operands;

static operands operands_of(vv_tensor *const in[3], const vvb_attention_args *a)
{
    const int64_t wide = a->H * a->D, narrow = a->Hkv * a->D;
    const vv_real *q = vv_f(in[0]);
    if (in[1]) return (operands){q, vv_f(in[1]), vv_f(in[2]), wide, narrow};
    return (operands){q, q + wide, q + wide + narrow, wide + 2 * narrow, wide + 2 * narrow};
}

static void backward(vv_tape *t, vv_node *nd)
{
    const vvb_attention_args *a = nd->ctx;
    const operands x = operands_of(nd->in, a);
    const int64_t C = a->H * a->D;
    const vv_into d[3] = {vv_grad(t, nd->in[0]), vv_grad(t, nd->in[1]), vv_grad(t, nd->in[2])};
    if (d[0].acc || d[1].acc || d[2].acc) { /* the backend writes dq, dk, dv: what another reader left would be lost */
        char full[VV_NAME_MAX];
        vv_tape_fail(t, VV_USAGE, "%s: attention: expected to be the only reader of q, k and v",
                     vv_name(nd->out, full));
        return;
    }
    vv_real *dk = nd->in[1] ? d[1].p : d[0].p + C, *dv = nd->in[1] ? d[2].p : d[0].p + C + a->Hkv * a->D;
    VV_RUN(t, scores(a) * (double)(10 * a->D + 8),
           vvb_attention_bwd(d[0].p, dk, dv, nd->out->grad, vv_f(nd->out), C, vv_f(nd->saved[0]), x.q, x.ldq, x.k,
                             x.ldk, x.v, x.ldk, a));
}
static const vv_opdef ATTENTION = {"attention", backward};

static int covers(const int32_t *cu, int64_t S, int64_t rows)
{
    if (cu[0] != 0 || cu[S] != rows) return 0;
    for (int64_t s = 0; s < S; s++)
        if (cu[s + 1] < cu[s]) return 0;
    return 1;
}

/* the rule that the segments break, or NULL */
static const char *wrong_segments(const vvb_attention_args *a, int64_t Nq, int64_t Nk)
{
    const int32_t *cu_k = a->cu_k ? a->cu_k : a->cu_q;
    const int64_t Sk = a->cu_k ? a->Sk : a->S;
    if (!covers(a->cu_q, a->S, Nq)) return "segments that cover the rows, from 0 upwards";
    if (!covers(cu_k, Sk, Nk)) return "key segments that cover the rows of k, from 0 upwards";
    for (int64_t s = 0; s < a->S; s++) {
        const int64_t key = a->k_of ? a->k_of[s] : s, before = a->k_of && s ? a->k_of[s - 1] : 0;
        if (key < before || key >= Sk) return "numbers of key segments that do not decrease";
        if (a->causal && cu_k[key + 1] - cu_k[key] < a->cu_q[s + 1] - a->cu_q[s])
            return "at least as many keys as queries in a causal segment";
    }
    return NULL;
}

/* the arguments with their tables, for as long as the nodes live */
static const vvb_attention_args *keep(vv_tape *t, vvb_attention_args a)
{
    a.cu_q = vv_keep(t, a.cu_q, (a.S + 1) * (int64_t)sizeof *a.cu_q);
    if (a.cu_k) a.cu_k = vv_keep(t, a.cu_k, (a.Sk + 1) * (int64_t)sizeof *a.cu_k);
    if (a.k_of) a.k_of = vv_keep(t, a.k_of, a.S * (int64_t)sizeof *a.k_of);
    return vv_keep(t, &a, sizeof a);
}

vv_tensor *vv_attention(vv_tape *t, const char *name, vv_tensor *q, vv_tensor *k, vv_tensor *v,
                        const vvb_attention_args *args)
{
    if (!vv_ready(t, 1, q) || (k && !vv_ready(t, 2, k, v))) return NULL;
    vvb_attention_args a = *args;
    const int64_t per_row = k ? a.H : a.H + 2 * a.Hkv;
    const int heads = a.H > 0 && a.Hkv > 0 && a.H % a.Hkv == 0 && vv_last(q) % per_row == 0 && !q->is_param;
    if (!k &&
        !vv_expect(t, "attention", name, heads, "an activation of q, k and v, each divisible by the heads", "qkv", q))
        return NULL;
    a.D = vv_last(q) / per_row;
    if (k && !vv_expect(t, "attention", name,
                        heads && vv_last(k) == a.Hkv * a.D && vv_last(v) == vv_last(k) && vv_rows(v) == vv_rows(k) &&
                            !k->is_param && !v->is_param,
                        "activations q, and k and v of one shape, as wide as their heads", "q k v", q, k, v))
        return NULL;
    const char *rule = wrong_segments(&a, vv_rows(q), vv_rows(k ? k : q));
    if (!vv_expect(t, "attention", name, !rule, rule, k ? "q k" : "qkv", q, k)) return NULL;
    const int64_t dim[2] = {vv_rows(q), a.H * a.D};
    vv_tensor *o = vv_new(t, name, 2, dim), *lse = vv_saved(t, dim[0] * a.H);
    const vvb_attention_args *kept = keep(t, a);
    if (!vv_ready(t, 2, o, lse)) return NULL;
    vv_node nd = {.op = &ATTENTION, .in = {q, k, v}, .out = o, .saved = {lse}, .ctx = kept};
    const operands x = operands_of(nd.in, &a);
    VV_RUN(t, scores(&a) * (double)(4 * a.D + 5),
           vvb_attention_fwd(vv_f(o), dim[1], vv_f(lse), x.q, x.ldq, x.k, x.ldk, x.v, x.ldk, kept));
    return vv_done(t, nd);
}
