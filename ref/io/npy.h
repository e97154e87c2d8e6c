/* NumPy's .npy files, versions 1.0, 2.0 and 3.0:
 *
 *   "\x93NUMPY" major minor | header length, u16 (1.0) or u32 little-endian | a Python dict, spaces, '\n' | data
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
 *
 * Read are <f2 <f4 <f8 <i2 <i4 <i8 <u2 <u4 <u8 |u1 |i1 |b1 of at most VV_ST_MAXDIM dimensions; the data must end
 * exactly where the file does. Column order (fortran_order: True, which numpy writes for a.T) is brought into row order.
 * Everything else is refused (VV_FILE) naming file, expected and found.
 * Source: numpy/lib/format.py. */
#ifndef VV_NPY_H
#define VV_NPY_H

#include "io/file.h"
#include "io/safetensors.h"

typedef struct {
    vv_map map;
    char *path;
    unsigned char *turned; /* the data in row order where the file's is not; else NULL */
    vv_st_entry e;         /* name "" */
} vv_npy;

vv_status vv_npy_open(vv_npy *npy, const char *path, vv_error *err) VV_MUST_USE;

/* The same from n bytes of memory (not NULL), which must stay as long as npy; where names them in messages. */
vv_status vv_npy_parse(vv_npy *npy, const unsigned char *bytes, int64_t n, const char *where,
                       vv_error *err) VV_MUST_USE;

void vv_npy_close(vv_npy *npy); /* zeroes it; a zeroed one is fine */

/* All e.n elements; rules of vv_st_read_*. */
vv_status vv_npy_read_real(const vv_npy *npy, vv_real *dst, vv_error *err) VV_MUST_USE;
vv_status vv_npy_read_f64(const vv_npy *npy, double *dst, vv_error *err) VV_MUST_USE;
vv_status vv_npy_read_i64(const vv_npy *npy, int64_t *dst, vv_error *err) VV_MUST_USE;

/* Writes version 1.0, atomically. values are the host's elements of the type (F32: float, F64: double, I32:
 * int32_t, ...; F16: uint16_t bit patterns). BF16 does not exist in npy: VV_USAGE. */
vv_status vv_npy_write(const char *path, vv_dtype dtype, int ndim, const int64_t *shape, const void *values,
                       vv_error *err) VV_MUST_USE;

#endif
