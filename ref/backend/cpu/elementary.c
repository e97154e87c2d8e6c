/* y[i] = f(x[i]). The functions themselves, with their derivations, are in base/elementary.h and .c. */
#include "base/elementary.h"
#include "backend/backend.h"

enum { BLOCK = 16384 }; /* elements that one thread takes at a time; a single block is not worth a parallel region */

#define LOOP(f)                                                                                                        \
    do {                                                                                                               \
        _Pragma("omp simd") /* y may be x: every element is read before it is written */                               \
            for (int64_t i = 0; i < n; i++) y[i] = (vv_real)f(x[i]);                                                   \
    } while (0)

static void block(vv_real *y, const vv_real *x, int64_t n, vvb_function f)
{
    switch (f) {
    case VVB_EXP:
        LOOP(vv_exp_real);
        break;
    case VVB_TANH:
        LOOP(vv_tanh);
        break;
    case VVB_ERF:
        LOOP(vv_erf);
        break;
    case VVB_LOG:
        for (int64_t i = 0; i < n; i++) y[i] = (vv_real)vv_log(x[i]);
        break;
    case VVB_SIN:
        for (int64_t i = 0; i < n; i++) y[i] = (vv_real)vv_sin(x[i]);
        break;
    case VVB_COS:
        for (int64_t i = 0; i < n; i++) y[i] = (vv_real)vv_cos(x[i]);
        break;
    }
}

VVB_DEF void vvb_elementary(vv_real *y, const vv_real *x, int64_t n, vvb_function f)
{
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t b = 0; b < blocks; b++) block(y + b * BLOCK, x + b * BLOCK, vv_min(BLOCK, n - b * BLOCK), f);
}
