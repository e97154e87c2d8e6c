/* What the PNG and the JPEG target share: the picture has legal sides and every one of its bytes can be read. */
#ifndef VVT_PICTURE_H
#define VVT_PICTURE_H

#include "fuzz/targets.h"
#include "io/image.h"

static inline void vvt_decode_picture(const uint8_t *bytes, size_t n)
{
    vv_image image;
    vv_error err = {0};
    if (!vvt_outcome(vv_image_decode(&image, bytes, (int64_t)n, "input", &err), &err)) {
        VVT_HOLDS(!image.rgb && image.h == 0 && image.w == 0);
        return;
    }
    VVT_HOLDS(image.h >= 1 && image.h <= VV_IMAGE_SIDE && image.w >= 1 && image.w <= VV_IMAGE_SIDE);
    VVT_HOLDS(image.h * image.w <= VV_IMAGE_PIXELS);
    uint32_t sum = 0;
    for (int64_t i = 0; i < 3 * image.h * image.w; i++) sum = sum * 31 + image.rgb[i];
    static volatile uint32_t sink; /* so that the reads happen */
    sink = sum;
    (void)sink;
    vv_image_free(&image);
}

#endif
