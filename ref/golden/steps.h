/* What an update has done to the parameters: kind dstep, (w after - w before) / lr of the parameter's group. */
#ifndef VV_GOLDEN_STEPS_H
#define VV_GOLDEN_STEPS_H

#include "golden/record.h"
#include "optim/adamw.h"

typedef struct {
    const vv_params *ps;
    vv_real **before; /* [n] (host) */
} vv_steps;
vv_status vv_steps_begin(vv_steps *s, const vv_params *ps, vv_error *err) VV_MUST_USE; /* keeps copies */
/* Of every parameter that has a gradient, and with `unreached` of those that might train without one: such a step is 0. Steps of 0 get the
 * scale 1, the size of a step. */
vv_status vv_steps_record(const vv_steps *s, vv_recorder *r, const vv_adamw *o, int unreached,
                          vv_error *err) VV_MUST_USE;
void vv_steps_end(vv_steps *s);

#endif
