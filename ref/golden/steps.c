#include "golden/steps.h"

#include <stdlib.h>

void vv_steps_end(vv_steps *s)
{
    for (int64_t i = 0; s->before && i < s->ps->n; i++) free(s->before[i]);
    free(s->before);
    *s = (vv_steps){0};
}

vv_status vv_steps_begin(vv_steps *s, const vv_params *ps, vv_error *err)
{
    *s = (vv_steps){ps, vv_calloc(ps->n, sizeof *s->before)};
    for (int64_t i = 0; i < ps->n; i++) {
        const vv_tensor *p = ps->at[i];
        if (!s->before || !(s->before[i] = vv_calloc(p->n, sizeof **s->before))) return vv_no_memory(err, p->name);
        vvb_download(s->before[i], p->data, p->n * (int64_t)sizeof(vv_real));
    }
    return VV_OK;
}

vv_status vv_steps_record(const vv_steps *s, vv_recorder *r, const vv_adamw *o, int unreached, vv_error *err)
{
    for (int64_t i = 0; i < s->ps->n; i++) {
        const vv_tensor *p = s->ps->at[i];
        const double lr = o->group[o->group_of[i]].lr;
        if (!p->has_grad && !(unreached && p->needs_grad)) continue;
        vv_real *step = vv_calloc(p->n, sizeof *step);
        if (!step) return vv_no_memory(err, p->name);
        vvb_download(step, p->data, p->n * (int64_t)sizeof *step);
        for (int64_t k = 0; k < p->n; k++) step[k] = (vv_real)(((double)step[k] - (double)s->before[i][k]) / lr);
        int moved = 0;
        for (int64_t k = 0; k < p->n; k++) moved |= step[k] != 0;
        vv_record_reals(r, "dstep", p->name, p->ndim, p->dim, step);
        if (!moved) vv_record_mark(r, "dstep", p->name, "scale", json_real(1));
        free(step);
    }
    return VV_OK;
}
