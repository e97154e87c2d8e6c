#include "golden/case_text.h"

#include <stdlib.h>

#include "base/rng.h"

vv_status vv_case_ints(const vv_case *c, const char *key, int64_t lo, int64_t hi, int64_t **list, int64_t *n,
                       vv_error *err)
{
    const json_t *found = NULL;
    *list = NULL;
    VV_TRY(vv_json_need(c->root, c->path, key, err));
    VV_TRY(vv_json_array(c->root, c->path, key, &found, err));
    *n = (int64_t)json_array_size(found);
    int64_t *x = vv_calloc(*n + 1, sizeof *x);
    if (!x) return vv_no_memory(err, c->path);
    int ok = *n > 0;
    for (int64_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(found, (size_t)i);
        x[i] = json_is_integer(v) ? (int64_t)json_integer_value(v) : lo - 1;
        ok &= x[i] >= lo && x[i] <= hi;
    }
    *list = x;
    if (ok) return VV_OK;
    free(x);
    *list = NULL;
    return vv_fail(err, VV_FILE, "%s: %s: expected a list of whole numbers from %lld to %lld", c->path, key,
                   (long long)lo, (long long)hi);
}

void vv_case_tokens_free(vv_case_tokens *x)
{
    free(x->ids);
    free(x->cu);
    *x = (vv_case_tokens){0};
}

vv_status vv_case_sequences(const vv_case *c, int64_t vocab, vv_case_tokens *out, vv_error *err)
{
    int64_t *length = NULL;
    VV_TRY(vv_case_ints(c, "lengths", 1, 1 << 16, &length, &out->S, err));
    out->cu = vv_calloc(out->S + 1, sizeof *out->cu);
    for (int64_t s = 0; out->cu && s < out->S; s++) out->cu[s + 1] = (int32_t)(out->N += length[s]);
    free(length);
    out->ids = vv_calloc(out->N, sizeof *out->ids);
    if (!out->cu || !out->ids) return vv_no_memory(err, c->path);
    const uint64_t stream = vv_stream("ids");
    for (int64_t i = 0; i < out->N; i++)
        out->ids[i] = (int32_t)(vv_random_uniform(c->seed, stream, (uint64_t)i) * (double)vocab);
    return VV_OK;
}

void vv_case_record_ints(vv_case *c, const char *name, const int32_t *x, int64_t n)
{
    int64_t *wide = vv_calloc(n, sizeof *wide);
    for (int64_t i = 0; wide && i < n; i++) wide[i] = x[i];
    vv_error err = {0};
    if (wide) vv_record_host(c->rec, "in", name, VV_DT_I64, 1, &n, wide);
    else if (vv_no_memory(&err, name) != VV_OK) vv_record_fail(c->rec, &err);
    free(wide);
}
