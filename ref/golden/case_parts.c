/* What cases are made of: numbers, pictures, tapes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden/case.h"

vv_real *vv_case_normals(const vv_case *c, const char *name, double mean, double std, int64_t n)
{
    vv_real *v = vv_calloc(n, sizeof *v);
    const uint64_t seed = c->seed, stream = vv_stream(name);
#pragma omp parallel for if (n > 10000)
    for (int64_t i = 0; i < (v ? n : 0); i++) v[i] = (float)(mean + std * vv_random_normal(seed, stream, (uint64_t)i));
    return v;
}

vv_tape *vv_case_tape(vv_case *c, vv_error *err)
{
    vv_tape *t = vv_tape_new(c->model.params, c->tape_flags);
    if (c->model.params) vv_params_zero_grad(c->model.params);
    if (t) vv_record_tape(c->rec, t);
    else (void)vv_no_memory(err, c->path);
    return t;
}

vv_tensor *vv_case_dot(vv_case *c, vv_tape *t, const char *name, vv_tensor *x)
{
    if (!vv_ready(t, 1, x)) return NULL;
    vv_real *v = vv_case_normals(c, name, 0, 1, x->n);
    if (!v) return vv_tape_fail(t, VV_MEMORY, "%s: out of memory", name);
    vv_tensor *w = vv_input(t, name, VV_REALS, x->ndim, x->dim, v);
    free(v);
    return vv_record_dot(c->rec, t, x, w);
}

/* ---- pictures ------------------------------------------------------------------------------------------------------------- */
vv_status vv_case_draw(const vv_case *c, vv_image *image, int64_t h, int64_t w, int64_t index, vv_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "picture.%lld", (long long)index);
    const uint64_t stream = vv_stream(name);
    VV_TRY(vv_image_new(image, h, w, err));
    for (int64_t i = 0; i < h * w * 3; i++) {
        const int64_t k = i % 3, x = i / 3 % w, y = i / 3 / w;
        const double wave = (double)((x * (5 + 2 * k) + y * (7 - 2 * k)) % 192),
                     noise = vv_random_uniform(c->seed, stream, (uint64_t)i);
        image->rgb[i] = (unsigned char)(wave + 63 * noise);
    }
    return VV_OK;
}

void vv_case_record_image(vv_case *c, const vv_image *image, int64_t index)
{
    char name[32];
    snprintf(name, sizeof name, "image.%lld", (long long)index);
    vv_record_host(c->rec, "in", name, VV_DT_U8, 3, (int64_t[3]){image->h, image->w, 3}, image->rgb);
}

void vv_case_record_grids(vv_case *c, const char *kind, const vv_grid *grid, int64_t n)
{
    int64_t *thw = vv_calloc(3 * n, sizeof *thw);
    vv_error none = {0};
    if (!thw) {
        (void)vv_no_memory(&none, "grid_thw");
        vv_record_fail(c->rec, &none);
        return;
    }
    for (int64_t i = 0; i < n; i++) memcpy(thw + 3 * i, (int64_t[3]){grid[i].t, grid[i].h, grid[i].w}, 3 * sizeof *thw);
    vv_record_host(c->rec, kind, "grid_thw", VV_DT_I64, 2, (int64_t[2]){n, 3}, thw);
    free(thw);
}

vv_status vv_case_sizes(const vv_case *c, const char *key, int64_t (**hw)[2], int64_t *n, vv_error *err)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_array(c->root, c->path, key, &list, err));
    *n = (int64_t)json_array_size(list);
    if (*n == 0) return vv_fail(err, VV_FILE, "%s: %s: expected a list of [height, width]; found none", c->path, key);
    if (!(*hw = vv_calloc(*n, sizeof **hw))) return vv_no_memory(err, c->path);
    for (int64_t i = 0; i < *n; i++) {
        const json_t *size = json_array_get(list, (size_t)i);
        for (size_t k = 0; k < 2; k++) (*hw)[i][k] = json_integer_value(json_array_get(size, k));
        if (json_array_size(size) == 2 && (*hw)[i][0] > 0 && (*hw)[i][1] > 0) continue;
        free(*hw);
        *hw = NULL;
        return vv_fail(err, VV_FILE, "%s: %s[%lld]: expected [height, width]", c->path, key, (long long)i);
    }
    return VV_OK;
}

vv_status vv_case_pictures(vv_case *c, const char *key, vv_batch *batch, vv_error *err)
{
    int64_t(*hw)[2] = NULL, n = 0;
    vv_status s = vv_case_sizes(c, key, &hw, &n, err);
    for (int64_t i = 0; s == VV_OK && i < n; i++) {
        vv_image image = {0};
        s = vv_case_draw(c, &image, hw[i][0], hw[i][1], i, err);
        if (s == VV_OK) vv_case_record_image(c, &image, i);
        if (s == VV_OK) s = vv_batch_add(batch, &c->model.preprocess, &image, c->path, err);
        vv_image_free(&image);
    }
    if (s == VV_OK) vv_case_record_grids(c, "in", batch->grid, batch->n);
    free(hw);
    return s;
}
