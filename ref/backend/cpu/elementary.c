/* y[i0 + i] = f(x[i]). The functions themselves, with their derivations, are in base/elementary.h and .c. */
#include "base/elementary.h"
#include "backend/backend.h"

enum {
    BLOCK = 16384, /* elements that one thread takes at a time; a single block is not worth a parallel region */
    CHUNK = 256    /* arguments copied aside: y may be x, and compilers vectorise only what cannot overlap    */
};

static void block(vv_real *y, const vv_real *x, int64_t n, vvb_function f)
{
    vv_real v[CHUNK];
    for (int64_t i0 = 0; i0 < n; i0 += CHUNK) {
        const int64_t m = vv_min(CHUNK, n - i0);
        memcpy(v, x + i0, (size_t)m * sizeof *x);
        switch (f) {
        case VVB_EXP:
            for (int64_t i = 0; i < m; i++) y[i0 + i] = vv_exp_real(v[i]);
            break;
        case VVB_LOG:
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (vv_real)vv_log(v[i]);
            break;
        case VVB_TANH:
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (vv_real)vv_tanh(v[i]);
            break;
        case VVB_ERF:
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (vv_real)vv_erf(v[i]);
            break;
        case VVB_SIN:
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (vv_real)vv_sin(v[i]);
            break;
        case VVB_COS:
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (vv_real)vv_cos(v[i]);
            break;
        }
    }
}

VVB_DEF void vvb_elementary(vv_real *y, const vv_real *x, int64_t n, vvb_function f)
{
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t b = 0; b < blocks; b++) block(y + b * BLOCK, x + b * BLOCK, vv_min(BLOCK, n - b * BLOCK), f);
}
