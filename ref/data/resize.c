/* Pillow's bicubic resize for 8-bit RGB, and the model's choice of size. Source: Pillow src/libImaging/Resample.c
 * (version 12; see resize.h for 13).
 *
 * Along one axis output i is a weighted sum of the inputs under the filter, centred at (i+0.5)*scale:
 *   scale = in/out    fs = max(scale,1)    (a filter stretched by fs when shrinking, which is the antialiasing)
 *   w[j] = f((x0+j - centre + 0.5)/fs), normalised to sum 1, then rounded to fixed point with 22 fractional bits
 *   out  = clamp(round(sum_j w[j]*in[x0+j]), 0, 255)
 * Everything that rounds is written as there, down to multiplying by 1/fs: that is what makes the bytes equal. */
#include "data/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRACTION = 22, SUPPORT = 2, SIDE = 65535, STRIP = 1024, GRAIN = 1 << 15 };

/* The weights of one axis: output i uses inputs x0[i] .. x0[i]+n[i]-1 with weights k + i*taps. */
typedef struct {
    int64_t taps;
    int32_t *x0, *n, *k;
} axis;

static void axis_free(axis *a)
{
    free(a->x0);
    free(a->n);
    free(a->k);
}

/* Keys' cubic with a = -0.5. */
static double bicubic(double x)
{
    const double a = -0.5;
    if (x < 0.0) x = -x;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static vv_status axis_make(axis *a, int64_t in, int64_t out, vv_error *err)
{
    const double scale = (double)in / (double)out, fs = scale < 1.0 ? 1.0 : scale, support = SUPPORT * fs;
    a->taps = (int64_t)ceil(support) * 2 + 1;
    a->x0 = vv_calloc(out, sizeof *a->x0);
    a->n = vv_calloc(out, sizeof *a->n);
    a->k = vv_calloc(vv_mul(out, a->taps), sizeof *a->k);
    double *w = vv_calloc(a->taps, sizeof *w);
    if (!a->x0 || !a->n || !a->k || !w) {
        free(w); /* the caller frees the axis */
        return vv_no_memory(err, "the weights of a resize");
    }
    const double inverse = 1.0 / fs;
    for (int64_t i = 0; i < out; i++) {
        const double centre = ((double)i + 0.5) * scale;
        /* The conversion truncates towards zero, before the clamp. */
        const int x0 = (int)vv_max((int)(centre - support + 0.5), 0),
                  x1 = (int)vv_min((int)(centre + support + 0.5), in);
        double sum = 0.0;
        for (int j = 0; j < x1 - x0; j++) {
            w[j] = bicubic((j + x0 - centre + 0.5) * inverse);
            sum += w[j];
        }
        for (int j = 0; j < x1 - x0; j++) {
            if (sum != 0.0) w[j] /= sum;
            a->k[i * a->taps + j] = (int32_t)(w[j] * (1 << FRACTION) + (w[j] < 0 ? -0.5 : 0.5));
        }
        a->x0[i] = x0;
        a->n[i] = x1 - x0;
    }
    free(w);
    return VV_OK;
}

/* From fixed point, half already added. The shift of a negative sum is arithmetic on every compiler we know. */
static inline unsigned char to_byte(int32_t sum)
{
    const int32_t v = sum >> FRACTION;
    return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* dst [h,ow,3] from src [h,w,3]. Sums fit 32 bits: the absolute weights of an output add up to less than 2. */
static void horizontal(unsigned char *dst, const unsigned char *src, int64_t h, int64_t w, int64_t ow, const axis *a)
{
#pragma omp parallel for if (h * ow >= GRAIN)
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < ow; x++) {
            const unsigned char *s = src + 3 * (y * w + a->x0[x]);
            const int32_t *k = a->k + x * a->taps, n = a->n[x];
            int32_t r = 1 << (FRACTION - 1), g = r, b = r;
            for (int32_t j = 0; j < n; j++) {
                r += k[j] * s[3 * j];
                g += k[j] * s[3 * j + 1];
                b += k[j] * s[3 * j + 2];
            }
            unsigned char *d = dst + 3 * (y * ow + x);
            d[0] = to_byte(r);
            d[1] = to_byte(g);
            d[2] = to_byte(b);
        }
}

/* dst [oh,row] from src [h,row], row = 3*width bytes, a strip of columns at a time so that the sums stay in cache. */
static void vertical(unsigned char *dst, const unsigned char *src, int64_t row, int64_t oh, const axis *a)
{
#pragma omp parallel for if (oh * row >= 3 * GRAIN)
    for (int64_t y = 0; y < oh; y++)
        for (int64_t c0 = 0; c0 < row; c0 += STRIP) {
            const int64_t n = vv_min(STRIP, row - c0);
            int32_t sum[STRIP];
            for (int64_t c = 0; c < n; c++) sum[c] = 1 << (FRACTION - 1);
            for (int32_t j = 0; j < a->n[y]; j++) {
                const unsigned char *s = src + (a->x0[y] + j) * row + c0;
                const int32_t k = a->k[y * a->taps + j];
                for (int64_t c = 0; c < n; c++) sum[c] += k * s[c];
            }
            for (int64_t c = 0; c < n; c++) dst[y * row + c0 + c] = to_byte(sum[c]);
        }
}

static vv_status check_sides(int64_t oh, int64_t ow, int64_t h, int64_t w, vv_error *err)
{
    if (vv_min(vv_min(h, w), vv_min(oh, ow)) >= 1 && vv_max(vv_max(h, w), vv_max(oh, ow)) <= SIDE) return VV_OK;
    return vv_fail(err, VV_USAGE, "resize from %lld x %lld to %lld x %lld (height x width): expected sides 1..%d",
                   (long long)h, (long long)w, (long long)oh, (long long)ow, SIDE);
}

vv_status vv_resize_bicubic_u8(unsigned char *dst, int64_t oh, int64_t ow, const unsigned char *src, int64_t h,
                               int64_t w, vv_error *err)
{
    VV_TRY(check_sides(oh, ow, h, w, err));
    axis ax = {0}, ay = {0};
    unsigned char *between = NULL;
    vv_status s = VV_OK;
    if (ow != w) s = axis_make(&ax, w, ow, err);
    if (s == VV_OK && oh != h) s = axis_make(&ay, h, oh, err);
    if (s != VV_OK) goto done;

    if (ow == w && oh == h) memcpy(dst, src, (size_t)(3 * h * w));
    else if (oh == h) horizontal(dst, src, h, w, ow, &ax);
    else if (ow == w) vertical(dst, src, 3 * w, oh, &ay);
    else {
        between = vv_calloc(3 * h * ow, 1);
        if (!between) s = vv_no_memory(err, "a resize");
        if (s != VV_OK) goto done;
        horizontal(between, src, h, w, ow, &ax);
        vertical(dst, between, 3 * ow, oh, &ay);
    }
done:
    free(between);
    axis_free(&ax);
    axis_free(&ay);
    return s;
}

vv_status vv_resize_nearest_u8(unsigned char *dst, int64_t oh, int64_t ow, const unsigned char *src, int64_t h,
                               int64_t w, vv_error *err)
{
    VV_TRY(check_sides(oh, ow, h, w, err));
    for (int64_t y = 0; y < oh; y++)
        for (int64_t x = 0; x < ow; x++)
            memcpy(dst + 3 * (y * ow + x), src + 3 * ((2 * y + 1) * h / (2 * oh) * w + (2 * x + 1) * w / (2 * ow)), 3);
    return VV_OK;
}

vv_status vv_smart_resize(int64_t h, int64_t w, int64_t factor, int64_t min_pixels, int64_t max_pixels, int64_t *oh,
                          int64_t *ow, const char *where, vv_error *err)
{
    /* Below 2^40 every product here is exact in double. */
    const int64_t most = (int64_t)1 << 40;
    if (h < 1 || w < 1 || factor < 1 || min_pixels < 1 || h > SIDE || w > SIDE || factor > SIDE || max_pixels > most)
        return vv_fail(
            err, VV_USAGE,
            "%s: smart resize of %lld x %lld with factor %lld, area %lld..%lld: expected sides 1..%d and areas "
            "1..2^40",
            where, (long long)h, (long long)w, (long long)factor, (long long)min_pixels, (long long)max_pixels, SIDE);
    if (min_pixels > max_pixels || max_pixels < factor * factor)
        return vv_fail(err, VV_USAGE,
                       "%s: min_pixels %lld and max_pixels %lld: expected min <= max and max >= %lld (one unit)", where,
                       (long long)min_pixels, (long long)max_pixels, (long long)(factor * factor));
    if (vv_max(h, w) > 200 * vv_min(h, w))
        return vv_fail(err, VV_FILE,
                       "%s: picture of %lld x %lld (height x width): expected an aspect ratio of at most 200", where,
                       (long long)h, (long long)w);

    const double f = (double)factor, dh = (double)h, dw = (double)w;
    double bh = rint(dh / f) * f, bw = rint(dw / f) * f; /* rint: ties to even, as Python's round */
    if (bh * bw > (double)max_pixels) {
        const double shrink = sqrt(dh * dw / (double)max_pixels);
        bh = fmax(f, floor(dh / shrink / f) * f);
        bw = fmax(f, floor(dw / shrink / f) * f);
    } else if (bh * bw < (double)min_pixels) {
        const double grow = sqrt((double)min_pixels / (dh * dw));
        bh = ceil(dh * grow / f) * f;
        bw = ceil(dw * grow / f) * f;
    }
    *oh = (int64_t)bh;
    *ow = (int64_t)bw;
    return VV_OK;
}
