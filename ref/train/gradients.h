/* How the tasks' gradients lie to each other, layer by layer, in the one part that more than one of them reaches: the tower.
 *
 * After each task's backward the tower's gradient is copied; what the task added is the difference to the copy before, so that the numbers
 * of the run are the same whether anybody looks or not. (A difference of sums loses digits: a task's norm is exact to about u times
 * the norm of all together.) lambda and the schedule of micro-batches are in it, clipping is not.
 *
 *   norm   |g_task|         cosine  <g_a, g_b> / (|g_a| |g_b|), 0 where one of them is 0         in double, in a fixed order
 *
 * A layer is a block of the tower with all its parameters ("visual.blocks.3"), the patch embedding ("visual.patch_embed") or the
 * merger. */
#ifndef VV_TRAIN_GRADIENTS_H
#define VV_TRAIN_GRADIENTS_H

#include "train/config.h"

typedef struct {
    char name[64];
    int64_t first, n;        /* its run of the parameters */
    double norm[VV_TASKS];   /* after vv_gradients_finish */
    double cosine[VV_TASKS]; /* of tasks 0 and 1, 0 and 2, 1 and 2 */
} vv_layer;

typedef struct {
    const vv_params *params;
    vv_layer *layer;
    int64_t n;
    vv_real *copy[VV_TASKS]; /* (host) the tower's gradient after each task, NULL: the task did not run */
    int64_t numbers;         /* of such a copy */
} vv_gradients;

vv_status vv_gradients_new(vv_gradients *g, const vv_model *m, vv_error *err) VV_MUST_USE;
void vv_gradients_free(vv_gradients *g);
vv_status vv_gradients_after(vv_gradients *g, vv_task task, vv_error *err) VV_MUST_USE; /* in the order of the tasks */
void vv_gradients_finish(vv_gradients *g); /* numbers into the layers; the copies are dropped */

#endif
