/* Rotary embedding and attention: the formulas of backend/backend.h, term by term. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "oracle/oracle.h"

/* ---- rotary --------------------------------------------------------------------------------------------------------- */
void vvo_rope_table(vvo_out cos, vvo_out sin, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta)
{
    const int64_t F = D / (2 * P);
    for (int64_t k = 0; k < F; k++) {
        const vvt_ref frequency = powl((vvt_ref)theta, -(vvt_ref)k / (vvt_ref)F);
        for (int64_t n = 0; n < N; n++)
            for (int64_t a = 0; a < P; a++) {
                const int64_t d = n * (D / 2) + a * F + k;
                const vvt_ref angle = (vvt_ref)pos[n * P + a] * frequency;
                cos.v[d] += cosl(angle);
                sin.v[d] += sinl(angle);
                cos.g[d] += 0x1p-48L * fabsl(angle);
                sin.g[d] += 0x1p-48L * fabsl(angle);
            }
    }
}

/* y[to] = x[d] c - x[e] s */
static void turn(vvo_out y, int64_t to, vv_real x, vvt_ref c, vv_real other, vvt_ref s)
{
    y.v[to] += (vvt_ref)x * c - (vvt_ref)other * s;
    y.g[to] += fabsl((vvt_ref)x * c) + fabsl((vvt_ref)other * s);
}

void vvo_rope_fwd(vvo_out y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t d = 0; d < D / 2; d++) {
                const vvt_ref c = (vvt_ref)cos[n * (D / 2) + d], s = (vvt_ref)sin[n * (D / 2) + d];
                const vv_real lo = x[n * ldx + h * D + d], hi = x[n * ldx + h * D + d + D / 2];
                turn(y, n * ldy + h * D + d, lo, c, hi, s);
                turn(y, n * ldy + h * D + d + D / 2, hi, c, lo, -s);
            }
}

void vvo_rope_bwd(vvo_out dx, int64_t lddx, const vv_real *dy, int64_t lddy, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t d = 0; d < D / 2; d++) {
                const vvt_ref c = (vvt_ref)cos[n * (D / 2) + d], s = (vvt_ref)sin[n * (D / 2) + d];
                const vv_real lo = dy[n * lddy + h * D + d], hi = dy[n * lddy + h * D + d + D / 2];
                turn(dx, n * lddx + h * D + d, lo, c, hi, -s);
                turn(dx, n * lddx + h * D + d + D / 2, hi, c, lo, s);
            }
}

/* ---- attention ------------------------------------------------------------------------------------------------------ */
static vvt_ref dot(const vv_real *a, const vv_real *b, int64_t n)
{
    vvt_ref s = 0;
    for (int64_t i = 0; i < n; i++) s += (vvt_ref)a[i] * (vvt_ref)b[i];
    return s;
}

static vvt_ref abs_dot(const vv_real *a, const vv_real *b, int64_t n)
{
    vvt_ref s = 0;
    for (int64_t i = 0; i < n; i++) s += fabsl((vvt_ref)a[i] * (vvt_ref)b[i]);
    return s;
}

static int64_t keys_of(const vvo_attention *a, int64_t s) { return a->cu_k[a->k_of[s] + 1] - a->cu_k[a->k_of[s]]; }

/* queries of all the heads that share keys which look at key segment `key` */
static int64_t queries_of(const vvo_attention *a, int64_t key)
{
    int64_t n = 0;
    for (int64_t s = 0; s < a->S; s++)
        if (a->k_of[s] == key) n += (a->cu_q[s + 1] - a->cu_q[s]) * (a->H / a->Hkv);
    return n;
}

int64_t vvo_attention_most_keys(const vvo_attention *a)
{
    int64_t most = 0;
    for (int64_t s = 0; s < a->S; s++)
        if (a->cu_q[s + 1] > a->cu_q[s]) most = vv_max(most, keys_of(a, s));
    return most;
}

int64_t vvo_attention_most_queries(const vvo_attention *a)
{
    int64_t most = 0;
    for (int64_t key = 0; a->Hkv && key < a->Sk; key++) most = vv_max(most, queries_of(a, key));
    return most;
}

/* how many keys query i (of all) of segment s sees */
static int64_t visible(const vvo_attention *a, int64_t s, int64_t i)
{
    return a->causal ? keys_of(a, s) - (a->cu_q[s + 1] - 1 - i) : keys_of(a, s);
}

/* One row of scores against the n keys of its segment; returns E = 1 + 2 max scale |q||k|. */
static vvt_ref scores(vvt_ref *s, const vv_real *q, const vv_real *k, int64_t ldk, int64_t n, int64_t D, double scale)
{
    vvt_ref most = 0;
    for (int64_t j = 0; j < n; j++) {
        s[j] = (vvt_ref)scale * dot(q, k + j * ldk, D);
        most = fmaxl(most, fabsl((vvt_ref)scale) * abs_dot(q, k + j * ldk, D));
    }
    return 1 + 2 * most;
}

/* s, of n >= 1 scores, becomes its softmax; returns log sum exp */
static vvt_ref softmax(vvt_ref *s, int64_t n)
{
    vvt_ref max = s[0];
    for (int64_t j = 1; j < n; j++) max = s[j] > max ? s[j] : max;
    vvt_ref sum = expl(s[0] - max);
    for (int64_t j = 1; j < n; j++) sum += expl(s[j] - max);
    for (int64_t j = 0; j < n; j++) s[j] = expl(s[j] - max) / sum;
    return max + logl(sum);
}

void vvo_attention_fwd(vvo_out o, int64_t ldo, vvo_out lse, const vv_real *q, int64_t ldq, const vv_real *k,
                       int64_t ldk, const vv_real *v, int64_t ldv, const vvo_attention *a)
{
    const int64_t most = vvo_attention_most_keys(a), D = a->D;
    vvt_ref *p = calloc((size_t)most + 1, sizeof *p);
    for (int64_t s = 0; p && s < a->S; s++)
        for (int64_t i = a->cu_q[s]; i < a->cu_q[s + 1]; i++)
            for (int64_t h = 0; h < a->H; h++) {
                const int64_t n = visible(a, s, i), first = a->cu_k[a->k_of[s]], ck = h / (a->H / a->Hkv) * D;
                const vvt_ref E = scores(p, q + i * ldq + h * D, k + first * ldk + ck, ldk, n, D, a->scale);
                const vvt_ref l = softmax(p, n), same_k = sqrtl((vvt_ref)(keys_of(a, s) + D) / (vvt_ref)(most + D));
                lse.v[i * a->H + h] += l;
                lse.g[i * a->H + h] += same_k * (fabsl(l) + E);
                for (int64_t j = 0; j < n; j++)
                    for (int64_t d = 0; d < D; d++) {
                        const vvt_ref t = p[j] * (vvt_ref)v[(first + j) * ldv + ck + d];
                        o.v[i * ldo + h * D + d] += t;
                        o.g[i * ldo + h * D + d] += same_k * E * fabsl(t);
                    }
            }
    free(p);
}

/* The gauge of a probability. Below the smallest normal number it may have become 0: all of it may be error then. */
static vvt_ref gauge_of(vvt_ref p, vvt_ref E)
{
    const vvt_ref normal = sizeof(vv_real) == sizeof(float) ? (vvt_ref)FLT_MIN : (vvt_ref)DBL_MIN;
    return p < normal ? E * p + p / (vvt_ref)VV_U : E * p;
}

/* y[d] += f x[d], with the gauge |g||x[d]| */
static void add_row(vvo_out y, int64_t at, vvt_ref f, vvt_ref g, const vv_real *x, int64_t D)
{
    for (int64_t d = 0; d < D; d++) {
        y.v[at + d] += f * (vvt_ref)x[d];
        y.g[at + d] += g * fabsl((vvt_ref)x[d]);
    }
}

void vvo_attention_bwd(vvo_out dq, vvo_out dk, vvo_out dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                       const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                       const vv_real *v, int64_t ldv, const vvo_attention *a)
{
    const int64_t most = vvo_attention_most_keys(a), most_q = vvo_attention_most_queries(a), D = a->D;
    vvt_ref *p = calloc((size_t)most + 1, sizeof *p);
    for (int64_t s = 0; p && s < a->S; s++)
        for (int64_t i = a->cu_q[s]; i < a->cu_q[s + 1]; i++)
            for (int64_t h = 0; h < a->H; h++) {
                const int64_t n = visible(a, s, i), first = a->cu_k[a->k_of[s]], c = h * D,
                              ck = h / (a->H / a->Hkv) * D;
                const vv_real *qi = q + i * ldq + c, *dOi = dO + i * ldo + c, *oi = o + i * ldo + c;
                const vvt_ref E = scores(p, qi, k + first * ldk + ck, ldk, n, D, a->scale);
                const vvt_ref delta = dot(dOi, oi, D), abs_delta = abs_dot(dOi, oi, D), f = (vvt_ref)a->scale;
                const vvt_ref few_k = sqrtl((vvt_ref)(keys_of(a, s) + D) / (vvt_ref)(most + D)),
                              few_q = sqrtl((vvt_ref)(queries_of(a, a->k_of[s]) + D) / (vvt_ref)(most_q + D));
                for (int64_t j = 0; j < n; j++) {
                    const int64_t t = first + j; /* the token that is looked at */
                    const vv_real *kj = k + t * ldk + ck, *vj = v + t * ldv + ck;
                    const vvt_ref pj = expl(p[j] - (vvt_ref)lse[i * a->H + h]);
                    const vvt_ref ds = f * pj * (dot(dOi, vj, D) - delta);
                    const vvt_ref abs_ds = fabsl(f) * gauge_of(pj, E) * (abs_dot(dOi, vj, D) + abs_delta);
                    add_row(dq, i * ldq + c, ds, few_k * abs_ds, kj, D);
                    add_row(dk, t * ldk + ck, ds, few_q * abs_ds, qi, D);
                    add_row(dv, t * ldv + ck, pj, few_q * gauge_of(pj, E), dOi, D);
                }
            }
    free(p);
}
