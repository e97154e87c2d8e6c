#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "io/file.h"
#include "io/hf_dir.h"

static const char SINGLE[] = "model.safetensors", INDEX[] = "model.safetensors.index.json";
static const int64_t SHARD_BYTES = 5000000000; /* Hugging Face's "5GB" */
/* All shards are open until the commit, and the index needs a place too; others may be writing meanwhile. */
enum { SHARDS_MAX = VV_OUT_MAX - 8 };

/* A save under way. Shard k holds the declarations first[k] .. first[k+1]-1 and is open in shard[k]. */
typedef struct {
    const char *dir;
    const vv_st_decl *decls;
    int64_t n, total, largest; /* tensors; bytes of all; elements of the largest */
    int64_t shards, *first;
    vv_stw *shard[SHARDS_MAX];
    vv_out *index;
} save;

/* Cuts the list into shards as Hugging Face does: in order, a new one when the next tensor would not fit. */
static vv_status plan(save *s, int64_t limit, vv_error *err)
{
    int64_t used = 0;
    s->first = vv_calloc(s->n + 2, sizeof *s->first);
    if (!s->first) return vv_no_memory(err, s->dir);
    for (int64_t i = 0; i < s->n; i++) {
        const vv_st_decl *d = &s->decls[i];
        int64_t n = (unsigned)d->dtype < VV_DT_COUNT ? 1 : -1;
        for (int k = 0; k < d->ndim && k < VV_ST_MAXDIM; k++) n = vv_mul(n, d->shape[k]);
        const int64_t bytes = n < 0 ? -1 : vv_mul(n, vv_dtype_size(d->dtype));
        if (bytes < 0 || bytes > INT64_MAX / 2 - s->total)
            return vv_fail(err, VV_USAGE, "%s: tensor '%.150s': impossible type or shape", s->dir, d->name);
        if (i > s->first[s->shards] && used + bytes > limit) {
            s->first[++s->shards] = i;
            used = 0;
        }
        used += bytes;
        s->total += bytes;
        s->largest = vv_max(s->largest, n);
    }
    s->first[++s->shards] = s->n;
    if (s->shards > SHARDS_MAX)
        return vv_fail(err, VV_USAGE, "%s: expected at most %d shards, found %" PRId64 ": allow larger ones", s->dir,
                       SHARDS_MAX, s->shards);
    return VV_OK;
}

/* The name of shard k (its index in the file name counts from 1). */
static void shard_name(const save *s, int64_t k, char *name, size_t size)
{
    if (s->shards == 1) snprintf(name, size, "%s", SINGLE);
    else snprintf(name, size, "model-%05" PRId64 "-of-%05" PRId64 ".safetensors", k + 1, s->shards);
}

static vv_status write_shard(save *s, int64_t k, vv_real *buf, vv_weights_get get, void *ctx, vv_error *err)
{
    char name[64];
    shard_name(s, k, name, sizeof name);
    char *path = vv_path_join(s->dir, name);
    if (!path) return vv_no_memory(err, s->dir);
    const int64_t from = s->first[k], to = s->first[k + 1];
    vv_status st = vv_stw_open(&s->shard[k], path, s->decls + from, to - from, NULL, 0, err);
    free(path);
    for (int64_t i = from; i < to && st == VV_OK; i++) {
        st = get(ctx, i, buf, err);
        if (st == VV_OK) st = vv_stw_write_real(s->shard[k], i - from, buf, err);
    }
    return st == VV_OK ? vv_stw_sync(s->shard[k], err) : st;
}

/* The index as text, NULL without memory or when a name stands in two shards. */
static char *index_text(const save *s)
{
    char name[64];
    json_t *map = json_object();
    int ok = map != NULL;
    for (int64_t k = 0; k < s->shards; k++) {
        shard_name(s, k, name, sizeof name);
        for (int64_t i = s->first[k]; ok && i < s->first[k + 1]; i++)
            ok = !json_object_get(map, s->decls[i].name) &&
                 !json_object_set_new(map, s->decls[i].name, json_string(name));
    }
    json_t *root = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)s->total, "weight_map", map);
    char *text = ok && root ? vv_json_text(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}

static vv_status write_index(save *s, vv_error *err)
{
    errno = 0;
    char *path = vv_path_join(s->dir, INDEX), *text = index_text(s);
    vv_status st = VV_OK;
    if (!path) st = vv_no_memory(err, s->dir);
    else if (!text && errno == ENOMEM) st = vv_no_memory(err, path);
    else if (!text) st = vv_fail(err, VV_USAGE, "%s: a tensor is declared twice", path);
    if (st == VV_OK) st = vv_out_open(&s->index, path, err);
    if (st == VV_OK) st = vv_out_write(s->index, text, strlen(text), err);
    if (st == VV_OK) st = vv_out_write(s->index, "\n", 1, err);
    if (st == VV_OK) st = vv_out_sync(s->index, err);
    free(path);
    free(text);
    return st;
}

/* Removes a file of the other form, which readers would take for the newer one. */
static vv_status remove_stale(const char *path, vv_error *err)
{
    if (unlink(path) == 0 || errno == ENOENT) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: is out of date now but cannot be removed: %s", path, strerror(errno));
}

static vv_status write_all(save *s, vv_weights_get get, void *ctx, vv_error *err)
{
    vv_real *buf = vv_calloc(s->largest, sizeof *buf);
    vv_status st = buf ? VV_OK : vv_no_memory(err, s->dir);
    for (int64_t k = 0; k < s->shards && st == VV_OK; k++) st = write_shard(s, k, buf, get, ctx, err);
    free(buf);
    if (st == VV_OK && s->shards > 1) st = write_index(s, err);
    return st;
}

static vv_status commit_all(save *s, vv_error *err)
{
    char *stale = vv_path_join(s->dir, s->shards == 1 ? INDEX : SINGLE); /* before the first file stands */
    vv_status st = stale ? VV_OK : vv_no_memory(err, s->dir);
    for (int64_t k = 0; k < s->shards && st == VV_OK; k++) {
        st = vv_stw_commit(s->shard[k], err);
        s->shard[k] = NULL;
    }
    if (st == VV_OK && s->index) {
        st = vv_out_commit(s->index, err);
        s->index = NULL;
    }
    if (st == VV_OK) st = remove_stale(stale, err);
    free(stale);
    return st;
}

vv_status vv_weights_save(const char *dir, const vv_st_decl *decls, int64_t n, int64_t max_shard_bytes,
                          vv_weights_get get, void *ctx, vv_error *err)
{
    save *s = vv_calloc(1, sizeof *s);
    if (!s) return vv_no_memory(err, dir);
    s->dir = dir;
    s->decls = decls;
    s->n = n;
    vv_status st = plan(s, max_shard_bytes > 0 ? max_shard_bytes : SHARD_BYTES, err);
    if (st == VV_OK) st = vv_dir_make(dir, err);
    if (st == VV_OK) st = write_all(s, get, ctx, err);
    if (st == VV_OK) st = commit_all(s, err);
    for (int64_t k = 0; k < s->shards && k < SHARDS_MAX; k++) vv_stw_abort(s->shard[k]);
    vv_out_abort(s->index);
    free(s->first);
    free(s);
    return st;
}
