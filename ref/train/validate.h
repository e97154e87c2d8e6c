/* Inside train/ only: the losses of held-out samples (config.h, "validate").
 *
 *   loss[task]   the task's loss (step.h) of one batch of all M samples, cut into the task's micro-batches, without a backward
 *   total        sum of lambda loss
 *
 * The samples are dealt to the sources by their weights, as draws are, but in the order of each source: the first ones, again from the
 * first when there are too few. Everything is a function of the configuration and the weights alone: neither threads nor interruptions
 * change a bit. */
#ifndef VV_TRAIN_VALIDATE_H
#define VV_TRAIN_VALIDATE_H

#include "train/log.h"
#include "train/texts.h"

typedef struct vv_validation vv_validation;
/* Of a stage that validates; config and model outlive it. */
vv_status vv_validation_new(vv_validation **out, const vv_stage_config *config, const vv_model *m, uint64_t seed,
                            vv_error *err) VV_MUST_USE;
void vv_validation_free(vv_validation *v); /* NULL is fine */
/* texts: for segmentation. A loss that is not finite is VV_NONFINITE. */
vv_status vv_validation_run(vv_validation *v, vv_texts *texts, vv_held_out *out, vv_error *err) VV_MUST_USE;

#endif
