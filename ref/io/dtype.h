/* The number types of tensor files, and the exact conversions between them.
 *
 * Names are those of safetensors. Files are little-endian; the functions on bytes take unaligned little-endian
 * bytes on every host. Rounding is to nearest, ties to even, once (a double never goes through float); subnormals
 * are kept; what is too large becomes infinity; a NaN stays a NaN of the same sign and becomes quiet, its upper
 * payload bits kept. */
#ifndef VV_DTYPE_H
#define VV_DTYPE_H

#include "base/base.h"

typedef enum {
    VV_DT_BOOL,
    VV_DT_U8,
    VV_DT_I8,
    VV_DT_I16,
    VV_DT_U16,
    VV_DT_F16,
    VV_DT_BF16,
    VV_DT_I32,
    VV_DT_U32,
    VV_DT_F32,
    VV_DT_F64,
    VV_DT_I64,
    VV_DT_U64
} vv_dtype;
enum { VV_DT_COUNT = VV_DT_U64 + 1 };

int64_t vv_dtype_size(vv_dtype t);                 /* bytes of one element */
const char *vv_dtype_name(vv_dtype t);             /* "BF16" */
int vv_dtype_is_real(vv_dtype t);                  /* F16 BF16 F32 F64 */
int vv_dtype_parse(const char *name, vv_dtype *t); /* 1 when the name is known */

/* The type in which a file holds a vv_real exactly: F32, or F64 in the double build. */
#ifdef VV_DOUBLE
#define VV_DT_REAL VV_DT_F64
#else
#define VV_DT_REAL VV_DT_F32
#endif

/* Scalars, as bit patterns. f16: 1+5+10 bits (IEEE binary16); bf16: 1+8+7 bits, the upper half of a float. */
float vv_f16_to_f32(uint16_t h);
float vv_bf16_to_f32(uint16_t h);
uint16_t vv_f32_to_f16(float x);
uint16_t vv_f32_to_bf16(float x);
uint16_t vv_f64_to_f16(double x);
uint16_t vv_f64_to_bf16(double x);

/* n elements of a real type from bytes; 0 (nothing done) when t is an integer type. */
int vv_decode_real(vv_real *dst, const unsigned char *src, vv_dtype t, int64_t n);
int vv_decode_f64(double *dst, const unsigned char *src, vv_dtype t, int64_t n);

/* n elements of an integer type or BOOL. Returns n, or the index of the first element that is no int64 (a U64
 * beyond it) or no truth value (a BOOL other than 0 and 1), or -1 when t is a real type. */
int64_t vv_decode_i64(int64_t *dst, const unsigned char *src, vv_dtype t, int64_t n);

/* n numbers into bytes of a real type; 0 when t is an integer type. Every NaN becomes the one positive quiet NaN
 * without payload, so that equal results are equal bytes. */
int vv_encode_real(unsigned char *dst, const vv_real *src, vv_dtype t, int64_t n);

#endif
