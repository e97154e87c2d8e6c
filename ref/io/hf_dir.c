#include "io/hf_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "io/file.h"

static const char SINGLE[] = "model.safetensors", INDEX[] = "model.safetensors.index.json";
enum { INDEX_MAX = 20 << 20 }; /* a thousand times that of a real model; parsing takes up to 30 times as much memory */

typedef struct {
    const vv_st_entry *e;
    const vv_st *file;
} located;

struct vv_weights {
    char *path;
    int64_t shards, n;
    vv_st **shard;
    located *at;      /* shard by shard, in the order of the data */
    located *by_name; /* sorted for the binary search */
};

/* ---- opening --------------------------------------------------------------------------------------------------- */

static int by_name(const void *pa, const void *pb)
{
    const located *a = pa, *b = pb;
    return strcmp(a->e->name, b->e->name);
}

/* The path of a file the index names. It must stand in the folder itself: an index is not trusted with paths. */
static vv_status shard_path(char **out, const char *dir, const char *index, const char *tensor, const json_t *file,
                            vv_error *err)
{
    char buf[100];
    const char *name = json_string_value(file);
    *out = NULL;
    if (!name || !*name || strchr(name, '/') || strchr(name, '\\') || strstr(name, ".."))
        return vv_fail(err, VV_FILE, "%s: weight_map: '%.150s': expected a file name in the same folder, found %s",
                       index, tensor, vv_json_found(file, buf, sizeof buf));
    *out = vv_path_join(dir, name);
    return *out ? VV_OK : vv_no_memory(err, index);
}

/* The shard of that path, opened at its first mention. seen: file name -> its number. */
static vv_status shard_of(vv_weights *w, json_t *seen, const char *dir, const char *index, const char *tensor,
                          const json_t *file, vv_st **shard, vv_error *err)
{
    const json_t *known = json_is_string(file) ? json_object_get(seen, json_string_value(file)) : NULL;
    if (known) {
        *shard = w->shard[json_integer_value(known)];
        return VV_OK;
    }
    char *path;
    VV_TRY(shard_path(&path, dir, index, tensor, file, err));
    vv_error why = {0};
    const vv_status s = vv_st_open(&w->shard[w->shards], path, &why);
    free(path);
    if (s != VV_OK) return vv_fail(err, s, "%s (named by %s)", why.msg, index);
    *shard = w->shard[w->shards];
    if (json_object_set_new(seen, json_string_value(file), json_integer((json_int_t)w->shards)))
        return vv_no_memory(err, index);
    w->shards++;
    return VV_OK;
}

/* Opens what the map names and finds every mapped tensor in its file. */
static vv_status open_shards(vv_weights *w, const json_t *map, json_t *seen, const char *dir, const char *index,
                             vv_error *err)
{
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)map, tensor, file)
    {
        vv_st *shard = NULL;
        VV_TRY(shard_of(w, seen, dir, index, tensor, file, &shard, err));
        const vv_st_entry *e = vv_st_find(shard, tensor);
        if (!e)
            return vv_fail(err, VV_FILE, "%s: expected tensor '%.150s', which %s maps to it, found none of that name",
                           vv_st_path(shard), tensor, INDEX);
        w->by_name[w->n++] = (located){e, shard};
    }
    return VV_OK;
}

/* Fills w->at in the order of the data, from the mapped tensors; what is in a shard without being mapped to it is
 * told. */
static void put_in_order(vv_weights *w, const json_t *map, const json_t *seen)
{
    int64_t n = 0;
    for (int64_t k = 0; k < w->shards; k++) {
        int64_t unmapped = 0;
        const char *example = NULL;
        for (int64_t i = 0; i < vv_st_count(w->shard[k]); i++) {
            const vv_st_entry *e = vv_st_at(w->shard[k], i);
            const char *file = json_string_value(json_object_get(map, e->name));
            const json_t *number = file ? json_object_get(seen, file) : NULL;
            if (number && json_integer_value(number) == k) w->at[n++] = (located){e, w->shard[k]};
            else if (unmapped++ == 0) example = e->name;
        }
        if (unmapped)
            vv_warn("%s: %" PRId64 " tensors are not mapped to this file by %s and stay unused, the first is '%.150s'",
                    vv_st_path(w->shard[k]), unmapped, INDEX, example);
    }
}

static void check_total_size(const vv_weights *w, const json_t *root, const char *index)
{
    const json_t *total = json_object_get(json_object_get(root, "metadata"), "total_size");
    int64_t bytes = 0;
    for (int64_t i = 0; i < w->n; i++) bytes += w->at[i].e->bytes;
    if (json_is_number(total) && json_number_value(total) != (double)bytes)
        vv_warn("%s: metadata.total_size: expected %" PRId64 " (the tensors' bytes), found %.17g", index, bytes,
                json_number_value(total));
}

static vv_status allocate(vv_weights *w, int64_t shards, int64_t n, vv_error *err)
{
    w->shard = vv_calloc(shards, sizeof *w->shard);
    w->at = vv_calloc(n, sizeof *w->at);
    w->by_name = vv_calloc(n, sizeof *w->by_name);
    return w->shard && w->at && w->by_name ? VV_OK : vv_no_memory(err, w->path);
}

static vv_status open_index(vv_weights *w, const char *dir, const char *index, vv_error *err)
{
    json_t *root = NULL;
    const json_t *map = NULL;
    json_t *seen = json_object();
    vv_status s = seen ? vv_json_load(&root, index, INDEX_MAX, err) : vv_no_memory(err, index);
    if (s == VV_OK) s = vv_json_need(root, index, "weight_map", err);
    if (s == VV_OK) s = vv_json_object(root, index, "weight_map", &map, err);
    if (s == VV_OK) s = allocate(w, (int64_t)json_object_size(map), (int64_t)json_object_size(map), err);
    if (s == VV_OK) s = open_shards(w, map, seen, dir, index, err);
    if (s == VV_OK) {
        put_in_order(w, map, seen);
        check_total_size(w, root, index);
    }
    json_decref(root);
    json_decref(seen);
    return s;
}

static vv_status open_single(vv_weights *w, const char *path, vv_error *err)
{
    vv_st *st;
    VV_TRY(vv_st_open(&st, path, err));
    const vv_status s = allocate(w, 1, vv_st_count(st), err);
    if (s != VV_OK) {
        vv_st_close(st);
        return s;
    }
    w->shard[w->shards++] = st;
    for (; w->n < vv_st_count(st); w->n++) w->at[w->n] = w->by_name[w->n] = (located){vv_st_at(st, w->n), st};
    return VV_OK;
}

static vv_status open_dir(vv_weights *w, const char *dir, vv_error *err)
{
    struct stat st;
    char *single = vv_path_join(dir, SINGLE), *index = vv_path_join(dir, INDEX);
    vv_status s = VV_OK;
    if (!single || !index) s = vv_no_memory(err, dir);
    else {
        const int has_single = lstat(single, &st) == 0, has_index = lstat(index, &st) == 0;
        if (has_single && has_index) vv_warn("%s: has %s and %s; reading the first", dir, SINGLE, INDEX);
        if (has_single) s = open_single(w, single, err);
        else if (has_index) s = open_index(w, dir, index, err);
        else s = vv_fail(err, VV_FILE, "%s: expected %s or %s in this folder, found neither", dir, SINGLE, INDEX);
    }
    free(single);
    free(index);
    return s;
}

vv_status vv_weights_open(vv_weights **out, const char *dir_or_file, vv_error *err)
{
    struct stat st;
    *out = NULL;
    if (stat(dir_or_file, &st)) return vv_fail(err, VV_FILE, "%s: cannot be opened: %s", dir_or_file, strerror(errno));
    vv_weights *w = vv_calloc(1, sizeof *w);
    if (w) w->path = vv_strdup(dir_or_file);
    vv_status s = !w || !w->path        ? vv_no_memory(err, dir_or_file)
                  : S_ISDIR(st.st_mode) ? open_dir(w, dir_or_file, err)
                                        : open_single(w, dir_or_file, err);
    if (s != VV_OK) {
        vv_weights_close(w);
        return s;
    }
    qsort(w->by_name, (size_t)w->n, sizeof *w->by_name, by_name);
    *out = w;
    return VV_OK;
}

void vv_weights_close(vv_weights *w)
{
    if (!w) return;
    for (int64_t i = 0; i < w->shards; i++) vv_st_close(w->shard[i]);
    free(w->shard);
    free(w->at);
    free(w->by_name);
    free(w->path);
    free(w);
}

const char *vv_weights_path(const vv_weights *w) { return w->path; }
int64_t vv_weights_count(const vv_weights *w) { return w->n; }

const vv_st_entry *vv_weights_at(const vv_weights *w, int64_t i, const vv_st **file)
{
    if (i < 0 || i >= w->n) return NULL;
    if (file) *file = w->at[i].file;
    return w->at[i].e;
}

const vv_st_entry *vv_weights_find(const vv_weights *w, const char *name, const vv_st **file)
{
    int64_t lo = 0, hi = w->n;
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        const int c = strcmp(name, w->by_name[mid].e->name);
        if (c == 0) {
            if (file) *file = w->by_name[mid].file;
            return w->by_name[mid].e;
        }
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return NULL;
}
