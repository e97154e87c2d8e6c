/* Scenes as rows of features and targets, one a patch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/probe_parts.h"

enum { BATCH = 32, POSITIONS = 5 };

/* ---- targets --------------------------------------------------------------------------------------------------------------- */
vv_status vv_probe_set_new(vv_probe_set *s, int64_t n, int64_t size, int64_t patch, vv_error *err)
{
    const int64_t g = size / patch;
    *s = (vv_probe_set){.n = n, .size = size, .gh = g, .gw = g, .cells = g * g, .patch = patch};
    s->rgb = vv_calloc(vv_mul(n, size * size * 3), 1);
    s->target = vv_calloc(vv_mul(n, s->cells), sizeof *s->target);
    s->label = vv_calloc(vv_mul(n, s->cells), 1);
    if (s->rgb && s->target && s->label) return VV_OK;
    vv_probe_set_free(s);
    return vv_no_memory(err, "scenes");
}

void vv_probe_set_free(vv_probe_set *s)
{
    free(s->rgb);
    free(s->target);
    free(s->label);
    *s = (vv_probe_set){0};
}

void vv_probe_set_put(vv_probe_set *s, int64_t i, const vv_scene *scene)
{
    const int64_t S = s->size, P = s->patch;
    memcpy(s->rgb + i * S * S * 3, scene->image.rgb, (size_t)(S * S * 3));
    for (int64_t c = 0; c < s->cells; c++) {
        double sum = 0, known = 0;
        int64_t count[VV_SYNTH_CLASSES] = {0};
        unsigned char best = 0;
        for (int64_t y = c / s->gw * P; y < (c / s->gw + 1) * P; y++)
            for (int64_t x = c % s->gw * P; x < (c % s->gw + 1) * P; x++) {
                count[scene->classes[y * S + x]]++;
                if (!isfinite(scene->depth[y * S + x])) continue;
                sum += vv_log((double)scene->depth[y * S + x]);
                known++;
            }
        for (unsigned char k = 1; k < VV_SYNTH_CLASSES; k++)
            if (count[k] > count[best]) best = k;
        s->target[i * s->cells + c] = known > 0 ? sum / known : (double)NAN;
        s->label[i * s->cells + c] = best;
    }
}

/* ---- features -------------------------------------------------------------------------------------------------------------- */
int64_t vv_probe_columns(const vv_probe_source *f, const vv_probe_set *s)
{
    return f->kind == VV_PROBE_POSITION  ? POSITIONS
           : f->kind == VV_PROBE_PATCHES ? 3 * s->patch * s->patch
                                         : f->vit->config.embed_dim;
}

static void positions(vv_real *x, const vv_probe_set *s)
{
    for (int64_t i = 0; i < s->n * s->cells; i++) {
        const double u = ((double)(i % s->gw) + 0.5) / (double)s->gw * 2 - 1,
                     v = ((double)(i % s->cells / s->gw) + 0.5) / (double)s->gh * 2 - 1;
        const double of[POSITIONS] = {u, v, u * u, u * v, v * v};
        for (int k = 0; k < POSITIONS; k++) x[i * POSITIONS + k] = (vv_real)of[k];
    }
}

static void pixels(vv_real *x, const vv_probe_set *s)
{
    const int64_t P = s->patch, D = 3 * P * P;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s->n * s->cells; i++) {
        const int64_t c = i % s->cells, at = c / s->gw * P * s->size + c % s->gw * P;
        const unsigned char *from = s->rgb + 3 * (i / s->cells * s->size * s->size + at);
        for (int64_t k = 0; k < D; k++) x[i * D + k] = (vv_real)from[k / (3 * P) * 3 * s->size + k % (3 * P)];
    }
}

/* pictures i .. i+n of the set through the tower */
static vv_status forward(vv_real *x, vv_tape *t, const vv_probe_source *f, const vv_preprocess *p,
                         const vv_probe_set *s, int64_t i, int64_t n, vv_error *err)
{
    vv_batch b = {0};
    vv_status st = VV_OK;
    for (int64_t k = i; st == VV_OK && k < i + n; k++) {
        const vv_image image = {.h = s->size, .w = s->size, .rgb = s->rgb + k * s->size * s->size * 3};
        st = vv_batch_add(&b, p, &image, "a scene", err);
    }
    if (st == VV_OK) {
        const int64_t dim[2] = {b.rows, b.width};
        vv_tensor *tap = NULL;
        const vv_vit_wanted want = {.taps = &f->layer, .n_taps = 1, .tap = &tap};
        vv_vit_forward(t, f->vit, vv_input(t, "pixel_values", VV_REALS, 2, dim, b.pixel_values), b.grid, b.n, &want);
        vv_tensor *h = vv_vit_raster(t, f->vit, NULL, tap, b.grid, b.n);
        st = vv_tape_status(t, err);
        if (st == VV_OK) vvb_download(x, vv_f(h), h->n * (int64_t)sizeof *x);
        vv_tape_reset(t);
    }
    vv_batch_free(&b);
    return st;
}

static vv_status tower(vv_real *x, const vv_probe_source *f, const vv_probe_set *s, vv_error *err)
{
    vv_preprocess p = *f->preprocess;
    p.fixed_h = p.fixed_w = s->size;
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_status st = t ? VV_OK : vv_no_memory(err, "tape");
    for (int64_t i = 0; st == VV_OK && i < s->n; i += BATCH) {
        st = forward(x + i * s->cells * f->vit->config.embed_dim, t, f, &p, s, i, vv_min(BATCH, s->n - i), err);
        vv_progress(vv_probe_name[f->kind], vv_min(i + BATCH, s->n), s->n);
    }
    vv_tape_free(t);
    return st;
}

vv_status vv_probe_features(vv_real *x, const vv_probe_source *f, const vv_probe_set *s, vv_error *err)
{
    if (f->kind == VV_PROBE_TOWER || f->kind == VV_PROBE_RANDOM_TOWER) return tower(x, f, s, err);
    if (f->kind == VV_PROBE_POSITION) positions(x, s);
    else pixels(x, s);
    return VV_OK;
}
