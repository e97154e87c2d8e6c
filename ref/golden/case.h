/* Cases: what golden files are made of. A case is a JSON file of data/cases:
 *   {"kind": "tower", "about": "one line", "config": "../configs/micro.json", "seed": 1, ...}
 * kind selects the function that runs it. Common keys, all optional but kind:
 *   config    a run configuration (seen from the case's file); the kind's parts of its model are made, with random weights:
 *             matrices N(0, 1/sqrt(inputs)), biases N(0, 0.1), norm weights N(1, 0.1): nothing is zero, one or nearly uniform
 *   model     instead: a Hugging Face folder, whose weights are used
 *   seed      of weights, pictures and cotangents (default 1)
 *   outliers  [{"name": "attn.qkv.weight", "rows": [first, end, step], "factor": 30}, ...]: of each parameter whose name contains
 *             this, those rows (of its first dimension; without "rows" all) are multiplied by the factor. Trained networks have
 *             such channels
 *   lean      true: module outputs, losses and weight gradients alone: no "#part", no gradients of activations
 *   sample    true: 4,096 elements of each larger tensor, see vv_record_options
 * The rest belongs to the kind. Unknown keys are errors.
 *
 * A kind is one file, case_KIND.c, with one vv_case_kind at its end; case.c lists them. */
#ifndef VV_GOLDEN_CASE_H
#define VV_GOLDEN_CASE_H

#include "golden/record.h"
#include "model/versavit.h"

typedef struct {
    const json_t *root; /* the case's file, and its path: what messages name and relative paths start from */
    const char *path;
    uint64_t seed;
    vv_model model;    /* the kind's parts, weights set; empty without "config" and "model" */
    vv_recorder *rec;  /* at u1 and the kind's task */
    int tape_flags;    /* VV_RECORD, and VV_CHECKPOINT where asked for */
    const vv_st *from; /* the golden file whose states (w, m, v) updates 2.. start from; NULL: one's own */
    int truth; /* in double, not emulated, from nothing but itself. Only a truth is refused for its ties: any candidate is
                  written, so that one sees where it is wrong */
} vv_case;

/* Runs and records it. Leaves the parameters' values as it found them: they are saved afterwards. The recorder's error is asked for by
 * the caller, a tape's must be returned (vv_tape_status). */
typedef vv_status (*vv_case_fn)(vv_case *c, vv_error *err);

typedef struct {
    const char *kind, *task; /* "tower"; the task of u1 and of kind w in a single file: "vision" */
    int parts;               /* of the model that it needs (VV_VISION ...); 0: none, and "config" is refused */
    const char *const *keys; /* of the JSON besides the common ones, NULL-terminated */
    vv_case_fn run;
} vv_case_kind;
extern const vv_case_kind vv_case_tower, vv_case_pixels, vv_case_layers, vv_case_decoder, vv_case_embed,
    vv_case_generate, vv_case_caption, vv_case_depth, vv_case_segmentation, vv_case_losses, vv_case_adamw,
    vv_case_updates;

/* ---- for the kinds --------------------------------------------------------------------------------------------------------- */
/* A tape on the model's parameters that is being recorded, their gradients set to none. Free it with vv_tape_free. NULL without
 * memory. */
vv_tape *vv_case_tape(vv_case *c, vv_error *err);
/* numbers N(mean, std^2), rounded to float, of the stream `name` */
vv_real *vv_case_normals(const vv_case *c, const char *name, double mean, double std, int64_t n);
/* A picture of waves a few pixels long under noise: every frequency a resize can meet. `index` tells pictures apart. */
vv_status vv_case_draw(const vv_case *c, vv_image *image, int64_t h, int64_t w, int64_t index,
                       vv_error *err) VV_MUST_USE;
/* Kind in: image.<index>, U8 [h,w,3]. */
void vv_case_record_image(vv_case *c, const vv_image *image, int64_t index);
void vv_case_record_grids(vv_case *c, const char *kind, const vv_grid *grid, int64_t n); /* grid_thw, I64 [n,3] */
/* The case's list `key` of [height, width]: *hw [n][2], freed by the caller; NULL on failure. */
vv_status vv_case_sizes(const vv_case *c, const char *key, int64_t (**hw)[2], int64_t *n, vv_error *err) VV_MUST_USE;
/* The pictures of the case's list `key` of [height, width] drawn, recorded and put into a batch, with their grids. */
vv_status vv_case_pictures(vv_case *c, const char *key, vv_batch *batch, vv_error *err) VV_MUST_USE;
/* A linear loss: sum x * cotangent, the cotangent N(0,1) recorded as the input `name`. */
vv_tensor *vv_case_dot(vv_case *c, vv_tape *t, const char *name, vv_tensor *x);
/* A path that the case's file names, seen from that file. In fresh memory. */
char *vv_case_path(const vv_case *c, const char *name);

/* ---- making them ------------------------------------------------------------------------------------------------------------- */
typedef struct {
    const char *
        out; /* a folder: golden.safetensors, config.json, model.safetensors; or X.safetensors: all in one file, weights as kind w */
    int tape_flags;     /* VV_CHECKPOINT (not with resync) */
    const char *resync; /* golden files, or folders with one, or NULL */
    const char *from;
    vvb_precision precision; /* that the backend imitates, and where it rounds */
    vvb_placement placement;
} vv_golden_options;
vv_status vv_golden_make(const char *case_path, const vv_golden_options *o, vv_error *err) VV_MUST_USE;

#endif
