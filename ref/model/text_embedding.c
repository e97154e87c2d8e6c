#include "model/text_embedding.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 8192 };

vv_status vv_embed_ids(const vv_model *m, const char *text, const vv_embed_options *o, vv_ids *out, vv_error *err)
{
    const int32_t named = vv_token_appended(m->tokenizer),
                  end = named >= 0 ? named : vv_token_id(m->tokenizer, "<|endoftext|>");
    const int64_t most = o->max_length ? o->max_length : MAX_LENGTH, first = out->n;
    if (end < 0) return vv_fail(err, VV_FILE, "tokenizer: expected <|endoftext|>, which ends every text; found none");
    char *whole = o->instruct ? vv_asprintf("Instruct: %s\nQuery:%s", o->instruct, text) : vv_strdup(text);
    vv_status s = whole ? vv_encode(m->tokenizer, whole, strlen(whole), 0, out, err) : vv_no_memory(err, "text");
    free(whole);
    if (s != VV_OK) return s;
    out->n = vv_min(out->n, first + most - 1);
    return vv_ids_push(out, end, err);
}

vv_tensor *vv_embed_texts(vv_tape *t, const vv_qwen3 *llm, const int32_t *ids, const int32_t *cu, int64_t S,
                          int64_t dim)
{
    int32_t *last = vv_calloc(S, sizeof *last);
    if (!last) return vv_tape_fail(t, VV_MEMORY, "embedding: out of memory");
    for (int64_t s = 0; s < S; s++) last[s] = cu[s + 1] - 1;
    vv_tensor *hidden = vv_qwen3_forward(t, llm, vv_qwen3_embed(t, llm, ids, cu[S]), cu, S);
    vv_tensor *rows = vv_gather_rows(t, "embedding#last", hidden, last, S);
    free(last);
    return vv_unit_rows(t, "embedding", rows, dim ? dim : llm->config.hidden_size);
}
