/* The file side of pictures: which decoder, and the limits both decoders share. */
#include "io/image.h"

#include <stdlib.h>
#include <string.h>

#include "io/file.h"

vv_status vv_image_new(vv_image *out, int64_t h, int64_t w, vv_error *err)
{
    *out = (vv_image){0, 0, NULL};
    if (h < 1 || w < 1 || h > VV_IMAGE_SIDE || w > VV_IMAGE_SIDE || h * w > VV_IMAGE_PIXELS)
        return vv_fail(err, VV_USAGE,
                       "picture of %lld x %lld (height x width): expected sides 1..%d and at most %d pixels",
                       (long long)h, (long long)w, VV_IMAGE_SIDE, VV_IMAGE_PIXELS);
    out->rgb = vv_calloc(h * w, 3);
    if (!out->rgb) return vv_no_memory(err, "a picture");
    out->h = h;
    out->w = w;
    return VV_OK;
}

void vv_image_free(vv_image *image)
{
    if (!image) return;
    free(image->rgb);
    *image = (vv_image){0, 0, NULL};
}

vv_status vv_image_accept(int64_t h, int64_t w, int64_t possible, const char *where, vv_error *err)
{
    if (h < 1 || w < 1 || h > VV_IMAGE_SIDE || w > VV_IMAGE_SIDE || h * w > VV_IMAGE_PIXELS)
        return vv_fail(err, VV_FILE,
                       "%s: expected sides 1..%d and at most %d pixels, found %lld x %lld (height x width)", where,
                       VV_IMAGE_SIDE, VV_IMAGE_PIXELS, (long long)h, (long long)w);
    if (h * w > possible)
        return vv_fail(err, VV_FILE,
                       "%s: the header says %lld x %lld (height x width), but a file of this size holds at most %lld "
                       "pixels: truncated or corrupt",
                       where, (long long)h, (long long)w, (long long)possible);
    return VV_OK;
}

vv_status vv_image_decode(vv_image *out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, jpeg[3] = {0xff, 0xd8, 0xff};
    *out = (vv_image){0, 0, NULL};
    if (n >= 8 && memcmp(bytes, png, 8) == 0) return vv_png_decode(out, bytes, n, where, err);
    if (n >= 3 && memcmp(bytes, jpeg, 3) == 0) return vv_jpeg_decode(out, bytes, n, where, err);
    if (n < 1) return vv_fail(err, VV_FILE, "%s: expected a PNG or JPEG picture, found an empty file", where);
    char hex[3 * 8 + 1] = "";
    for (int64_t i = 0; i < n && i < 8; i++) {
        hex[3 * i] = ' ';
        hex[3 * i + 1] = "0123456789abcdef"[bytes[i] >> 4];
        hex[3 * i + 2] = "0123456789abcdef"[bytes[i] & 15];
        hex[3 * i + 3] = 0;
    }
    return vv_fail(err, VV_FILE, "%s: expected a PNG or JPEG picture, found %lld bytes beginning with%s", where,
                   (long long)n, hex);
}

vv_status vv_image_read(vv_image *out, const char *path, vv_error *err)
{
    *out = (vv_image){0, 0, NULL};
    vv_map map = {0};
    VV_TRY(vv_map_open(&map, path, err));
    const vv_status s = vv_image_decode(out, map.data, (int64_t)map.bytes, path, err);
    vv_map_close(&map);
    return s;
}
