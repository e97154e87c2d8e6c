/* An npy file: the data ends where the file does, and can be read. */
#include "fuzz/targets.h"
#include "io/npy.h"

int VVT_TARGET(npy)(const uint8_t *bytes, size_t n)
{
    vv_npy npy;
    vv_error err = {0}, a = {0}, b = {0}, c = {0};
    if (!vvt_outcome(vv_npy_parse(&npy, bytes, (int64_t)n, "input", &err), &err)) {
        VVT_HOLDS(!npy.path && !npy.map.data);
        return 0;
    }
    const vv_st_entry *e = &npy.e;
    VVT_HOLDS(e->ndim >= 0 && e->ndim <= VV_ST_MAXDIM);
    VVT_HOLDS(e->data == (npy.turned ? npy.turned : bytes + e->offset) && e->offset + e->bytes == (int64_t)n);
    void *buf = vv_calloc(e->n, sizeof(double)); /* the widest of vv_real, double and int64_t */
    VVT_HOLDS(buf);
    const vv_status real = vv_npy_read_real(&npy, buf, &a), f64 = vv_npy_read_f64(&npy, buf, &b),
                    i64 = vv_npy_read_i64(&npy, buf, &c);
    VVT_HOLDS(real == f64 && real == (vv_dtype_is_real(e->dtype) ? VV_OK : VV_FILE));
    VVT_HOLDS(i64 == VV_FILE || (i64 == VV_OK && !vv_dtype_is_real(e->dtype)));
    free(buf);
    vv_npy_close(&npy);
    return 0;
}
