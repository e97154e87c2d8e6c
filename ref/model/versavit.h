/* A whole model as it lies in a Hugging Face folder: config.json, preprocessor_config.json, model.safetensors (or shards). */
#ifndef VV_MODEL_H
#define VV_MODEL_H

#include "model/qwen2vl_vit.h"

typedef struct {
    vv_params *params; /* of all parts */
    vv_vit *vit;
    vv_preprocess preprocess;
} vv_model;

enum { VV_WITH_WEIGHTS = 0, VV_SHAPES_ONLY = 1 };

/* Opens a folder. config.json: {"vision_config": {...}} or a bare vision configuration; without preprocessor_config.json the
 * published settings hold. VV_SHAPES_ONLY reads no weights and takes no memory for them. On failure *m is empty. */
vv_status vv_model_load(vv_model *m, const char *dir, int shapes_only, vv_error *err) VV_MUST_USE;

/* From a run configuration of data/configs: {"vision_config": {...}, "preprocessor": {...}}; unknown keys are errors. The
 * parameters are not initialised. */
vv_status vv_model_from_config(vv_model *m, const char *path, int shapes_only, vv_error *err) VV_MUST_USE;

/* Writes the folder, weights last, config.json before: a folder without weights is not taken for a model. */
vv_status vv_model_save(const vv_model *m, const char *dir, vv_dtype dtype, int64_t max_shard_bytes,
                        vv_error *err) VV_MUST_USE;

void vv_model_free(vv_model *m);

/* A list of pictures as one packed batch of the tower. */
typedef struct {
    int64_t n, rows, width; /* pictures, patches in all, numbers a patch */
    vv_grid *grid;          /* [n] */
    vv_real *pixel_values;  /* [rows, width] */
} vv_batch;
vv_status vv_batch_add(vv_batch *b, const vv_preprocess *p, const vv_image *image, const char *where,
                       vv_error *err) VV_MUST_USE;
void vv_batch_free(vv_batch *b);

#endif
