/* What is recorded of the vision tower alone: pictures go in, and the loss
 *   L = sum(merged * cotangent) + sum(tap * cotangent_tap)
 * sends a known gradient back from the merged features and from one layer on the way, so that every weight gets one and a
 * layer with two readers is covered. The cotangents are inputs: any framework computes the same by autograd. */
#ifndef VV_GOLDEN_TOWER_H
#define VV_GOLDEN_TOWER_H

#include "golden/record.h"
#include "model/versavit.h"

typedef struct {
    const vv_model *model;
    vv_batch batch;
    int64_t tap;                        /* the layer */
    vv_real *cotangent, *cotangent_tap; /* of the merged features, of the tap */
} vv_tower_run;

/* sizes of the merged features and of a layer */
void vv_tower_sizes(const vv_tower_run *r, int64_t merged[2], int64_t layer[2]);
/* Forward and backward on the tape, recorded with the gradients of the weights. */
vv_status vv_tower_record(const vv_tower_run *r, vv_recorder *rec, vv_tape *t, vv_error *err) VV_MUST_USE;
void vv_tower_free(vv_tower_run *r); /* not the model */

/* Records the model of a Hugging Face folder on the inputs of another recording (pictures, cotangents, tap), so that ours can be
 * compared with it key by key; weights as kind w. from_pixel_values: start at its pixel_values instead of its pictures. */
vv_status vv_golden_record(const char *model_dir, const char *recording, int from_pixel_values, const char *out,
                           vv_error *err) VV_MUST_USE;

#endif
