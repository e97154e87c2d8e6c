/* The run configuration: section "train" of a file of data/configs, beside the model's sections (model/versavit.h).
 *
 *   {"seed": 1, "devices": 1, "init": {"std": "config"|"fan_in"}, "init_tower": DIR, "init_llm": DIR,
 *    "stages": [
 *     {"name": "stage2",
 *      "load":  {"visual": "stage0", "model": "stage0b"},  parts from the results of earlier stages, or from a model's folder (a path
 *                                      with "/"); absent parts go on from the stage before, those of the first stage start at random
 *      "fresh": ["projector"],         parts that start anew, from random numbers of this stage's own
 *      "random": "stage2",             draws fresh parts and the order of samples as a stage of this name does, so that runs of several
 *                                      stages differ in what they train on alone; its own name by default
 *      "train": ["visual", ...],       parts that train; all others keep their bits
 *      "skip_if": "init_tower"|"init_llm",   the stage only makes what that option brings, and is left out with it
 *      "updates": N,                   or "epochs": E, each of as many updates as the task with the most of them needs
 *      "tasks": [                      at most one of each kind; an update runs them in the order caption, depth, segmentation
 *        {"task": "caption", "lambda": 1/3, "batch": 16, "micro_batch": 0, "reduction": "sample"|"token", "form": "chat"|"plain",
 *         "max_tokens": 0, "max_pixels": 0, "skip_bad": 0, "sources": [...], "validation": [...]},
 *        {"task": "depth", "lambda", "batch", "micro_batch", "size": 112, "loss": {...}, "skip_bad", "sources",
 *         "validation"},
 *        {"task": "segmentation", as depth, and "max_instances": 8, "embeddings": FILE or "text_encoder": STAGE or FOLDER}],
 *      "optimizer": {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "max_grad_norm": 1, "decay_unused": false},
 *      "lr": {"visual": 1e-3, ...},    one for each part that trains
 *      "schedule": {"type": "cosine"|"linear"|"constant", "warmup_ratio": 0.03, "min_lr_ratio": 0},
 *      "checkpointing": false, "precision": "float"|"bf16", "save_every": 100, "keep_last": 2, "gradients_every": 0,
 *      "validate": {"every": N, "count": M}}]}     absent: never
 *
 * A source is {"manifest": PATH, "weight": 1} (data/README.md), or
 *   {"scenes": {"seed", "size", "min_objects", "max_objects", "closeups", "held_out"}, "first": 0, "count": N,
 *    "questions": "captions"|"questions"|"both"|"all", "images": true, "weight": 1}
 *   questions: one of a scene's questions a sample; both: captions and questions in turn; all: captions and conversations of all the
 *   scene's questions in turn. images false: text alone, for captions.
 * validate: after every N-th update and after the last one, the losses of M held-out samples of each task, always the same M, at the first
 *   of its sizes (validate.h); the weights with the lowest sum of lambda loss are kept. "validation" has the sources of these samples, the
 *   first ones of each in its order. Without it they are scenes, drawn as those of "sources", beyond all scenes of the same seed that
 *   any stage has among its sources; manifests need "validation".
 * A size may be a list: one for each update in turn. micro_batch 0 is the whole batch; max_tokens and max_pixels 0 are the model's.
 * Losses are those of loss/loss.h. Paths are seen from the file's folder. "comment" may stand in every object.
 *
 * Numbers above are the defaults, where there is one. Everything else, an unknown key, a wrong type or an impossible combination, is
 * VV_FILE naming the key by its path. */
#ifndef VV_TRAIN_CONFIG_H
#define VV_TRAIN_CONFIG_H

#include "base/json.h"
#include "data/dataset.h"
#include "loss/cross_entropy.h"
#include "loss/loss.h"
#include "model/versavit.h"

/* ---- parts ------------------------------------------------------------------------------------------------------------- */
enum { VV_PARTS = 5 }; /* in the order of the model's flags: part k is 1 << k of VV_VISION .. VV_MASK */
extern const char *const vv_part_key[VV_PARTS]; /* "visual", "projector", "model", "depth_head", "mask_head" */
int vv_part_of(const vv_tensor *p);             /* by its name */

/* ---- one task of a stage ------------------------------------------------------------------------------------------------ */
typedef struct {
    int present;
    char *where; /* for messages: "run.json: train.stages[1].tasks[0]" */
    vv_task task;
    double lambda;
    int64_t batch, micro_batch, skip_bad; /* micro_batch from 1 to batch */
    vv_source *source;
    int64_t n_sources;
    vv_source *validation; /* held out; none without the stage's validate_every */
    int64_t n_validation;
    /* captions */
    vv_ce_reduction reduction;
    int plain, text_alone; /* text_alone: no source has pictures */
    int64_t max_tokens, max_pixels;
    /* depth and segmentation */
    int64_t *size, n_sizes;
    vv_depth_config depth;
    vv_seg_config segmentation;
    int64_t max_instances;
    char *embeddings, *text_encoder; /* one of them; text_encoder: the name of a stage, or a folder when it has a "/" */
} vv_task_config;
static inline int64_t vv_task_size(const vv_task_config *c, int64_t update) /* from 1 */
{
    return c->size[(update - 1) % c->n_sizes];
}

/* ---- one stage ---------------------------------------------------------------------------------------------------------- */
typedef enum { VV_COSINE, VV_LINEAR, VV_CONSTANT } vv_schedule_type;
typedef struct {
    vv_schedule_type type;
    double warmup_ratio, min_lr_ratio;
} vv_schedule;

/* What the learning rate is multiplied by at update s, counted from 0, of S: a warm-up from 0 (the first update has none) over
 * ceil(warmup_ratio S) updates, then down to min_lr_ratio. */
double vv_schedule_factor(const vv_schedule *c, int64_t s, int64_t S);

typedef enum { VV_SKIP_NEVER, VV_SKIP_INIT_TOWER, VV_SKIP_INIT_LLM } vv_skip;

typedef struct {
    char *name, *where, *random; /* random: whose name the random numbers are drawn under */
    char *load[VV_PARTS];        /* NULL: goes on; the name of a stage, or a folder when it has a "/" */
    int fresh, train;            /* bits of parts */
    vv_skip skip_if;
    int64_t updates, epochs; /* one of them is 0 */
    vv_task_config task[VV_TASKS];
    double beta1, beta2, eps, weight_decay, max_grad_norm, lr[VV_PARTS];
    int decay_unused;
    vv_schedule schedule;
    int checkpointing, bf16;
    int64_t save_every, keep_last, gradients_every; /* 0: never; keep_last 0: all */
    int64_t validate_every, validate_count;         /* 0: never */
} vv_stage_config;

/* ---- the run ------------------------------------------------------------------------------------------------------------ */
typedef struct {
    char *path, *folder; /* the file; the folder that paths are seen from, absolute */
    uint64_t seed;
    int64_t devices; /* that share an update: what a dry run prints; training takes 1 */
    int fan_in;
    char *init_tower, *init_llm; /* folders, or NULL */
    vv_stage_config *stage;
    int64_t n_stages;
    json_t *root; /* the whole file with every default filled in */
} vv_train_config;

/* What the caller wants otherwise than the file: zeroed but for seed -1, nothing. */
typedef struct {
    int64_t seed, updates;             /* updates: no stage has more */
    const char *init_tower, *init_llm; /* seen from the current folder */
} vv_train_overrides;

vv_status vv_train_config_load(vv_train_config *c, const char *path, const vv_train_overrides *o,
                               vv_error *err) VV_MUST_USE;
void vv_train_config_free(vv_train_config *c); /* zeroes it */

/* The stage's place in the list, -1 when there is none. */
int64_t vv_stage_find(const vv_train_config *c, const char *name);
int vv_stage_skipped(const vv_train_config *c, const vv_stage_config *s);
/* The stage fits the model: its tasks have their parts, sizes are whole merge blocks, embeddings are wide enough. */
vv_status vv_stage_check(const vv_stage_config *s, const vv_model *m, vv_error *err) VV_MUST_USE;
/* Parts that the task's loss reaches: bits. */
int vv_task_parts(const vv_task_config *t);

/* The path of the first key in which two configurations differ, but for the folder they were read from; NULL when there is none. In
 * fresh memory. */
char *vv_config_difference(const json_t *a, const json_t *b);
/* 16 hexadecimal digits of all that matters: FNV-1a of the sorted text without the folder. */
vv_status vv_config_hash(const json_t *root, char hash[17], vv_error *err) VV_MUST_USE;

#endif
