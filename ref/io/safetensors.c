#include "io/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/file.h"

/* The limits of the format (100 MB of header), and ours: jansson needs about 9 times the text of an honest header,
 * but a hostile one ("[1,1,1,...") up to 30 times. parse_cost bounds it before parsing. */
enum { HEADER_MAX = 100000000, PARSE_ALLOWANCE = 256 << 20 };

struct vv_st {
    vv_map map;
    char *path;
    json_t *header; /* owns the names and the metadata */
    int64_t n;
    vv_st_entry *entries;        /* in the order of the data */
    const vv_st_entry **by_name; /* sorted for the binary search */
};

/* ---- the header's text ----------------------------------------------------------------------------------------- */

/* An upper estimate of the memory that parsing takes: the text once more, and per token what jansson allocates for it
 * (an object and its first table, an array, a table entry and its value, an array element). */
static int64_t parse_cost(const unsigned char *text, int64_t n)
{
    int64_t cost = n;
    int in_string = 0;
    for (int64_t i = 0; i < n; i++) {
        const unsigned char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = 0;
        } else if (c == '"') in_string = 1;
        else if (c == '{') cost += 256;
        else if (c == '[' || c == ':') cost += 128;
        else if (c == ',') cost += 64;
    }
    return cost;
}

/* Finds and parses the header; *begin becomes the offset of the tensors' bytes. */
static vv_status read_header(vv_st *st, int64_t *begin, vv_error *err)
{
    const unsigned char *p = st->map.data;
    const int64_t size = st->map.bytes;
    uint64_t N = 0;
    if (size < 8)
        return vv_fail(err, VV_FILE, "%s: no safetensors file: expected at least 8 bytes, found %" PRId64, st->path,
                       size);
    for (int i = 7; i >= 0; i--) N = N << 8 | p[i];
    if (N > HEADER_MAX)
        return vv_fail(err, VV_FILE, "%s: header length at offset 0: expected at most %d, found %" PRIu64, st->path,
                       HEADER_MAX, N);
    if ((int64_t)N > size - 8)
        return vv_fail(err, VV_FILE,
                       "%s: header length at offset 0: expected at most %" PRId64 " (the file has %" PRId64
                       " bytes), found %" PRIu64,
                       st->path, size - 8, size, N);
    const int64_t cost = parse_cost(p + 8, (int64_t)N);
    if (cost > size + PARSE_ALLOWANCE)
        return vv_fail(err, VV_FILE,
                       "%s: header at offset 8: expected at most %" PRId64
                       " bytes of memory to parse it, found %" PRId64,
                       st->path, size + PARSE_ALLOWANCE, cost);
    char *where = vv_asprintf("%s: header at offset 8", st->path);
    if (!where) return vv_no_memory(err, st->path);
    const vv_status s = vv_json_parse(&st->header, (const char *)p + 8, (size_t)N, where, err);
    free(where);
    *begin = 8 + (int64_t)N;
    return s;
}

/* ---- one entry ------------------------------------------------------------------------------------------------- */

static vv_status wrong(const vv_st *st, const char *name, const char *field, const char *expected, const json_t *found,
                       vv_error *err)
{
    char buf[100];
    return vv_fail(err, VV_FILE, "%s: tensor '%.150s': %s: expected %s, found %s", st->path, name, field, expected,
                   vv_json_found(found, buf, sizeof buf));
}

static vv_status read_dtype(const vv_st *st, vv_st_entry *e, const json_t *v, vv_error *err)
{
    static const char *const known[] = {"F4",      "F6_E2M3",     "F6_E3M2",     "F8_E5M2", "F8_E4M3",
                                        "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64",     NULL};
    const char *text = json_string_value(v);
    if (!text) return wrong(st, e->name, "dtype", "a string", v, err);
    if (vv_dtype_parse(text, &e->dtype)) return VV_OK;
    for (const char *const *k = known; *k; k++)
        if (!strcmp(text, *k))
            return vv_fail(
                err, VV_FILE,
                "%s: tensor '%.150s': dtype %s is not supported: expected BOOL, U8, I8, I16, U16, F16, BF16, "
                "I32, U32, F32, F64, I64 or U64",
                st->path, e->name, text);
    return wrong(st, e->name, "dtype", "a type of the safetensors format", v, err);
}

/* Shape, elements and bytes. As in the original the product may not overflow even where a later 0 makes it 0. */
static vv_status read_shape(const vv_st *st, vv_st_entry *e, const json_t *v, vv_error *err)
{
    char text[220];
    if (!json_is_array(v)) return wrong(st, e->name, "shape", "an array", v, err);
    if (json_array_size(v) > VV_ST_MAXDIM)
        return vv_fail(err, VV_FILE, "%s: tensor '%.150s': shape: expected at most %d dimensions, found %zu", st->path,
                       e->name, VV_ST_MAXDIM, json_array_size(v));
    e->ndim = (int)json_array_size(v);
    e->n = 1;
    for (int i = 0; i < e->ndim; i++) {
        const json_t *d = json_array_get(v, (size_t)i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return wrong(st, e->name, "shape", "integers of at least 0", d, err);
        e->shape[i] = (int64_t)json_integer_value(d);
        e->n = vv_mul(e->n, e->shape[i]); /* -1 stays -1 */
    }
    e->bytes = e->n < 0 ? -1 : vv_mul(e->n, vv_dtype_size(e->dtype));
    if (e->bytes < 0)
        return vv_fail(err, VV_FILE, "%s: tensor '%.150s': shape: expected less than 2^63 bytes, found %s of %s",
                       st->path, e->name, vv_shape_text(e->shape, e->ndim, text, sizeof text), vv_dtype_name(e->dtype));
    return VV_OK;
}

static vv_status read_entry(const vv_st *st, vv_st_entry *e, const json_t *v, int64_t span[2], vv_error *err)
{
    if (!json_is_object(v)) return wrong(st, e->name, "description", "an object", v, err);
    VV_TRY(read_dtype(st, e, json_object_get(v, "dtype"), err));
    VV_TRY(read_shape(st, e, json_object_get(v, "shape"), err));
    const json_t *o = json_object_get(v, "data_offsets");
    if (!json_is_array(o) || json_array_size(o) != 2)
        return wrong(st, e->name, "data_offsets", "an array of 2 integers", o, err);
    for (int i = 0; i < 2; i++) {
        const json_t *x = json_array_get(o, (size_t)i);
        if (!json_is_integer(x) || json_integer_value(x) < 0)
            return wrong(st, e->name, "data_offsets", "integers of at least 0", x, err);
        span[i] = (int64_t)json_integer_value(x);
    }
    return VV_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* An entry with its data_offsets, for sorting and checking. */
typedef struct {
    int64_t begin, end;
    vv_st_entry e;
} placed;

static int by_place(const void *pa, const void *pb)
{
    const placed *a = pa, *b = pb;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return strcmp(a->e.name, b->e.name);
}

static int by_name(const void *pa, const void *pb)
{
    const vv_st_entry *a = *(const vv_st_entry *const *)pa, *b = *(const vv_st_entry *const *)pb;
    return strcmp(a->name, b->name);
}

/* In the order of the data: every tensor begins where the one before ends, and has the bytes of its shape. */
static vv_status check_places(vv_st *st, const placed *t, int64_t begin, vv_error *err)
{
    const int64_t buffer = st->map.bytes - begin;
    int64_t at = 0;
    for (int64_t i = 0; i < st->n; i++) {
        const vv_st_entry *e = &t[i].e;
        char text[220];
        if (t[i].begin != at)
            return vv_fail(err, VV_FILE,
                           "%s: tensor '%.150s': data_offsets [%" PRId64 ",%" PRId64 "]: %s: expected begin %" PRId64
                           ", found %" PRId64,
                           st->path, e->name, t[i].begin, t[i].end, t[i].begin > at ? "a hole" : "an overlap", at,
                           t[i].begin);
        if (t[i].end < t[i].begin)
            return vv_fail(err, VV_FILE,
                           "%s: tensor '%.150s': data_offsets [%" PRId64 ",%" PRId64
                           "]: expected end >= begin, found %" PRId64,
                           st->path, e->name, t[i].begin, t[i].end, t[i].end);
        if (t[i].end - t[i].begin != e->bytes)
            return vv_fail(err, VV_FILE,
                           "%s: tensor '%.150s': data_offsets [%" PRId64 ",%" PRId64 "]: expected %" PRId64
                           " bytes for %s %s, found %" PRId64,
                           st->path, e->name, t[i].begin, t[i].end, e->bytes, vv_dtype_name(e->dtype),
                           vv_shape_text(e->shape, e->ndim, text, sizeof text), t[i].end - t[i].begin);
        at = t[i].end;
        if (at > buffer)
            return vv_fail(err, VV_FILE,
                           "%s: tensor '%.150s': data_offsets [%" PRId64 ",%" PRId64
                           "]: the file is too short: expected %" PRId64 " bytes of data after offset %" PRId64
                           ", found %" PRId64,
                           st->path, e->name, t[i].begin, t[i].end, at, begin, buffer);
        st->entries[i] = *e;
        st->entries[i].offset = begin + t[i].begin;
        st->entries[i].data = st->map.data + begin + t[i].begin;
        st->by_name[i] = &st->entries[i];
    }
    if (at != buffer)
        return vv_fail(err, VV_FILE,
                       "%s: bytes that belong to no tensor at offset %" PRId64 ": expected %" PRId64
                       " bytes in the file, found %" PRId64,
                       st->path, begin + at, begin + at, st->map.bytes);
    return VV_OK;
}

static vv_status check_metadata(const vv_st *st, const json_t *meta, vv_error *err)
{
    const char *key;
    json_t *v;
    char buf[100];
    if (!meta || json_is_null(meta)) return VV_OK; /* null is found in the wild */
    if (!json_is_object(meta))
        return vv_fail(err, VV_FILE, "%s: __metadata__: expected an object, found %s", st->path,
                       vv_json_found(meta, buf, sizeof buf));
    json_object_foreach((json_t *)meta, key, v)
    {
        if (!json_is_string(v))
            return vv_fail(err, VV_FILE, "%s: __metadata__: '%.150s': expected a string, found %s", st->path, key,
                           vv_json_found(v, buf, sizeof buf));
    }
    return VV_OK;
}

static vv_status read_entries(vv_st *st, placed *t, int64_t begin, vv_error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach(st->header, key, v)
    {
        if (!strcmp(key, "__metadata__")) continue;
        placed *p = &t[st->n++];
        int64_t span[2];
        p->e.name = key;
        VV_TRY(read_entry(st, &p->e, v, span, err));
        p->begin = span[0];
        p->end = span[1];
    }
    qsort(t, (size_t)st->n, sizeof *t, by_place);
    VV_TRY(check_places(st, t, begin, err));
    qsort(st->by_name, (size_t)st->n, sizeof *st->by_name, by_name);
    return VV_OK;
}

/* Everything from the bytes of st->map. */
static vv_status read_all(vv_st *st, vv_error *err)
{
    int64_t begin = 0;
    VV_TRY(read_header(st, &begin, err));
    VV_TRY(check_metadata(st, json_object_get(st->header, "__metadata__"), err));
    const int64_t most = (int64_t)json_object_size(st->header);
    placed *t = vv_calloc(most, sizeof *t);
    st->entries = vv_calloc(most, sizeof *st->entries);
    st->by_name = vv_calloc(most, sizeof *st->by_name);
    const vv_status s = t && st->entries && st->by_name ? read_entries(st, t, begin, err) : vv_no_memory(err, st->path);
    free(t);
    return s;
}

/* From a file (bytes NULL), or from memory that is not ours: such a map has nothing to unmap. */
static vv_status open_any(vv_st **out, const char *path, const unsigned char *bytes, int64_t n, vv_error *err)
{
    *out = NULL;
    vv_st *st = vv_calloc(1, sizeof *st);
    if (st) st->path = vv_strdup(path);
    vv_status s = st && st->path ? VV_OK : vv_no_memory(err, path);
    if (s == VV_OK && bytes) st->map = (vv_map){.data = bytes, .bytes = n};
    else if (s == VV_OK) s = vv_map_open(&st->map, path, err);
    if (s == VV_OK) s = read_all(st, err);
    if (s == VV_OK) *out = st;
    else vv_st_close(st);
    return s;
}

vv_status vv_st_open(vv_st **out, const char *path, vv_error *err) { return open_any(out, path, NULL, 0, err); }

vv_status vv_st_parse(vv_st **out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    return open_any(out, where, bytes, n, err);
}

void vv_st_close(vv_st *st)
{
    if (!st) return;
    vv_map_close(&st->map);
    json_decref(st->header);
    free(st->path);
    free(st->entries);
    free(st->by_name);
    free(st);
}

const char *vv_st_path(const vv_st *st) { return st->path; }

void vv_st_done(const vv_st *st, const vv_st_entry *e) { vv_map_done(&st->map, e->offset, e->bytes); }
int64_t vv_st_count(const vv_st *st) { return st->n; }
const vv_st_entry *vv_st_at(const vv_st *st, int64_t i) { return i >= 0 && i < st->n ? &st->entries[i] : NULL; }

const vv_st_entry *vv_st_find(const vv_st *st, const char *name)
{
    int64_t lo = 0, hi = st->n;
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        const int c = strcmp(name, st->by_name[mid]->name);
        if (c == 0) return st->by_name[mid];
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return NULL;
}

const char *vv_st_metadata(const vv_st *st, const char *key)
{
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}
