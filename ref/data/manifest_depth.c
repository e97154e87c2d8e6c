/* Depth maps beside pictures: files of three kinds, made disparities with NaN where nothing is known. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"
#include "io/file.h"
#include "io/npy.h"
#include "io/pfm.h"

vv_status vv_depth_check(const json_t *o, const char *place, vv_error *err)
{
    static const char *const files[] = {"image", "depth", "valid", "classes"};
    const char *text = NULL, *kind = "disparity";
    for (int i = 0; i < 4; i++) {
        if (i < 2) VV_TRY(vv_json_need(o, place, files[i], err));
        VV_TRY(vv_json_string(o, place, files[i], &text, err));
    }
    VV_TRY(vv_json_string(o, place, "kind", &kind, err));
    if (strcmp(kind, "disparity") && strcmp(kind, "depth"))
        return vv_fail(err, VV_FILE, "%s: 'kind': expected disparity or depth, found '%.60s'", place, kind);
    return VV_OK;
}

/* ---- the files ---------------------------------------------------------------------------------------------------- */

static vv_status parse_png(vv_pfm *out, const unsigned char *bytes, int64_t n, const char *path, int *bits,
                           vv_error *err)
{
    vv_grey g;
    VV_TRY(vv_grey_decode(&g, bytes, n, path, err));
    *out = (vv_pfm){g.h, g.w, vv_calloc(g.h * g.w, sizeof *out->v)};
    *bits = g.bits;
    for (int64_t i = 0; out->v && i < g.h * g.w; i++) out->v[i] = g.v[i];
    vv_grey_free(&g);
    return out->v ? VV_OK : vv_no_memory(err, path);
}

/* All elements as doubles or as integers, in one buffer, then as floats. */
static vv_status npy_values(vv_pfm *out, const vv_npy *npy, const char *path, vv_error *err)
{
    union {
        double real;
        int64_t integer;
    } *v = vv_calloc(npy->e.n, sizeof *v);
    const int real = vv_dtype_is_real(npy->e.dtype);
    *out = (vv_pfm){npy->e.shape[0], npy->e.shape[1], vv_calloc(npy->e.n, sizeof *out->v)};
    vv_status s = !v || !out->v ? vv_no_memory(err, path)
                  : real        ? vv_npy_read_f64(npy, &v->real, err)
                                : vv_npy_read_i64(npy, &v->integer, err);
    for (int64_t i = 0; s == VV_OK && i < npy->e.n; i++) out->v[i] = real ? (float)v[i].real : (float)v[i].integer;
    free(v);
    return s;
}

static vv_status parse_npy(vv_pfm *out, const unsigned char *bytes, int64_t n, const char *path, vv_error *err)
{
    vv_npy npy;
    char found[220];
    VV_TRY(vv_npy_parse(&npy, bytes, n, path, err));
    const vv_status s = npy.e.ndim == 2 ? npy_values(out, &npy, path, err)
                                        : vv_fail(err, VV_FILE, "%s: expected the shape [height,width], found %s", path,
                                                  vv_shape_text(npy.e.shape, npy.e.ndim, found, sizeof found));
    vv_npy_close(&npy);
    return s;
}

/* The numbers of a file, recognised by its content. *bits is 8 or less for a PNG that holds no more. */
static vv_status read_map(vv_pfm *out, const char *path, int *bits, vv_error *err)
{
    vv_map map;
    *bits = 32;
    VV_TRY(vv_map_open(&map, path, err));
    const unsigned char *p = map.data;
    const int64_t n = map.bytes;
    const vv_status s = n >= 4 && !memcmp(p, "\x89PNG", 4)   ? parse_png(out, p, n, path, bits, err)
                        : n >= 4 && !memcmp(p, "\x93NUM", 4) ? parse_npy(out, p, n, path, err)
                        : n >= 2 && p[0] == 'P'
                            ? vv_pfm_parse(out, p, n, path, err)
                            : vv_fail(err, VV_FILE, "%s: expected a grey PNG, an npy or a PFM", path);
    vv_map_close(&map);
    return s;
}

/* ---- the sample --------------------------------------------------------------------------------------------------- */

static vv_status expect_size(int64_t h, int64_t w, const vv_image *image, const char *path, vv_error *err)
{
    if (h == image->h && w == image->w) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: expected %lld x %lld (height x width) as the image, found %lld x %lld", path,
                   (long long)image->h, (long long)image->w, (long long)h, (long long)w);
}

static vv_status read_disparity(vv_sample *out, const char *path, int depth, vv_notes *notes, vv_error *err)
{
    vv_pfm map = {0};
    int bits;
    vv_status s = read_map(&map, path, &bits, err);
    if (s == VV_OK) s = expect_size(map.h, map.w, &out->image, path, err);
    if (s != VV_OK) {
        vv_pfm_free(&map);
        return s;
    }
    if (bits <= 8) notes->coarse_depth = 1;
    for (int64_t i = 0; i < map.h * map.w; i++) {
        float v = map.v[i];
        if (depth) v = v > 0 ? (float)(1 / (double)v) : NAN; /* an infinite depth, the sky, is the disparity 0 */
        map.v[i] = isfinite(v) && v >= 0 ? v : NAN;
    }
    out->disparity = map.v;
    return VV_OK;
}

/* Where the mask is 0, nothing is known. */
static vv_status apply_valid(vv_sample *out, const char *path, vv_error *err)
{
    vv_grey g;
    VV_TRY(vv_grey_read(&g, path, err));
    const vv_status s = expect_size(g.h, g.w, &out->image, path, err);
    for (int64_t i = 0; s == VV_OK && i < g.h * g.w; i++)
        if (!g.v[i]) out->disparity[i] = NAN;
    vv_grey_free(&g);
    return s;
}

static vv_status read_classes(vv_sample *out, const char *path, vv_error *err)
{
    vv_grey g;
    VV_TRY(vv_grey_read(&g, path, err));
    vv_status s = expect_size(g.h, g.w, &out->image, path, err);
    if (s == VV_OK && !(out->classes = vv_calloc(g.h * g.w, 1))) s = vv_no_memory(err, path);
    for (int64_t i = 0; s == VV_OK && i < g.h * g.w; i++) {
        out->classes[i] = (unsigned char)g.v[i];
        if (g.v[i] > 255) s = vv_fail(err, VV_FILE, "%s: expected classes from 0 to 255, found %d", path, g.v[i]);
    }
    vv_grey_free(&g);
    return s;
}

vv_status vv_depth_read(const vv_manifest *m, const json_t *o, const char *place, vv_sample *out, vv_notes *notes,
                        vv_error *err)
{
    static const char *const keys[] = {"depth", "valid", "classes"};
    const char *kind = json_string_value(json_object_get(o, "kind"));
    vv_error why = {0};
    vv_status s = VV_OK;
    for (int i = 0; i < 3 && s == VV_OK; i++) {
        const char *name = json_string_value(json_object_get(o, keys[i]));
        char *path = name ? vv_manifest_file(m, name) : NULL;
        if (name && !path) s = vv_no_memory(&why, name);
        else if (name)
            s = i == 0   ? read_disparity(out, path, kind && !strcmp(kind, "depth"), notes, &why)
                : i == 1 ? apply_valid(out, path, &why)
                         : read_classes(out, path, &why);
        free(path);
    }
    return vv_at_place(place, s, &why, err);
}
