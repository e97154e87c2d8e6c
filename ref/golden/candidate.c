#include "golden/candidate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "golden/index.h"

enum { FOLDERS = 16 };                   /* a key has four parts, a name may have more */
static const int64_t PACKED_BEST = 1100; /* deflate makes nothing smaller than 1/1032 */
static const int64_t MEMBERS_MOST = 1 << 20;

static int by_key(const void *a, const void *b)
{
    return strcmp(((const vv_candidate_tensor *)a)->key, ((const vv_candidate_tensor *)b)->key);
}

void vv_candidate_sort(vv_candidate *c)
{
    if (c->n > 0) qsort(c->at, (size_t)c->n, sizeof *c->at, by_key);
}

vv_status vv_candidate_add(vv_candidate *c, vv_candidate_tensor t, vv_error *err)
{
    if (t.key && c->n == c->cap) {
        const int64_t cap = c->cap ? 2 * c->cap : 64;
        vv_candidate_tensor *more = realloc(c->at, (size_t)cap * sizeof *more);
        if (more) {
            c->at = more;
            c->cap = cap;
        }
    }
    if (!t.key || c->n == c->cap) {
        free(t.key);
        free(t.values);
        return vv_no_memory(err, c->path);
    }
    c->at[c->n++] = t;
    return VV_OK;
}

/* room for one more npy */
static vv_status grow(vv_candidate *c, vv_error *err)
{
    if (c->n_npy < c->cap_npy) return VV_OK;
    const int64_t cap = c->cap_npy ? 2 * c->cap_npy : 64;
    vv_npy *npy = realloc(c->npy, (size_t)cap * sizeof *npy);
    if (npy) c->npy = npy;
    unsigned char **bytes = npy ? realloc(c->bytes, (size_t)cap * sizeof *bytes) : NULL;
    if (!bytes) return vv_no_memory(err, c->path);
    c->bytes = bytes;
    c->cap_npy = cap;
    return VV_OK;
}

static vv_status add_npy(vv_candidate *c, char *key, vv_error *err)
{
    vv_candidate_tensor t = {.key = key, .e = c->npy[c->n_npy - 1].e};
    t.e.name = key; /* what messages call it */
    return vv_candidate_add(c, t, err);
}

static int ends_in(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n > m && !strcmp(name + n - m, end);
}

/* ---- a folder ---------------------------------------------------------------------------------------------------------- */
static vv_status read_folder(vv_candidate *c, const char *path, const char *key, int depth, vv_error *err);

static vv_status read_member(vv_candidate *c, const char *path, const char *name, char *key, int depth, vv_error *err)
{
    struct stat st;
    if (stat(path, &st)) return vv_fail(err, VV_FILE, "%s: cannot be read: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return read_folder(c, path, key, depth + 1, err);
    if (!ends_in(name, ".npy")) return VV_OK;
    VV_TRY(grow(c, err));
    VV_TRY(vv_npy_open(&c->npy[c->n_npy], path, err));
    c->bytes[c->n_npy++] = NULL;
    char *own = vv_strdup(key);
    if (own) own[strlen(own) - 4] = 0;
    return add_npy(c, own, err);
}

static vv_status read_folder(vv_candidate *c, const char *path, const char *key, int depth, vv_error *err)
{
    if (depth > FOLDERS)
        return vv_fail(err, VV_FILE, "%s: expected at most %d folders in one another", path, (int)FOLDERS);
    DIR *d = opendir(path);
    if (!d) return vv_fail(err, VV_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    vv_status s = VV_OK;
    for (const struct dirent *e = readdir(d); s == VV_OK && e; e = readdir(d)) {
        if (e->d_name[0] == '.') continue;
        char *inner = vv_path_join(path, e->d_name), *name = *key ? vv_path_join(key, e->d_name) : vv_strdup(e->d_name);
        s = inner && name ? read_member(c, inner, e->d_name, name, depth, err) : vv_no_memory(err, path);
        free(inner);
        free(name);
    }
    closedir(d);
    return s;
}

/* ---- an archive ---------------------------------------------------------------------------------------------------------- */
static vv_status unpack(vv_candidate *c, zip_t *z, int64_t i, const char *where, const zip_stat_t *st, vv_error *err)
{
    const int64_t size = (int64_t)st->size;
    if (st->size > INT64_MAX / 2 || (int64_t)(st->size / (uint64_t)PACKED_BEST) > (int64_t)st->comp_size)
        return vv_fail(err, VV_FILE, "%s: expected at most %lld bytes from %lld; found %lld", where,
                       (long long)(PACKED_BEST * (int64_t)st->comp_size), (long long)st->comp_size, (long long)size);
    VV_TRY(grow(c, err));
    unsigned char *bytes = vv_calloc(size + 1, 1);
    if (!bytes) return vv_no_memory(err, where);
    zip_file_t *f = zip_fopen_index(z, (zip_uint64_t)i, 0);
    const int64_t got = f ? (int64_t)zip_fread(f, bytes, st->size) : -1,
                  after = f ? (int64_t)zip_fread(f, bytes + size, 1) : -1; /* at the end the checksum is looked at */
    char why[120];
    snprintf(why, sizeof why, "%s", f && (got < 0 || after < 0) ? zip_file_strerror(f) : zip_strerror(z));
    if (f) zip_fclose(f);
    if (got != size || after != 0) {
        free(bytes);
        return vv_fail(err, VV_FILE, "%s: cannot be unpacked: %s", where, why);
    }
    c->bytes[c->n_npy] = bytes;
    c->npy[c->n_npy++] = (vv_npy){0};
    return vv_npy_parse(&c->npy[c->n_npy - 1], bytes, size, where, err);
}

static vv_status archive_member(vv_candidate *c, zip_t *z, int64_t i, vv_error *err)
{
    zip_stat_t st;
    const zip_uint64_t need = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if (zip_stat_index(z, (zip_uint64_t)i, 0, &st) || (st.valid & need) != need)
        return vv_fail(err, VV_FILE, "%s: member %lld cannot be read: %s", c->path, (long long)i, zip_strerror(z));
    if (!ends_in(st.name, ".npy")) return VV_OK;
    char *where = vv_asprintf("%s: %s", c->path, st.name);
    if (!where) return vv_no_memory(err, c->path);
    const vv_status s = unpack(c, z, i, where, &st, err);
    free(where);
    if (s != VV_OK) return s;
    char *key = vv_strdup(st.name);
    if (key) key[strlen(key) - 4] = 0;
    return add_npy(c, key, err);
}

static vv_status read_archive(vv_candidate *c, vv_error *err)
{
    int code = 0;
    zip_t *z = zip_open(c->path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (!z) {
        zip_error_t e;
        zip_error_init_with_code(&e, code);
        vv_fail(err, code == ZIP_ER_MEMORY ? VV_MEMORY : VV_FILE, "%s: expected an .npz archive: %s", c->path,
                zip_error_strerror(&e));
        zip_error_fini(&e);
        return code == ZIP_ER_MEMORY ? VV_MEMORY : VV_FILE;
    }
    const int64_t n = zip_get_num_entries(z, 0);
    vv_status s = n <= MEMBERS_MOST
                      ? VV_OK
                      : vv_fail(err, VV_FILE, "%s: expected at most %lld members", c->path, (long long)MEMBERS_MOST);
    for (int64_t i = 0; s == VV_OK && i < n; i++) s = archive_member(c, z, i, err);
    zip_discard(z);
    return s;
}

/* ---- any ------------------------------------------------------------------------------------------------------------------- */
static vv_status read_safetensors(vv_candidate *c, const char *path, vv_error *err)
{
    VV_TRY(vv_st_open(&c->st, path, err));
    for (int64_t i = 0; i < vv_st_count(c->st); i++) {
        const vv_st_entry *e = vv_st_at(c->st, i);
        VV_TRY(vv_candidate_add(c, (vv_candidate_tensor){.key = vv_strdup(e->name), .e = *e}, err));
    }
    return VV_OK;
}

static vv_status read_any(vv_candidate *c, vv_error *err)
{
    struct stat st;
    if (ends_in(c->path, ".npz")) return read_archive(c, err);
    if (stat(c->path, &st) || !S_ISDIR(st.st_mode)) return read_safetensors(c, c->path, err);
    char *file = vv_golden_file(c->path);
    if (!file) return vv_no_memory(err, c->path);
    vv_status s;
    if (!stat(file, &st)) {
        s = read_safetensors(c, file, err);
    } else {
        s = read_folder(c, c->path, "", 0, err);
        if (s == VV_OK && c->n == 0)
            s = vv_fail(err, VV_FILE, "%s: expected golden.safetensors or .npy files in it; found none", c->path);
    }
    free(file);
    return s;
}

vv_status vv_candidate_open(vv_candidate *c, const char *path, vv_error *err)
{
    *c = (vv_candidate){.path = vv_strdup(path)};
    const vv_status s = c->path ? read_any(c, err) : vv_no_memory(err, path);
    if (s == VV_OK) vv_candidate_sort(c);
    else vv_candidate_close(c);
    return s;
}

void vv_candidate_close(vv_candidate *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        free(c->at[i].key);
        free(c->at[i].values);
    }
    for (int64_t i = 0; i < c->n_npy; i++) {
        vv_npy_close(&c->npy[i]);
        free(c->bytes[i]);
    }
    free(c->at);
    free(c->npy);
    free(c->bytes);
    free(c->path);
    vv_st_close(c->st);
    *c = (vv_candidate){0};
}

const vv_candidate_tensor *vv_candidate_find(const vv_candidate *c, const char *key, int64_t *same)
{
    int64_t lo = 0, hi = c->n;
    while (lo < hi) { /* the first that is not before it */
        const int64_t mid = lo + (hi - lo) / 2;
        if (strcmp(c->at[mid].key, key) < 0) lo = mid + 1;
        else hi = mid;
    }
    int64_t n = 0;
    while (lo + n < c->n && !strcmp(c->at[lo + n].key, key)) n++;
    if (same) *same = n;
    return n > 0 ? &c->at[lo] : NULL;
}

const char *vv_candidate_metadata(const vv_candidate *c, const char *key)
{
    return c->st ? vv_st_metadata(c->st, key) : NULL;
}

vv_status vv_candidate_read(double **out, const vv_candidate *c, const vv_candidate_tensor *t, vv_error *err)
{
    if (!t->values) return vv_entry_doubles(out, c->path, &t->e, err);
    if (!(*out = vv_calloc(t->e.n, sizeof **out))) return vv_no_memory(err, t->key);
    memcpy(*out, t->values, (size_t)t->e.n * sizeof **out);
    return VV_OK;
}
