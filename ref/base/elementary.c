#include "base/elementary.h"

/* ---- double-double ----------------------------------------------------------------------------------------------
 * hi + lo without error: Knuth's sum and Dekker's product (which splits its operands: |a|, |b| < 2^970).              */
typedef struct {
    double hi, lo;
} pair;

VV_ON_DEVICE static pair sum(double a, double b)
{
    const double s = a + b, t = s - a;
    const pair r = {s, (a - (s - t)) + (b - t)};
    return r;
}

VV_ON_DEVICE static pair product(double a, double b)
{
    const double split = 0x1p27 + 1, sa = split * a, sb = split * b;
    const double ah = sa - (sa - a), al = a - ah, bh = sb - (sb - b), bl = b - bh;
    const double p = a * b;
    const pair r = {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
    return r;
}

/* ---- log ---- (vv_log_scaled: see the header) ---------------------------------------------------------------- */
VV_ON_DEVICE double vv_log(double x)
{
    if (x != x || x == HUGE_VAL) return x;
    if (x <= 0) return x < 0 ? vv_from_bits(0x7ff8000000000000) : -HUGE_VAL;
    return x < DBL_MIN ? vv_log_scaled(x * 0x1p54, 54) : vv_log_scaled(x, 0);
}

/* ---- sin and cos ------------------------------------------------------------------------------------------------
 * x = n pi/2 + r + tail. pi/2 is known to 149 bits in four parts. n PIO2_1..3 are exact; x - n PIO2_1 is exact (both are within
 * a factor 2, or n = 0); the next two subtractions keep their rounding errors in tail. No double up to 2^21 comes nearer
 * to a multiple of pi/2 than about 2^-60, and the error left is n 2^-149 + 2^-128: r + tail has over 60 good bits.
 * Returns n mod 4.                                                                                                    */
VV_ON_DEVICE static unsigned reduce(double x, double *r, double *tail)
{
    const double shifted = x * VV_2OPI + VV_SHIFT, n = shifted - VV_SHIFT;
    const pair a = sum(x - n * VV_PIO2_1, -(n * VV_PIO2_2));
    const pair b = sum(a.hi, -(n * VV_PIO2_3));
    const pair c = sum(b.hi, (a.lo + b.lo) - n * VV_PIO2_4);
    *r = c.hi;
    *tail = c.lo;
    return (unsigned)(vv_bits(shifted) & 3);
}

/* sin(r + tail), |r| <= pi/4: r + (r z q + tail cos r), cos r = 1 - z/2 enough. The bracket is at most 0.08.
 * Error: 1/2 (sum) + 0.06 each for r z, its product with q, q, 0.08 for z, and 0.03 = 0.8 ulp.                         */
VV_ON_DEVICE static double sin_kernel(double r, double tail)
{
    const double z = r * r;
    return r + (r * z * vv_sin_q(z) + tail * (1 - 0.5 * z));
}

/* cos(r + tail) = 1 - z/2 + z^2 q - r tail. w = 1 - z/2 is rounded; (1 - w) - z/2 is what it lost, exactly. The result is
 * at least 0.7. Error: 1/2 (sum) + 1/4 (z, halved) + 0.07 (z^2 q < 0.016) = 0.82 ulp.                                  */
VV_ON_DEVICE static double cos_kernel(double r, double tail)
{
    const double z = r * r, h = 0.5 * z, w = 1 - h;
    return w + (((1 - w) - h) + (z * z * vv_cos_q(z) - r * tail));
}

VV_ON_DEVICE double vv_sin(double x)
{
    if (fabs(x) < 0x1p-27) return x; /* also keeps the sign of zero */
    if (!(fabs(x) <= 0x1p21)) return vv_from_bits(0x7ff8000000000000);
    double r, tail;
    const unsigned n = reduce(x, &r, &tail);
    const double y = n & 1 ? cos_kernel(r, tail) : sin_kernel(r, tail);
    return n & 2 ? -y : y;
}

VV_ON_DEVICE double vv_cos(double x)
{
    if (!(fabs(x) <= 0x1p21)) return vv_from_bits(0x7ff8000000000000);
    double r, tail;
    const unsigned n = reduce(x, &r, &tail);
    const double y = n & 1 ? sin_kernel(r, tail) : cos_kernel(r, tail);
    return (n + 1) & 2 ? -y : y;
}

/* ---- pow --------------------------------------------------------------------------------------------------------
 * x^y = exp(y log x) with log x as a pair: 2 s is one (s = f / (2 + f) and the remainder of that division), and s z q is at
 * most 1/100 of it and needs no more than double: its four roundings are below 2^-58 of the logarithm. exp adds 1 ulp, the
 * correction by the low part half of one. Relative error: 4e-16 + |y log x| 2^-58; the results of theta^(-k/F) with
 * theta <= 10^7 are right to 5e-16, the largest and smallest doubles to 3e-15.                                        */
VV_ON_DEVICE double vv_pow(double x, double y)
{
    if (!(x > 0 && x < HUGE_VAL && fabs(y) < HUGE_VAL)) return vv_from_bits(0x7ff8000000000000);
    if (x == 1) return 1;
    if (fabs(y) > 0x1p70) y = vv_with_sign(0x1p70, y); /* 0 or inf either way: |log x| > 2^-54 */
    double k;
    const double f = vv_mantissa(x < DBL_MIN ? x * 0x1p54 : x, x < DBL_MIN ? 54 : 0, &k) - 1;
    const pair d = sum(2, f);
    const double s = f / d.hi, z = s * s;
    const pair sd = product(s, d.hi);
    const double s_lo = (((f - sd.hi) - sd.lo) - s * d.lo) / d.hi;

    pair l = sum(k * VV_LN2_HI, 2 * s);
    l = sum(l.hi, l.lo + (2 * s_lo + (s * z * vv_log_q(z) + k * VV_LN2_LO)));

    pair e = product(y, l.hi);
    e.lo += y * l.lo;
    const double p = vv_exp(e.hi);
    return p > 0 && p < HUGE_VAL ? p + p * e.lo : p;
}
