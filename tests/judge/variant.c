/* Functions of the contract as other programs have them: float where the library adds in double, libm's functions, other forms of the
 * same formula. Linked with --wrap for each, so that the library's own remains the default. See variant.h. */
#include "variant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "backend/backend.h"

#define REAL_OF2(tag, f) __real_vvb2_##tag##_##f
#define WRAP_OF2(tag, f) __wrap_vvb2_##tag##_##f
#define REAL_OF(tag, f) REAL_OF2(tag, f)
#define WRAP_OF(tag, f) WRAP_OF2(tag, f)
#define REAL(f) REAL_OF(VV_REAL_TAG, f)
#define WRAP(f) WRAP_OF(VV_REAL_TAG, f)

const char *vvt_variant(const char *name)
{
    const char *all = getenv("VARIANT");
    const size_t n = strlen(name);
    for (const char *at = all ? all : ""; *at; at += strcspn(at, ","), at += *at == ',')
        if (!strncmp(at, name, n) && at[n] == '=') return at + n + 1;
    return "";
}

int vvt_variant_is(const char *name, const char *word, int *n)
{
    const char *v = vvt_variant(name);
    const size_t length = strlen(word), whole = strcspn(v, ",:");
    if (whole != length || strncmp(v, word, length)) return 0;
    if (n && v[length] == ':') *n = atoi(v + length + 1);
    return 1;
}

static int is(const char *name, const char *word) { return vvt_variant_is(name, word, NULL); }

/* Results and operands below 2^-126 are 0. */
__attribute__((constructor)) static void flush(void)
{
#ifdef __SSE2__
    if (is("denormals", "zero")) _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

/* ---- products with what is added to them ------------------------------------------------------------------------------- */
void REAL(linear_fwd)(float *, const float *, const float *, const float *, const float *, int64_t, int64_t, int64_t);
void WRAP(linear_fwd)(float *y, const float *x, const float *w, const float *b, const float *res, int64_t R, int64_t Ci,
                      int64_t Co);
void WRAP(linear_fwd)(float *y, const float *x, const float *w, const float *b, const float *res, int64_t R, int64_t Ci,
                      int64_t Co)
{
    if (!is("linear", "product-first")) {
        REAL(linear_fwd)(y, x, w, b, res, R, Ci, Co);
        return;
    }
    float *p = calloc((size_t)(R * Co + 1), sizeof *p);
    if (!p) abort();
    vvb_matmul(p, Co, x, Ci, 0, w, Ci, 1, R, Co, Ci, 1, 0);
    for (int64_t i = 0; i < R * Co; i++) {
        float v = p[i];
        if (b) v += b[i % Co];
        y[i] = res ? res[i] + v : v;
    }
    free(p);
}

/* ---- norms ----------------------------------------------------------------------------------------------------------------- */
void REAL(layernorm_fwd)(float *, float *, float *, const float *, const float *, const float *, int64_t, int64_t,
                         double);
void WRAP(layernorm_fwd)(float *y, float *mean, float *rstd, const float *x, const float *w, const float *b, int64_t R,
                         int64_t C, double eps);

static void moments(const float *x, int64_t C, float *mean, float *var)
{
    float sum = 0, squares = 0;
    if (is("norm", "welford")) {
        for (int64_t c = 0; c < C; c++) {
            const float d = x[c] - sum;
            sum += d / (float)(c + 1);
            squares += d * (x[c] - sum);
        }
        *mean = sum;
        *var = squares / (float)C;
        return;
    }
    for (int64_t c = 0; c < C; c++) sum += x[c];
    *mean = sum / (float)C;
    if (is("norm", "one-pass")) {
        for (int64_t c = 0; c < C; c++) squares += x[c] * x[c];
        *var = fmaxf(squares / (float)C - *mean * *mean, 0);
        return;
    }
    for (int64_t c = 0; c < C; c++) squares += (x[c] - *mean) * (x[c] - *mean);
    *var = squares / (float)C;
}

void WRAP(layernorm_fwd)(float *y, float *mean, float *rstd, const float *x, const float *w, const float *b, int64_t R,
                         int64_t C, double eps)
{
    if (!*vvt_variant("norm")) {
        REAL(layernorm_fwd)(y, mean, rstd, x, w, b, R, C, eps);
        return;
    }
    for (int64_t r = 0; r < R; r++) {
        float m, v;
        moments(x + r * C, C, &m, &v);
        const float s = 1 / sqrtf(v + (float)eps);
        for (int64_t c = 0; c < C; c++) /* scale and shift of a row taken together, as fused kernels do */
            y[r * C + c] = is("norm", "one-pass") ? x[r * C + c] * (s * w[c]) + (b[c] - m * s * w[c])
                                                  : (x[r * C + c] - m) * s * w[c] + b[c];
        mean[r] = m;
        rstd[r] = s;
    }
}

void REAL(layernorm_bwd)(float *, float *, float *, const float *, const float *, const float *, const float *,
                         const float *, int64_t, int64_t, int);
void WRAP(layernorm_bwd)(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                         const float *mean, const float *rstd, int64_t R, int64_t C, int acc);
void WRAP(layernorm_bwd)(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                         const float *mean, const float *rstd, int64_t R, int64_t C, int acc)
{
    if (!*vvt_variant("norm")) {
        REAL(layernorm_bwd)(dx, dw, db, dy, x, w, mean, rstd, R, C, acc);
        return;
    }
    for (int64_t r = 0; r < R; r++) {
        float g = 0, gn = 0;
        const float *d = dy + r * C, *v = x + r * C;
        for (int64_t c = 0; c < C; c++) {
            const float n = (v[c] - mean[r]) * rstd[r];
            g += d[c] * w[c];
            gn += d[c] * w[c] * n;
            if (dw) dw[c] += d[c] * n;
            if (db) db[c] += d[c];
        }
        for (int64_t c = 0; c < C && dx; c++) {
            const float n = (v[c] - mean[r]) * rstd[r];
            const float out = rstd[r] / (float)C * ((float)C * d[c] * w[c] - g - n * gn);
            dx[r * C + c] = acc ? dx[r * C + c] + out : out;
        }
    }
}

void REAL(rmsnorm_fwd)(float *, float *, const float *, const float *, int64_t, int64_t, double);
void WRAP(rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w, int64_t R, int64_t C, double eps);
void WRAP(rmsnorm_fwd)(float *y, float *rstd, const float *x, const float *w, int64_t R, int64_t C, double eps)
{
    if (!*vvt_variant("norm")) {
        REAL(rmsnorm_fwd)(y, rstd, x, w, R, C, eps);
        return;
    }
    for (int64_t r = 0; r < R; r++) {
        float sum = 0;
        for (int64_t c = 0; c < C; c++) sum += x[r * C + c] * x[r * C + c];
        rstd[r] = 1 / sqrtf(sum / (float)C + (float)eps);
        for (int64_t c = 0; c < C; c++) y[r * C + c] = x[r * C + c] * (rstd[r] * w[c]);
    }
}

/* ---- pointwise functions from libm ------------------------------------------------------------------------------------------ */
static float logistic(float x) { return is("exp", "tanh") ? 0.5f * (1 + tanhf(0.5f * x)) : 1 / (1 + expf(-x)); }

void REAL(gelu_fwd)(float *, const float *, int64_t, vvb_gelu_kind);
void WRAP(gelu_fwd)(float *y, const float *x, int64_t n, vvb_gelu_kind kind);
void WRAP(gelu_fwd)(float *y, const float *x, int64_t n, vvb_gelu_kind kind)
{
    if (!*vvt_variant("exp")) REAL(gelu_fwd)(y, x, n, kind);
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = kind == VVB_GELU_ERF ? 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f)) : x[i] * logistic(1.702f * x[i]);
}

void REAL(gelu_bwd)(float *, const float *, const float *, int64_t, vvb_gelu_kind, int);
void WRAP(gelu_bwd)(float *dx, const float *dy, const float *x, int64_t n, vvb_gelu_kind kind, int acc);
void WRAP(gelu_bwd)(float *dx, const float *dy, const float *x, int64_t n, vvb_gelu_kind kind, int acc)
{
    if (!*vvt_variant("exp") || !dx) {
        REAL(gelu_bwd)(dx, dy, x, n, kind, acc);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const float s = logistic(1.702f * x[i]);
        const float slope = kind == VVB_GELU_ERF
                                ? 0.5f * (1 + erff(x[i] * 0.70710678f)) + x[i] * 0.39894228f * expf(-0.5f * x[i] * x[i])
                                : s * (1 + 1.702f * x[i] * (1 - s));
        dx[i] = (acc ? dx[i] : 0) + dy[i] * slope;
    }
}

void REAL(silu_mul_fwd)(float *, const float *, const float *, int64_t);
void WRAP(silu_mul_fwd)(float *y, const float *g, const float *u, int64_t n);
void WRAP(silu_mul_fwd)(float *y, const float *g, const float *u, int64_t n)
{
    if (!*vvt_variant("exp")) REAL(silu_mul_fwd)(y, g, u, n);
    else
        for (int64_t i = 0; i < n; i++) y[i] = g[i] / (1 + expf(-g[i])) * u[i];
}

void REAL(sigmoid_fwd)(float *, const float *, int64_t);
void WRAP(sigmoid_fwd)(float *y, const float *x, int64_t n);
void WRAP(sigmoid_fwd)(float *y, const float *x, int64_t n)
{
    if (!*vvt_variant("exp")) REAL(sigmoid_fwd)(y, x, n);
    else
        for (int64_t i = 0; i < n; i++) y[i] = logistic(x[i]);
}

void REAL(softplus_fwd)(float *, const float *, int64_t);
void WRAP(softplus_fwd)(float *y, const float *x, int64_t n);
void WRAP(softplus_fwd)(float *y, const float *x, int64_t n)
{
    if (!*vvt_variant("exp")) REAL(softplus_fwd)(y, x, n);
    else
        for (int64_t i = 0; i < n; i++) y[i] = fmaxf(x[i], 0) + log1pf(expf(-fabsf(x[i])));
}

/* ---- sums ------------------------------------------------------------------------------------------------------------------- */
void REAL(add_bwd)(float *, const float *, int64_t, int64_t, int64_t);
void WRAP(add_bwd)(float *db, const float *dy, int64_t R, int64_t C, int64_t Rb);
void WRAP(add_bwd)(float *db, const float *dy, int64_t R, int64_t C, int64_t Rb)
{
    if (!is("sums", "float") || !db) REAL(add_bwd)(db, dy, R, C, Rb);
    else
        for (int64_t r = R - 1; r >= 0; r--)
            for (int64_t c = 0; c < C; c++) db[r % Rb * C + c] += dy[r * C + c];
}

void REAL(dot)(float *, const float *, const float *, int64_t);
void WRAP(dot)(float *y, const float *x, const float *w, int64_t n);
void WRAP(dot)(float *y, const float *x, const float *w, int64_t n)
{
    if (!is("sums", "float")) {
        REAL(dot)(y, x, w, n);
        return;
    }
    float lane[8] = {0};
    for (int64_t i = 0; i < n; i++) lane[i % 8] += x[i] * (w ? w[i] : 1);
    y[0] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

double REAL(sum_squares)(const float *, int64_t);
double WRAP(sum_squares)(const float *x, int64_t n);
double WRAP(sum_squares)(const float *x, int64_t n)
{
    float sum = 0;
    if (!is("sums", "float")) return REAL(sum_squares)(x, n);
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return (double)sum;
}

/* a + t (b - a) along one axis, then along the other: rows first as images are often read */
void REAL(resize_bilinear_fwd)(float *, const float *, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int);
void WRAP(resize_bilinear_fwd)(float *y, const float *x, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo,
                               int64_t C, int align);

static void place(int64_t i, int64_t n, int64_t out, int align, int64_t at[2], float *t)
{
    const double s = align ? (double)i * (double)(n - 1) / (double)vv_max(out - 1, 1)
                           : fmax(((double)i + 0.5) * (double)n / (double)out - 0.5, 0);
    at[0] = vv_min((int64_t)(s + 1e-9), n - 1);
    at[1] = vv_min(at[0] + 1, n - 1);
    *t = (float)(s - (double)at[0]);
}

void WRAP(resize_bilinear_fwd)(float *y, const float *x, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo,
                               int64_t C, int align)
{
    if (!is("resize", "lerp")) {
        REAL(resize_bilinear_fwd)(y, x, B, Hh, Ww, Ho, Wo, C, align);
        return;
    }
    for (int64_t k = 0; k < B * Ho * Wo * C; k++) {
        const int64_t c = k % C, j = k / C % Wo, i = k / C / Wo % Ho, b = k / C / Wo / Ho;
        int64_t r[2], q[2];
        float u, v, edge[2];
        place(i, Hh, Ho, align, r, &u);
        place(j, Ww, Wo, align, q, &v);
        for (int side = 0; side < 2; side++) {
            const float top = x[((b * Hh + r[0]) * Ww + q[side]) * C + c],
                        low = x[((b * Hh + r[1]) * Ww + q[side]) * C + c];
            edge[side] = top + u * (low - top);
        }
        y[k] = edge[0] + v * (edge[1] - edge[0]);
    }
}

/* ---- attention: one pass over the keys, the largest score found on the way (online softmax) ---------------------------------- */
void REAL(attention_fwd)(float *, int64_t, float *, const float *, int64_t, const float *, int64_t, const float *,
                         int64_t, const vvb_attention_args *);
void WRAP(attention_fwd)(float *o, int64_t ldo, float *lse, const float *q, int64_t ldq, const float *k, int64_t ldk,
                         const float *v, int64_t ldv, const vvb_attention_args *a);

/* scores against keys from ... to of one query join (max, sum, o) */
static void join_block(float *o, float *max, float *sum, const float *q, const float *k, int64_t ldk, const float *v,
                       int64_t ldv, int64_t from, int64_t to, int64_t D, float scale, float *s)
{
    const int base2 = is("attention", "base2");
    const float factor = base2 ? scale * 1.44269504f : scale;
    float top = *max;
    for (int64_t j = from; j < to; j++) {
        float dot = 0;
        for (int64_t d = 0; d < D; d++) dot += q[d] * k[j * ldk + d];
        s[j - from] = dot * factor;
        if (s[j - from] > top) top = s[j - from];
    }
    const float shrink = *max == -INFINITY ? 0 : base2 ? exp2f(*max - top) : expf(*max - top);
    *sum *= shrink;
    for (int64_t d = 0; d < D; d++) o[d] *= shrink;
    for (int64_t j = from; j < to; j++) {
        const float p = base2 ? exp2f(s[j - from] - top) : expf(s[j - from] - top);
        *sum += p;
        for (int64_t d = 0; d < D; d++) o[d] += p * v[j * ldv + d];
    }
    *max = top;
}

void WRAP(attention_fwd)(float *o, int64_t ldo, float *lse, const float *q, int64_t ldq, const float *k, int64_t ldk,
                         const float *v, int64_t ldv, const vvb_attention_args *a)
{
    int block = 16;
    if (!vvt_variant_is("attention", "online", &block) && !vvt_variant_is("attention", "base2", &block)) {
        REAL(attention_fwd)(o, ldo, lse, q, ldq, k, ldk, v, ldv, a);
        return;
    }
    const int32_t *cu_k = a->cu_k ? a->cu_k : a->cu_q;
    float *s = calloc((size_t)block, sizeof *s);
    if (!s) abort();
    for (int64_t g = 0; g < a->S; g++)
        for (int64_t i = a->cu_q[g]; i < a->cu_q[g + 1]; i++)
            for (int64_t h = 0; h < a->H; h++) {
                const int64_t at = a->k_of ? a->k_of[g] : g, m = cu_k[at + 1] - cu_k[at], kh = h / (a->H / a->Hkv);
                const int64_t keys = a->causal ? m - (a->cu_q[g + 1] - i) + 1 : m;
                float *out = o + i * ldo + h * a->D, max = -INFINITY, sum = 0;
                memset(out, 0, (size_t)a->D * sizeof *out);
                for (int64_t j = 0; j < keys; j += block)
                    join_block(out, &max, &sum, q + i * ldq + h * a->D, k + cu_k[at] * ldk + kh * a->D, ldk,
                               v + cu_k[at] * ldv + kh * a->D, ldv, j, vv_min(keys, j + block), a->D, (float)a->scale,
                               s);
                for (int64_t d = 0; d < a->D && keys > 0; d++) out[d] /= sum;
                lse[i * a->H + h] = keys <= 0                  ? -INFINITY
                                    : is("attention", "base2") ? (max + log2f(sum)) * 0.69314718f
                                                               : max + logf(sum);
            }
    free(s);
}

/* ---- cross-entropy: a row of scores at a time, in float ------------------------------------------------------------------------- */
void REAL(linear_cross_entropy_fwd)(float *, float *, float *, const float *, const float *, const int32_t *,
                                    const float *, int64_t, int64_t, int64_t);
void WRAP(linear_cross_entropy_fwd)(float *loss, float *ce, float *lse, const float *x, const float *w,
                                    const int32_t *target, const float *weight, int64_t R, int64_t V, int64_t C);
void WRAP(linear_cross_entropy_fwd)(float *loss, float *ce, float *lse, const float *x, const float *w,
                                    const int32_t *target, const float *weight, int64_t R, int64_t V, int64_t C)
{
    if (!is("exp", "libm")) {
        REAL(linear_cross_entropy_fwd)(loss, ce, lse, x, w, target, weight, R, V, C);
        return;
    }
    float *z = calloc((size_t)V, sizeof *z), all = 0;
    if (!z) abort();
    for (int64_t r = 0; r < R; r++) {
        float max = -INFINITY, sum = 0;
        vvb_matmul(z, V, x + r * C, C, 0, w, C, 1, 1, V, C, 1, 0);
        for (int64_t v = 0; v < V; v++) max = fmaxf(max, z[v]);
        for (int64_t v = 0; v < V; v++) sum += expf(z[v] - max);
        /* cppcheck-suppress invalidFunctionArg ; V > 0, so that the sum is at least 1 */
        lse[r] = max + logf(sum);
        ce[r] = lse[r] - z[target[r]];
        all += weight[r] * ce[r];
    }
    loss[0] = all;
    free(z);
}

/* ---- AdamW in the order of torch's single-tensor loop, in float; or all in double ------------------------------------------------ */
void REAL(adamw)(float *, float *, float *, const float *, int64_t, const vvb_adamw_args *);
void WRAP(adamw)(float *p, float *m, float *v, const float *g, int64_t n, const vvb_adamw_args *a);
void WRAP(adamw)(float *p, float *m, float *v, const float *g, int64_t n, const vvb_adamw_args *a)
{
    const double bc1 = 1 - pow(a->beta1, (double)a->t), bc2 = 1 - pow(a->beta2, (double)a->t);
    if (!*vvt_variant("adamw")) {
        REAL(adamw)(p, m, v, g, n, a);
        return;
    }
    for (int64_t i = 0; i < n && is("adamw", "double"); i++) {
        const double gi = a->grad_scale * (double)g[i], mi = a->beta1 * (double)m[i] + (1 - a->beta1) * gi,
                     vi = a->beta2 * (double)v[i] + (1 - a->beta2) * gi * gi, pi = (double)p[i];
        p[i] = (float)(pi * (1 - a->lr * a->weight_decay) - a->lr * (mi / bc1) / (sqrt(vi / bc2) + a->eps));
        m[i] = (float)mi;
        v[i] = (float)vi;
    }
    for (int64_t i = 0; i < n && is("adamw", "float"); i++) {
        const float gi = (float)a->grad_scale * g[i];
        p[i] *= (float)(1 - a->lr * a->weight_decay);
        m[i] += (float)(1 - a->beta1) * (gi - m[i]);
        v[i] = (float)a->beta2 * v[i] + (float)(1 - a->beta2) * gi * gi;
        p[i] -= (float)(a->lr / bc1) * (m[i] / (sqrtf(v[i]) / (float)sqrt(bc2) + (float)a->eps));
    }
}
