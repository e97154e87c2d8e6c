/* How large gradients of biases are when their terms are taken absolutely. A bias whose gradient is truly zero (of the keys of an
 * attention without rotary positions, before a loss that is blind to shifts) has nothing but rounding there, in proportion to that size. */
#ifndef VV_GOLDEN_GAUGES_H
#define VV_GOLDEN_GAUGES_H

#include "golden/record.h"

enum { VV_GAUGES = 512 };

typedef struct {
    struct {
        char module[VV_NAME_MAX]; /* whose output came back, without a "#part" */
        double size;              /* RMS over the channels of sum |gradient of the output| */
    } at[VV_GAUGES];
    int64_t n;
    double factor; /* of what is told from now on: the weight of its loss */
    vv_error err;
} vv_gauges; /* large: allocate it. Zeroed to begin, but factor 1 */

/* For VV_EVENT_GRAD of a tape. */
void vv_gauges_add(vv_gauges *g, const vv_tensor *x);

/* Marks the gradients of biases that are smaller than 1e-6 of their size with it as their "scale": where dw, the recorded ones (dw); where
 * step > 0, their steps (dstep), with step times as much. */
vv_status vv_gauges_mark(const vv_gauges *g, vv_recorder *r, const vv_params *ps, int dw, double step,
                         vv_error *err) VV_MUST_USE;

#endif
