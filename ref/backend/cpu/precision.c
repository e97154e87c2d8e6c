/* Emulated precisions: the nearest number with fewer digits, ties to even, for what products read and operations write.
 *
 * A format has M stored digits, normal numbers from 2^E on and a largest finite one below 2^T. Among normal numbers the rounding adds
 * half a last place to the significand, as an integer, and cuts the rest off; a carry moves into the exponent by itself. Below 2^E
 * the numbers of the format lie 2^(E-M) apart: adding 3/2 2^(52+E-M) leaves a double no digits below that, taking it away again
 * nothing else. All in double, which holds every number of the formats and of vv_real. */
#include <math.h>
#include <string.h>

#include "cpu.h"

typedef struct {
    int digits, least, top; /* M, E, T */
    double unit_roundoff;
} format;

static const format FORMATS[] = {[VVB_FULL] = {52, -1022, 1024, VV_U},
                                 [VVB_TF32] = {10, -126, 128, 0x1p-11},
                                 [VVB_BF16] = {7, -126, 128, 0x1p-8},
                                 [VVB_FP16] = {10, -14, 16, 0x1p-11}};

static vvb_precision precision = VVB_FULL;
static vvb_placement placement = VVB_BOTH;

VVB_DEF void vvb_set_precision(vvb_precision p, vvb_placement where)
{
    precision = p;
    placement = where;
}

double vvcpu_unit_roundoff(void) { return FORMATS[precision].unit_roundoff; }

int vvcpu_rounds_operands(void) { return precision != VVB_FULL && (placement & VVB_OPERANDS); }

static double nearest(double x, const format *f)
{
    const int drop = 52 - f->digits;
    if (!(fabs(x) < INFINITY)) return x;
    if (fabs(x) < ldexp(1, f->least)) {
        const double shift = ldexp(1.5, 52 + f->least - f->digits);
        return copysign((x + shift) - shift, x);
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t one = (uint64_t)1 << drop;
    bits += one / 2 - 1 + (bits >> drop & 1);
    bits &= ~(one - 1);
    memcpy(&x, &bits, sizeof bits);
    return fabs(x) < ldexp(1, f->top) ? x : copysign(INFINITY, x);
}

void vvcpu_round_rows(vv_real *y, const vv_real *x, int64_t ldx, int64_t R, int64_t C)
{
    const format *f = &FORMATS[precision];
    for (int64_t r = 0; r < R; r++)
        for (int64_t c = 0; c < C; c++) y[r * C + c] = (vv_real)nearest((double)x[r * ldx + c], f);
}

VVB_DEF void vvb_round(vv_real *x, int64_t n)
{
    if (precision == VVB_FULL || !(placement & VVB_OUTPUTS)) return;
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++) x[i] = (vv_real)nearest((double)x[i], &FORMATS[precision]);
}
