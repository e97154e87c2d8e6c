/* Reading the elements of one entry, of a safetensors or an npy file (declared in safetensors.h). */
#include <inttypes.h>
#include <stdio.h>

#include "io/safetensors.h"

const char *vv_shape_text(const int64_t *shape, int ndim, char *buf, size_t size)
{
    size_t n = 0;
    if (size == 0) return buf;
    buf[0] = 0;
    for (int i = 0; i < ndim && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%" PRId64, i ? "," : "[", shape[i]);
    if (n < size) snprintf(buf + n, size - n, "%s", ndim ? "]" : "[]");
    return buf;
}

static vv_status wrong_type(const char *path, const vv_st_entry *e, const char *expected, vv_error *err)
{
    return vv_fail(err, VV_FILE, "%s: tensor '%.150s' at offset %" PRId64 ": expected %s, found %s", path, e->name,
                   e->offset, expected, vv_dtype_name(e->dtype));
}

vv_status vv_entry_read_real(const char *path, const vv_st_entry *e, vv_real *dst, vv_error *err)
{
    if (vv_decode_real(dst, e->data, e->dtype, e->n)) return VV_OK;
    return wrong_type(path, e, "F16, BF16, F32 or F64", err);
}

vv_status vv_entry_read_f64(const char *path, const vv_st_entry *e, double *dst, vv_error *err)
{
    if (vv_decode_f64(dst, e->data, e->dtype, e->n)) return VV_OK;
    return wrong_type(path, e, "F16, BF16, F32 or F64", err);
}

vv_status vv_entry_read_i64(const char *path, const vv_st_entry *e, int64_t *dst, vv_error *err)
{
    const int64_t done = vv_decode_i64(dst, e->data, e->dtype, e->n);
    if (done < 0) return wrong_type(path, e, "an integer type or BOOL", err);
    if (done == e->n) return VV_OK;
    const int64_t offset = e->offset + done * vv_dtype_size(e->dtype);
    if (e->dtype == VV_DT_BOOL)
        return vv_fail(err, VV_FILE,
                       "%s: tensor '%.150s': BOOL element %" PRId64 " at offset %" PRId64 ": expected 0 or 1, found %d",
                       path, e->name, done, offset, e->data[done]);
    return vv_fail(err, VV_FILE,
                   "%s: tensor '%.150s': U64 element %" PRId64 " at offset %" PRId64
                   ": expected at most 2^63-1, found more",
                   path, e->name, done, offset);
}

static const char *path_of(const vv_st *st) { return st ? vv_st_path(st) : "(no file)"; }

vv_status vv_st_read_real(const vv_st *st, const vv_st_entry *e, vv_real *dst, vv_error *err)
{
    return vv_entry_read_real(path_of(st), e, dst, err);
}

vv_status vv_st_read_f64(const vv_st *st, const vv_st_entry *e, double *dst, vv_error *err)
{
    return vv_entry_read_f64(path_of(st), e, dst, err);
}

vv_status vv_st_read_i64(const vv_st *st, const vv_st_entry *e, int64_t *dst, vv_error *err)
{
    return vv_entry_read_i64(path_of(st), e, dst, err);
}
