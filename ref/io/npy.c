#include "io/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Real headers are below 200 bytes (they are padded to a multiple of 64). */
enum { HEADER_MAX = 1 << 20 };

static const struct {
    const char *descr;
    vv_dtype dtype;
} types[] = {
    {"<f2", VV_DT_F16}, {"<f4", VV_DT_F32}, {"<f8", VV_DT_F64}, {"|i1", VV_DT_I8},
    {"<i2", VV_DT_I16}, {"<i4", VV_DT_I32}, {"<i8", VV_DT_I64}, {"|u1", VV_DT_U8},
    {"<u2", VV_DT_U16}, {"<u4", VV_DT_U32}, {"<u8", VV_DT_U64}, {"|b1", VV_DT_BOOL},
};
enum { TYPES = sizeof types / sizeof *types };

/* ---- the dict -------------------------------------------------------------------------------------------------- */

/* A cursor in the header's text; base is its offset in the file, for messages. */
typedef struct {
    const char *path;
    const char *p, *end, *start;
    int64_t base;
} cursor;

static vv_status unexpected(const cursor *c, const char *expected, vv_error *err)
{
    const int n = (int)vv_min(c->end - c->p, 24);
    return vv_fail(err, VV_FILE, "%s: header at offset %" PRId64 ": expected %s, found %s%.*s%s", c->path,
                   c->base + (c->p - c->start), expected, n ? "\"" : "its end", n, c->p, n ? "\"" : "");
}

static void blank(cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r')) c->p++;
}

/* Skips blanks and the character, if it is there. */
static int take(cursor *c, char what)
{
    blank(c);
    if (c->p >= c->end || *c->p != what) return 0;
    c->p++;
    return 1;
}

/* 'text' or "text" without escapes, of at most size-1 characters. */
static vv_status quoted(cursor *c, char *text, size_t size, const char *expected, vv_error *err)
{
    blank(c);
    if (c->p >= c->end || (*c->p != '\'' && *c->p != '"')) return unexpected(c, expected, err);
    const char quote = *c->p, *from = c->p + 1, *to = from;
    while (to < c->end && *to != quote && *to != '\\' && *to != '\n' && *to) to++;
    if (to >= c->end || *to != quote || (size_t)(to - from) >= size) return unexpected(c, expected, err);
    memcpy(text, from, (size_t)(to - from));
    text[to - from] = 0;
    c->p = to + 1;
    return VV_OK;
}

static vv_status parse_descr(cursor *c, vv_dtype *dtype, vv_error *err)
{
    char text[16];
    blank(c);
    if (c->p < c->end && *c->p == '[')
        return unexpected(c, "'descr' with one plain type (records are not supported)", err);
    const cursor before = *c;
    VV_TRY(quoted(c, text, sizeof text, "'descr' with a type such as '<f4'", err));
    for (int i = 0; i < TYPES; i++)
        if (!strcmp(text, types[i].descr)) {
            *dtype = types[i].dtype;
            return VV_OK;
        }
    return unexpected(&before,
                      text[0] == '>' ? "'descr' with little-endian numbers (big-endian ones are not supported)"
                                     : "'descr' to be one of <f2 <f4 <f8 <i2 <i4 <i8 <u2 <u4 <u8 |u1 |i1 |b1",
                      err);
}

static vv_status parse_order(cursor *c, int *columns, vv_error *err)
{
    blank(c);
    const size_t left = (size_t)(c->end - c->p);
    *columns = left >= 4 && !memcmp(c->p, "True", 4);
    if (!*columns && (left < 5 || memcmp(c->p, "False", 5)))
        return unexpected(c, "'fortran_order' to be True or False", err);
    c->p += *columns ? 4 : 5;
    return VV_OK;
}

/* (), (3,), (2, 3), (2, 3,); Python 2 wrote 3L. "(3)" is a number in Python, not a shape. */
static vv_status parse_shape(cursor *c, vv_st_entry *e, vv_error *err)
{
    int comma = 1;
    if (!take(c, '(')) return unexpected(c, "'shape' with a tuple such as (2, 3)", err);
    while (!take(c, ')')) {
        if (!comma) return unexpected(c, "',' or ')' in 'shape'", err);
        const cursor before = *c;
        int64_t d = 0;
        if (c->p >= c->end || *c->p < '0' || *c->p > '9') return unexpected(c, "a size of at least 0 in 'shape'", err);
        if (*c->p == '0' && c->end - c->p > 1 && c->p[1] >= '0' && c->p[1] <= '9')
            return unexpected(c, "a size without leading zeros in 'shape'", err);
        for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
            const int digit = *c->p - '0';
            if (d > (INT64_MAX - digit) / 10) return unexpected(&before, "a size below 2^63 in 'shape'", err);
            d = d * 10 + digit;
        }
        if (c->p < c->end && *c->p == 'L') c->p++;
        if (e->ndim == VV_ST_MAXDIM) return unexpected(&before, "at most 8 dimensions in 'shape'", err);
        e->shape[e->ndim++] = d;
        comma = take(c, ',');
    }
    if (e->ndim == 1 && !comma) return unexpected(c, "a comma in a 'shape' of one dimension, as in (3,)", err);
    return VV_OK;
}

static vv_status parse_dict(cursor *c, vv_st_entry *e, int *columns, vv_error *err)
{
    static const char *const keys[3] = {"descr", "fortran_order", "shape"};
    int seen[3] = {0}, comma = 1;
    char key[16];
    if (!take(c, '{')) return unexpected(c, "a dict { }", err);
    while (!take(c, '}')) {
        if (!comma) return unexpected(c, "',' or '}'", err);
        const cursor before = *c;
        int k = 0;
        VV_TRY(quoted(c, key, sizeof key, "the key 'descr', 'fortran_order' or 'shape'", err));
        while (k < 3 && strcmp(key, keys[k])) k++;
        if (k == 3) return unexpected(&before, "the key 'descr', 'fortran_order' or 'shape'", err);
        if (seen[k]++) return unexpected(&before, "every key once", err);
        if (!take(c, ':')) return unexpected(c, "':'", err);
        VV_TRY(k == 0   ? parse_descr(c, &e->dtype, err)
               : k == 1 ? parse_order(c, columns, err)
                        : parse_shape(c, e, err));
        comma = take(c, ',');
    }
    for (int k = 0; k < 3; k++)
        if (!seen[k])
            return vv_fail(err, VV_FILE, "%s: header at offset %" PRId64 ": expected the key '%s', found none", c->path,
                           c->base, keys[k]);
    blank(c);
    return c->p == c->end ? VV_OK : unexpected(c, "nothing but spaces after the dict", err);
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

/* Magic, version and length: where the header's text is. */
static vv_status find_header(const vv_npy *npy, cursor *c, vv_error *err)
{
    const unsigned char *p = npy->map.data;
    const int64_t size = npy->map.bytes;
    if (size < 10 || memcmp(p, "\x93NUMPY", 6))
        return vv_fail(err, VV_FILE, "%s: no npy file: expected \\x93NUMPY and a version at offset 0, found %s",
                       npy->path, size < 10 ? "fewer than 10 bytes" : "other bytes");
    if (p[6] < 1 || p[6] > 3 || p[7] != 0)
        return vv_fail(err, VV_FILE, "%s: version at offset 6: expected 1.0, 2.0 or 3.0, found %d.%d", npy->path, p[6],
                       p[7]);
    const int64_t base = p[6] == 1 ? 10 : 12;
    if (size < base) return vv_fail(err, VV_FILE, "%s: expected a header length at offset 8, found the end", npy->path);
    int64_t n = p[8] | p[9] << 8;
    if (p[6] > 1) n += (int64_t)p[10] << 16 | (int64_t)p[11] << 24;
    if (n > HEADER_MAX || n > size - base)
        return vv_fail(err, VV_FILE, "%s: header length at offset 8: expected at most %" PRId64 ", found %" PRId64,
                       npy->path, vv_min(HEADER_MAX, size - base), n);
    const char *text = (const char *)p + base;
    *c = (cursor){npy->path, text, text + n, text, base};
    if (n == 0 || text[n - 1] != '\n')
        return vv_fail(err, VV_FILE,
                       "%s: header: expected a newline at offset %" PRId64 " as its last byte, found none", npy->path,
                       base + vv_max(n, 1) - 1);
    return VV_OK;
}

/* Data in column order (the first index runs fastest) becomes a copy in row order. */
static vv_status turn(vv_npy *npy, vv_error *err)
{
    vv_st_entry *e = &npy->e;
    const int64_t size = vv_dtype_size(e->dtype);
    int64_t at[VV_ST_MAXDIM] = {0}, stride[VV_ST_MAXDIM], step = 1;
    if (!(npy->turned = vv_calloc(e->bytes, 1))) return vv_no_memory(err, npy->path);
    for (int i = 0; i < e->ndim; i++) {
        stride[i] = step;
        step *= e->shape[i];
    }
    for (int64_t k = 0; k < e->n; k++) {
        int64_t from = 0;
        for (int i = 0; i < e->ndim; i++) from += at[i] * stride[i];
        memcpy(npy->turned + k * size, e->data + from * size, (size_t)size);
        for (int i = e->ndim - 1; i >= 0 && ++at[i] == e->shape[i]; i--) at[i] = 0;
    }
    e->data = npy->turned;
    return VV_OK;
}

static vv_status read_file(vv_npy *npy, vv_error *err)
{
    vv_st_entry *e = &npy->e;
    cursor c = {0};
    int columns = 0;
    char text[220];
    VV_TRY(find_header(npy, &c, err));
    VV_TRY(parse_dict(&c, e, &columns, err));
    e->name = "";
    e->n = 1;
    for (int i = 0; i < e->ndim && e->n >= 0; i++) e->n = vv_mul(e->n, e->shape[i]);
    e->bytes = e->n < 0 ? -1 : vv_mul(e->n, vv_dtype_size(e->dtype));
    vv_shape_text(e->shape, e->ndim, text, sizeof text);
    if (e->bytes < 0)
        return vv_fail(err, VV_FILE, "%s: shape: expected less than 2^63 bytes, found %s of %s", npy->path, text,
                       vv_dtype_name(e->dtype));
    e->offset = c.base + (c.end - c.start);
    e->data = npy->map.data + e->offset;
    if (npy->map.bytes - e->offset != e->bytes)
        return vv_fail(err, VV_FILE,
                       "%s: data at offset %" PRId64 ": expected %" PRId64 " bytes for %s %s, found %" PRId64,
                       npy->path, e->offset, e->bytes, vv_dtype_name(e->dtype), text, npy->map.bytes - e->offset);
    return columns && e->ndim > 1 && e->n > 0 ? turn(npy, err) : VV_OK;
}

vv_status vv_npy_open(vv_npy *npy, const char *path, vv_error *err)
{
    memset(npy, 0, sizeof *npy);
    npy->path = vv_strdup(path);
    vv_status s = npy->path ? vv_map_open(&npy->map, path, err) : vv_no_memory(err, path);
    if (s == VV_OK) s = read_file(npy, err);
    if (s != VV_OK) vv_npy_close(npy);
    return s;
}

vv_status vv_npy_parse(vv_npy *npy, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    memset(npy, 0, sizeof *npy);
    npy->path = vv_strdup(where);
    npy->map = (vv_map){.data = bytes, .bytes = n}; /* nothing to unmap */
    const vv_status s = npy->path ? read_file(npy, err) : vv_no_memory(err, where);
    if (s != VV_OK) vv_npy_close(npy);
    return s;
}

void vv_npy_close(vv_npy *npy)
{
    vv_map_close(&npy->map);
    free(npy->turned);
    free(npy->path);
    memset(npy, 0, sizeof *npy);
}

vv_status vv_npy_read_real(const vv_npy *npy, vv_real *dst, vv_error *err)
{
    return vv_entry_read_real(npy->path, &npy->e, dst, err);
}

vv_status vv_npy_read_f64(const vv_npy *npy, double *dst, vv_error *err)
{
    return vv_entry_read_f64(npy->path, &npy->e, dst, err);
}

vv_status vv_npy_read_i64(const vv_npy *npy, int64_t *dst, vv_error *err)
{
    return vv_entry_read_i64(npy->path, &npy->e, dst, err);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* Magic, version, length and dict, padded as numpy does so that the data begins at a multiple of 64; its size. */
static size_t make_header(char *buf, size_t size, const char *descr, int ndim, const int64_t *shape)
{
    size_t n = 10;
    n += (size_t)snprintf(buf + n, size - n, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < ndim; i++) n += (size_t)snprintf(buf + n, size - n, "%s%" PRId64, i ? ", " : "", shape[i]);
    n += (size_t)snprintf(buf + n, size - n, "%s), }", ndim == 1 ? "," : "");
    while ((n + 1) % 64) buf[n++] = ' ';
    buf[n++] = '\n';
    memcpy(buf, "\x93NUMPY\x01\x00", 8);
    buf[8] = (char)((n - 10) & 255);
    buf[9] = (char)((n - 10) >> 8);
    return n;
}

/* Host elements to the file; a big-endian host turns each around. */
static vv_status write_values(vv_out *out, const unsigned char *values, int64_t n, int64_t size, vv_error *err)
{
    const uint16_t one = 1;
    if (n == 0) return VV_OK;
    if (*(const unsigned char *)&one == 1) return vv_out_write(out, values, (size_t)(n * size), err);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = size; k-- > 0;) VV_TRY(vv_out_write(out, values + i * size + k, 1, err));
    return VV_OK;
}

vv_status vv_npy_write(const char *path, vv_dtype dtype, int ndim, const int64_t *shape, const void *values,
                       vv_error *err)
{
    int64_t n = 1;
    int type = 0;
    char header[512];
    while (type < TYPES && types[type].dtype != dtype) type++;
    if (type == TYPES) return vv_fail(err, VV_USAGE, "%s: npy has no type for %s", path, vv_dtype_name(dtype));
    if (ndim < 0 || ndim > VV_ST_MAXDIM)
        return vv_fail(err, VV_USAGE, "%s: expected 0 to %d dimensions, found %d", path, VV_ST_MAXDIM, ndim);
    for (int i = 0; i < ndim && n >= 0; i++) n = vv_mul(n, shape[i]);
    if (n < 0 || vv_mul(n, vv_dtype_size(dtype)) < 0)
        return vv_fail(err, VV_USAGE, "%s: impossible shape %s", path,
                       vv_shape_text(shape, ndim, header, sizeof header));
    vv_out *out;
    VV_TRY(vv_out_open(&out, path, err));
    vv_status s = vv_out_write(out, header, make_header(header, sizeof header, types[type].descr, ndim, shape), err);
    if (s == VV_OK) s = write_values(out, values, n, vv_dtype_size(dtype), err);
    if (s == VV_OK) return vv_out_commit(out, err);
    vv_out_abort(out);
    return s;
}
