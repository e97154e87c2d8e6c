/* Pictures in memory, and reading and writing them: PNG and JPEG in, PNG out.
 *
 * What a file means here is what PIL's Image.open(path).convert("RGB") means, because the published preprocessing
 * starts there: alpha is dropped, not composited; grey becomes three equal channels; gAMA, iCCP and EXIF orientation
 * are ignored; samples of 16 bits keep their high byte. One difference is meant: Pillow turns *grey* of 16 bits into
 * RGB by clamping at 255, which leaves almost every such picture white; here it keeps its high byte like the others.
 *
 *   PNG   every colour type and depth: grey 1/2/4/8/16, palette 1/2/4/8, tRNS, grey+alpha, RGB and RGBA 8/16,
 *         interlaced
 *   JPEG  baseline and progressive, grey, YCbCr and RGB; the pixels of libjpeg-turbo's defaults (accurate integer
 *         DCT, smooth chroma upsampling). CMYK and YCCK are refused: their meaning depends on a colour profile.
 *
 * Anything else, and anything damaged or cut short, is VV_FILE with the path, what was expected and what was found.
 * Bytes after the end of the picture are tolerated. Nothing is ever printed.
 *
 * Limits, checked before the pixels are allocated: sides 1..65,535, at most 2^28 pixels, and no more pixels than the
 * file can hold (deflate expands at most 1032:1; a JPEG block of 64 samples costs at least a fraction of a bit), so a
 * small hostile file cannot make us allocate gigabytes. */
#ifndef VV_IMAGE_H
#define VV_IMAGE_H

#include "base/base.h"

enum { VV_IMAGE_SIDE = 65535, VV_IMAGE_PIXELS = 1 << 28 };

typedef struct {
    int64_t h, w;
    unsigned char *rgb; /* [h,w,3], malloc'd */
} vv_image;

/* Reads a file; the format is recognised by content, not by name. On failure *out is {0,0,NULL}. */
VV_MUST_USE vv_status vv_image_read(vv_image *out, const char *path, vv_error *err);

/* The same from n bytes in memory; `where` names them in messages. */
VV_MUST_USE vv_status vv_image_decode(vv_image *out, const unsigned char *bytes, int64_t n, const char *where,
                                      vv_error *err);

/* A black picture of h x w: VV_USAGE outside the limits above, or VV_MEMORY. */
VV_MUST_USE vv_status vv_image_new(vv_image *out, int64_t h, int64_t w, vv_error *err);

/* Frees the pixels and zeroes the struct; NULL and a zero struct are fine. */
void vv_image_free(vv_image *image);

/* Writes an 8-bit RGB PNG, complete or not at all. The settings are fixed and no time is stored: the same picture
 * gives the same bytes with the same zlib. */
VV_MUST_USE vv_status vv_image_write_png(const vv_image *image, const char *path, vv_error *err);

/* The same bytes in fresh memory, *n of them; the caller frees *bytes, NULL on failure. */
VV_MUST_USE vv_status vv_image_encode_png(const vv_image *image, unsigned char **bytes, int64_t *n, vv_error *err);

/* A grey PNG as the numbers in the file, without any conversion: depth maps, masks, class maps. tRNS is ignored; a palette,
 * colours and alpha are refused. The limits are those of pictures. */
typedef struct {
    int64_t h, w;
    int bits;    /* of a number in the file: 1, 2, 4, 8 or 16 */
    uint16_t *v; /* [h,w], malloc'd */
} vv_grey;
VV_MUST_USE vv_status vv_grey_read(vv_grey *out, const char *path, vv_error *err);
VV_MUST_USE vv_status vv_grey_decode(vv_grey *out, const unsigned char *bytes, int64_t n, const char *where,
                                     vv_error *err);
void vv_grey_free(vv_grey *grey); /* zeroes it; a zeroed one is fine */

/* The same for one channel: bits 8 (data is unsigned char [h,w]) or 16 (uint16_t [h,w]). */
VV_MUST_USE vv_status vv_grey_write(const char *path, int64_t h, int64_t w, int bits, const void *data, vv_error *err);

/* ---- between the files of this module ---- */

/* The two decoders; bytes begin with the signature of their format. */
VV_MUST_USE vv_status vv_png_decode(vv_image *out, const unsigned char *bytes, int64_t n, const char *where,
                                    vv_error *err);
VV_MUST_USE vv_status vv_jpeg_decode(vv_image *out, const unsigned char *bytes, int64_t n, const char *where,
                                     vv_error *err);

/* VV_FILE when a decoder's size is outside the limits, or beyond the pixels that the file can possibly hold. */
VV_MUST_USE vv_status vv_image_accept(int64_t h, int64_t w, int64_t possible, const char *where, vv_error *err);

#endif
