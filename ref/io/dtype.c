#include "io/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    int size;
} types[VV_DT_COUNT] = {
    [VV_DT_BOOL] = {"BOOL", 1}, [VV_DT_U8] = {"U8", 1},   [VV_DT_I8] = {"I8", 1},     [VV_DT_I16] = {"I16", 2},
    [VV_DT_U16] = {"U16", 2},   [VV_DT_F16] = {"F16", 2}, [VV_DT_BF16] = {"BF16", 2}, [VV_DT_I32] = {"I32", 4},
    [VV_DT_U32] = {"U32", 4},   [VV_DT_F32] = {"F32", 4}, [VV_DT_F64] = {"F64", 8},   [VV_DT_I64] = {"I64", 8},
    [VV_DT_U64] = {"U64", 8},
};

int64_t vv_dtype_size(vv_dtype t) { return types[t].size; }
const char *vv_dtype_name(vv_dtype t) { return types[t].name; }
int vv_dtype_is_real(vv_dtype t) { return t == VV_DT_F16 || t == VV_DT_BF16 || t == VV_DT_F32 || t == VV_DT_F64; }

int vv_dtype_parse(const char *name, vv_dtype *t)
{
    for (int i = 0; i < VV_DT_COUNT; i++)
        if (!strcmp(name, types[i].name)) {
            *t = (vv_dtype)i;
            return 1;
        }
    return 0;
}

/* ---- scalars: bits in, bits out -------------------------------------------------------------------------------- */

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static double double_of(uint64_t u)
{
    double x;
    memcpy(&x, &u, 8);
    return x;
}

static uint64_t bits_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}

float vv_bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }

float vv_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31, m = h & 1023;
    if (e == 31) return float_of(sign | 0x7f800000u | m << 13 | (m ? 0x400000u : 0));
    if (e == 0) { /* m * 2^-24, exact */
        const float x = (float)m * 0x1p-24f;
        return sign ? -x : x;
    }
    return float_of(sign | (e + 112) << 23 | m << 13); /* bias 127 - 15 */
}

/* A double to the narrow format with `mb` mantissa bits and exponent bias `bias` (1 + eb + mb = 16 bits), rounded
 * once, to nearest even. Seen as integers, the patterns of a format are ordered like the numbers, so that rounding
 * up may carry from the mantissa into the exponent, from subnormal into normal, and from the largest number into
 * infinity. */
static uint16_t narrow(double x, int mb, int bias)
{
    const uint64_t u = bits_of(x), m = u & 0xfffffffffffffull;
    const uint16_t sign = (uint16_t)(u >> 63 << 15), inf = (uint16_t)((2 * bias + 1) << mb);
    const int e = (int)(u >> 52 & 2047) - 1023 + bias; /* exponent field of the result, if it is normal */
    if (e + 1023 - bias == 2047) return (uint16_t)(sign | inf | (m ? (m >> (52 - mb)) | 1u << (mb - 1) : 0));
    if (e >= 2 * bias + 1) return (uint16_t)(sign | inf);
    uint64_t whole =
        m | 1ull << 52; /* a subnormal double is far below every narrow number: the wrong bit is harmless */
    int drop = 52 - mb;
    uint64_t base = 0;
    if (e > 0) {
        whole = m;
        base = (uint64_t)e << mb;
    } else drop += 1 - e; /* subnormal: the leading one becomes visible, and moves right */
    if (drop > 54) return sign;
    const uint64_t half = 1ull << (drop - 1), rest = whole & ((half << 1) - 1);
    uint64_t r = base + (whole >> drop);
    if (rest > half || (rest == half && (r & 1))) r++;
    return (uint16_t)(sign | r);
}

uint16_t vv_f64_to_f16(double x) { return narrow(x, 10, 15); }
uint16_t vv_f64_to_bf16(double x) { return narrow(x, 7, 127); }
uint16_t vv_f32_to_f16(float x) { return narrow((double)x, 10, 15); } /* float to double is exact */

uint16_t vv_f32_to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* ---- arrays of little-endian bytes ----------------------------------------------------------------------------- */

static inline uint16_t get16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get64(const unsigned char *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

static inline void put(unsigned char *p, uint64_t u, int size)
{
    for (int i = 0; i < size; i++) p[i] = (unsigned char)(u >> 8 * i);
}

/* One loop per file type; T is the type of dst. */
#define DECODE(T)                                                                                                      \
    switch (t) {                                                                                                       \
    case VV_DT_F16:                                                                                                    \
        for (int64_t i = 0; i < n; i++) dst[i] = (T)vv_f16_to_f32(get16(src + 2 * i));                                 \
        return 1;                                                                                                      \
    case VV_DT_BF16:                                                                                                   \
        for (int64_t i = 0; i < n; i++) dst[i] = (T)vv_bf16_to_f32(get16(src + 2 * i));                                \
        return 1;                                                                                                      \
    case VV_DT_F32:                                                                                                    \
        for (int64_t i = 0; i < n; i++) dst[i] = (T)float_of(get32(src + 4 * i));                                      \
        return 1;                                                                                                      \
    case VV_DT_F64:                                                                                                    \
        for (int64_t i = 0; i < n; i++) dst[i] = (T)double_of(get64(src + 8 * i));                                     \
        return 1;                                                                                                      \
    default:                                                                                                           \
        return 0;                                                                                                      \
    }

int vv_decode_real(vv_real *dst, const unsigned char *src, vv_dtype t, int64_t n) { DECODE(vv_real) }
int vv_decode_f64(double *dst, const unsigned char *src, vv_dtype t, int64_t n){DECODE(double)}

int64_t vv_decode_i64(int64_t *dst, const unsigned char *src, vv_dtype t, int64_t n)
{
    if (vv_dtype_is_real(t)) return -1;
    const int64_t size = vv_dtype_size(t);
    for (int64_t i = 0; i < n; i++) {
        const unsigned char *p = src + i * size;
        switch (t) {
        case VV_DT_BOOL:
            if (p[0] > 1) return i;
            dst[i] = p[0];
            break;
        case VV_DT_U8:
            dst[i] = p[0];
            break;
        case VV_DT_I8:
            dst[i] = (int8_t)p[0];
            break;
        case VV_DT_U16:
            dst[i] = get16(p);
            break;
        case VV_DT_I16:
            dst[i] = (int16_t)get16(p);
            break;
        case VV_DT_U32:
            dst[i] = get32(p);
            break;
        case VV_DT_I32:
            dst[i] = (int32_t)get32(p);
            break;
        case VV_DT_U64:
            if (get64(p) > INT64_MAX) return i;
            dst[i] = (int64_t)get64(p);
            break;
        default:
            dst[i] = (int64_t)get64(p);
        }
    }
    return n;
}

static uint64_t encode_one(double x, vv_dtype t)
{
    const int is_nan = x != x;
    switch (t) {
    case VV_DT_F16:
        return is_nan ? 0x7e00u : vv_f64_to_f16(x);
    case VV_DT_BF16:
        return is_nan ? 0x7fc0u : vv_f64_to_bf16(x);
    case VV_DT_F32: {
        const float f = (float)x;
        uint32_t u;
        memcpy(&u, &f, 4);
        return is_nan ? 0x7fc00000u : u;
    }
    default:
        return is_nan ? 0x7ff8000000000000ull : bits_of(x);
    }
}

int vv_encode_real(unsigned char *dst, const vv_real *src, vv_dtype t, int64_t n)
{
    if (!vv_dtype_is_real(t)) return 0;
    const int size = (int)vv_dtype_size(t);
    for (int64_t i = 0; i < n; i++) put(dst + i * size, encode_one((double)src[i], t), size);
    return 1;
}
