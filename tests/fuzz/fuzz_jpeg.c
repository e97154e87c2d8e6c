/* A JPEG. */
#include "fuzz/picture.h"

int VVT_TARGET(jpeg)(const uint8_t *bytes, size_t n)
{
    vvt_decode_picture(bytes, n);
    return 0;
}
