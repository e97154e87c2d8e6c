/* Inside eval/ only: the parts of an evaluation. */
#ifndef VV_EVALUATE_PARTS_H
#define VV_EVALUATE_PARTS_H

#include "eval/evaluate.h"
#include "eval/scenes.h"
#include "model/mllm.h"
#include "train/texts.h"

typedef struct {
    const vv_model *model;
    const vv_scenes *scenes;
    int64_t size; /* pixels of a side */
    vv_tape *tape;
    vv_eval_result *r;
} vv_evaluation;

vv_status vv_eval_run_depth(const vv_evaluation *e, vv_error *err) VV_MUST_USE;
vv_status vv_eval_run_masks(const vv_evaluation *e, vv_texts *texts, vv_error *err) VV_MUST_USE;
vv_status vv_eval_run_vqa(const vv_evaluation *e, vv_error *err) VV_MUST_USE;
vv_status vv_eval_run_captions(const vv_evaluation *e, vv_error *err) VV_MUST_USE;

/* Pictures of scenes first .. first+n as squares of their own size, through the tower: for each of taps [n_taps] its rows in raster order; a
 * block that is asked for twice gives the same tensor. VV_OK with an error on the tape: ask it. */
vv_status vv_eval_tower(const vv_evaluation *e, int64_t first, int64_t n, const int64_t *taps, int64_t n_taps,
                        vv_tensor **raster, vv_error *err) VV_MUST_USE;

/* A grey picture of the scenes' size. */
vv_status vv_eval_grey(const vv_evaluation *e, vv_image *image, vv_error *err) VV_MUST_USE;

/* Greedy answers to questions about pictures, all of them at a time, token by token until each has ended. */
typedef struct {
    const char *question;
    int64_t picture; /* its place in the features */
    char *text;      /* receives the answer in fresh memory */
    int ended;       /* whether the model ended it, and not most_tokens */
} vv_asked;
/* features (host) [pictures, rows, hidden], as vv_mllm_features gives them */
vv_status vv_eval_answer(const vv_evaluation *e, vv_asked *asked, int64_t n, const vv_real *features, int64_t rows,
                         int64_t most_tokens, vv_error *err) VV_MUST_USE;

#endif
