/* The parameters of a model's parts: declared by name under the part's prefix, initialised, loaded and saved.
 *
 * All parts of a model share one vv_params, so that the tape, the optimizer and a checkpoint see one list with whole names:
 * visual.*, projector.*, model.*, depth_head.*, mask_head.*. A part is a run of that list. */
#ifndef VV_PARAMS_H
#define VV_PARAMS_H

#include "io/hf_dir.h"
#include "nn/nn.h"

typedef struct {
    vv_params *params;
    const char *prefix; /* "visual.": a literal */
    int64_t first, n;   /* its run of the list */
} vv_part;

/* ---- declaring ---------------------------------------------------------------------------------------------------------
 * Names are scope and name joined ("blocks.3." "attn.qkv"). After a failure, which *err keeps, all give NULL. */
typedef struct {
    vv_part *part;
    vv_error err;
} vv_declare;
vv_declare vv_declare_begin(vv_part *part, vv_params *params, const char *prefix);
vv_tensor *vv_declare_shape(vv_declare *d, const char *scope, const char *name, int ndim, const int64_t *dim);
vv_tensor *vv_declare_matrix(vv_declare *d, const char *scope, const char *name, int64_t out, int64_t in);
vv_tensor *vv_declare_vector(vv_declare *d, const char *scope, const char *name, int64_t n);
/* name.weight [out,in] and name.bias [out]; in = 0: a norm, whose weight is [out] too */
vv_affine vv_declare_affine(vv_declare *d, const char *scope, const char *name, int64_t out, int64_t in);
vv_status vv_declare_end(vv_declare *d, vv_error *err) VV_MUST_USE; /* the failure kept, or VV_OK */

/* ---- values ------------------------------------------------------------------------------------------------------------
 * Random numbers are drawn from the stream of the parameter's name and rounded to float, so that both builds start alike. */
typedef enum { VV_FILL_CONSTANT, VV_FILL_NORMAL, VV_FILL_UNIFORM } vv_fill; /* scale; scale N(0,1); U(-scale, scale) */
vv_status vv_param_fill(vv_tensor *x, vv_fill fill, double scale, uint64_t seed, vv_error *err) VV_MUST_USE;

/* ---- checkpoints -------------------------------------------------------------------------------------------------------
 * The prefix under which the file keeps the part: the first of `prefixes` (NULL-terminated) under which the part's first
 * parameter is found; NULL when there is none. */
const char *vv_part_prefix(const vv_part *p, const vv_weights *w, const char *const *prefixes);
/* Fills the part from the tensors under that prefix. VV_FILE: one is missing, has another shape, or is unknown under the
 * prefix (ignore(ctx, name without prefix) != 0 excuses it; ignore may be NULL). */
vv_status vv_part_load(const vv_part *p, const vv_weights *w, const char *prefix,
                       int (*ignore)(const void *ctx, const char *name), const void *ctx, vv_error *err) VV_MUST_USE;
/* Fills x from the tensor of that name. */
vv_status vv_param_load(vv_tensor *x, const vv_weights *w, const char *name, vv_error *err) VV_MUST_USE;
/* Writes all parameters under their names in the given type, in shards of at most max_shard_bytes (0: 5e9). */
vv_status vv_params_save(const vv_params *ps, const char *dir, vv_dtype dtype, int64_t max_shard_bytes,
                         vv_error *err) VV_MUST_USE;

#endif
