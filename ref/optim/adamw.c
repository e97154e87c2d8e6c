#include "optim/adamw.h"

#include <math.h>
#include <stdlib.h>

vv_adamw_group vv_adamw_default(void)
{
    return (vv_adamw_group){.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2};
}

vv_status vv_adamw_new(vv_adamw **out, vv_params *params, const vv_adamw_group *group, int n_groups,
                       int (*group_of)(const void *ctx, const vv_tensor *p), const void *ctx, vv_error *err)
{
    vv_adamw *o = vv_calloc(1, sizeof *o);
    if (!o) return vv_no_memory(err, "AdamW");
    *o = (vv_adamw){.params = params, .n_groups = n_groups};
    o->group = vv_calloc(n_groups, sizeof *o->group);
    o->group_of = vv_calloc(params->n, sizeof *o->group_of);
    o->m = vv_calloc(params->n, sizeof *o->m);
    o->v = vv_calloc(params->n, sizeof *o->v);
    o->t = vv_calloc(params->n, sizeof *o->t);
    if (!o->group || !o->group_of || !o->m || !o->v || !o->t) {
        vv_adamw_free(o);
        return vv_no_memory(err, "AdamW");
    }
    for (int g = 0; g < n_groups; g++) o->group[g] = group[g];
    for (int64_t i = 0; group_of && i < params->n; i++) {
        o->group_of[i] = group_of(ctx, params->at[i]);
        if (o->group_of[i] >= 0 && o->group_of[i] < n_groups) continue;
        const vv_status s = vv_fail(err, VV_USAGE, "%s: expected a group from 0 to %d; got %d", params->at[i]->name,
                                    n_groups - 1, o->group_of[i]);
        vv_adamw_free(o);
        return s;
    }
    *out = o;
    return VV_OK;
}

void vv_adamw_free(vv_adamw *o)
{
    if (!o) return;
    for (int64_t i = 0; o->m && o->v && i < o->params->n; i++) {
        const int64_t bytes = o->params->at[i]->n * (int64_t)sizeof(vv_real);
        vvb_free(o->m[i], bytes);
        vvb_free(o->v[i], bytes);
    }
    free(o->group);
    free(o->group_of);
    free(o->m);
    free(o->v);
    free(o->t);
    free(o);
}

/* the sum of all squares, and the first parameter whose own is not finite */
static double squares(const vv_params *params, const vv_tensor **bad)
{
    double sum = 0;
    *bad = NULL;
    for (int64_t i = 0; i < params->n; i++) {
        const vv_tensor *p = params->at[i];
        if (!p->has_grad) continue;
        const double s = vvb_sum_squares(p->grad, p->n);
        if (!isfinite(s) && !*bad) *bad = p;
        sum += s;
    }
    return sum;
}

static vv_status moments(vv_adamw *o, int64_t i, vv_error *err)
{
    const vv_tensor *p = o->params->at[i];
    const int64_t bytes = p->n * (int64_t)sizeof(vv_real);
    vv_real **slot[2] = {&o->m[i], &o->v[i]};
    for (int k = 0; k < 2; k++) {
        if (*slot[k]) continue;
        if (!(*slot[k] = vvb_alloc(bytes))) {
            (void)vvb_error();
            return vv_no_memory(err, p->name);
        }
        vvb_zero(*slot[k], bytes);
        o->bytes += bytes;
    }
    return VV_OK;
}

vv_status vv_adamw_step(vv_adamw *o, double max_norm, double *norm, vv_error *err)
{
    const vv_tensor *bad;
    const double n = sqrt(squares(o->params, &bad));
    if (norm) *norm = n;
    const char *early = vvb_error();
    if (early) return vv_fail(err, VV_MEMORY, "AdamW: %s", early);
    if (bad) return vv_fail(err, VV_NONFINITE, "%s: its gradient is not finite; nothing was updated", bad->name);
    for (int64_t i = 0; i < o->params->n; i++)
        if (o->params->at[i]->has_grad) VV_TRY(moments(o, i, err)); /* all memory before the first change */
    const double scale = max_norm > 0 ? fmin(1, max_norm / (n + 1e-6)) : 1;
    for (int64_t i = 0; i < o->params->n; i++) {
        const vv_tensor *p = o->params->at[i];
        const vv_adamw_group *g = &o->group[o->group_of[i]];
        if (!p->has_grad) continue;
        const vvb_adamw_args a = {g->lr, g->beta1, g->beta2, g->eps, g->weight_decay, scale, ++o->t[i]};
        vvb_adamw(p->data, o->m[i], o->v[i], p->grad, p->n, &a);
    }
    const char *what = vvb_error();
    return what ? vv_fail(err, VV_MEMORY, "AdamW: %s", what) : VV_OK;
}
