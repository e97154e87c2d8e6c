/* Golden files in tests: opening them, their index, and copies with one tensor changed. */
#ifndef VVT_GOLDEN_FILES_H
#define VVT_GOLDEN_FILES_H

#include <dirent.h>

#include "base/json.h"
#include "io/safetensors.h"
#include "vvt.h"

static inline vv_st *gf_open(const char *path)
{
    vv_st *st = NULL;
    VVT_OK(vv_st_open(&st, path, err));
    return st;
}

static inline const vv_st_entry *gf_at(const vv_st *st, const char *key)
{
    const vv_st_entry *e = vv_st_find(st, key);
    ck_assert_msg(e != NULL, "%s: no %s", vv_st_path(st), key);
    return e;
}

static inline json_t *gf_json(const vv_st *st, const char *name)
{
    const char *text = vv_st_metadata(st, name);
    ck_assert_msg(text != NULL, "%s: no metadata %s", vv_st_path(st), name);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(root != NULL, "%s: %s is no JSON", vv_st_path(st), name);
    return root;
}

/* the place in the index, -1: not there */
static inline int gf_place(const json_t *index, const char *key)
{
    for (size_t i = 0; i < json_array_size(index); i++)
        if (!strcmp(json_string_value(json_object_get(json_array_get(index, i), "key")), key)) return (int)i;
    return -1;
}

static inline const json_t *gf_entry(const json_t *index, const char *key)
{
    const int i = gf_place(index, key);
    ck_assert_msg(i >= 0, "%s is not in the index", key);
    return json_array_get(index, (size_t)i);
}

/* all values as doubles; the caller frees */
static inline double *gf_values(const vv_st *st, const char *key)
{
    const vv_st_entry *e = gf_at(st, key);
    double *v = vv_calloc(e->n, sizeof *v);
    VVT_OK(vv_st_read_f64(st, e, v, err));
    return v;
}

static inline void gf_same(const vv_st *a, const vv_st *b, const char *key)
{
    const vv_st_entry *x = gf_at(a, key), *y = gf_at(b, key);
    ck_assert_msg(x->bytes == y->bytes && !memcmp(x->data, y->data, (size_t)x->bytes), "%s differs", key);
}

/* the file with the real tensor `key` multiplied */
static inline void gf_scaled_copy(const char *from, const char *to, const char *key, double factor)
{
    vv_st *st = gf_open(from);
    const int64_t n = vv_st_count(st);
    vv_st_decl *decl = vv_calloc(n, sizeof *decl);
    const char *const meta[] = {"versavit_golden", "2", "index", vv_st_metadata(st, "index"), NULL};
    vv_stw *w = NULL;
    for (int64_t i = 0; i < n; i++) {
        const vv_st_entry *e = vv_st_at(st, i);
        decl[i] = (vv_st_decl){.name = e->name, .dtype = e->dtype, .ndim = e->ndim};
        memcpy(decl[i].shape, e->shape, sizeof e->shape);
    }
    VVT_OK(vv_stw_open(&w, to, decl, n, meta, 0, err));
    for (int64_t i = 0; i < n; i++) {
        const vv_st_entry *e = vv_st_at(st, i);
        if (strcmp(e->name, key) != 0) {
            VVT_OK(vv_stw_write(w, i, e->data, err));
            continue;
        }
        vv_real *v = vv_calloc(e->n, sizeof *v);
        VVT_OK(vv_st_read_real(st, e, v, err));
        for (int64_t k = 0; k < e->n; k++) v[k] = (vv_real)(v[k] * factor);
        VVT_OK(vv_stw_write_real(w, i, v, err));
        free(v);
    }
    VVT_OK(vv_stw_commit(w, err));
    free(decl);
    vv_st_close(st);
}

/* how many names there are in a folder; 0 when there is no folder */
static inline int gf_count(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d) closedir(d);
    return n;
}

#endif
