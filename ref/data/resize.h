/* Resampling of 8-bit RGB pictures and the rule that picks the size.
 *
 * Source: Pillow src/libImaging/Resample.c (8 bits per channel), BICUBIC: a = -0.5, support 2, antialiased when
 * shrinking; bit for bit the output of Pillow up to version 12. transformers image_processing_qwen2_vl.py: smart_resize.
 *
 * Pillow 13 runs the vertical pass first when h - oh > 0 and h - oh > 2*(w - ow). The rounding between the passes then
 * falls elsewhere: up to 7 grey levels on a photograph. The order here is the older one, current when the
 * model was published. With any Pillow, im.resize((ow, h), BICUBIC).resize((ow, oh), BICUBIC) gives these bytes. */
#ifndef VV_RESIZE_H
#define VV_RESIZE_H

#include "base/base.h"

/* dst [oh,ow,3] = src [h,w,3] resized with Pillow's bicubic filter: horizontal pass, rounded and clamped to 8 bits,
 * then vertical pass; a pass is skipped when its size is unchanged. No aliasing. Sides 1..65,535: VV_USAGE otherwise,
 * or VV_MEMORY. The same bits for any number of threads. */
VV_MUST_USE vv_status vv_resize_bicubic_u8(unsigned char *dst, int64_t oh, int64_t ow, const unsigned char *src,
                                           int64_t h, int64_t w, vv_error *err);

/* dst [oh,ow,3] = src [h,w,3] enlarged (or reduced) by taking the nearest sample: pixel centres, so output i shows
 * input floor((i+0.5)*h/oh). For pictures of tokens, where each token should show as a sharp square. */
VV_MUST_USE vv_status vv_resize_nearest_u8(unsigned char *dst, int64_t oh, int64_t ow, const unsigned char *src,
                                           int64_t h, int64_t w, vv_error *err);

/* The size [*oh,*ow] at which the model sees a picture of h x w: both sides multiples of factor, area within
 * min_pixels..max_pixels, aspect kept as far as possible. Rounding is to the nearest multiple, ties to even
 * (Python's round). VV_FILE naming `where` when the longer side is more than 200 times the shorter;
 * VV_USAGE when an argument is not positive, min_pixels > max_pixels or max_pixels < factor^2. */
VV_MUST_USE vv_status vv_smart_resize(int64_t h, int64_t w, int64_t factor, int64_t min_pixels, int64_t max_pixels,
                                      int64_t *oh, int64_t *ow, const char *where, vv_error *err);

#endif
