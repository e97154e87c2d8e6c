/* Training runs: the stages of a configuration (config.h) one after the other, with checkpoints (checkpoint.h) and a log (log.h).
 *
 * One update, VersaViT, sections 4.3 and 8.1:
 *   gradients are cleared; for each task in the order caption, depth, segmentation: forward and backward of lambda * loss of its batch
 *   (step.h), which adds to the gradients; then ONE norm over all of them, a stop if it is not finite, clipping, AdamW with
 *   the learning rates of this update.
 *
 * Parts that do not train have no gradient, no moments and no decay: they keep their bits.
 *
 * A run is a function of its configuration alone: of the seed, the name of the stage and the number of the update. Threads, interruptions
 * and what is logged change no bit of the weights.
 *
 *   OUT/run.json           the configuration with every default filled in
 *   OUT/log.jsonl
 *   OUT/STAGE/model/, OUT/STAGE/checkpoint-N/
 *
 * Easy to get wrong: the first update of a warm-up has a learning rate of 0; clipping comes after the last task; a parameter without
 * gradient is skipped, one with a gradient of zeros is not. */
#ifndef VV_TRAINER_H
#define VV_TRAINER_H

#include "train/log.h"

typedef struct {
    const char *config, *out; /* a file; a folder, made when it is not there */
    const char *stage;        /* only this one, from what the earlier ones have left in out; NULL: all */
    int resume;               /* go on in a folder that holds a run; otherwise such a folder is refused */
    vv_train_overrides overrides;
    void (*told)(void *ctx, const vv_update *u); /* after each update; may be NULL */
    int (*stop)(void *ctx); /* asked after each update: then a checkpoint is written, and that is all */
    void *ctx;
} vv_train_options;

/* *stopped: whether stop said so. VV_NONFINITE: a loss or a gradient is not finite, with the names of stage, update and tensor; nothing is
 * written then, the last checkpoint stands. */
vv_status vv_train(const vv_train_options *o, int *stopped, vv_error *err) VV_MUST_USE;

/* ---- dry runs ------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t parameters, trained; /* of a part; both 0: the model has none */
} vv_dry_part;

typedef struct {
    const char *stage;
    int64_t updates; /* 0: epochs of data that is not there */
    int skipped;
    vv_dry_part part[VV_PARTS];
    int64_t weights, gradients, moments;                 /* bytes */
    int64_t activations;                                 /* at most at a time, gradients of activations included */
    int64_t activations_otherwise;                       /* the same if checkpointing were the other way */
    double forward[VV_TASKS], backward[VV_TASKS], other; /* FLOPs of an update; other: AdamW */
    int64_t tokens[VV_TASKS];                            /* of the tower (patches) in an update */
    int64_t text[VV_TASKS];                              /* tokens of the decoder in an update */
} vv_dry_stage;

/* What a stage needs, from shapes alone: nothing is allocated or read. A caption's picture is as large as its sources make it (scenes), or
 * as max_pixels allows; with it goes text up to max_tokens, else VV_DRY_WORDS tokens. */
enum { VV_DRY_WORDS = 64 };
vv_status vv_train_dry(const vv_train_config *c, int64_t stage, vv_model *shapes, vv_dry_stage *out,
                       vv_error *err) VV_MUST_USE;

#endif
