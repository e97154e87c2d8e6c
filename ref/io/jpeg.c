/* JPEG in, through libjpeg. See image.h for what is accepted.
 *
 * libjpeg calls back for errors and warnings; both end here in a longjmp out of everything (warnings only when they
 * mean that pixels were lost), so the work is in functions below the one with the setjmp. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <jerror.h>

#include "io/image.h"

/* Progressive files hold about ten scans. Each costs a pass over the whole picture, so a small file of very many would
 * keep us busy for hours. */
enum { MAX_SCANS = 500 };

typedef struct {
    struct jpeg_error_mgr errors; /* first, so that libjpeg's pointer to it points to the job */
    struct jpeg_progress_mgr progress;
    jmp_buf out_of_here;
    vv_image *out;
    int64_t bytes;
    const char *where;
    vv_error *err;
    vv_status status;
} job;

static job *job_of(j_common_ptr cinfo) { return (job *)cinfo->err; }

static void refuse(j_common_ptr cinfo, vv_status s)
{
    job_of(cinfo)->status = s;
    longjmp(job_of(cinfo)->out_of_here, 1);
}

static void on_error(j_common_ptr cinfo)
{
    job *j = job_of(cinfo);
    char text[JMSG_LENGTH_MAX];
    j->errors.format_message(cinfo, text);
    const int code = j->errors.msg_code;
    if (code == JERR_OUT_OF_MEMORY || code == JERR_NO_BACKING_STORE)
        refuse(cinfo, vv_no_memory(j->err, "reading a JPEG"));
    refuse(cinfo, vv_fail(j->err, VV_FILE, "%s: damaged JPEG: %s", j->where, text));
}

/* libjpeg replaces what is missing or unreadable by grey and only warns: premature end of file or of a segment, bad
 * Huffman code, lost restart marker, scans out of order. For us these are errors. Tolerated are those that lose
 * nothing: stray bytes before a marker, bytes beyond the last line, unknown versions in the JFIF and Adobe headers. */
static void on_message(j_common_ptr cinfo, int level)
{
    const int code = cinfo->err->msg_code;
    if (level >= 0) return; /* tracing */
    if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_TOO_MUCH_DATA || code == JWRN_JFIF_MAJOR ||
        code == JWRN_ADOBE_XFORM)
        return;
    on_error(cinfo);
}

static void on_progress(j_common_ptr cinfo)
{
    job *j = job_of(cinfo);
    if (cinfo->is_decompressor && ((j_decompress_ptr)cinfo)->input_scan_number > MAX_SCANS)
        refuse(cinfo,
               vv_fail(j->err, VV_FILE, "%s: expected at most %d scans in a JPEG, found more", j->where, MAX_SCANS));
}

static void check_kind(j_decompress_ptr d)
{
    job *j = job_of((j_common_ptr)d);
    const char *found = NULL;
    if (d->num_components == 4) found = "CMYK or YCCK (4 components)";
    else if (d->num_components != 1 && d->num_components != 3) found = "another number of components";
    else if (d->data_precision != 8) found = "samples of more than 8 bits";
    else if (d->arith_code) found = "arithmetic coding"; /* has no least size per block, so no bound on the pixels */
    if (found)
        refuse((j_common_ptr)d, vv_fail(j->err, VV_FILE,
                                        "%s: expected a Huffman-coded 8-bit JPEG, grey or of three colours, "
                                        "found %s",
                                        j->where, found));
}

static void read_picture(j_decompress_ptr d)
{
    job *j = job_of((j_common_ptr)d);
    jpeg_read_header(d, TRUE);
    check_kind(d);
    /* The component of full resolution spends at least one bit on the DC of each 8x8 block, blocks at the right and
     * lower edge included: at most 512 pixels a byte. */
    const int64_t h = d->image_height, w = d->image_width;
    vv_status s = vv_image_accept(h, w, j->bytes * 512, j->where, j->err);
    if (s == VV_OK) s = vv_image_new(j->out, h, w, j->err);
    if (s != VV_OK) refuse((j_common_ptr)d, s);

    /* Coefficients of a progressive picture take 2 bytes for each of 3 components, sides rounded up to a block. */
    d->mem->max_memory_to_use = (long)vv_min(((h + 32) * (w + 32) * 8) + (64 << 20), INT32_MAX);
    d->out_color_space = JCS_RGB;
    /* Pillow leaves these at libjpeg's defaults; some builds of the library choose others. */
    d->dct_method = JDCT_ISLOW;
    d->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(d);
    while (d->output_scanline < d->output_height) {
        JSAMPROW row = j->out->rgb + 3 * w * (int64_t)d->output_scanline;
        jpeg_read_scanlines(d, &row, 1);
    }
    jpeg_finish_decompress(d);
}

static vv_status guarded_read(job *j, j_decompress_ptr d, const unsigned char *bytes)
{
    if (setjmp(j->out_of_here)) return j->status;
    jpeg_create_decompress(d);
    d->progress = &j->progress;
    jpeg_mem_src(d, (unsigned char *)bytes, (unsigned long)j->bytes);
    read_picture(d);
    return VV_OK;
}

vv_status vv_jpeg_decode(vv_image *out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    *out = (vv_image){0, 0, NULL};
    job j = {.out = out, .bytes = n, .where = where, .err = err};
    struct jpeg_decompress_struct d = {.err = jpeg_std_error(&j.errors)};
    j.errors.error_exit = on_error;
    j.errors.emit_message = on_message;
    j.progress.progress_monitor = on_progress;
    const vv_status s = guarded_read(&j, &d, bytes);
    jpeg_destroy_decompress(&d);
    if (s != VV_OK) vv_image_free(out);
    return s;
}
