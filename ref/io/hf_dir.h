/* Weights as Hugging Face stores them: a folder with model.safetensors, or with model.safetensors.index.json and
 * the shards it names; or one .safetensors file.
 *
 *   {"metadata": {"total_size": bytes}, "weight_map": {"tensor": "model-00001-of-00003.safetensors", ...}}
 *
 * Refused (VV_FILE): a shard name that leaves the folder, a missing shard, a mapped tensor its shard does not
 * have. Only warned about: a wrong total_size (common in the wild), tensors that the map does not give to their
 * shard (they are not visible here), and a folder with both forms (model.safetensors is read, as transformers
 * does).
 * Source: transformers, modeling_utils.py (load and save_pretrained), huggingface_hub
 * split_torch_state_dict_into_shards. */
#ifndef VV_HF_DIR_H
#define VV_HF_DIR_H

#include "io/safetensors.h"

typedef struct vv_weights vv_weights;

vv_status vv_weights_open(vv_weights **out, const char *dir_or_file, vv_error *err) VV_MUST_USE;
void vv_weights_close(vv_weights *w); /* NULL is fine; all entries are gone with it */
const char *vv_weights_path(const vv_weights *w);
int64_t vv_weights_count(const vv_weights *w);

/* The i-th tensor (shards in the order of the map, data order within), or the one of that name; NULL when there is
 * none. *file, where not NULL, becomes the file it is in. */
const vv_st_entry *vv_weights_at(const vv_weights *w, int64_t i, const vv_st **file);
const vv_st_entry *vv_weights_find(const vv_weights *w, const char *name, const vv_st **file);

/* Saves n tensors of real types into the folder dir (made when absent): one model.safetensors, or shards and an
 * index when they need more than max_shard_bytes (0: 5e9, as Hugging Face). get(ctx, i, dst, err) fills dst with
 * the elements of declaration i; it is called once per tensor, in order. Nothing appears in the folder before
 * everything is on the disk; then the files are renamed, the index last, and a form that is now out of date
 * (model.safetensors beside new shards, an index beside a new model.safetensors) is removed. */
typedef vv_status (*vv_weights_get)(void *ctx, int64_t i, vv_real *dst, vv_error *err);
vv_status vv_weights_save(const char *dir, const vv_st_decl *decls, int64_t n, int64_t max_shard_bytes,
                          vv_weights_get get, void *ctx, vv_error *err) VV_MUST_USE;

#endif
