/* What a model says of held-out synthetic scenes, each task beside what can be had without seeing or without reading.
 *
 *   depth         the depth head's disparity, aligned to each picture's truth by scale and shift (least squares in disparity over pixels that
 *                 have a depth), then in metres between 0.1 and VV_SYNTH_FAR. Measures (metrics.h) of each picture, then their mean:
 *                 rmse, rmse_objects (pixels of objects), abs_rel, delta1, rmse_disparity (1/m); order: of pairs of objects, over
 *                 all scenes. Beside it, aligned alike: mean_map, the mean disparity of these scenes, and constant, each picture's
 *                 own best constant disparity.
 *   segmentation  a mask (logit > 0) for each referring text of each scene: ciou, giou, precision_half (P@0.5). Beside it:
 *                 shuffled_texts, each text replaced by one of another scene that reads differently; nothing; whole, the whole
 *                 picture; best_constant, the one mask that has the highest cIoU of all when it answers every text (known in hindsight; `share`
 *                 is what it covers).
 *   vqa           greedy answers to the scenes' questions, right when they end and read exactly as the scene's. Beside them: majority,
 *                 the most frequent answer to the questions of that type (in hindsight), and grey, the same model on a grey picture.
 *   caption       mean cross-entropy of a token, of the captions given their pictures, and given a grey one.
 *
 * Referring texts are embedded by a language model or read from a file, as in training (train/texts.h): by the encoder that the mask head was
 * trained with, which need not be the model's own language model.
 *
 * The best mask: with c(p) the number of truths that hold pixel p and A the sum of their areas, a mask M gives I = sum_M c(p) and
 * U = N |M| + A - I; for a given |M| the pixels with the largest c are best, so going through the pixels in the order of c finds the best
 * of all masks. */
#ifndef VV_EVALUATE_H
#define VV_EVALUATE_H

#include "base/json.h"
#include "data/synth.h"
#include "model/versavit.h"

#define VV_EVAL_SEED 1000 /* of scenes that no run configuration of data/configs trains on */
#define VV_EVAL_FIRST 20000000

enum { VV_EVAL_DEPTH, VV_EVAL_SEGMENTATION, VV_EVAL_VQA, VV_EVAL_CAPTION, VV_EVAL_PARTS };
extern const char *const vv_eval_part_name[VV_EVAL_PARTS]; /* "depth", "segmentation", "vqa", "caption" */

typedef struct {
    vv_synth_options scenes;
    int64_t first, count;
    const char *text_encoder; /* folder of a language model; NULL: the model's own folder */
    const char *embeddings;   /* or a file of embed-text */
    const char *model_dir;    /* for that, and for messages */
} vv_eval_options;
vv_eval_options vv_eval_default(void); /* 400 scenes of the default size from VV_EVAL_FIRST on, seed VV_EVAL_SEED */

typedef struct {
    double rmse, rmse_objects, abs_rel, delta1, rmse_disparity, order;
} vv_eval_depth;

typedef struct {
    double ciou, giou, precision_half;
} vv_eval_masks;

enum { VV_EVAL_TYPES = 6 };
typedef struct {
    const char *type;         /* of vv_synth_question; NULL: all of them */
    int64_t n;                /* questions */
    char majority_answer[40]; /* "" for all of them: each type has its own */
    double accuracy, majority, grey;
} vv_eval_questions;

typedef struct {
    vv_eval_options options;
    char left_out[VV_EVAL_PARTS][200]; /* why a part is not there; "": it is */
    int64_t pairs, samples, tokens;    /* of objects; of referring texts; of captions */
    struct {
        vv_eval_depth head, mean_map, constant;
    } depth;
    struct {
        vv_eval_masks head, shuffled_texts, nothing, whole, best_constant;
        double share;
    } segmentation;
    vv_eval_questions vqa[VV_EVAL_TYPES + 1]; /* the last: all */
    double caption, caption_grey;
} vv_eval_result;

/* VV_USAGE for impossible sizes. Parts that the model lacks are left out. */
vv_status vv_evaluate(vv_eval_result *r, const vv_model *m, const vv_eval_options *o, vv_error *err) VV_MUST_USE;

/* {"size", "scenes": {"seed", "first", "count", "closeups", "min_objects", "max_objects", "held_out"},
 *  "depth": {"pairs": N, NAME: {"rmse", "rmse_objects", "abs_rel", "delta1", "rmse_disparity", "order"}, ...}
 *                                                                 NAME: head, mean_map, constant
 *  "segmentation": {"samples": N, NAME: {"ciou", "giou", "precision_half"}, ...}
 *                  NAME: head, shuffled_texts, nothing, whole, best_constant, which has "share" too
 *  "vqa": {"all": {"n", "accuracy", "majority", "grey"}, "types": {TYPE: {"n", "accuracy", "majority", "majority_answer", "grey"}, ...}}
 *  "caption": {"tokens": N, "loss", "loss_grey"},
 *  "left_out": {PART: WHY, ...}}
 * A part that is left out is null and has its reason; a number that does not exist is null. NULL without memory. */
json_t *vv_eval_json(const vv_eval_result *r);

#endif
