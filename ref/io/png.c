/* PNG in and out, through libpng. See image.h for what is accepted.
 *
 * libpng reports errors by longjmp: everything it may jump over lives in one struct, each entry point has its setjmp
 * and the work is in a function below it. */
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/image.h"

typedef struct {
    const unsigned char *bytes; /* reading: what is left of the file, */
    int64_t left;
    vv_out *file; /* writing: where it goes, or         */
    unsigned char *memory;
    int64_t used, room;
    int64_t h, w; /* its size,                          */
    int channels, bits;
    const unsigned char *rows;
    vv_image *out;     /* the picture read, or               */
    vv_grey *grey;     /* the numbers read,                  */
    const char *where; /* its name in messages,              */
    vv_error *err;     /* and where the failure is told      */
    vv_status status;
} job;

static void on_error(png_structp png, png_const_charp message)
{
    job *j = png_get_error_ptr(png);
    /* A refusal of ours has been described already; everything else is libpng's, in its own words. */
    if (j->status == VV_OK) {
        j->status = errno == ENOMEM ? vv_no_memory(j->err, j->where)
                                    : vv_fail(j->err, VV_FILE, "%s: damaged PNG: %s", j->where, message);
    }
    png_longjmp(png, 1);
}

/* Warnings are about metadata that does not change the pixels, or followed by an error when they do. */
static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void give_up(png_structp png, vv_status s)
{
    ((job *)png_get_error_ptr(png))->status = s;
    png_error(png, "refused");
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    job *j = png_get_io_ptr(png);
    if ((uint64_t)j->left < n) png_error(png, "the file ends too early");
    memcpy(to, j->bytes, n);
    j->bytes += n;
    j->left -= (int64_t)n;
}

/* Turns the palette indices at the start of a row of w pixels into colours, in place, from the right. Pillow shows a
 * grey for an index beyond the palette, libpng black, the standard calls it an error: so do we. */
static void expand_palette(png_structp png, unsigned char *row, int64_t w, const png_color *palette, int colours)
{
    for (int64_t x = w - 1; x >= 0; x--) {
        const int i = row[x];
        if (i >= colours) png_error(png, "a pixel's palette index is beyond the palette");
        row[3 * x] = palette[i].red;
        row[3 * x + 1] = palette[i].green;
        row[3 * x + 2] = palette[i].blue;
    }
}

/* Asks libpng for 8-bit RGB without alpha, or 8-bit palette indices. */
static void ask_for_rgb(png_structp png, int type, int depth)
{
    if (depth == 16) png_set_strip_16(png); /* the high byte, as Pillow; png_set_scale_16 would round */
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(png);
        return;
    }
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (!(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
    if (type & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
}

/* Reads what comes before the pixels; refuses what no file of this size can hold. */
static void read_head(png_structp png, png_infop info)
{
    job *j = png_get_error_ptr(png);
    const int64_t bytes = j->left;
    /* Only what decides the pixels is parsed: a compressed profile or comment is skipped unread. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours are below, with a message that says them */
    png_set_chunk_malloc_max(png, 1 << 20);
    png_set_read_fn(png, j, read_bytes);
    png_read_info(png, info);
    /* Deflate's longest match, 258 bytes, takes 2 bits: at most 1032 bytes out of one. */
    const int64_t possible = bytes * 1032 * 8 / (png_get_bit_depth(png, info) * png_get_channels(png, info));
    const vv_status s =
        vv_image_accept(png_get_image_height(png, info), png_get_image_width(png, info), possible, j->where, j->err);
    if (s != VV_OK) give_up(png, s);
}

static void read_picture(png_structp png, png_infop info)
{
    job *j = png_get_error_ptr(png);
    read_head(png, info);
    const int64_t h = png_get_image_height(png, info), w = png_get_image_width(png, info);
    const int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    const vv_status s = vv_image_new(j->out, h, w, j->err);
    if (s != VV_OK) give_up(png, s);

    ask_for_rgb(png, type, depth);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)(type == PNG_COLOR_TYPE_PALETTE ? w : 3 * w))
        png_error(png, "a kind of picture this program does not know");
    for (int pass = 0; pass < passes; pass++)
        for (int64_t y = 0; y < h; y++) png_read_row(png, j->out->rgb + 3 * w * y, NULL);
    png_read_end(png, NULL);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_colorp palette = NULL;
        int colours = 0;
        png_get_PLTE(png, info, &palette, &colours);
        for (int64_t y = 0; y < h; y++) expand_palette(png, j->out->rgb + 3 * w * y, w, palette, colours);
    }
}

/* Rows of bytes, or of two bytes with the high one first, in the place of a row of numbers; then the numbers. */
static void read_numbers(png_structp png, png_infop info)
{
    job *j = png_get_error_ptr(png);
    read_head(png, info);
    const int64_t h = png_get_image_height(png, info), w = png_get_image_width(png, info);
    const int bits = png_get_bit_depth(png, info);
    if (png_get_color_type(png, info) != PNG_COLOR_TYPE_GRAY)
        give_up(png, vv_fail(j->err, VV_FILE, "%s: expected a grey PNG without alpha, found one with %s", j->where,
                             png_get_color_type(png, info) & PNG_COLOR_MASK_PALETTE ? "a palette"
                             : png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR ? "colours"
                                                                                    : "alpha"));
    *j->grey = (vv_grey){h, w, bits, vv_calloc(h * w, sizeof *j->grey->v)};
    if (!j->grey->v) give_up(png, vv_no_memory(j->err, j->where));
    if (bits < 8) png_set_packing(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)(bits == 16 ? 2 * w : w))
        png_error(png, "a kind of picture this program does not know");
    for (int pass = 0; pass < passes; pass++)
        for (int64_t y = 0; y < h; y++) png_read_row(png, (png_bytep)(j->grey->v + w * y), NULL);
    png_read_end(png, NULL);
    for (int64_t y = 0; y < h; y++) {
        uint16_t *v = j->grey->v + w * y;
        const unsigned char *b = (const unsigned char *)v;
        for (int64_t x = w - 1; x >= 0; x--) v[x] = (uint16_t)(bits == 16 ? b[2 * x] << 8 | b[2 * x + 1] : b[x]);
    }
}

static vv_status guarded_read(job *j, png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png))) return j->status;
    if (j->grey) read_numbers(png, info);
    else read_picture(png, info);
    return VV_OK;
}

static vv_status decode(job *j)
{
    errno = 0; /* on_error tells a lack of memory by it */
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    const vv_status s = info ? guarded_read(j, png, info) : vv_no_memory(j->err, "reading a PNG");
    png_destroy_read_struct(&png, &info, NULL);
    return s;
}

vv_status vv_png_decode(vv_image *out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    *out = (vv_image){0, 0, NULL};
    const vv_status s = decode(&(job){.bytes = bytes, .left = n, .out = out, .where = where, .err = err});
    if (s != VV_OK) vv_image_free(out);
    return s;
}

vv_status vv_grey_decode(vv_grey *out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    *out = (vv_grey){0};
    const vv_status s = decode(&(job){.bytes = bytes, .left = n, .grey = out, .where = where, .err = err});
    if (s != VV_OK) vv_grey_free(out);
    return s;
}

vv_status vv_grey_read(vv_grey *out, const char *path, vv_error *err)
{
    vv_map map;
    *out = (vv_grey){0};
    VV_TRY(vv_map_open(&map, path, err));
    const vv_status s = vv_grey_decode(out, map.data, map.bytes, path, err);
    vv_map_close(&map);
    return s;
}

void vv_grey_free(vv_grey *grey)
{
    free(grey->v);
    *grey = (vv_grey){0};
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static vv_status keep_bytes(job *j, const unsigned char *from, size_t n)
{
    if ((uint64_t)(j->room - j->used) < n) {
        const int64_t room = vv_max(2 * j->room, j->used + (int64_t)n);
        unsigned char *memory = realloc(j->memory, (size_t)room);
        if (!memory) return vv_no_memory(j->err, j->where);
        j->memory = memory;
        j->room = room;
    }
    memcpy(j->memory + j->used, from, n);
    j->used += (int64_t)n;
    return VV_OK;
}

static void write_bytes(png_structp png, png_bytep from, size_t n)
{
    job *j = png_get_io_ptr(png);
    const vv_status s = j->file ? vv_out_write(j->file, from, n, j->err) : keep_bytes(j, from, n);
    if (s != VV_OK) give_up(png, s);
}

static void flush_nothing(png_structp png) { (void)png; }

static void write_picture(png_structp png, png_infop info)
{
    job *j = png_get_error_ptr(png);
    const uint16_t one = 1;
    png_set_write_fn(png, j, write_bytes, flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)j->w, (png_uint_32)j->h, j->bits,
                 j->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    /* All that libpng chooses by itself is chosen here, so that its version does not change the bytes. */
    png_set_compression_level(png, 6);
    png_set_compression_mem_level(png, 8);
    png_set_compression_strategy(png, 1); /* Z_FILTERED */
    png_set_compression_window_bits(png, 15);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
    png_write_info(png, info);
    if (j->bits == 16 && *(const unsigned char *)&one == 1) png_set_swap(png); /* PNG has the high byte first */
    const int64_t row = j->w * j->channels * (j->bits / 8);
    for (int64_t y = 0; y < j->h; y++) png_write_row(png, j->rows + row * y);
    png_write_end(png, info);
}

static vv_status guarded_write(job *j, png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png))) return j->status;
    write_picture(png, info);
    return VV_OK;
}

static vv_status check_size(const job *j, vv_error *err)
{
    if (!j->rows || j->h < 1 || j->w < 1 || j->h > VV_IMAGE_SIDE || j->w > VV_IMAGE_SIDE)
        return vv_fail(err, VV_USAGE, "%s: cannot write a picture of %lld x %lld: expected sides 1..%d", j->where,
                       (long long)j->h, (long long)j->w, VV_IMAGE_SIDE);
    return VV_OK;
}

static vv_status encode(job *j, vv_error *err)
{
    j->err = err;
    errno = 0;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    const vv_status s = info ? guarded_write(j, png, info) : vv_no_memory(err, "writing a PNG");
    png_destroy_write_struct(&png, &info);
    return s;
}

static vv_status write_file(job *j, vv_error *err)
{
    VV_TRY(check_size(j, err));
    VV_TRY(vv_out_open(&j->file, j->where, err));
    const vv_status s = encode(j, err);
    if (s == VV_OK) return vv_out_commit(j->file, err);
    vv_out_abort(j->file);
    return s;
}

vv_status vv_image_write_png(const vv_image *image, const char *path, vv_error *err)
{
    job j = {.h = image->h, .w = image->w, .channels = 3, .bits = 8, .rows = image->rgb, .where = path};
    return write_file(&j, err);
}

vv_status vv_image_encode_png(const vv_image *image, unsigned char **bytes, int64_t *n, vv_error *err)
{
    job j = {.h = image->h, .w = image->w, .channels = 3, .bits = 8, .rows = image->rgb, .where = "a picture"};
    *bytes = NULL;
    *n = 0;
    VV_TRY(check_size(&j, err));
    const vv_status s = encode(&j, err);
    if (s == VV_OK) {
        *bytes = j.memory;
        *n = j.used;
    } else free(j.memory);
    return s;
}

vv_status vv_grey_write(const char *path, int64_t h, int64_t w, int bits, const void *data, vv_error *err)
{
    if (bits != 8 && bits != 16) return vv_fail(err, VV_USAGE, "%s: expected 8 or 16 bits, found %d", path, bits);
    job j = {.h = h, .w = w, .channels = 1, .bits = bits, .rows = data, .where = path};
    return write_file(&j, err);
}
