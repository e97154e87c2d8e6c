/* Replaces one function of the CPU backend, for tests/link/run.sh: gelu with its sign turned, which no correct one has. Its
 * backward stays the CPU's. */
#include "backend/backend.h"

void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind)
{
    for (int64_t i = 0; i < n; i++) y[i] = -x[i] - (vv_real)kind;
}
