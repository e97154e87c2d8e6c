/* A PNG. libpng refuses a chunk whose check sum is wrong, so mutate_png.c repairs those of the fuzzer's inputs. */
#include "fuzz/picture.h"

/* As numbers: what is no grey picture is refused; one that is has the pixels that it has as a picture. */
static void decode_numbers(const uint8_t *bytes, size_t n)
{
    const int picture = vvt_accepted;
    vv_grey g;
    vv_error err = {0};
    if (vvt_outcome(vv_grey_decode(&g, bytes, (int64_t)n, "input", &err), &err)) {
        VVT_HOLDS(picture && g.h >= 1 && g.h <= VV_IMAGE_SIDE && g.w >= 1 && g.w <= VV_IMAGE_SIDE);
        for (int64_t i = 0; i < g.h * g.w; i++) VVT_HOLDS(g.v[i] < 1L << g.bits);
    }
    vv_grey_free(&g);
    vvt_accepted = picture;
}

int VVT_TARGET(png)(const uint8_t *bytes, size_t n)
{
    vvt_decode_picture(bytes, n);
    decode_numbers(bytes, n);
    return 0;
}
