/* What is recorded of the vision tower alone: pictures go in, and the loss
 *   L = sum(merged * cotangent) + sum(tap * cotangent_tap)
 * sends a known gradient back from the merged features and from one layer on the way, so that every weight gets one and a
 * layer with two readers is covered. The cotangents are inputs: any framework computes the same by autograd. */
#ifndef VV_GOLDEN_TOWER_H
#define VV_GOLDEN_TOWER_H

#include "model/versavit.h"

/* Records a built-in case, a JSON file of data/cases:
 *   {"config": "../configs/micro.json", "seed": 1, "pictures": [[56,84],[84,28]], "tap": 1}
 * Weights are random, large enough that attention is not uniform; pictures are drawn from the seed. */
vv_status vv_golden_make(const char *case_path, const char *out, int tape_flags, vv_error *err) VV_MUST_USE;

/* Records the model of a Hugging Face folder on the inputs of another recording (pictures, cotangents, tap), so that ours can be
 * compared with it key by key. from_pixel_values: start at its pixel_values instead of its pictures. */
vv_status vv_golden_record(const char *model_dir, const char *recording, int from_pixel_values, const char *out,
                           vv_error *err) VV_MUST_USE;

#endif
