/* The samples of one task's batch as what the model reads, cut into micro-batches.
 *
 *   captions       pictures at dynamic resolution up to max_pixels, conversations as ids and labels. One that is longer than max_tokens loses
 *                  its last turns, never tokens of its picture or of an answer; when its first answer does not fit it is an error.
 *   depth          pictures squashed to squares of `size`, disparity there by nearest samples; what is not known stays NaN
 *   segmentation   the same pictures, masks by nearest samples. A picture with more than max_instances keeps that many, drawn by the number of
 *                  its draw; one without any keeps none; a mask may be empty
 *
 * Denominators of the losses cover the whole batch, whatever its micro-batches are. Those of captions and masks are counted here, those of
 * depth, which needs to know the flat labels, in step.c.
 *
 * Easy to get wrong: squashing is for picture and label alike, with the same rule of pixel centres; a disparity is never interpolated. */
#ifndef VV_TRAIN_BATCH_H
#define VV_TRAIN_BATCH_H

#include "model/mllm.h"
#include "train/config.h"
#include "train/texts.h"

typedef struct {
    int64_t n;                 /* samples */
    char **name;               /* [n] */
    vv_mllm_batch text;        /* captions */
    vv_batch pictures;         /* depth, segmentation: n squares */
    vv_real *disparity;        /* [n,size,size] */
    int64_t instances;         /* P, of all n */
    int32_t *image_of;         /* [P] */
    const char **instance;     /* [P] the sample's name */
    vv_real *masks, *embedded; /* [P,size,size], [P,text_dim] */
} vv_micro;

typedef struct {
    const vv_task_config *config;
    int64_t size; /* of the squares */
    vv_micro *micro;
    int64_t n, samples;
    vv_ce_window window; /* captions */
    int64_t instances;   /* P of all micro-batches */
} vv_task_batch;

/* From `samples` [config->batch], draws first_draw and on of the order that (seed, stream) name. size: pixels of the squares. texts: for
 * segmentation. On failure *b is freed. */
vv_status vv_task_batch_make(vv_task_batch *b, const vv_task_config *c, const vv_model *m, const vv_sample *samples,
                             int64_t size, uint64_t seed, const char *stream, int64_t first_draw, vv_texts *texts,
                             vv_error *err) VV_MUST_USE;
void vv_task_batch_free(vv_task_batch *b); /* zeroes it */
void vv_micro_free(vv_micro *x);

/* The placeholder's id; shapes alone may lack a tokenizer, and take the last id. */
static inline int32_t vv_placeholder(const vv_model *m)
{
    return m->tokenizer ? vv_image_pad(m) : (int32_t)m->llm->config.vocab_size - 1;
}

#endif
