/* One JSON text, taken in turn for the three configurations there are: config.json of the tower, a
 * preprocessor_config.json, and a run configuration of data/configs. */
#include "fuzz/targets.h"
#include "model/versavit.h"

/* What was understood, written again, is understood the same. */
static int tower(const json_t *root)
{
    vv_vit_config c = vv_vit_config_default(), again = vv_vit_config_default();
    vv_error err = {0};
    if (!vvt_outcome(vv_vit_config_parse(&c, root, "input", &err), &err)) return 0;
    json_t *first = vv_vit_config_to_json(&c);
    VVT_HOLDS(first);
    VVT_HOLDS(vv_vit_config_parse(&again, first, "rewritten", &err) == VV_OK);
    json_t *second = vv_vit_config_to_json(&again);
    VVT_HOLDS(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    return 1;
}

/* Settings that pass can be applied to any picture: it gets a legal size, or is refused with a reason. */
static int preprocessor(const json_t *root)
{
    static unsigned char rgb[5 * 7 * 3];
    static const int64_t sides[][2] = {{1, 1},     {5, 7},        {480, 640}, {1, VV_IMAGE_SIDE}, {199, 1},
                                       {13, 2599}, {4096, 65535}, {2, 401},   {VV_IMAGE_SIDE, 3}};
    vv_preprocess p = vv_preprocess_default();
    vv_error err = {0};
    if (!vvt_outcome(vv_preprocess_parse(&p, root, "input", &err), &err)) return 0;
    VVT_HOLDS(vv_preprocess_check(&p, &err) == VV_OK);
    const int64_t factor = p.patch_size * p.merge_size;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        int64_t h = 0, w = 0;
        vv_error why = {0};
        if (vv_preprocess_size(&p, sides[i][0], sides[i][1], &h, &w, "picture", &why) != VV_OK) {
            VVT_HOLDS(why.msg[0]);
            continue;
        }
        VVT_HOLDS(h >= factor && w >= factor && h % factor == 0 && w % factor == 0);
        if (i == 1 && h * w * 3 * p.temporal_patch_size <= 1 << 18) {
            const vv_image image = {5, 7, rgb};
            float *values = NULL;
            vv_grid grid = {0};
            VVT_HOLDS(vv_preprocess_image(&p, &image, &values, &grid, "picture", &why) == VV_OK);
            VVT_HOLDS(grid.h * p.patch_size == h && grid.w * p.patch_size == w && grid.t == 1);
            for (int64_t k = 0; k < h * w * 3 * p.temporal_patch_size; k++) VVT_HOLDS(values[k] == values[k]);
            free(values);
        }
    }
    return 1;
}

/* The reader of this one takes a path. Shapes only: nothing is allocated in proportion to a width. */
static int run(const uint8_t *bytes, size_t n)
{
    vv_model m = {0};
    vv_error err = {0};
    if (!vvt_outcome(vv_model_from_config(&m, vvt_scratch("run.json", bytes, n), VV_ALL_PARTS | VV_SHAPES_ONLY, &err),
                     &err)) {
        VVT_HOLDS(!m.vit);
        return 0;
    }
    VVT_HOLDS(m.vit && m.params->n > 0);
    vv_model_free(&m);
    return 1;
}

int VVT_TARGET(config)(const uint8_t *bytes, size_t n)
{
    json_t *root = NULL;
    vv_error err = {0};
    if (!vvt_outcome(vv_json_parse(&root, (const char *)bytes, n, "input", &err), &err)) return 0;
    const int a = tower(root), b = preprocessor(root), c = json_object_get(root, "vision_config") ? run(bytes, n) : 0;
    vvt_accepted = a || b || c;
    json_decref(root);
    return 0;
}
