/* Batches of depth maps: their shapes, their medians, what became of them, and the weighted loss. */
#include "loss/depth_maps.h"

#include <stdio.h>
#include <stdlib.h>

static int shapes_fit(const vv_depth_maps *m)
{
    int ok = m->d->ndim == 3 && !m->d->needs_grad && m->p->ndim >= 3 && m->p->n == m->d->n && m->p->kind == VV_REALS;
    for (int i = 0; ok && i < 3; i++) ok = m->p->dim[i] == m->d->dim[i];
    return ok && (!m->mask || (m->mask->kind == VV_INTS && m->mask->n == m->d->n)) &&
           (!m->medians || (m->medians->kind == VV_INTS && m->medians->n == 4 * m->d->dim[0])) &&
           m->d->dim[1] * m->d->dim[2] <= INT32_MAX;
}

static int batch_fits(vv_tape *t, const char *op, const char *name, const vv_depth_maps *m)
{
    return vv_ready(t, 2, m->p, m->d) &&
           vv_expect(t, op, name, shapes_fit(m),
                     "prediction and constant label [B,Hh,Ww], an int32 mask as large, int32 medians [2,B,2]",
                     "prediction label mask medians", m->p, m->d, m->mask, m->medians) &&
           vv_is_finite(t, op, m->p, m->d->dim[0], m->d->dim[2], m->sample);
}

static const vv_opdef MEDIANS = {"depth_medians", NULL};

vv_tensor *vv_depth_medians(vv_tape *t, const char *name, const vv_depth_maps *m)
{
    if (!batch_fits(t, "depth_medians", name, m)) return NULL;
    const int64_t B = m->d->dim[0], N = m->d->dim[1] * m->d->dim[2], dim[3] = {2, B, 2};
    vv_tensor *at = vv_input(t, NULL, VV_INTS, 3, dim, NULL);
    if (!vv_ready(t, 1, at)) return NULL;
    at->name = name;
    VV_RUN(t, 16 * m->d->n, {
        vvb_masked_medians(vv_i(at), vv_f(m->p), vv_f(m->d), vv_i(m->mask), B, N);
        vvb_masked_medians(vv_i(at) + 2 * B, vv_f(m->d), vv_f(m->d), vv_i(m->mask), B, N);
    });
    return vv_done(t, (vv_node){.op = &MEDIANS, .out = at});
}

int vv_depth_ready(vv_tape *t, const char *op, const char *name, vv_depth_maps *m, const vv_depth_config *c)
{
    if (!batch_fits(t, op, name, m)) return 0;
    if (c->how.scales < 0 || c->how.scales > VVB_MAX_SCALES || !(c->how.trim >= 0 && c->how.trim < 1) ||
        !(c->how.eps > 0)) {
        vv_tape_fail(t, VV_USAGE,
                     "%s: expected 0 to %d scales, trim from 0 to less than 1, eps above 0; got %lld, %g, %g", op,
                     VVB_MAX_SCALES, (long long)c->how.scales, c->how.trim, c->how.eps);
        return 0;
    }
    if (!m->medians) m->medians = vv_depth_medians(t, "#medians", m);
    return vv_ready(t, 1, m->medians);
}

vv_tensor *vv_depth_info(vv_tape *t, const vv_depth_maps *m)
{
    const int64_t dim[2] = {m->d->dim[0], 2};
    return vv_input(t, NULL, VV_INTS, 2, dim, NULL);
}

static void count(vv_depth_report *r, vvb_map state, int64_t pixels, int64_t b)
{
    r->pixels += pixels;
    r->empty += state == VVB_MAP_EMPTY;
    r->single += state == VVB_MAP_SINGLE;
    r->flat_labels += state == VVB_MAP_FLAT_LABEL;
    r->flat_predictions += state == VVB_MAP_FLAT_PREDICTION;
    if (state == VVB_MAP_FLAT_LABEL && r->flat_label < 0) r->flat_label = b;
    if (state == VVB_MAP_FLAT_PREDICTION && r->flat_prediction < 0) r->flat_prediction = b;
}

int vv_depth_reported(vv_tape *t, const char *op, const char *name, const vv_tensor *info, const vv_depth_maps *m,
                      vv_depth_report *report)
{
    const int64_t B = m->d->dim[0];
    vv_depth_report r = {.maps = B, .flat_label = -1, .flat_prediction = -1};
    int32_t *host = vv_calloc(2 * B, sizeof *host);
    if (!host) {
        vv_tape_fail(t, VV_MEMORY, "%s: out of memory", op);
        return 0;
    }
    int64_t wrong = -1;
    VV_RUN(t, 0, {
        vvb_download(host, vv_i(info), 2 * B * (int64_t)sizeof *host);
        for (int64_t b = 0; b < B; b++) {
            count(&r, (vvb_map)host[2 * b], host[2 * b + 1], b);
            if (host[2 * b] == VVB_MAP_NO_MEDIAN && wrong < 0) wrong = b;
        }
    });
    free(host);
    if (report) *report = r;
    if (wrong < 0) return 1;
    const vv_tensor here = {.name = name, .scope = m->medians->scope};
    char full[VV_NAME_MAX], label[200] = "";
    if (m->sample && m->sample[wrong]) snprintf(label, sizeof label, " (%.190s)", m->sample[wrong]);
    vv_tape_fail(t, VV_USAGE, "%s: %s: sample %lld%s: expected medians at valid pixels", vv_name(&here, full), op,
                 (long long)wrong, label);
    return 0;
}

vv_tensor *vv_depth_loss(vv_tape *t, const char *name, vv_depth_maps *m, const vv_depth_config *c,
                         vv_depth_report *report)
{
    vv_tensor *ssi = vv_ssi(t, "ssi", m, c, report);
    vv_tensor *gm = vv_gradient_matching(t, "gradient_matching", m, c, NULL);
    return vv_weighted_sum(t, name, c->lambda_ssi, ssi, c->lambda_gm, gm);
}
