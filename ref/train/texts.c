#include "train/texts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "io/safetensors.h"

typedef struct {
    char *text; /* NULL: free */
    vv_real *vector;
} entry;

/* A table of texts, half full at most: entry i is at the hash of its text or behind it. */
struct vv_texts {
    char *where;
    int64_t dim, n, places;
    entry *at;
    vv_model own;
    const vv_model *model; /* its own or another's; NULL: only what the file had */
    vv_tape *tape;
};

void vv_texts_free(vv_texts *t)
{
    if (!t) return;
    for (int64_t i = 0; i < t->places; i++) {
        free(t->at[i].text);
        free(t->at[i].vector);
    }
    free(t->at);
    free(t->where);
    vv_tape_free(t->tape);
    vv_model_free(&t->own);
    free(t);
}

static entry *place(entry *at, int64_t places, const char *text)
{
    int64_t i = (int64_t)(vv_stream(text) % (uint64_t)places);
    while (at[i].text && strcmp(at[i].text, text)) i = (i + 1) % places;
    return &at[i];
}

static vv_status grow(vv_texts *t, vv_error *err)
{
    if (2 * (t->n + 1) <= t->places) return VV_OK;
    const int64_t places = t->places ? 2 * t->places : 256;
    entry *at = vv_calloc(places, sizeof *at);
    if (!at) return vv_no_memory(err, t->where);
    for (int64_t i = 0; i < t->places; i++)
        if (t->at[i].text) *place(at, places, t->at[i].text) = t->at[i];
    free(t->at);
    t->at = at;
    t->places = places;
    return VV_OK;
}

/* cut to dim, of length 1 */
static vv_status add(vv_texts *t, const char *text, const vv_real *vector, vv_error *err)
{
    VV_TRY(grow(t, err));
    entry *e = place(t->at, t->places, text);
    double length = 0;
    if (e->text) return VV_OK; /* said twice: the first one */
    for (int64_t i = 0; i < t->dim; i++) length += (double)vector[i] * (double)vector[i];
    length = sqrt(length);
    if (!(length > 0 && length <= 1e300))
        return vv_fail(err, VV_FILE, "%s: \"%.100s\": expected a vector that has a length", t->where, text);
    char *copy = vv_strdup(text);
    vv_real *v = vv_calloc(t->dim, sizeof *v);
    if (!copy || !v) {
        free(copy);
        free(v);
        return vv_no_memory(err, t->where);
    }
    for (int64_t i = 0; i < t->dim; i++) v[i] = (vv_real)((double)vector[i] / length);
    *e = (entry){copy, v};
    t->n++;
    return VV_OK;
}

static vv_status new_table(vv_texts **out, const char *where, int64_t dim, vv_error *err)
{
    vv_texts *t = *out = vv_calloc(1, sizeof *t);
    if (!t) return vv_no_memory(err, where);
    t->dim = dim;
    t->where = vv_strdup(where);
    return t->where ? grow(t, err) : vv_no_memory(err, where);
}

/* ---- from a file ---------------------------------------------------------------------------------------------------------- */
static vv_status read_rows(vv_texts *t, const vv_st *file, const json_t *list, vv_error *err)
{
    const vv_st_entry *e = vv_st_find(file, "embeddings");
    const int64_t n = (int64_t)json_array_size(list);
    if (!e || e->ndim != 2 || e->shape[0] != n || e->shape[1] < t->dim)
        return vv_fail(err, VV_FILE, "%s: expected a tensor embeddings [%lld, %lld or more], found %s", t->where,
                       (long long)n, (long long)t->dim, e ? "another shape" : "none");
    vv_real *rows = vv_calloc(e->n, sizeof *rows);
    vv_status s = rows ? vv_st_read_real(file, e, rows, err) : vv_no_memory(err, t->where);
    for (int64_t i = 0; s == VV_OK && i < n; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        s = text ? add(t, text, rows + i * e->shape[1], err)
                 : vv_fail(err, VV_FILE, "%s: metadata texts: expected a list of texts", t->where);
    }
    free(rows);
    return s;
}

static vv_status read_file(vv_texts *t, vv_error *err)
{
    vv_st *file = NULL;
    VV_TRY(vv_st_open(&file, t->where, err));
    const char *texts = vv_st_metadata(file, "texts");
    json_t *list = texts ? json_loads(texts, 0, NULL) : NULL;
    const vv_status s =
        json_is_array(list)
            ? read_rows(t, file, list, err)
            : vv_fail(err, VV_FILE, "%s: metadata texts: expected a JSON list, as `versavit embed-text` writes",
                      t->where);
    json_decref(list);
    vv_st_close(file);
    return s;
}

vv_status vv_texts_open(vv_texts **out, const char *file, int64_t dim, vv_error *err)
{
    vv_status s = new_table(out, file, dim, err);
    if (s == VV_OK) s = read_file(*out, err);
    if (s != VV_OK) vv_texts_free(*out), *out = NULL;
    return s;
}

/* ---- from an encoder ------------------------------------------------------------------------------------------------------ */
/* model NULL: the folder's */
static vv_status encoder(vv_texts **out, const vv_model *model, const char *where, int64_t dim, vv_error *err)
{
    vv_status s = new_table(out, where, dim, err);
    vv_texts *t = *out;
    if (s == VV_OK && !model) s = vv_model_load(&t->own, where, VV_TEXT, err);
    if (s == VV_OK) t->model = model ? model : &t->own;
    if (s == VV_OK) s = vv_model_need(t->model, VV_TEXT, where, err);
    if (s == VV_OK && dim > t->model->llm->config.hidden_size)
        s = vv_fail(err, VV_FILE,
                    "%s: expected an encoder at least as wide as the mask head's text_dim, %lld; found %lld", where,
                    (long long)dim, (long long)t->model->llm->config.hidden_size);
    if (s == VV_OK && !(t->tape = vv_tape_new(NULL, 0))) s = vv_no_memory(err, where);
    if (s != VV_OK) vv_texts_free(t), *out = NULL;
    return s;
}

vv_status vv_texts_encoder(vv_texts **out, const char *folder, int64_t dim, vv_error *err)
{
    return encoder(out, NULL, folder, dim, err);
}

vv_status vv_texts_model(vv_texts **out, const vv_model *m, const char *where, int64_t dim, vv_error *err)
{
    return encoder(out, m, where, dim, err);
}

/* alone, so that its bits are the same in every batch */
static vv_status embed(vv_texts *t, const char *text, vv_error *err)
{
    const vv_embed_options o = {.dim = t->dim};
    vv_ids ids = {0};
    vv_real *vector = vv_calloc(t->dim, sizeof *vector);
    vv_status s = vector ? vv_embed_ids(t->model, text, &o, &ids, err) : vv_no_memory(err, t->where);
    const int32_t cu[2] = {0, (int32_t)ids.n};
    vv_tensor *e = s == VV_OK ? vv_embed_texts(t->tape, t->model->llm, ids.id, cu, 1, t->dim) : NULL;
    if (s == VV_OK) s = vv_tape_status(t->tape, err);
    if (s == VV_OK) vvb_download(vector, e->data, t->dim * (int64_t)sizeof *vector);
    if (s == VV_OK) s = add(t, text, vector, err);
    vv_tape_reset(t->tape);
    vv_ids_free(&ids);
    free(vector);
    return s;
}

vv_status vv_texts_find(vv_texts *t, const char *text, const vv_real **vector, vv_error *err)
{
    entry *e = place(t->at, t->places, text);
    if (!e->text && !t->tape)
        return vv_fail(err, VV_FILE, "%s: expected an embedding of \"%.200s\"; found none", t->where, text);
    if (!e->text) {
        VV_TRY(embed(t, text, err));
        e = place(t->at, t->places, text);
    }
    *vector = e->vector;
    return VV_OK;
}
