/* The projector: last-layer features of the tower to rows that the language model reads.
 *
 *   h [N,C], token order --- norm (LayerNorm, eps 1e-6) ---> the four tokens of a merge block side by side [N/4, 4C]
 *     --- fc1 ---> [N/4, hidden] --- GELU (erf) --- fc2 ---> [N/4, hidden_size of the language model]
 *
 * Tensors: projector.norm.weight, .bias [C]; projector.fc1.weight [hidden, 4C], .bias; projector.fc2.weight [out, hidden], .bias.
 *
 * Source: VersaViT, section 4.1 ("MLP layer"). Its Table 13 prints 35.0 "M": in units of 2^20 that is C 1280, hidden 5120, out 2048
 * (Qwen3-1.7B), 36,709,888 parameters = 35.009 with the norm [default], 36,707,328 = 35.007 without (norm "none"). That it reads the
 * features before the tower's own merger follows from the same count.                                                        */
#ifndef VV_PROJECTOR_H
#define VV_PROJECTOR_H

#include "base/json.h"
#include "model/params.h"

typedef struct {
    int64_t width, cells, hidden, out; /* C; tokens side by side; 0 for hidden: cells C */
    int norm;                          /* LayerNorm before: "ln" (1) or "none" (0) */
} vv_projector_config;

/* From the object "projector" ({"norm": "ln", "hidden": 5120}; NULL: defaults); width, cells and out are the neighbours', set before. */
vv_status vv_projector_config_parse(vv_projector_config *c, const json_t *object, const char *where,
                                    vv_error *err) VV_MUST_USE;
json_t *vv_projector_config_to_json(const vv_projector_config *c);

typedef struct {
    vv_projector_config config;
    vv_part part; /* "projector." */
    vv_affine norm, fc1, fc2;
} vv_projector;

vv_status vv_projector_new(vv_projector **out, vv_params *params, const vv_projector_config *c,
                           vv_error *err) VV_MUST_USE;
void vv_projector_free(vv_projector *m);
/* Matrices N(0, 1/sqrt(inputs)), biases 0, norm 1 and 0: stage 1 starts from here. */
vv_status vv_projector_init(vv_projector *m, uint64_t seed, vv_error *err) VV_MUST_USE;
vv_status vv_projector_load_weights(vv_projector *m, const vv_weights *w, vv_error *err) VV_MUST_USE;

/* h [N,C] in token order (the tokens of a block consecutive) to [N/cells, out]. */
vv_tensor *vv_projector_forward(vv_tape *t, const vv_projector *m, vv_tensor *h);

#endif
