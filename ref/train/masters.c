#include "train/masters.h"

#include <stdlib.h>

#include "io/dtype.h"

static void swap(vv_masters *m)
{
    for (int64_t i = 0; i < m->params->n; i++) {
        vv_real *data = m->params->at[i]->data;
        m->params->at[i]->data = m->rounded[i];
        m->rounded[i] = data;
    }
    m->in_use = !m->in_use;
}

vv_status vv_masters_new(vv_masters *m, vv_params *params, vv_error *err)
{
    *m = (vv_masters){.params = params, .rounded = vv_calloc(params->n, sizeof *m->rounded)};
    if (!m->rounded) return vv_no_memory(err, "rounded weights");
    for (int64_t i = 0; i < params->n; i++)
        if (!(m->rounded[i] = vvb_alloc(params->at[i]->n * (int64_t)sizeof **m->rounded))) {
            (void)vvb_error();
            return vv_no_memory(err, "rounded weights");
        }
    return VV_OK;
}

void vv_masters_free(vv_masters *m)
{
    if (m->in_use) swap(m);
    for (int64_t i = 0; m->rounded && i < m->params->n; i++)
        vvb_free(m->rounded[i], m->params->at[i]->n * (int64_t)sizeof **m->rounded);
    free(m->rounded);
    *m = (vv_masters){0};
}

static vv_real to_bf16(vv_real x)
{
#ifdef VV_DOUBLE
    return (vv_real)vv_bf16_to_f32(vv_f64_to_bf16(x));
#else
    return vv_bf16_to_f32(vv_f32_to_bf16(x));
#endif
}

void vv_masters_round(vv_masters *m)
{
    enum { PIECE = 4096 };
    vv_real piece[PIECE];
    for (int64_t i = 0; i < m->params->n; i++) {
        const vv_tensor *p = m->params->at[i];
        for (int64_t at = 0; at < p->n; at += PIECE) {
            const int64_t n = vv_min(PIECE, p->n - at), bytes = n * (int64_t)sizeof *piece;
            vvb_download(piece, vv_f(p) + at, bytes);
            for (int64_t k = 0; k < n; k++) piece[k] = to_bf16(piece[k]);
            vvb_upload(m->rounded[i] + at, piece, bytes);
        }
    }
    swap(m);
}

void vv_masters_restore(vv_masters *m) { swap(m); }
