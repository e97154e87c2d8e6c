/* Inside the case `updates` only: its settings, and the batches it makes. */
#ifndef VV_GOLDEN_CASE_UPDATES_H
#define VV_GOLDEN_CASE_UPDATES_H

#include "golden/case_text.h"
#include "golden/margins.h"
#include "train/stage.h"
#include "train/step.h"

enum { VV_UPDATES_BATCH = 16 };

typedef struct {
    vv_case *c;
    vv_task_config task[VV_TASKS];
    int64_t size; /* of the squares */
    int64_t *seeds, updates, *recorded, n_recorded, *gradients,
        n_gradients; /* gradients NULL: of all that are recorded */
    vv_adamw_group group[VV_GROUPS];
    vv_schedule schedule;
    double lr[VV_PARTS], max_norm;
    vv_adamw *optimizer;
    vv_step step;
} vv_updates;

/* A task's batch of random samples of the seed: pictures of several sizes, some conversations without; disparity with holes; texts and
 * boxes. record: as kind in. */
vv_status vv_updates_batch(const vv_updates *u, vv_task k, uint64_t seed, int record, vv_task_batch *b,
                           vv_error *err) VV_MUST_USE;

#endif
