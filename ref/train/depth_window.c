/* Which depth maps of a batch count, and over how many pixels its losses are means. */
#include <math.h>
#include <stdlib.h>

#include "train/step.h"

/* the label is neither unknown nor flat: the loss itself says so, for a prediction of zeros */
static vv_status counts(int *yes, vv_tape *t, const vv_real *d, const vv_real *zeros, int64_t size,
                        const vv_depth_config *c, vv_error *err)
{
    const int64_t dim[3] = {1, size, size};
    vv_depth_report report = {0};
    vv_depth_maps maps = {.p = vv_input(t, NULL, VV_REALS, 3, dim, zeros), .d = vv_input(t, NULL, VV_REALS, 3, dim, d)};
    (void)vv_ssi(t, "ssi", &maps, c, &report);
    const vv_status s = vv_tape_status(t, err);
    vv_tape_reset(t);
    *yes = !report.empty && !report.single && (!report.flat_labels || c->how.clamp);
    return s;
}

static double known(const vv_real *d, int64_t size, int64_t step)
{
    double n = 0;
    for (int64_t y = 0; y < size; y += step)
        for (int64_t x = 0; x < size; x += step) n += isfinite(d[y * size + x]) != 0;
    return n;
}

vv_status vv_depth_count(vv_depth_window *w, const vv_real *d, int64_t n, int64_t size, const vv_depth_config *c,
                         vv_error *err)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_real *zeros = vv_calloc(size * size, sizeof *zeros);
    vv_status s = t && zeros ? VV_OK : vv_no_memory(err, "depth maps");
    for (int64_t i = 0; s == VV_OK && i < n; i++) {
        const vv_real *map = d + i * size * size;
        int yes = 0;
        s = counts(&yes, t, map, zeros, size, c, err);
        if (s != VV_OK || !yes) continue;
        w->maps++;
        w->pixels += known(map, size, 1);
        for (int64_t k = 0; k < c->how.scales; k++)
            w->scale[k] += known(map, size, c->how.gm == VVB_GM_MEGADEPTH ? vv_max(1, 2 * k) : (int64_t)1 << k);
    }
    vv_tape_free(t);
    free(zeros);
    return s;
}
