/* Emulated precisions: what is set, and the rounding of what operations write (vvcu_nearest, cuda.h). */
#include "cuda.h"

static vvb_precision precision = VVB_FULL;
static vvb_placement placement = VVB_BOTH;

void vvb_set_precision(vvb_precision p, vvb_placement where)
{
    precision = p;
    placement = where;
}

double vvcu_unit_roundoff(void) { return precision == VVB_FULL ? VV_U : precision == VVB_BF16 ? 0x1p-8 : 0x1p-11; }

vvb_precision vvcu_operands(void) { return placement & VVB_OPERANDS ? precision : VVB_FULL; }

static __global__ void round_all(float *x, int64_t n, vvb_precision p)
{
    VVCU_FOR(i, n) x[i] = vvcu_nearest(x[i], p);
}

void vvb_round(float *x, int64_t n)
{
    if (precision == VVB_FULL || !(placement & VVB_OUTPUTS)) return;
    VVCU_LAUNCH("round", round_all, VVCU_GRID(n), VVCU_BLOCK, 0, x, n, precision);
}
