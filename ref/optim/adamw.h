/* AdamW over all parameters, with groups and clipping by the global norm.
 *
 * Source: torch.optim.AdamW and torch.nn.utils.clip_grad_norm_, whose results these are to rounding; formulas in backend.h.
 *
 * Easy to get wrong
 *   - eps is added after the square root of v is corrected; decay uses the old parameter and the scheduled learning rate.
 *   - The norm is one over all groups, and clipping comes before the moments.
 *   - A parameter without a gradient is skipped: no decay, its own count of updates stays. A zero gradient is a gradient. */
#ifndef VV_ADAMW_H
#define VV_ADAMW_H

#include "tape/tape.h"

typedef struct {
    double lr, beta1, beta2, eps, weight_decay;
} vv_adamw_group;
vv_adamw_group vv_adamw_default(void); /* torch's: 1e-3, 0.9, 0.999, 1e-8, 1e-2 */

typedef struct {
    vv_params *params;
    vv_adamw_group *group; /* [n_groups], yours to change between updates: schedules do */
    int n_groups;
    int *group_of;    /* [params->n] */
    vv_real **m, **v; /* moments, allocated at a parameter's first update */
    int64_t *t;       /* updates of each parameter so far */
    int64_t bytes;    /* of the moments */
} vv_adamw;

/* group_of(ctx, parameter) gives each parameter's group; NULL puts all into group 0. */
vv_status vv_adamw_new(vv_adamw **out, vv_params *params, const vv_adamw_group *group, int n_groups,
                       int (*group_of)(const void *ctx, const vv_tensor *p), const void *ctx,
                       vv_error *err) VV_MUST_USE;
void vv_adamw_free(vv_adamw *o);

/* Vectors are biases and norm weights: by custom they do not decay. */
static inline int vv_is_vector(const vv_tensor *p) { return p->ndim < 2; }

/* One update of every parameter that has a gradient, in one pass over memory; gradients are not cleared. max_norm > 0: they are scaled
 * by min(1, max_norm / (norm + 1e-6)) first; 0: not. *norm (may be NULL) receives the norm before. A norm that is not finite is
 * VV_NONFINITE with the first such parameter's name, and nothing is changed. */
vv_status vv_adamw_step(vv_adamw *o, double max_norm, double *norm, vv_error *err) VV_MUST_USE;

#endif
