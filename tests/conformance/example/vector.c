/* Three functions by hand, with the vector types of GCC and Clang: on every processor one source, and as many instructions as its
 * registers need. Whole vectors first, the remainder of a row through a buffer of one vector, so both take the same path.
 *
 *   make grade OP=layernorm_fwd SRC=tests/conformance/example/vector.c       likewise gelu_fwd, rope_fwd
 *   make -f tests/conformance/example/Makefile OUT=build/example             libvector.a
 *   make BACKEND=build/example/libvector.a                                   the command with these three */
#include <math.h>
#include <string.h>

#include "backend/backend.h"

enum { BYTES = 64, LANES = BYTES / sizeof(vv_real) };
typedef vv_real vec __attribute__((vector_size(BYTES)));
#ifdef VV_DOUBLE
typedef int64_t bits;
enum { MANTISSA = 52, BIAS = 1023, TERMS = 14 };
#else
typedef int32_t bits;
enum { MANTISSA = 23, BIAS = 127, TERMS = 8 };
#endif
typedef bits ivec __attribute__((vector_size(BYTES)));

/* A vector in memory of any alignment; n < LANES: its first n numbers, and the others as given. */
static inline vec get(const vv_real *x, int64_t n, vv_real others)
{
    vec v = others - (vec){0};
    if (n >= LANES) memcpy(&v, x, sizeof v);
    else memcpy(&v, x, (size_t)n * sizeof *x);
    return v;
}

static inline void put(vv_real *x, vec v, int64_t n)
{
    if (n >= LANES) memcpy(x, &v, sizeof v);
    else memcpy(x, &v, (size_t)n * sizeof *x);
}

static inline vec all(vv_real a) { return a - (vec){0}; }
static inline vec choose(ivec when, vec a, vec b) { return (vec)((when & (ivec)a) | (~when & (ivec)b)); }

/* ---- exp and GELU -------------------------------------------------------------------------------------------------------- */
/* exp(x) = 2^k exp(r), k the whole number nearest to x / ln 2, so |r| <= ln(2) / 2, where the Taylor series up to r^7 (r^13 in double)
 * is exact to rounding. Adding 1.5 2^MANTISSA leaves k in the low bits. ln 2 comes in two parts, the first of few bits, so that
 * k times it is exact. Infinite where 2^k would be; below, 2^k stays the smallest normal number; a NaN stays one. */
static inline vec vexp(vec x)
{
    static const double inverse[] = {
        1.,        1.,         1. / 2,      1. / 6,       1. / 24,       1. / 120,       1. / 720,
        1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
    const vv_real magic = (vv_real)1.5 * (vv_real)((int64_t)1 << MANTISSA),
                  most = (BIAS + (vv_real)0.5) * (vv_real)0.69314718055994531;
    const vv_real high = (vv_real)0x1.62e4p-1, low = (vv_real)0x1.7f7d1cf79abcap-20; /* ln 2 */
    const vec within = choose(x > most, all(most), choose(x < -most + 1, all(-most + 1), x));
    const vec t = within * (vv_real)1.4426950408889634 + magic, k = t - magic;
    const vec r = (within - k * high) - k * low;
    vec sum = all((vv_real)inverse[TERMS - 1]);
    for (int i = TERMS - 2; i >= 0; i--) sum = sum * r + (vv_real)inverse[i];
    const vec power = (vec)(((ivec)t + BIAS) << MANTISSA);
    return choose(x > most, all((vv_real)INFINITY), sum * power);
}

static void quick(vv_real *y, const vv_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        const vec v = get(x + i, n - i, 0);
        put(y + i, v * (1 / (1 + vexp(v * (vv_real)-1.702))), n - i);
    }
}

/* The error function is the contract's own: a replaced function may call the others. */
static void with_erf(vv_real *y, const vv_real *x, int64_t n)
{
    enum { BLOCK = 512 };
    vv_real e[BLOCK];
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        for (int64_t k = 0; k < m; k++) e[k] = x[i + k] * (vv_real)0.70710678118654752;
        vvb_elementary(e, e, m, VVB_ERF);
        for (int64_t k = 0; k < m; k++) y[i + k] = (vv_real)0.5 * x[i + k] * (1 + e[k]);
    }
}

void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind)
{
    enum { SHARE = 1 << 13 }; /* what a thread does at a time: the bits do not depend on how many there are */
#pragma omp parallel for schedule(static) if (n > SHARE)
    for (int64_t i = 0; i < n; i += SHARE) {
        const int64_t m = n - i < SHARE ? n - i : SHARE;
        if (kind == VVB_GELU_QUICK) quick(y + i, x + i, m);
        else with_erf(y + i, x + i, m);
    }
}

/* ---- LayerNorm ---------------------------------------------------------------------------------------------------------------- */
/* Sums in float lanes, 4 vectors side by side: at most C / (4 LANES) numbers follow each other in one. What is absent in the last
 * vector is `from`, so that it adds 0. */
static vv_real sum(const vv_real *x, int64_t C, vv_real from, int squares)
{
    vec s[4] = {{0}};
    vv_real total = 0;
    for (int64_t c = 0, i = 0; c < C; c += LANES, i++) {
        const vec d = get(x + c, C - c, from) - from;
        s[i % 4] += squares ? d * d : d;
    }
    s[0] = (s[0] + s[1]) + (s[2] + s[3]);
    for (int i = 0; i < LANES; i++) total += s[0][i];
    return total;
}

void vvb_layernorm_fwd(vv_real *y, vv_real *mean, vv_real *rstd, const vv_real *x, const vv_real *w, const vv_real *b,
                       int64_t R, int64_t C, double eps)
{
#pragma omp parallel for schedule(static) if (R * C > 1 << 14)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *v = x + r * C;
        const vv_real m = sum(v, C, 0, 0) / (vv_real)C;
        const vv_real s = (vv_real)(1 / sqrt((double)(sum(v, C, m, 1) / (vv_real)C) + eps));
        for (int64_t c = 0; c < C; c += LANES)
            put(y + r * C + c, (get(v + c, C - c, 0) - m) * s * get(w + c, C - c, 0) + get(b + c, C - c, 0), C - c);
        mean[r] = m;
        rstd[r] = s;
    }
}

/* ---- rotary positions ------------------------------------------------------------------------------------------------------------ */
/* Both halves are read before either is written: y may be x. */
static void rotate(vv_real *y, const vv_real *x, const vv_real *cos, const vv_real *sin, int64_t half)
{
    for (int64_t d = 0; d < half; d += LANES) {
        const int64_t n = half - d;
        const vec c = get(cos + d, n, 0), s = get(sin + d, n, 0), first = get(x + d, n, 0),
                  second = get(x + half + d, n, 0);
        put(y + d, first * c - second * s, n);
        put(y + half + d, second * c + first * s, n);
    }
}

void vvb_rope_fwd(vv_real *y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D)
{
#pragma omp parallel for schedule(static) if (N * H * D > 1 << 14)
    for (int64_t n = 0; n < N; n++)
        for (int64_t h = 0; h < H; h++)
            rotate(y + n * ldy + h * D, x + n * ldx + h * D, cos + n * (D / 2), sin + n * (D / 2), D / 2);
}
