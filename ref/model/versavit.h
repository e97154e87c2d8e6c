/* A whole model as it lies in a Hugging Face folder: config.json, preprocessor_config.json, model.safetensors (or shards), and with a
 * language model tokenizer.json.
 *
 *   config.json   {"model_type": "versavit", "vision_config": {...}, "text_config": {...}, "projector": {...}, "depth_head": {...},
 *                  "mask_head": {...}}
 * Every part is optional: a checkpoint of Qwen2-VL gives its tower, one of Qwen3 a language model. A bare vision configuration is
 * a tower too. */
#ifndef VV_MODEL_H
#define VV_MODEL_H

#include "io/tokenizer.h"
#include "model/dpt_head.h"
#include "model/mask_head.h"
#include "model/projector.h"
#include "model/qwen2vl_vit.h"
#include "model/qwen3.h"

typedef struct {
    vv_params *params; /* of all parts */
    vv_preprocess preprocess;
    vv_vit *vit; /* a part that is not there, or not asked for, is NULL */
    vv_projector *projector;
    vv_qwen3 *llm;
    vv_dpt *depth;
    vv_mask *mask;
    vv_tokenizer *tokenizer; /* with the language model */
    char *tokenizer_dir;     /* where it was read */
} vv_model;

/* Which parts to open. VV_SHAPES_ONLY reads no weights and takes no memory for them. */
enum {
    VV_VISION = 1,
    VV_PROJECTOR = 2,
    VV_TEXT = 4,
    VV_DEPTH = 8,
    VV_MASK = 16,
    VV_ALL_PARTS = 31,
    VV_SHAPES_ONLY = 256
};

/* Opens those of the parts that the folder has. Without preprocessor_config.json the published settings hold. On failure *m is
 * empty. */
vv_status vv_model_load(vv_model *m, const char *dir, int parts, vv_error *err) VV_MUST_USE;

/* From a run configuration of data/configs: the same objects beside "preprocessor" and "tokenizer" (a folder, seen from the file);
 * unknown keys are errors. The parameters are not initialised. */
vv_status vv_model_from_config(vv_model *m, const char *path, int parts, vv_error *err) VV_MUST_USE;

/* VV_FILE naming the first of the parts that the model lacks: "DIR: expected a language model (text_config); found none". */
vv_status vv_model_need(const vv_model *m, int parts, const char *where, vv_error *err) VV_MUST_USE;

/* Random weights for every part. */
vv_status vv_model_init(vv_model *m, uint64_t seed, vv_error *err) VV_MUST_USE;

/* Writes the folder, weights last, config.json before: a folder without weights is not taken for a model. The tokenizer is not
 * part of it: vv_tokenizer_copy from tokenizer_dir. */
vv_status vv_model_save(const vv_model *m, const char *dir, vv_dtype dtype, int64_t max_shard_bytes,
                        vv_error *err) VV_MUST_USE;

/* What config.json holds. NULL without memory. */
json_t *vv_model_config_to_json(const vv_model *m);

void vv_model_free(vv_model *m);

/* A list of pictures as one packed batch of the tower. */
typedef struct {
    int64_t n, rows, width; /* pictures, patches in all, numbers a patch */
    vv_grid *grid;          /* [n] */
    vv_real *pixel_values;  /* [rows, width] */
} vv_batch;
vv_status vv_batch_add(vv_batch *b, const vv_preprocess *p, const vv_image *image, const char *where,
                       vv_error *err) VV_MUST_USE;
vv_status vv_batch_append(vv_batch *b, const vv_batch *more, vv_error *err) VV_MUST_USE; /* copies */
void vv_batch_free(vv_batch *b);

#endif
