#include <float.h>
#include <math.h>

#include "cpu.h"

VVB_DEF int64_t vvb_first_nonfinite(const vv_real *x, int64_t n)
{
    int64_t first = n;
#pragma omp parallel for schedule(static) reduction(min : first) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)x[i]) <= DBL_MAX) && i < first) first = i;
    return first < n ? first : -1;
}
