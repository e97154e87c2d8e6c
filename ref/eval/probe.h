/* Linear probes: what can be read from a frozen tower by a linear map of each patch, on held-out synthetic scenes.
 *
 *   depth          ridge regression (regression.h) of a patch's target: the mean of log depth over its pixels that have a depth. The
 *                  prediction is exp(score), kept within the training targets.
 *   segmentation   softmax regression on a patch's label: its most frequent class (of equal ones the first).
 *
 * Features are the rows after one block of the tower, the last by default, before the merger, one row a patch, each column standardised on
 * the training scenes. lambda is chosen among seven, 1e-5 to 10, on the last fifth of the training scenes by the mean squared error or
 * the cross-entropy of patches; the final fit uses all of them. Scenes have the size that the tower reads: nothing is resized. A patch's
 * prediction holds for all its pixels (nearest), and these are compared:
 *
 *   rmse, rmse_log, abs_rel   of depth in metres, of each picture, then their mean (sky has no depth and is left out)
 *   rmse_objects              rmse over pixels of objects, likewise
 *   order                     share of the pairs of objects, over all scenes, whose mean depths are ordered rightly (vv_scene_order)
 *   miou, accuracy, iou       over all pixels and VV_SYNTH_CLASSES classes (metrics.h)
 *
 * Beside the tower, in the same way:
 *   mean_map       for each place of the grid the mean target, or most frequent label, of the training scenes
 *   position       features x, y, x^2, xy, y^2 of the patch's place
 *   patches        the patch's pixels themselves
 *   random_tower   a tower of the same configuration with random weights: matrices N(0, 1/inputs), norms 1, biases 0
 *   ceiling        what a patch's prediction could be at best, knowing the truth: for each of rmse, rmse_objects, rmse_log, abs_rel its own
 *                  optimum; order: with the mean depth of the patch's pixels of objects; segmentation: the most frequent class, which
 *                  is best for accuracy
 *
 * The protocol follows the linear probes of DINOv3 (facebookresearch/dinov3, eval/depth and eval/segmentation) in its features and measures; the
 * solver is ours, because a closed form or a convex minimum has no seed and no learning rate. */
#ifndef VV_PROBE_H
#define VV_PROBE_H

#include "base/json.h"
#include "data/synth.h"
#include "model/versavit.h"

typedef enum { VV_PROBE_DEPTH, VV_PROBE_SEGMENTATION } vv_probe_task;
typedef enum {
    VV_PROBE_TOWER,
    VV_PROBE_MEAN_MAP,
    VV_PROBE_POSITION,
    VV_PROBE_PATCHES,
    VV_PROBE_RANDOM_TOWER,
    VV_PROBE_CEILING,
    VV_PROBES
} vv_probe_kind;
extern const char *const vv_probe_name[VV_PROBES]; /* "tower", "mean_map", ... as above */

#define VV_PROBE_SEED 1000     /* of scenes that no run configuration of data/configs trains on */
#define VV_PROBE_TEST 10000000 /* the first test scene; training scenes count from 0 */

typedef struct {
    vv_synth_options scenes; /* of the test scenes; those of training never have the held-out pairs */
    int64_t train, test;     /* scenes; at least 5 and 1 */
    int64_t layer;           /* the block whose output is read; -1: the last */
    uint64_t random_seed;    /* of the random tower */
    int tower_alone;         /* only VV_PROBE_TOWER */
} vv_probe_options;
vv_probe_options vv_probe_default(
    void); /* 400 and 400 scenes of the default size, seed VV_PROBE_SEED, the last layer */

typedef struct {
    int present;
    int64_t features;                                    /* columns; 0: none */
    double lambda;                                       /* of fitted ones */
    int64_t iterations;                                  /* of the softmax */
    double rmse, rmse_objects, rmse_log, abs_rel, order; /* depth */
    double miou, accuracy, iou[VV_SYNTH_CLASSES];        /* segmentation; an absent class NaN */
    double *prediction; /* [test, gh gw] metres, or the class: the ceiling's is its optimum of rmse */
} vv_probe_row;

typedef struct {
    vv_probe_task task;
    vv_probe_options options; /* layer as it was used */
    int64_t gh, gw, pairs;    /* patches of a picture; pairs of objects that order counts */
    vv_probe_row row[VV_PROBES];
} vv_probe_result;

/* VV_USAGE for impossible sizes, VV_FILE when the model has no tower. On failure *r is empty. */
vv_status vv_probe(vv_probe_result *r, const vv_model *m, vv_probe_task task, const vv_probe_options *o,
                   vv_error *err) VV_MUST_USE;
void vv_probe_free(vv_probe_result *r); /* zeroes it */

/* {"probe": "depth"|"segmentation", "layer", "size", "grid": [gh, gw],
 *  "scenes": {"seed", "train", "test", "closeups", "min_objects", "max_objects", "held_out"}, "target", "upsampling",
 *  "pairs": N,                                                                          depth
 *  "results": {NAME: {"features", "lambda", "rmse", "rmse_objects", "rmse_log", "abs_rel", "order"}, ...}}             depth
 *  "results": {NAME: {"features", "lambda", "iterations", "miou", "accuracy", "iou": {CLASS: X, ...}}, ...}}            segmentation
 * NAME as vv_probe_name, CLASS as vv_synth_class_name; a number that does not exist is null. features and lambda of what is not fitted are
 * null. Depth in metres; all else are shares from 0 to 1. NULL without memory. */
json_t *vv_probe_json(const vv_probe_result *r);

#endif
