/* Our own exp, tanh, erf, log, sin, cos, pow: the same bits with every C library, compiler and instruction set.
 *
 * They use + - * / and comparisons of IEEE 754 in round-to-nearest, the exact fabs, and moves between numbers and
 * their bits; nothing from libm, no fma (the library is compiled with -ffp-contract=off). The functions in this header
 * have neither calls nor branches, so that loops over them are vectorised.
 *
 *                                         double           float
 *   exp, tanh, erf, log, sin, cos         1 ulp            1 ulp
 *   sigmoid                               4 ulp            4 ulp
 *   pow                                   4e-16 + |y log x| 2^-58, relative
 *
 * exp and sigmoid have float versions of their own. In the float build the others are the double functions rounded once:
 * write (vv_real)vv_erf(x). Subnormal results keep the same bounds. NaN gives NaN; the sign of zero is kept where the
 * function is odd. The bounds derived below are in ulps of the result. scripts/make-elementary-tables computes the
 * coefficients; tests/backend/test_elementary.c measures the errors: every float, and samples of double.               */
#ifndef VV_ELEMENTARY_H
#define VV_ELEMENTARY_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/base.h"

/* In front of every function here and in elementary.c: a backend that compiles them for its device too defines it first. */
#ifndef VV_ON_DEVICE
#define VV_ON_DEVICE
#endif
#include "base/elementary_tables.h"

#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "elementary.h needs IEEE 754 arithmetic in the precision that is written: no -ffast-math, no x87"
#endif

VV_ON_DEVICE double vv_log(double x);           /* log(+-0) = -inf, log(x < 0) = NaN        */
VV_ON_DEVICE double vv_sin(double x);           /* |x| <= 2^21, NaN beyond                  */
VV_ON_DEVICE double vv_cos(double x);           /* the same                                 */
VV_ON_DEVICE double vv_pow(double x, double y); /* 0 < x < inf, y finite; NaN for all else  */

/* ---- numbers and their bits ------------------------------------------------------------------------------------- */

VV_ON_DEVICE static inline uint64_t vv_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

VV_ON_DEVICE static inline double vv_from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

VV_ON_DEVICE static inline uint32_t vv_bitsf(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

VV_ON_DEVICE static inline float vv_from_bitsf(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* The magnitude of a (not negative, not NaN) with the sign of s. */
VV_ON_DEVICE static inline double vv_with_sign(double a, double s)
{
    return vv_from_bits(vv_bits(a) | (vv_bits(s) & 0x8000000000000000u));
}

/* Adding VV_SHIFT to |x| < 2^51 leaves x, rounded to the nearest integer, in the lowest bits; subtracting it again gives
 * that integer as a number. No conversion that could meet a NaN. VV_SHIFTF does it for |x| < 2^22.                     */
#define VV_SHIFT 0x1.8p52
#define VV_SHIFTF 0x1.8p23f

/* ---- exp --------------------------------------------------------------------------------------------------------
 * exp(x) = 2^n exp(r),  n = round(x / ln 2),  r = x - n ln 2 in [-0.3467, 0.3467],  exp(r) = 1 + r + r^2 q(r).
 * With a = x - n HI and b = n LO (HI + LO = ln 2) both a and n HI are exact, so the sum s = a + (r^2 q - b), |s| < 0.42,
 * carries only its own rounding and that of the small r^2 q. Below 1, where an ulp is smallest against s, the error is
 * at most 1/2 (1 + s) + 1/4 (s) + 3 * 0.054 (three roundings in r^2 q) + 0.03 = 0.95 ulp.
 * 2^n is applied as two factors: the first product is exact, the second rounds once, and only if the result is subnormal
 * (where 1 + s has bits to spare) or overflows. Arguments beyond the range of the result and NaN are computed as 0 and
 * replaced at the end, which also keeps the processor off its slow path for vanishing results.                         */
VV_ON_DEVICE static inline float vv_expf(float x)
{
    const float v = x >= -104.0f && x <= 89.0f ? x : 0.0f;
    const float shifted = v * VV_LOG2EF + VV_SHIFTF;
    const float n = shifted - VV_SHIFTF;
    const float a = v - n * VV_LN2F_HI, b = n * VV_LN2F_LO, r = a - b;
    const float p = 1.0f + (a + (r * r * vv_expf_q(r) - b));
    const uint32_t e = vv_bitsf(shifted) - vv_bitsf(VV_SHIFTF) + 254u; /* n + twice the bias, > 0 */
    const uint32_t half = e >> 1;
    const float y = p * vv_from_bitsf(half << 23) * vv_from_bitsf((e - half) << 23);
    return x > 89.0f ? HUGE_VALF : x < -104.0f ? 0.0f : x != x ? x : y;
}

/* The same in double, as parts: exp(x + tail) = 2^n (p + lo), |lo| <= ulp(p) / 2, tail much smaller than x.
 * lo holds the roundings of s and of p = 1 + s: p + lo is wrong by no more than 0.2 ulp of p.                          */
typedef struct {
    double p, lo;
    uint64_t n; /* modulo 2^64 */
} vv_exp_parts;

VV_ON_DEVICE static inline vv_exp_parts vv_exp_split(double x, double tail)
{
    const double shifted = x * VV_LOG2E + VV_SHIFT;
    const double n = shifted - VV_SHIFT;
    const double a = x - n * VV_LN2_HI, b = n * VV_LN2_LO - tail, r = a - b;
    const double w = r * r * vv_exp_q(r) - b, s = a + w, p = 1.0 + s;
    const vv_exp_parts e = {p, (s - (p - 1.0)) + ((a - s) + w), vv_bits(shifted) - vv_bits(VV_SHIFT)};
    return e;
}

VV_ON_DEVICE static inline double vv_exp(double x)
{
    const vv_exp_parts e = vv_exp_split(x >= -746.0 && x <= 710.0 ? x : 0.0, 0.0);
    const uint64_t half = (e.n + 2046u) >> 1;
    const double y = e.p * vv_from_bits(half << 52) * vv_from_bits((e.n + 2046u - half) << 52);
    return x > 710.0 ? HUGE_VAL : x < -746.0 ? 0.0 : x != x ? x : y;
}

/* ---- log --------------------------------------------------------------------------------------------------------
 * x = 2^k m, m in [sqrt 1/2, sqrt 2), of a normal x > 0 that stands for 2^-scale x.                                   */
VV_ON_DEVICE static inline double vv_mantissa(double x, int scale, double *k)
{
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000, fraction = 0x000fffffffffffff;
    const uint64_t u = vv_bits(x) + (one - sqrt_half);
    *k = (double)(int)(u >> 52) - 1023 - scale;
    return vv_from_bits((u & fraction) + sqrt_half);
}

/* log x = k ln 2 + log m. With f = m - 1 (exact), s = f / (2 + f), z = s^2:
 * log m = 2 s + s z q = f - (f^2/2 - s (f^2/2 + z q)),  because 2 s = f - s f and s f = f^2/2 - s f^2/2.
 * So f enters without error, and what is subtracted from it is at most 0.07 where |log x| is below 1/2 and 0.09 else.
 * Error: 1/2 (last sum) + 1/4 (f minus the small terms, when k = +-1) + 2 * 0.09 at most: below 0.95 ulp.             */
VV_ON_DEVICE static inline double vv_log_scaled(double x, int scale)
{
    double k;
    const double f = vv_mantissa(x, scale, &k) - 1;
    const double s = f / (2 + f), z = s * s, h = 0.5 * f * f;
    return k * VV_LN2_HI - ((h - (s * (h + z * vv_log_q(z)) + k * VV_LN2_LO)) - f);
}

/* log(1 + e), 0 <= e <= 1. 1 + e loses the last places of a small e; with u the rounded sum, log(1 + e) = e log(u) / (u - 1) does
 * not: the quotient hardly changes with u, and u - 1 is exact. In units of 2^-53: the quotient's place 1/2, log 2, division 1, product 1. */
VV_ON_DEVICE static inline double vv_log_1_plus(double e)
{
    const double u = 1 + e, y = vv_log_scaled(u, 0) * (e / (u - 1));
    return u == 1 ? e : y;
}

VV_ON_DEVICE static inline vv_real vv_exp_real(vv_real x)
{
#ifdef VV_DOUBLE
    return vv_exp(x);
#else
    return vv_expf(x);
#endif
}

/* exp(x) for x <= 88 (float) or 709 (double), where 2^n is one factor: 2/3 of the time. Results below the smallest normal
 * number are 0. Otherwise the same bits as vv_exp_real.                                                                  */
VV_ON_DEVICE static inline vv_real vv_exp_bounded(vv_real x)
{
#ifdef VV_DOUBLE
    const double v = x < -708.0 ? -708.0 : x;
    const vv_exp_parts e = vv_exp_split(v, 0.0);
    const double y = e.p * vv_from_bits((e.n + 1023u) << 52);
    return x < -708.0 ? 0.0 : y;
#else
    const float v = x < -87.0f ? -87.0f : x; /* a NaN stays */
    const float shifted = v * VV_LOG2EF + VV_SHIFTF;
    const float n = shifted - VV_SHIFTF;
    const float a = v - n * VV_LN2F_HI, b = n * VV_LN2F_LO, r = a - b;
    const float p = 1.0f + (a + (r * r * vv_expf_q(r) - b));
    const float y = p * vv_from_bitsf((vv_bitsf(shifted) - vv_bitsf(VV_SHIFTF) + 127u) << 23);
    return x < -87.0f ? 0.0f : y;
#endif
}

/* The logistic function 1 / (1 + exp(-x)) = exp(x) / (1 + exp(x)): the form whose exp cannot overflow.
 * In units of u = half an ulp of 1: 2 (exp) + 1 (sum) + 1 (quotient), and an ulp is at least u: below 4 ulp.           */
VV_ON_DEVICE static inline vv_real vv_sigmoid_real(vv_real x)
{
    const vv_real e = vv_exp_real(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

/* ---- tanh -------------------------------------------------------------------------------------------------------
 * Odd. |x| < 11/16:  x + x z q(z), z = x^2. What is added to x is at most 0.1.
 * Error: 1/2 (sum) + 0.06 (product with x) + 0.09 (z q) + 0.08 (q) + 0.05 (z) + 0.05 = 0.83 ulp; where tanh < 1/2 less.
 * Otherwise 1 - 2 / (exp(2x) + 1), where the fraction Q is below 0.41 and the result above 1/2. d + lo is the denominator,
 * 2 / (d + lo) = Q - Q^2 lo / 2, and y + rest = 1 - Q without error.
 * Error: 1/2 (last sum) + 1/4 (Q) + 0.1 (exp) = 0.85 ulp. From 20 on the result is 1.                                  */
VV_ON_DEVICE static inline double vv_tanh(double x)
{
    const double a = fabs(x);
    const double v = a < 11.0 / 16 ? a : 0.0, z = v * v;
    const double small = v + v * (z * vv_tanh_q(z));

    const double c = a >= 11.0 / 16 && a < 20.0 ? a : 20.0;
    const vv_exp_parts e = vv_exp_split(2.0 * c, 0.0);
    const double scale = vv_from_bits((e.n + 1023u) << 52), big = e.p * scale;
    const double d = big + 1.0, lo = (1.0 - (d - big)) + e.lo * scale, q = 2.0 / d;
    const double y = 1.0 - q, rest = (1.0 - y) - q;
    const double large = y + (rest + 0.5 * q * q * lo);
    return x != x ? x : vv_with_sign(a < 11.0 / 16 ? small : large, x);
}

/* ---- erf --------------------------------------------------------------------------------------------------------
 * Odd. |x| < 3/4:  x + x q(z), z = x^2. What is added to x is at most 0.13 x.
 * Error: 1/2 (sum) + 0.14 (z) + 0.12 (z times the inner polynomial) + 0.12 (q and the product with x) = 0.9 ulp.
 * Otherwise 1 - exp(-x^2) R(x), a difference of less than 0.3. x = h + (x - h) with 26 bits in h, so that h^2 is exact and
 * x^2 = h^2 + (x - h)(x + h). R = HI + g, g = u q(u) + LO, u = (x - 1) / (x + 3): near the lower border, where R matters most,
 * u and so g are small. With p + lo from exp, the product is p HI + (p g + lo HI) = large + small terms, and y + rest = 1 - large
 * without error.
 * Error: 1/2 (last sum) + 1/8 (p HI < 1/4) + 0.1 (exp) + 0.1 (small terms) = 0.85 ulp. From 6 on the result is 1.       */
VV_ON_DEVICE static inline double vv_erf(double x)
{
    const double a = fabs(x);
    const double v = a < 0.75 ? a : 0.0;
    const double small = v + v * vv_erf_q(v * v);

    const double c = a >= 0.75 && a < 6.0 ? a : 6.0;
    const double h = vv_from_bits(vv_bits(c) & 0xfffffffff8000000u);
    const vv_exp_parts e = vv_exp_split(-(h * h), -((c - h) * (c + h)));
    const double u = (c - 1.0) / (c + 3.0), g = u * vv_erfc_q(u) + VV_ERFC_LO;
    const double scale = vv_from_bits((e.n + 1023u) << 52), q = scale * (e.p * VV_ERFC_HI);
    const double y = 1.0 - q, rest = (1.0 - y) - q;
    const double large = y + (rest - scale * (e.p * g + e.lo * VV_ERFC_HI));
    return x != x ? x : vv_with_sign(a < 0.75 ? small : large, x);
}

#endif
