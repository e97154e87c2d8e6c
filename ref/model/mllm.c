#include "model/mllm.h"

#include <stdlib.h>
#include <string.h>

int32_t vv_image_pad(const vv_model *m) { return m->tokenizer ? vv_token_id(m->tokenizer, "<|image_pad|>") : -1; }

void vv_mllm_batch_free(vv_mllm_batch *b)
{
    free(b->ids);
    free(b->labels);
    free(b->cu);
    vv_batch_free(&b->pictures);
    *b = (vv_mllm_batch){0};
}

static int64_t placeholders(const int32_t *ids, int64_t n, int32_t image_pad)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += ids[i] == image_pad;
    return count;
}

/* rows of features that packed pictures give */
static int64_t features_of(const vv_model *m, const vv_batch *pictures)
{
    return m->projector ? pictures->rows / m->projector->config.cells : 0;
}

static vv_status grow(vv_mllm_batch *b, int64_t n, vv_error *err)
{
    int32_t *ids = realloc(b->ids, (size_t)(b->N + n) * sizeof *ids + 1);
    if (ids) b->ids = ids;
    int32_t *labels = ids ? realloc(b->labels, (size_t)(b->N + n) * sizeof *labels + 1) : NULL;
    if (labels) b->labels = labels;
    int32_t *cu = labels ? realloc(b->cu, (size_t)(b->S + 2) * sizeof *cu) : NULL;
    if (!cu) return vv_no_memory(err, "batch");
    b->cu = cu;
    return VV_OK;
}

vv_status vv_mllm_add(vv_mllm_batch *b, const vv_model *m, const char *name, const int32_t *ids, const int32_t *labels,
                      int64_t n, const vv_batch *pictures, vv_error *err)
{
    const int64_t found = placeholders(ids, n, vv_image_pad(m)), expected = pictures ? features_of(m, pictures) : 0;
    if (found != expected)
        return vv_fail(err, VV_FILE, "sample %s: expected %lld image placeholders for its %lld picture%s; found %lld",
                       name, (long long)expected, (long long)(pictures ? pictures->n : 0),
                       pictures && pictures->n == 1 ? "" : "s", (long long)found);
    if (n > INT32_MAX - b->N) return vv_fail(err, VV_USAGE, "sample %s: expected fewer than 2^31 tokens in all", name);
    VV_TRY(grow(b, n, err));
    if (pictures) VV_TRY(vv_batch_append(&b->pictures, pictures, err));
    memcpy(b->ids + b->N, ids, (size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++) b->labels[b->N + i] = labels ? labels[i] : VV_IGNORED;
    b->cu[0] = 0;
    b->N += n;
    b->cu[++b->S] = (int32_t)b->N;
    return VV_OK;
}

vv_tensor *vv_mllm_features(vv_tape *t, const vv_model *m, const vv_batch *pictures)
{
    const int64_t dim[2] = {pictures->rows, pictures->width};
    const vv_vit_wanted want = {0};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, dim, pictures->pixel_values);
    return vv_projector_forward(t, m->projector, vv_vit_forward(t, m->vit, x, pictures->grid, pictures->n, &want));
}

vv_tensor *vv_mllm_splice(vv_tape *t, const vv_qwen3 *llm, const int32_t *ids, int64_t n, int32_t image_pad,
                          vv_tensor *features)
{
    if (!features) return vv_qwen3_embed(t, llm, ids, n);
    const int64_t F = placeholders(ids, n, image_pad);
    if (!vv_expect(t, "splice", "features", vv_rows(features) == F, "a row for each image placeholder", "features",
                   features))
        return NULL;
    int32_t *at = vv_calloc(n, sizeof *at); /* where the rows go: n - F words, then F features */
    if (!at) return vv_tape_fail(t, VV_MEMORY, "splice: out of memory");
    int32_t *words = at, *pictures = at + n - F;
    for (int64_t i = 0; i < n; i++) *(ids[i] == image_pad ? pictures++ : words++) = (int32_t)i;
    vv_tensor *all = vv_qwen3_embed(t, llm, ids, n), *text = vv_gather_rows(t, NULL, all, at, n - F);
    vv_tensor *x = vv_merge_rows(t, "model.embed_tokens#spliced", text, at, features, at + n - F);
    free(at);
    return x;
}

vv_tensor *vv_mllm_forward(vv_tape *t, const vv_model *m, const vv_mllm_batch *b)
{
    vv_tensor *features = b->pictures.n ? vv_mllm_features(t, m, &b->pictures) : NULL;
    if (b->pictures.n && !features) return NULL;
    vv_tensor *x = vv_mllm_splice(t, m->llm, b->ids, b->N, vv_image_pad(m), features);
    return vv_qwen3_forward(t, m->llm, x, b->cu, b->S);
}
