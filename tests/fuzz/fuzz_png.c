/* A PNG. libpng refuses a chunk whose check sum is wrong, so mutate_png.c repairs those of the fuzzer's inputs. */
#include "fuzz/picture.h"

int VVT_TARGET(png)(const uint8_t *bytes, size_t n)
{
    vvt_decode_picture(bytes, n);
    return 0;
}
