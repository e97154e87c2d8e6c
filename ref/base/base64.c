#include "base/base64.h"

char *vv_base64(const unsigned char *bytes, int64_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const int64_t groups = n < 0 ? -1 : n / 3 + (n % 3 != 0), length = vv_mul(groups, 4);
    char *text = length < 0 || length == INT64_MAX ? NULL : vv_calloc(length + 1, 1), *to = text;
    for (int64_t i = 0; text && i < n; i += 3) {
        const int64_t left = n - i;
        const uint32_t word = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                              (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        *to++ = digit[word >> 18];
        *to++ = digit[word >> 12 & 63];
        *to++ = left > 1 ? digit[word >> 6 & 63] : '=';
        *to++ = left > 2 ? digit[word & 63] : '=';
    }
    return text;
}
