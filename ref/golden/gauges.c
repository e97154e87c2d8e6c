#include "golden/gauges.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RMS over the columns of the sums of absolute values over rows */
static double size_of(const vv_real *x, int64_t R, int64_t C)
{
    double total = 0;
    for (int64_t c = 0; c < C; c++) {
        double sum = 0;
        for (int64_t r = 0; r < R; r++) sum += fabs((double)x[r * C + c]);
        total += sum * sum / (double)C;
    }
    return sqrt(total);
}

static int64_t find(const vv_gauges *g, const char *module, size_t length)
{
    int64_t i = 0;
    while (i < g->n && (strncmp(g->at[i].module, module, length) || g->at[i].module[length])) i++;
    return i;
}

void vv_gauges_add(vv_gauges *g, const vv_tensor *x)
{
    char name[VV_NAME_MAX];
    if (x->kind != VV_REALS || !x->ndim || !x->data) return;
    vv_name(x, name);
    const size_t length = strcspn(name, "#");
    const int64_t i = find(g, name, length);
    vv_real *host = i < VV_GAUGES ? vv_calloc(x->n, sizeof *host) : NULL;
    if (!host) {
        if (i < VV_GAUGES) (void)vv_no_memory(&g->err, name);
        else vv_fail(&g->err, VV_USAGE, "%s: expected at most %d modules", name, VV_GAUGES);
        return;
    }
    if (i == g->n) snprintf(g->at[g->n++].module, VV_NAME_MAX, "%.*s", (int)length, name);
    vvb_download(host, x->grad, x->n * (int64_t)sizeof *host);
    g->at[i].size += g->factor * size_of(host, vv_rows(x), vv_last(x));
    free(host);
}

vv_status vv_gauges_mark(const vv_gauges *g, vv_recorder *r, const vv_params *ps, int dw, double step, vv_error *err)
{
    if (g->err.status != VV_OK) return vv_fail(err, g->err.status, "%s", g->err.msg);
    for (int64_t i = 0; i < ps->n; i++) {
        const vv_tensor *p = ps->at[i];
        const size_t n = strlen(p->name), tail = strlen(".bias");
        if (!p->has_grad || n <= tail || strcmp(p->name + n - tail, ".bias")) continue;
        const int64_t k = find(g, p->name, n - tail);
        if (k == g->n || sqrt(vvb_sum_squares(p->grad, p->n) / (double)p->n) > 1e-6 * g->at[k].size) continue;
        if (dw) vv_record_mark(r, "dw", p->name, "scale", json_real((float)g->at[k].size));
        if (step > 0) vv_record_mark(r, "dstep", p->name, "scale", json_real((float)(step * g->at[k].size)));
    }
    return vv_record_status(r, err);
}
