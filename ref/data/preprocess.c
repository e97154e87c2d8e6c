/* Resize, rescale, normalise, cut into patches. See preprocess.h. */
#include "data/preprocess.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "data/resize.h"
#include "io/file.h"

enum { MOST_SIZE = 1024, CONFIG_BYTES = 1 << 20, CLASS_MAX_PIXELS = 28 * 28 * 1280 };
static const int64_t MOST_AREA = (int64_t)1 << 40;

vv_preprocess vv_preprocess_default(void)
{
    return (vv_preprocess){
        .patch_size = 14,
        .temporal_patch_size = 2,
        .merge_size = 2,
        .min_pixels = 56 * 56,
        .max_pixels = 28 * 28 * 16384,
        .mean = {0.48145466, 0.4578275, 0.40821073},
        .std = {0.26862954, 0.26130258, 0.27577711},
    };
}

static vv_status check_range(const char *name, int64_t v, int64_t lo, int64_t hi, vv_error *err)
{
    if (v >= lo && v <= hi) return VV_OK;
    return vv_fail(err, VV_USAGE, "preprocessing: %s: expected %lld..%lld, found %lld", name, (long long)lo,
                   (long long)hi, (long long)v);
}

vv_status vv_preprocess_check(const vv_preprocess *p, vv_error *err)
{
    VV_TRY(check_range("patch_size", p->patch_size, 1, MOST_SIZE, err));
    VV_TRY(check_range("temporal_patch_size", p->temporal_patch_size, 1, MOST_SIZE, err));
    VV_TRY(check_range("merge_size", p->merge_size, 1, MOST_SIZE, err));
    const int64_t factor = p->patch_size * p->merge_size;
    VV_TRY(check_range("patch_size*merge_size", factor, 1, VV_IMAGE_SIDE, err));
    VV_TRY(check_range("max_pixels", p->max_pixels, factor * factor, MOST_AREA, err));
    VV_TRY(check_range("min_pixels", p->min_pixels, 1, p->max_pixels, err));
    if (p->fixed_h != 0 || p->fixed_w != 0) {
        VV_TRY(check_range("fixed height", p->fixed_h, factor, VV_IMAGE_SIDE, err));
        VV_TRY(check_range("fixed width", p->fixed_w, factor, VV_IMAGE_SIDE, err));
        if (p->fixed_h % factor || p->fixed_w % factor)
            return vv_fail(
                err, VV_USAGE,
                "preprocessing: fixed size: expected multiples of %lld (patch_size*merge_size), found %lld x %lld",
                (long long)factor, (long long)p->fixed_h, (long long)p->fixed_w);
    }
    for (int c = 0; c < 3; c++)
        if (!(fabs(p->mean[c]) <= 1e6) || !(p->std[c] >= 1e-6 && p->std[c] <= 1e6))
            return vv_fail(
                err, VV_USAGE,
                "preprocessing: channel %d: expected a mean within 1e6 of 0 and a std of 1e-6..1e6, found %g and %g", c,
                p->mean[c], p->std[c]);
    return VV_OK;
}

/* ---- the configuration file ------------------------------------------------------------------------------------- */

static vv_status load_triple(const json_t *root, const char *path, const char *key, double out[3], vv_error *err)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_array(root, path, key, &list, err));
    if (!list) return VV_OK;
    for (size_t i = 0; json_array_size(list) == 3 && i < 3; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v)) break;
        out[i] = json_number_value(v);
        if (i == 2) return VV_OK;
    }
    return vv_fail(err, VV_FILE, "%s: %s: expected 3 numbers, found something else", path, key);
}

/* The steps that this program always takes: a file that switches one off describes another computation. */
static vv_status load_switches(const json_t *root, const char *path, vv_error *err)
{
    static const char *const switches[] = {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        int on = 1;
        VV_TRY(vv_json_bool(root, path, switches[i], &on, err));
        if (!on) return vv_fail(err, VV_FILE, "%s: %s: expected true, found false: not supported", path, switches[i]);
    }
    int64_t resample = 3;
    double factor = 1 / 255.0;
    VV_TRY(vv_json_int(root, path, "resample", 3, 3, &resample, err));
    VV_TRY(vv_json_real(root, path, "rescale_factor", 0, 1, &factor, err));
    if (fabs(factor * 255 - 1) > 1e-9)
        return vv_fail(err, VV_FILE, "%s: rescale_factor: expected 1/255, found %.9g", path, factor);
    return VV_OK;
}

static vv_status load_sizes(vv_preprocess *p, const json_t *root, const char *path, vv_error *err)
{
    VV_TRY(vv_json_int(root, path, "patch_size", 1, MOST_SIZE, &p->patch_size, err));
    VV_TRY(vv_json_int(root, path, "temporal_patch_size", 1, MOST_SIZE, &p->temporal_patch_size, err));
    VV_TRY(vv_json_int(root, path, "merge_size", 1, MOST_SIZE, &p->merge_size, err));

    const json_t *size = NULL;
    VV_TRY(vv_json_object(root, path, "size", &size, err));
    if (size) {
        VV_TRY(vv_json_int(size, path, "shortest_edge", 1, MOST_AREA, &p->min_pixels, err));
        VV_TRY(vv_json_int(size, path, "longest_edge", 1, MOST_AREA, &p->max_pixels, err));
    }
    VV_TRY(vv_json_int(root, path, "min_pixels", 1, MOST_AREA, &p->min_pixels, err));
    VV_TRY(vv_json_int(root, path, "max_pixels", 1, MOST_AREA, &p->max_pixels, err));

    const json_t *fixed = NULL;
    VV_TRY(vv_json_array(root, path, "fixed_size", &fixed, err));
    if (!fixed) return VV_OK;
    if (json_array_size(fixed) != 2 || !json_is_integer(json_array_get(fixed, 0)) ||
        !json_is_integer(json_array_get(fixed, 1)))
        return vv_fail(err, VV_FILE, "%s: fixed_size: expected 2 integers (height, width), found something else", path);
    p->fixed_h = json_integer_value(json_array_get(fixed, 0));
    p->fixed_w = json_integer_value(json_array_get(fixed, 1));
    return VV_OK;
}

vv_status vv_preprocess_parse(vv_preprocess *p, const json_t *root, const char *where, vv_error *err)
{
    vv_preprocess q = *p;
    VV_TRY(load_switches(root, where, err));
    VV_TRY(load_sizes(&q, root, where, err));
    VV_TRY(load_triple(root, where, "image_mean", q.mean, err));
    VV_TRY(load_triple(root, where, "image_std", q.std, err));
    vv_error why = {0};
    if (vv_preprocess_check(&q, &why) != VV_OK) return vv_fail(err, VV_FILE, "%s: %s", where, why.msg);
    *p = q;
    return VV_OK;
}

vv_status vv_preprocess_load(vv_preprocess *p, const char *path, vv_error *err)
{
    json_t *root = NULL;
    vv_preprocess q = vv_preprocess_default();
    q.max_pixels = CLASS_MAX_PIXELS;
    VV_TRY(vv_json_load(&root, path, CONFIG_BYTES, err));
    const vv_status s = vv_preprocess_parse(&q, root, path, err);
    json_decref(root);
    if (s == VV_OK) *p = q;
    return s;
}

vv_status vv_preprocess_save(const vv_preprocess *p, const char *path, vv_error *err)
{
    VV_TRY(vv_preprocess_check(p, err));
    json_t *root =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:i, s:f, s:[fff], s:[fff], s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I}}",
                  "image_processor_type", "Qwen2VLImageProcessor", "do_convert_rgb", 1, "do_resize", 1, "do_rescale", 1,
                  "do_normalize", 1, "resample", 3, "rescale_factor", 1 / 255.0, "image_mean", p->mean[0], p->mean[1],
                  p->mean[2], "image_std", p->std[0], p->std[1], p->std[2], "patch_size", (json_int_t)p->patch_size,
                  "temporal_patch_size", (json_int_t)p->temporal_patch_size, "merge_size", (json_int_t)p->merge_size,
                  "min_pixels", (json_int_t)p->min_pixels, "max_pixels", (json_int_t)p->max_pixels, "size",
                  "shortest_edge", (json_int_t)p->min_pixels, "longest_edge", (json_int_t)p->max_pixels);
    int failed = root == NULL;
    if (root && p->fixed_h)
        failed = json_object_set_new(root, "fixed_size",
                                     json_pack("[II]", (json_int_t)p->fixed_h, (json_int_t)p->fixed_w)) != 0;
    char *text = failed ? NULL : vv_json_text(root, JSON_INDENT(2));
    json_decref(root);
    if (!text) return vv_no_memory(err, "the preprocessing configuration");
    const vv_status s = vv_out_text(path, text, err);
    free(text);
    return s;
}

/* ---- the picture ------------------------------------------------------------------------------------------------ */

vv_status vv_preprocess_size(const vv_preprocess *p, int64_t h, int64_t w, int64_t *oh, int64_t *ow, const char *where,
                             vv_error *err)
{
    VV_TRY(vv_preprocess_check(p, err));
    if (p->fixed_h) {
        *oh = p->fixed_h;
        *ow = p->fixed_w;
        return VV_OK;
    }
    return vv_smart_resize(h, w, p->patch_size * p->merge_size, p->min_pixels, p->max_pixels, oh, ow, where, err);
}

vv_status vv_preprocess_resize(const vv_preprocess *p, const vv_image *image, vv_image *resized, const char *where,
                               vv_error *err)
{
    int64_t h = 0, w = 0;
    *resized = (vv_image){0, 0, NULL};
    VV_TRY(vv_preprocess_size(p, image->h, image->w, &h, &w, where, err));
    VV_TRY(vv_image_new(resized, h, w, err));
    const vv_status s = vv_resize_bicubic_u8(resized->rgb, h, w, image->rgb, image->h, image->w, err);
    if (s != VV_OK) vv_image_free(resized);
    return s;
}

void vv_token_to_raster(int64_t n, vv_grid g, int64_t merge, int64_t *y, int64_t *x)
{
    const int64_t in_frame = n % (g.h * g.w), block = in_frame / (merge * merge), r = in_frame % (merge * merge);
    const int64_t blocks_x = g.w / merge;
    *y = merge * (block / blocks_x) + r / merge;
    *x = merge * (block % blocks_x) + r % merge;
}

/* The 256 values each channel can take. As numpy computes them: the product in double, rounded to float, then mean and
 * std rounded to float and float arithmetic. */
static void normalised(const vv_preprocess *p, float table[3][256])
{
    for (int c = 0; c < 3; c++) {
        const float mean = (float)p->mean[c], std = (float)p->std[c];
        for (int u = 0; u < 256; u++) {
            const float x = (float)(u * (1 / 255.0));
            table[c][u] = (x - mean) / std;
        }
    }
}

vv_status vv_patchify(const vv_preprocess *p, const unsigned char *rgb, int64_t h, int64_t w, float *pixel_values,
                      vv_grid *grid, const char *where, vv_error *err)
{
    VV_TRY(vv_preprocess_check(p, err));
    const int64_t size = p->patch_size, merge = p->merge_size, frames = p->temporal_patch_size;
    if (h < 1 || w < 1 || h % (size * merge) || w % (size * merge))
        return vv_fail(err, VV_USAGE,
                       "%s: expected sides that are multiples of %lld, found %lld x %lld (height x width)", where,
                       (long long)(size * merge), (long long)h, (long long)w);
    float table[3][256];
    normalised(p, table);
    const vv_grid g = {1, h / size, w / size};
    const int64_t area = size * size, tokens = g.h * g.w;
#pragma omp parallel for if (h * w >= 1 << 15)
    for (int64_t n = 0; n < tokens; n++) {
        int64_t y, x;
        vv_token_to_raster(n, g, merge, &y, &x);
        for (int64_t c = 0; c < 3; c++) {
            float *first = pixel_values + (n * 3 + c) * frames * area;
            for (int64_t py = 0; py < size; py++)
                for (int64_t px = 0; px < size; px++)
                    first[py * size + px] = table[c][rgb[3 * ((y * size + py) * w + x * size + px) + c]];
            for (int64_t f = 1; f < frames; f++) memcpy(first + f * area, first, (size_t)area * sizeof *first);
        }
    }
    *grid = g;
    return VV_OK;
}

vv_status vv_preprocess_image(const vv_preprocess *p, const vv_image *image, float **pixel_values, vv_grid *grid,
                              const char *where, vv_error *err)
{
    vv_image resized = {0, 0, NULL};
    *pixel_values = NULL;
    VV_TRY(vv_preprocess_resize(p, image, &resized, where, err));
    float *rows = vv_calloc(vv_mul(resized.h * resized.w, 3 * p->temporal_patch_size), sizeof *rows);
    vv_status s = rows ? VV_OK : vv_no_memory(err, "the patches of a picture");
    if (s == VV_OK) s = vv_patchify(p, resized.rgb, resized.h, resized.w, rows, grid, where, err);
    vv_image_free(&resized);
    if (s == VV_OK) *pixel_values = rows;
    else free(rows);
    return s;
}
