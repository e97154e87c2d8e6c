/* A safetensors file: every tensor is found by name, lies where the one before ended, and can be read. */
#include "fuzz/targets.h"
#include "io/safetensors.h"

/* One of the three conversions fits the type; a value it refuses (a BOOL of 2) is VV_FILE. */
static void read_all(const vv_st *st, const vv_st_entry *e)
{
    void *buf = vv_calloc(e->n, sizeof(double)); /* the widest of vv_real, double and int64_t */
    vv_error a = {0}, b = {0}, c = {0};
    VVT_HOLDS(buf);
    const vv_status real = vv_st_read_real(st, e, buf, &a), f64 = vv_st_read_f64(st, e, buf, &b),
                    i64 = vv_st_read_i64(st, e, buf, &c);
    VVT_HOLDS(real == f64 && real == (vv_dtype_is_real(e->dtype) ? VV_OK : VV_FILE));
    VVT_HOLDS(i64 == VV_FILE || (i64 == VV_OK && !vv_dtype_is_real(e->dtype)));
    free(buf);
}

int VVT_TARGET(safetensors)(const uint8_t *bytes, size_t n)
{
    vv_st *st = NULL;
    vv_error err = {0};
    const vv_status s = vv_st_parse(&st, bytes, (int64_t)n, "input", &err);
    VVT_HOLDS((s == VV_OK) == (st != NULL));
    if (!vvt_outcome(s, &err)) return 0;
    int64_t at = vv_st_count(st) ? vv_st_at(st, 0)->offset : (int64_t)n;
    for (int64_t i = 0; i < vv_st_count(st); i++) {
        const vv_st_entry *e = vv_st_at(st, i);
        VVT_HOLDS(e->offset == at && e->data == bytes + at && e->bytes == vv_mul(e->n, vv_dtype_size(e->dtype)));
        VVT_HOLDS(vv_st_find(st, e->name) == e);
        read_all(st, e);
        at += e->bytes;
    }
    VVT_HOLDS(at == (int64_t)n);
    const char *format = vv_st_metadata(st, "format");
    VVT_HOLDS(!format || strlen(format) <= n);
    vv_st_close(st);
    return 0;
}
