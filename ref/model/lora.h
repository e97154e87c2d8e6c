/* LoRA (Hu et al. 2022, arXiv:2106.09685): low-rank adapters on Linear layers chosen by name, in the files of PEFT.
 *
 *   y = W x + s B (A x),   A [r,in] starts as U(+-1/sqrt(in)), B [out,r] as 0: the first forward is the base's
 *   s = alpha / r          (alpha / sqrt(r) with use_rslora)
 *
 * The base is frozen: its weights keep their bits while the adapters, a list of parameters of their own, train. Gradients still flow through
 * the base to whatever is before it. VersaViT fine-tunes its text encoder so (r 8, alpha 8; it names no modules, and PEFT's own
 * choice for Qwen3 is q_proj and v_proj).
 *
 * Files: adapter_config.json, adapter_model.safetensors with base_model.model.<module>.lora_A.weight and .lora_B.weight.
 * Source: huggingface/peft, tuners/lora.
 *
 * Easy to get wrong: a module's own name may begin with "model." (two of them in the file), a bare encoder's does not. W -= d does not
 * undo W += d: the original is kept. */
#ifndef VV_LORA_H
#define VV_LORA_H

#include "model/params.h"

typedef struct {
    int64_t r;
    double alpha;
    int rslora;
    const char *const *target; /* module names: a module matches that equals one or ends in "." and one; NULL: regex */
    int64_t n_target;
    const char *regex; /* that the whole module path matches (PCRE2's syntax, nearly Python's) */
} vv_lora_config;
vv_lora_config vv_lora_default(void); /* 8, 8, q_proj and v_proj */

typedef struct vv_lora vv_lora;

/* Adapters, not initialised, on the matching matrices of base, all of which is frozen. VV_USAGE when nothing matches, or an entry
 * matches nothing. base must outlive it. */
vv_status vv_lora_new(vv_lora **out, vv_params *base, const vv_lora_config *c, vv_error *err) VV_MUST_USE;
vv_status vv_lora_init(vv_lora *l, uint64_t seed, vv_error *err) VV_MUST_USE;
void vv_lora_free(vv_lora *l); /* the base is what it was: adapters gone, trainable again where it was; a merge stays */
vv_params *vv_lora_params(vv_lora *l); /* what trains: lora_A and lora_B of each module, under PEFT's names */

/* vv_lora_new and the weights from a folder of PEFT. Refused, naming the key: what is not plain LoRA (dora, bias, patterns of ranks,
 * modules_to_save, fan_in_fan_out). Dropout is ignored with a warning: it exists in training only. */
vv_status vv_lora_load(vv_lora **out, vv_params *base, const char *dir, vv_error *err) VV_MUST_USE;
vv_status vv_lora_save(const vv_lora *l, const char *dir, const char *base_model, vv_error *err) VV_MUST_USE;

/* W += s B A, computed in double and rounded once; the adapters rest meanwhile. Unmerging restores the original bits. */
vv_status vv_lora_merge(vv_lora *l, vv_error *err) VV_MUST_USE;
void vv_lora_unmerge(vv_lora *l);

#endif
