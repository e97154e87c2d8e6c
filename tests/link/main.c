/* Calls gelu forward and backward and prints both, for tests/link/run.sh. */
#include <stdio.h>

#include "backend/backend.h"

int main(void)
{
    const vv_real one[2] = {1, 1}, x[2] = {2, -3};
    vv_real y[2], dx[2];
    vvb_gelu_fwd(y, x, 2, VVB_GELU_QUICK);
    vvb_gelu_bwd(dx, one, x, 2, VVB_GELU_QUICK, 0);
    printf("forward %.3f %.3f backward %.3f %.3f\n", (double)y[0], (double)y[1], (double)dx[0], (double)dx[1]);
    return 0;
}
