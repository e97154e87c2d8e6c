/* Checkpoints of a stage: a Hugging Face folder with all parts, and what an exact continuation needs besides.
 *
 *   OUT/STAGE/checkpoint-N/   config.json, preprocessor_config.json, tokenizer.json, model.safetensors, and
 *     optimizer.safetensors   opt.exp_avg.PARAMETER, opt.exp_avg_sq.PARAMETER in the type of the run, opt.step I64: the updates of each
 *                             parameter that the metadata "parameters", a JSON list, names
 *     trainer_state.json      {"format": 1, "stage", "update", "draws": {TASK: samples drawn}, "seconds", "config": its hash,
 *                             "best": {"update", "total"}}   of the stage's validations so far; absent: none
 *   OUT/STAGE/best/           the same without the last two: the weights with the least held-out loss so far, of a stage that validates
 *   OUT/STAGE/model/          likewise, when the stage is done
 *
 * A folder is put together under another name (.NAME.partial) and renamed when all of it is on the disk: what has the right name is
 * whole. Everything random is a function of the seed, the stage and a number (of the update, of the draw), so that no other state
 * exists. Parameters are saved as they are, also those behind bf16. */
#ifndef VV_TRAIN_CHECKPOINT_H
#define VV_TRAIN_CHECKPOINT_H

#include "optim/adamw.h"
#include "train/config.h"

typedef struct {
    int64_t update, draws[VV_TASKS];
    double seconds;
    int64_t best_update; /* 0: none */
    double best_total;
    char config[17];
} vv_train_state;

/* Writes OUT/STAGE/checkpoint-N. */
vv_status vv_checkpoint_write(const char *stage_folder, const char *stage, const vv_model *m, const vv_adamw *o,
                              const vv_train_state *state, vv_error *err) VV_MUST_USE;
/* Writes OUT/STAGE/NAME, the model alone: "model", "best". */
vv_status vv_checkpoint_model(const char *stage_folder, const char *name, const vv_model *m, vv_error *err) VV_MUST_USE;
/* The newest: its number, 0 when there is none. Partial folders of a process that died are removed. */
vv_status vv_checkpoint_newest(const char *stage_folder, int64_t *update, vv_error *err) VV_MUST_USE;
/* Removes all but the newest `keep` (0: none). */
vv_status vv_checkpoint_prune(const char *stage_folder, int64_t keep, vv_error *err) VV_MUST_USE;
/* Weights, moments and state of checkpoint N into a model and an optimizer of the same configuration. */
vv_status vv_checkpoint_read(const char *stage_folder, int64_t update, const vv_stage_config *stage, vv_model *m,
                             vv_adamw *o, vv_train_state *state, vv_error *err) VV_MUST_USE;

/* Whether OUT/STAGE/model is there. */
int vv_stage_done(const char *stage_folder);
/* One part of a model from a folder. */
vv_status vv_part_read(vv_model *m, int part, const char *folder, vv_error *err) VV_MUST_USE;

#endif
