/* softplus: the formula of backend/backend.h. */
#include <math.h>

#include "oracle/oracle.h"

void vvo_softplus_fwd(vvo_out y, const vv_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref v = (vvt_ref)x[i];
        y.v[i] += v > 0 ? v + log1pl(expl(-v)) : log1pl(expl(v));
    }
}

void vvo_softplus_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref v = (vvt_ref)dy[i] / (1 + expl(-(vvt_ref)x[i]));
        dx.v[i] += v;
        dx.g[i] += fabsl(v);
    }
}
