/* Inside train/ only: one stage of a run. */
#ifndef VV_TRAIN_STAGE_H
#define VV_TRAIN_STAGE_H

#include "train/checkpoint.h"
#include "train/trainer.h"

/* A run: its configuration, and the model that all stages use. */
typedef struct {
    const vv_train_options *options;
    vv_train_config config;
    char hash[17];
    vv_model model;
    int *trainable; /* [params->n] what may train at all (a head's fixed matrix may not) */
    vv_log log;
} vv_run;

char *vv_run_folder(const vv_run *r, const char *stage); /* OUT/STAGE, in fresh memory */
/* The model as the stage begins: from earlier stages, from folders, at random. */
vv_status vv_stage_begin(vv_run *r, int64_t stage, vv_error *err) VV_MUST_USE;
/* The folder that part comes from when it is that of an earlier stage: the stage's, or what replaced it. In fresh memory. */
vv_status vv_stage_source(const vv_run *r, const vv_stage_config *s, const char *from, int part, const char *key,
                          char **folder, vv_error *err) VV_MUST_USE;
/* From where it stands to its end. */
vv_status vv_stage_run(vv_run *r, int64_t stage, int *stopped, vv_error *err) VV_MUST_USE;

/* Only these parts (bits) get gradients. */
void vv_stage_freeze(const vv_model *m, const int *trainable, int train);
/* A weight group for each part, with decay (2 k) and without (2 k + 1). */
enum { VV_GROUPS = 2 * VV_PARTS };
int vv_stage_group(const void *ctx, const vv_tensor *p);

#endif
