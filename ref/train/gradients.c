#include "train/gradients.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vv_gradients_free(vv_gradients *g)
{
    for (int k = 0; k < VV_TASKS; k++) free(g->copy[k]);
    free(g->layer);
    *g = (vv_gradients){0};
}

/* "visual.blocks.3" of "visual.blocks.3.attn.qkv.weight", "visual.merger" of "visual.merger.ln_q.weight" */
static void layer_name(char name[64], const char *parameter)
{
    const char *end = strchr(parameter + strlen("visual."), '.');
    if (end && !strncmp(parameter, "visual.blocks.", 14)) end = strchr(parameter + 14, '.');
    snprintf(name, 64, "%.*s", end ? (int)(end - parameter) : 63, parameter);
}

vv_status vv_gradients_new(vv_gradients *g, const vv_model *m, vv_error *err)
{
    *g = (vv_gradients){.params = m->params};
    if (!m->vit) return VV_OK;
    const vv_part *p = &m->vit->part;
    if (!(g->layer = vv_calloc(p->n, sizeof *g->layer))) return vv_no_memory(err, "gradients");
    for (int64_t i = p->first; i < p->first + p->n; i++) {
        char name[64];
        layer_name(name, m->params->at[i]->name);
        if (g->n == 0 || strcmp(g->layer[g->n - 1].name, name)) {
            vv_layer *l = &g->layer[g->n++];
            memcpy(l->name, name, sizeof name);
            l->first = i;
        }
        g->layer[g->n - 1].n++;
        g->numbers += m->params->at[i]->n;
    }
    return VV_OK;
}

vv_status vv_gradients_after(vv_gradients *g, vv_task task, vv_error *err)
{
    vv_real *to = g->copy[task] = vv_calloc(g->numbers, sizeof *to);
    if (!to) return vv_no_memory(err, "gradients");
    for (int64_t k = 0; k < g->n; k++)
        for (int64_t i = g->layer[k].first; i < g->layer[k].first + g->layer[k].n; i++) {
            const vv_tensor *p = g->params->at[i];
            if (p->has_grad) vvb_download(to, p->grad, p->n * (int64_t)sizeof *to);
            to += p->n;
        }
    return VV_OK;
}

/* The products of the tasks' own gradients over a layer; after [k] is the sum up to task k, or NULL. */
static void products(double s[VV_TASKS][VV_TASKS], const vv_real *const after[VV_TASKS], int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double own[VV_TASKS] = {0}, before = 0;
        for (int k = 0; k < VV_TASKS; k++) {
            if (!after[k]) continue;
            own[k] = (double)after[k][i] - before;
            before = (double)after[k][i];
        }
        for (int a = 0; a < VV_TASKS; a++)
            for (int b = a; b < VV_TASKS; b++) s[a][b] += own[a] * own[b];
    }
}

void vv_gradients_finish(vv_gradients *g)
{
    static const int pair[VV_TASKS][2] = {{0, 1}, {0, 2}, {1, 2}};
    int64_t at = 0;
    for (int64_t l = 0; l < g->n; l++) {
        vv_layer *layer = &g->layer[l];
        double s[VV_TASKS][VV_TASKS] = {{0}};
        const vv_real *after[VV_TASKS] = {NULL};
        int64_t n = 0;
        for (int64_t i = layer->first; i < layer->first + layer->n; i++) n += g->params->at[i]->n;
        for (int k = 0; k < VV_TASKS; k++)
            if (g->copy[k]) after[k] = g->copy[k] + at;
        products(s, after, n);
        for (int k = 0; k < VV_TASKS; k++) {
            const int a = pair[k][0], b = pair[k][1];
            const double lengths = sqrt(s[a][a]) * sqrt(s[b][b]);
            layer->norm[k] = sqrt(s[k][k]);
            layer->cosine[k] = lengths > 0 ? s[a][b] / lengths : 0;
        }
        at += n;
    }
    for (int k = 0; k < VV_TASKS; k++) {
        free(g->copy[k]);
        g->copy[k] = NULL;
    }
}
