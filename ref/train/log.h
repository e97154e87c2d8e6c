/* OUT/log.jsonl: one JSON object a line, appended as things happen. Each line names its stage. Losses are those before the update.
 *
 *   {"kind": "start", "stage", "updates", "parameters", "trainable", "threads"}
 *   {"kind": "resume", "stage", "update"}                      a later process goes on after this update
 *   {"kind": "update", "stage", "update": 1.., "loss": {"caption": x, .., "total": x}, "parts": {"ssi": x, "gm": x, "bce": x, "dice": x},
 *    "lr": {"visual": x, ..}, "grad_norm": x, "seconds": x}     total: the sum of lambda loss; grad_norm before clipping
 *   {"kind": "gradients", "stage", "update", "layers": [{"layer": "visual.blocks.0", "norm": {"caption": x, ..},
 *    "cosine": {"caption.depth": x, ..}}]}
 *   {"kind": "validation", "stage", "update", "validation": {"caption": x, .., "total": x}, "best": N}
 *                                                              held-out losses after the update; the update with the least total so far
 *   {"kind": "end", "stage", "updates", "seconds", "activations"}   bytes at most at a time, gradients of activations included, of the
 *                                                              process that ends the stage
 *
 * Seconds are those of the stage's computing, over all its processes. A process that goes on after update N first takes away what an
 * earlier one wrote after N: the file reads as if nothing had happened. */
#ifndef VV_TRAIN_LOG_H
#define VV_TRAIN_LOG_H

#include <stdio.h>

#include "train/gradients.h"

/* Held-out losses (validate.h) after an update. */
typedef struct {
    int64_t update; /* 0: none yet */
    double loss[VV_TASKS], total;
} vv_held_out;

/* What an update was: also what a listener is told. */
typedef struct {
    const char *stage;
    int64_t update, updates; /* from 1; of the stage */
    int tasks;               /* bits of vv_task: those that ran */
    double loss[VV_TASKS], total;
    double ssi, gm, bce, dice; /* of depth and segmentation */
    int train;                 /* bits of parts: those with a learning rate */
    double lr[VV_PARTS], grad_norm, seconds;
    int64_t samples, activations; /* bytes: the most so far, as in "end" */
    vv_held_out held_out, best;   /* of this update; the one with the least total so far */
} vv_update;

typedef struct {
    FILE *file;
    char *path;
} vv_log;

vv_status vv_log_open(vv_log *l, const char *folder, vv_error *err) VV_MUST_USE;
void vv_log_close(vv_log *l);
/* Drops what follows update `update` of the stage; earlier[] [n] are the stages whose lines all stay. */
vv_status vv_log_cut(const char *folder, const char *stage, int64_t update, const char *const *earlier, int64_t n,
                     vv_error *err) VV_MUST_USE;

vv_status vv_log_start(vv_log *l, const char *stage, int64_t updates, int64_t parameters, int64_t trainable,
                       vv_error *err) VV_MUST_USE;
vv_status vv_log_resume(vv_log *l, const char *stage, int64_t update, vv_error *err) VV_MUST_USE;
vv_status vv_log_update(vv_log *l, const vv_update *u, vv_error *err) VV_MUST_USE;
vv_status vv_log_gradients(vv_log *l, const vv_update *u, const vv_gradients *g, vv_error *err) VV_MUST_USE;
vv_status vv_log_validation(vv_log *l, const vv_update *u, vv_error *err) VV_MUST_USE;
vv_status vv_log_end(vv_log *l, const char *stage, int64_t updates, double seconds, int64_t activations,
                     vv_error *err) VV_MUST_USE;

/* The values of a log against a file of bands, {"STAGE": {"VALUE": {"UPDATE": [lo, hi]}}}: VALUE is caption, depth, segmentation, total, ssi,
 * gm, bce, dice or grad_norm. VV_DIFFERS and *err tells the first one that is outside, or is not in the log. */
vv_status vv_expect_bands(const char *folder, const char *bands, vv_error *err) VV_MUST_USE;

#endif
