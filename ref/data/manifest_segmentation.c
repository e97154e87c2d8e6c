/* Referring expressions and the masks of what they name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"

enum { INSTANCES_MOST = 1024 };

/* ---- the form ----------------------------------------------------------------------------------------------------- */

/* A path, {"size": [h,w], "counts": STRING or LIST}, or {"polygons": LIST}. */
static vv_status check_mask(const json_t *o, const char *place, vv_error *err)
{
    const json_t *mask = json_object_get(o, "mask"), *list = NULL;
    char found[80];
    if (json_is_string(mask)) return VV_OK;
    if (!json_is_object(mask))
        return vv_fail(err, VV_FILE, "%s: 'mask': expected a path, {\"size\", \"counts\"} or {\"polygons\"}, found %s",
                       place, vv_json_found(mask, found, sizeof found));
    if (json_object_get(mask, "polygons")) {
        VV_TRY(vv_json_need(mask, place, "polygons", err));
        return vv_json_array(mask, place, "polygons", &list, err);
    }
    VV_TRY(vv_json_need(mask, place, "size", err));
    VV_TRY(vv_json_need(mask, place, "counts", err));
    const json_t *size = json_object_get(mask, "size"), *counts = json_object_get(mask, "counts");
    if (json_array_size(size) != 2 || !json_is_integer(json_array_get(size, 0)) ||
        !json_is_integer(json_array_get(size, 1)))
        return vv_fail(err, VV_FILE, "%s: 'size': expected [height, width], found %s", place,
                       vv_json_found(size, found, sizeof found));
    if (!json_is_string(counts) && !json_is_array(counts))
        return vv_fail(err, VV_FILE, "%s: 'counts': expected a string or a list of integers, found %s", place,
                       vv_json_found(counts, found, sizeof found));
    return VV_OK;
}

static vv_status check_instance(const json_t *o, const char *place, vv_error *err)
{
    const char *text = NULL;
    VV_TRY(vv_json_need(o, place, "text", err));
    VV_TRY(vv_json_string(o, place, "text", &text, err));
    if (!*text) return vv_fail(err, VV_FILE, "%s: 'text': expected an expression, found an empty one", place);
    return check_mask(o, place, err);
}

/* The list of instances, or NULL for a line that is one instance itself. */
static const json_t *instances_of(const json_t *o)
{
    const json_t *list = json_object_get(o, "instances");
    return json_is_null(list) ? NULL : list;
}

static const char *instance_place(char *buf, size_t size, const char *place, int64_t i)
{
    snprintf(buf, size, "%s: instances[%lld]", place, (long long)i);
    return buf;
}

vv_status vv_segmentation_check(const json_t *o, const char *place, vv_error *err)
{
    const char *image = NULL;
    const json_t *list = instances_of(o);
    char where[VV_PLACE + 40];
    VV_TRY(vv_json_need(o, place, "image", err));
    VV_TRY(vv_json_string(o, place, "image", &image, err));
    if (!list) return check_instance(o, place, err);
    if (json_object_get(o, "text") || json_object_get(o, "mask"))
        return vv_fail(err, VV_FILE, "%s: expected 'instances', or 'text' and 'mask', found both", place);
    const size_t n = json_array_size(list);
    if (n < 1 || n > INSTANCES_MOST)
        return vv_fail(err, VV_FILE, "%s: 'instances': expected a list of 1 to %d, found %zu", place, INSTANCES_MOST,
                       n);
    for (size_t i = 0; i < n; i++)
        VV_TRY(check_instance(json_array_get(list, i), instance_place(where, sizeof where, place, (int64_t)i), err));
    return VV_OK;
}

/* ---- masks of the image's size ------------------------------------------------------------------------------------- */

/* Some published masks differ from their pictures by one row or column. */
static int near_enough(int64_t h, int64_t w, const vv_image *image)
{
    return h >= 1 && w >= 1 && h >= image->h - 1 && h <= image->h + 1 && w >= image->w - 1 && w <= image->w + 1;
}

static vv_status other_size(int64_t h, int64_t w, const vv_image *image, const char *what, vv_error *err)
{
    return vv_fail(err, VV_FILE, "%s: expected %lld x %lld (height x width) as the image, found %lld x %lld", what,
                   (long long)image->h, (long long)image->w, (long long)h, (long long)w);
}

/* Brings a mask that is near enough to the image's size: each pixel takes the one at its middle. */
static vv_status fit(vv_bitmap *m, const vv_image *image, const char *what, vv_notes *notes, vv_error *err)
{
    const int64_t h = image->h, w = image->w;
    if (m->h == h && m->w == w) return VV_OK;
    VV_TRY(vv_note(notes, err, "%s: a mask of %lld x %lld (height x width) was resized to the image's %lld x %lld",
                   what, (long long)m->h, (long long)m->w, (long long)h, (long long)w));
    unsigned char *v = vv_calloc(vv_mul(h, w), 1);
    if (!v) return vv_no_memory(err, what);
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            v[y * w + x] = m->v[(2 * y + 1) * m->h / (2 * h) * m->w + (2 * x + 1) * m->w / (2 * w)];
    free(m->v);
    *m = (vv_bitmap){h, w, v};
    return VV_OK;
}

static vv_status read_file(vv_bitmap *out, const vv_manifest *m, const char *name, const vv_image *image, vv_error *err)
{
    vv_grey g = {0};
    char *path = vv_manifest_file(m, name);
    vv_status s = path ? vv_grey_read(&g, path, err) : vv_no_memory(err, name);
    if (s == VV_OK && !near_enough(g.h, g.w, image)) s = other_size(g.h, g.w, image, path, err);
    if (s == VV_OK) {
        *out = (vv_bitmap){g.h, g.w, vv_calloc(g.h * g.w, 1)};
        if (!out->v) s = vv_no_memory(err, path);
        for (int64_t i = 0; out->v && i < g.h * g.w; i++) out->v[i] = g.v[i] != 0;
    }
    free(path);
    vv_grey_free(&g);
    return s;
}

static vv_status read_mask(vv_bitmap *out, const vv_manifest *m, const json_t *mask, const char *place,
                           const vv_image *image, vv_error *err)
{
    if (json_is_string(mask)) {
        vv_error why = {0};
        return vv_at_place(place, read_file(out, m, json_string_value(mask), image, &why), &why, err);
    }
    const json_t *polygons = json_object_get(mask, "polygons"), *size = json_object_get(mask, "size");
    if (polygons) return vv_bitmap_polygons(out, polygons, image->h, image->w, place, err);
    const int64_t h = json_integer_value(json_array_get(size, 0)), w = json_integer_value(json_array_get(size, 1));
    char what[VV_PLACE + 60];
    snprintf(what, sizeof what, "%s: 'size'", place);
    if (!near_enough(h, w, image)) return other_size(h, w, image, what, err);
    return vv_bitmap_rle(out, json_object_get(mask, "counts"), h, w, place, err);
}

static vv_status read_instance(vv_instance *out, const vv_manifest *m, const json_t *o, const char *place,
                               const vv_image *image, vv_notes *notes, vv_error *err)
{
    vv_bitmap mask = {0};
    if (!(out->text = vv_strdup(json_string_value(json_object_get(o, "text"))))) return vv_no_memory(err, place);
    vv_status s = read_mask(&mask, m, json_object_get(o, "mask"), place, image, err);
    if (s == VV_OK) s = fit(&mask, image, place, notes, err);
    out->mask = mask.v;
    return s;
}

vv_status vv_segmentation_read(const vv_manifest *m, const json_t *o, const char *place, vv_sample *out,
                               vv_notes *notes, vv_error *err)
{
    const json_t *list = instances_of(o);
    char where[VV_PLACE + 40];
    const int64_t n = list ? (int64_t)json_array_size(list) : 1;
    if (!(out->instance = vv_calloc(n, sizeof *out->instance))) return vv_no_memory(err, place);
    out->n_instances = n;
    for (int64_t i = 0; i < n; i++)
        VV_TRY(read_instance(&out->instance[i], m, list ? json_array_get(list, (size_t)i) : o,
                             list ? instance_place(where, sizeof where, place, i) : place, &out->image, notes, err));
    return VV_OK;
}
