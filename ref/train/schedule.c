/* The learning rate over a stage: a function of the update alone, so that there is nothing to save.
 *
 *   s < W       s / W                       W = ceil(warmup_ratio S): the first of them has no rate at all
 *   then        f (1 - m) + m               m = min_lr_ratio, p = (s - W) / (S - W)
 *   cosine      f = (1 + cos(pi p)) / 2     linear  f = 1 - p     constant  f = 1, without m
 *
 * Source: transformers, optimization.py (get_cosine_with_min_lr_schedule_with_warmup and its neighbours). */
#include <math.h>

#include "base/elementary.h"
#include "train/config.h"

double vv_schedule_factor(const vv_schedule *c, int64_t s, int64_t S)
{
    const double pi = 3.141592653589793, warm = ceil(c->warmup_ratio * (double)S);
    if ((double)s < warm) return (double)s / fmax(1, warm);
    if (c->type == VV_CONSTANT) return 1;
    const double p = ((double)s - warm) / fmax(1, (double)S - warm);
    const double f = c->type == VV_LINEAR ? 1 - p : 0.5 * (1 + vv_cos(pi * p));
    return fmax(0, f) * (1 - c->min_lr_ratio) + c->min_lr_ratio;
}
