#include "eval/scenes.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 32 }; /* scenes between two looks at what failed */

void vv_scenes_free(vv_scenes *s)
{
    for (int64_t i = 0; i < s->n; i++) vv_scene_free(&s->at[i]);
    free(s->at);
    *s = (vv_scenes){0};
}

vv_status vv_scenes_draw(vv_scenes *s, const vv_synth_options *o, int64_t first, int64_t count, vv_error *err)
{
    vv_error errors[BLOCK] = {{0}};
    vv_status st = VV_OK;
    *s = (vv_scenes){.at = vv_calloc(count, sizeof *s->at)};
    if (!s->at) return vv_no_memory(err, "scenes");
    while (st == VV_OK && s->n < count) {
        const int64_t n = vv_min(BLOCK, count - s->n), begin = s->n;
#pragma omp parallel for schedule(dynamic)
        for (int64_t i = 0; i < n; i++) (void)!vv_synth_scene(&s->at[begin + i], o, first + begin + i, &errors[i]);
        s->n += n;
        for (int64_t i = 0; i < n && st == VV_OK; i++)
            if (errors[i].status != VV_OK) st = vv_fail(err, errors[i].status, "%s", errors[i].msg);
    }
    if (st != VV_OK) vv_scenes_free(s);
    return st;
}

void vv_scene_truth(const vv_scene *s, double *d, unsigned char *valid, unsigned char *object)
{
    for (int64_t i = 0; i < s->image.h * s->image.w; i++) {
        valid[i] = isfinite(s->depth[i]);
        d[i] = valid[i] ? (double)s->depth[i] : 1;
        object[i] = s->classes[i] >= VV_SYNTH_SPHERE && s->classes[i] <= VV_SYNTH_CONE;
    }
}

static double mean_inside(const double *z, const unsigned char *mask, int64_t n)
{
    double sum = 0, pixels = 0;
    for (int64_t i = 0; i < n; i++)
        if (mask[i]) sum += z[i], pixels++;
    return sum / pixels;
}

int64_t vv_scene_order(const vv_scene *s, const double *z, int64_t *pairs)
{
    double mean[VV_SYNTH_MOST];
    int64_t correct = 0;
    *pairs = 0;
    for (int64_t i = 0; i < s->n_objects; i++) mean[i] = mean_inside(z, s->object[i].mask, s->image.h * s->image.w);
    for (int64_t i = 0; i < s->n_objects; i++)
        for (int64_t k = 0; k < s->n_objects; k++) {
            const vv_synth_object *a = &s->object[i], *b = &s->object[k];
            if (b->depth < VV_SYNTH_DEPTH_MARGIN * a->depth || a->nearest >= b->nearest) continue;
            (*pairs)++;
            correct += mean[i] < mean[k] * (1 - 1e-12); /* equal to rounding is a tie */
        }
    return correct;
}
