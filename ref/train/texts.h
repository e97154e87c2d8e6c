/* Embeddings of referring texts: from a file that `versavit embed-text` wrote (tensor "embeddings" [texts,dim], the texts as a JSON list in
 * the metadata "texts"), or from a frozen text encoder, each text once.
 *
 * Both are cut to the mask head's text_dim and have length 1 again (model/text_embedding.h). */
#ifndef VV_TRAIN_TEXTS_H
#define VV_TRAIN_TEXTS_H

#include "model/text_embedding.h"

typedef struct vv_texts vv_texts;
vv_status vv_texts_open(vv_texts **out, const char *file, int64_t dim, vv_error *err) VV_MUST_USE;
/* The language model of a folder. */
vv_status vv_texts_encoder(vv_texts **out, const char *folder, int64_t dim, vv_error *err) VV_MUST_USE;
/* The language model of a model that outlives it; where: for messages. */
vv_status vv_texts_model(vv_texts **out, const vv_model *m, const char *where, int64_t dim, vv_error *err) VV_MUST_USE;
void vv_texts_free(vv_texts *t);
/* VV_FILE when a file does not have the text. The vector [dim] lives as long as t. */
vv_status vv_texts_find(vv_texts *t, const char *text, const vv_real **vector, vv_error *err) VV_MUST_USE;

#endif
