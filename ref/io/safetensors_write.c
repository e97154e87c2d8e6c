#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/file.h"
#include "io/safetensors.h"

enum { HEADER_MAX = 100000000, CHUNK = 16384 /* elements converted at a time */ };

typedef struct {
    char *name;
    vv_dtype dtype;
    int64_t n, bytes;
    int64_t begin; /* in the buffer of tensor bytes */
    int written;
} slot;

struct vv_stw {
    vv_out *out;
    char *path;
    int64_t begin; /* of the buffer in the file */
    int64_t n;
    slot *slots; /* in the order of the declarations */
};

/* ---- declarations ---------------------------------------------------------------------------------------------- */

/* The sort needs the declaration's index as the last key: qsort is not stable. */
typedef struct {
    const vv_st_decl *d;
    int64_t index;
} ranked;

static int by_size_then_name(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    const int64_t sa = vv_dtype_size(a->d->dtype), sb = vv_dtype_size(b->d->dtype);
    if (sa != sb) return sa > sb ? -1 : 1;
    const int c = strcmp(a->d->name, b->d->name);
    return c ? c : a->index < b->index ? -1 : a->index > b->index;
}

static vv_status declare(vv_stw *w, const vv_st_decl *d, int64_t i, vv_error *err)
{
    slot *s = &w->slots[i];
    if (!strcmp(d->name, "__metadata__"))
        return vv_fail(err, VV_USAGE, "%s: tensor %" PRId64 ": the name __metadata__ is reserved", w->path, i);
    if ((unsigned)d->dtype >= VV_DT_COUNT)
        return vv_fail(err, VV_USAGE, "%s: tensor '%.150s': unknown type %d", w->path, d->name, (int)d->dtype);
    if (d->ndim < 0 || d->ndim > VV_ST_MAXDIM)
        return vv_fail(err, VV_USAGE, "%s: tensor '%.150s': expected 0 to %d dimensions, found %d", w->path, d->name,
                       VV_ST_MAXDIM, d->ndim);
    s->n = 1;
    for (int k = 0; k < d->ndim; k++) s->n = vv_mul(s->n, d->shape[k]); /* -1 stays -1 */
    s->bytes = s->n < 0 ? -1 : vv_mul(s->n, vv_dtype_size(d->dtype));
    if (s->bytes < 0) {
        char text[220];
        return vv_fail(err, VV_USAGE, "%s: tensor '%.150s': impossible shape %s", w->path, d->name,
                       vv_shape_text(d->shape, d->ndim, text, sizeof text));
    }
    s->dtype = d->dtype;
    s->name = vv_strdup(d->name);
    return s->name ? VV_OK : vv_no_memory(err, w->path);
}

/* {"dtype": ..., "shape": ..., "data_offsets": ...} under its name. 0 without memory or for a name that is no UTF-8. */
static int describe(json_t *header, const vv_st_decl *d, const slot *s)
{
    json_t *shape = json_array();
    int ok = shape != NULL;
    for (int k = 0; ok && k < d->ndim; k++) ok = !json_array_append_new(shape, json_integer(d->shape[k]));
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", vv_dtype_name(d->dtype), "shape", shape, "data_offsets",
                              (json_int_t)s->begin, (json_int_t)(s->begin + s->bytes));
    return !json_object_set_new(header, d->name, entry) && ok;
}

static vv_status describe_all(vv_stw *w, json_t *header, const vv_st_decl *decls, const ranked *order, vv_error *err)
{
    int64_t at = 0;
    for (int64_t i = 0; i < w->n; i++) {
        slot *s = &w->slots[order[i].index];
        const vv_st_decl *d = &decls[order[i].index];
        s->begin = at;
        if (s->bytes > INT64_MAX / 2 - at)
            return vv_fail(err, VV_USAGE, "%s: more bytes than a file can hold", w->path);
        at += s->bytes;
        if (json_object_get(header, d->name))
            return vv_fail(err, VV_USAGE, "%s: tensor '%.150s' is declared twice", w->path, d->name);
        errno = 0;
        if (!describe(header, d, s))
            return errno == ENOMEM
                       ? vv_no_memory(err, w->path)
                       : vv_fail(err, VV_USAGE, "%s: tensor '%.150s': the name is no UTF-8", w->path, d->name);
    }
    return VV_OK;
}

static vv_status add_metadata(json_t *header, const char *path, const char *const *meta, vv_error *err)
{
    json_t *m = json_object();
    if (!m || json_object_set_new(header, "__metadata__", m)) return vv_no_memory(err, path);
    if (json_object_set_new(m, "format", json_string("pt"))) return vv_no_memory(err, path);
    for (; meta && *meta; meta += 2) {
        if (!strcmp(meta[0], "format") && !strcmp(meta[1], "pt")) continue;
        if (json_object_get(m, meta[0]))
            return vv_fail(err, VV_USAGE, "%s: __metadata__: '%.150s' is given twice", path, meta[0]);
        errno = 0;
        if (json_object_set_new(m, meta[0], json_string(meta[1])))
            return errno == ENOMEM ? vv_no_memory(err, path)
                                   : vv_fail(err, VV_USAGE, "%s: __metadata__: '%.150s': no UTF-8", path, meta[0]);
    }
    return VV_OK;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* Length, JSON, spaces up to a multiple of 8. */
static vv_status write_header(vv_stw *w, const json_t *header, vv_error *err)
{
    errno = 0;
    const size_t n = json_dumpb(header, NULL, 0, JSON_COMPACT), padded = (n + 7) / 8 * 8;
    if (padded > HEADER_MAX)
        return vv_fail(err, VV_USAGE, "%s: a header of %zu bytes: expected at most %d", w->path, padded, HEADER_MAX);
    unsigned char *text = malloc(8 + padded);
    if (n == 0 || !text) {
        free(text);
        return vv_no_memory(err, w->path);
    }
    for (int i = 0; i < 8; i++) text[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    memset(text + 8, ' ', padded);
    const int complete = json_dumpb(header, (char *)text + 8, n, JSON_COMPACT) == n && errno != ENOMEM;
    const vv_status s = complete ? vv_out_pwrite(w->out, text, 8 + padded, 0, err) : vv_no_memory(err, w->path);
    free(text);
    w->begin = 8 + (int64_t)padded;
    return s;
}

static vv_status prepare(vv_stw *w, json_t *header, ranked *order, const vv_st_decl *decls, const char *const *meta,
                         int keep_order, vv_error *err)
{
    VV_TRY(add_metadata(header, w->path, meta, err));
    for (int64_t i = 0; i < w->n; i++) {
        VV_TRY(declare(w, &decls[i], i, err));
        order[i] = (ranked){&decls[i], i};
    }
    if (!keep_order) qsort(order, (size_t)w->n, sizeof *order, by_size_then_name);
    VV_TRY(describe_all(w, header, decls, order, err));
    VV_TRY(vv_out_open(&w->out, w->path, err));
    return write_header(w, header, err);
}

vv_status vv_stw_open(vv_stw **out, const char *path, const vv_st_decl *decls, int64_t n, const char *const *meta,
                      int keep_order, vv_error *err)
{
    *out = NULL;
    vv_stw *w = vv_calloc(1, sizeof *w);
    ranked *order = vv_calloc(n, sizeof *order);
    json_t *header = json_object();
    vv_status s = VV_OK;
    if (w) {
        w->path = vv_strdup(path);
        w->slots = vv_calloc(n, sizeof *w->slots);
        w->n = n;
    }
    if (!w || !w->path || !w->slots || !order || !header) s = vv_no_memory(err, path);
    if (s == VV_OK) s = prepare(w, header, order, decls, meta, keep_order, err);
    json_decref(header);
    free(order);
    if (s == VV_OK) *out = w;
    else vv_stw_abort(w);
    return s;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

static vv_status pick(vv_stw *w, int64_t index, slot **s, vv_error *err)
{
    if (index < 0 || index >= w->n)
        return vv_fail(err, VV_USAGE, "%s: tensor %" PRId64 ": expected an index from 0 to %" PRId64, w->path, index,
                       w->n - 1);
    *s = &w->slots[index];
    if ((*s)->written) return vv_fail(err, VV_USAGE, "%s: tensor '%.150s' was already written", w->path, (*s)->name);
    return VV_OK;
}

vv_status vv_stw_write(vv_stw *w, int64_t index, const void *bytes, vv_error *err)
{
    slot *s = NULL;
    VV_TRY(pick(w, index, &s, err));
    VV_TRY(vv_out_pwrite(w->out, bytes, (size_t)s->bytes, w->begin + s->begin, err));
    s->written = 1;
    return VV_OK;
}

vv_status vv_stw_write_real(vv_stw *w, int64_t index, const vv_real *src, vv_error *err)
{
    slot *s = NULL;
    VV_TRY(pick(w, index, &s, err));
    if (!vv_dtype_is_real(s->dtype))
        return vv_fail(err, VV_USAGE, "%s: tensor '%.150s': expected F16, BF16, F32 or F64 for real numbers, found %s",
                       w->path, s->name, vv_dtype_name(s->dtype));
    const int64_t size = vv_dtype_size(s->dtype);
    unsigned char *chunk = vv_calloc(CHUNK, (size_t)size);
    if (!chunk) return vv_no_memory(err, w->path);
    vv_status st = VV_OK;
    for (int64_t i = 0; i < s->n && st == VV_OK; i += CHUNK) {
        const int64_t m = vv_min(CHUNK, s->n - i);
        vv_encode_real(chunk, src + i, s->dtype, m);
        st = vv_out_pwrite(w->out, chunk, (size_t)(m * size), w->begin + s->begin + i * size, err);
    }
    free(chunk);
    s->written = st == VV_OK;
    return st;
}

vv_status vv_stw_sync(vv_stw *w, vv_error *err)
{
    for (int64_t i = 0; i < w->n; i++)
        if (!w->slots[i].written)
            return vv_fail(err, VV_USAGE, "%s: tensor '%.150s' was declared but not written", w->path,
                           w->slots[i].name);
    return vv_out_sync(w->out, err);
}

vv_status vv_stw_commit(vv_stw *w, vv_error *err)
{
    vv_status s = vv_stw_sync(w, err);
    if (s == VV_OK) {
        s = vv_out_commit(w->out, err);
        w->out = NULL;
    }
    vv_stw_abort(w);
    return s;
}

void vv_stw_abort(vv_stw *w)
{
    if (!w) return;
    vv_out_abort(w->out);
    for (int64_t i = 0; w->slots && i < w->n; i++) free(w->slots[i].name);
    free(w->slots);
    free(w->path);
    free(w);
}
