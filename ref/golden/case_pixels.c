/* Pictures to the rows that the tower reads: where most vision bugs of other engines are.
 *   {"kind": "pixels", "preprocessor": {"min_pixels": 3136, ...}, "pictures": [[1,1],[1,200],[30,7], ...]}
 * image.N and the settings go in; resized.N (U8 [h,w,3], the picture at the model's size) and grid_thw come out exactly, and
 * pixel_values, all pictures' rows one after the other, up to the rounding of float. */
#include <stdio.h>
#include <stdlib.h>

#include "golden/case.h"

static vv_status settings(const vv_case *c, vv_preprocess *p, vv_error *err)
{
    const json_t *object = NULL;
    *p = vv_preprocess_default();
    VV_TRY(vv_json_object(c->root, c->path, "preprocessor", &object, err));
    return object ? vv_preprocess_parse(p, object, c->path, err) : VV_OK;
}

static vv_status picture(vv_case *c, const vv_preprocess *p, int64_t i, const int64_t hw[2], vv_batch *batch,
                         vv_error *err)
{
    char name[32];
    vv_image image = {0}, resized = {0};
    snprintf(name, sizeof name, "resized.%lld", (long long)i);
    vv_status s = vv_case_draw(c, &image, hw[0], hw[1], i, err);
    if (s == VV_OK) vv_case_record_image(c, &image, i);
    if (s == VV_OK) s = vv_preprocess_resize(p, &image, &resized, c->path, err);
    if (s == VV_OK)
        vv_record_host(c->rec, "act", name, VV_DT_U8, 3, (int64_t[3]){resized.h, resized.w, 3}, resized.rgb);
    if (s == VV_OK) s = vv_batch_add(batch, p, &image, c->path, err);
    vv_image_free(&image);
    vv_image_free(&resized);
    return s;
}

static vv_status run(vv_case *c, vv_error *err)
{
    int64_t(*hw)[2] = NULL, n = 0;
    vv_preprocess p;
    vv_batch batch = {0};
    vv_status s = settings(c, &p, err);
    if (s == VV_OK) s = vv_case_sizes(c, "pictures", &hw, &n, err);
    for (int64_t i = 0; s == VV_OK && i < n; i++) s = picture(c, &p, i, hw[i], &batch, err);
    if (s == VV_OK) {
        vv_case_record_grids(c, "act", batch.grid, batch.n);
        vv_record_reals(c->rec, "act", "pixel_values", 2, (int64_t[2]){batch.rows, batch.width}, batch.pixel_values);
        vv_record_mark(c->rec, "act", "pixel_values", "output", json_true());
    }
    vv_batch_free(&batch);
    free(hw);
    return s;
}

static const char *const keys[] = {"preprocessor", "pictures", NULL};
const vv_case_kind vv_case_pixels = {"pixels", "pixels", 0, keys, run};
