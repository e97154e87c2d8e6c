/* Training samples: from manifests or drawn by the renderer of scenes.
 *
 * A manifest is a text file of JSON objects, one a line (.jsonl), or one list of them (.json, as LLaVA has). data/README.md
 * describes the form for each task:
 *   captions, VQA   {"image": PATH, "conversations": [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}], "type": TAG}
 *                   LLaVA's {"from": "human"|"gpt", "value": "<image>\n..."} is accepted; without "image" it is text alone
 *   depth           {"image": PATH, "depth": PATH (PNG of 16 or 8 bits, npy, PFM), "kind": "disparity"|"depth", "valid": PATH, "classes": PATH}
 *   segmentation    {"image": PATH, "instances": [{"text": TEXT, "mask": PATH | {"size": [h,w], "counts": STRING|LIST} | {"polygons": [[x,y,..],..]}}]}
 *                   or one instance beside the image: {"image", "text", "mask"}
 * A sample's files are read when it is asked for. What is wrong is told as "FILE:LINE: ...". */
#ifndef VV_DATASET_H
#define VV_DATASET_H

#include "data/synth.h"
#include "io/image.h"

typedef struct {
    char *role, *text; /* "system", "user", "assistant"; an image stands before the text of the first user turn */
} vv_message;

typedef struct {
    char *text;          /* the referring expression */
    unsigned char *mask; /* [h,w] 0 or 1 */
} vv_instance;

typedef struct {
    char *name;          /* for messages: "captions.jsonl:17", "scene 17" */
    vv_image image;      /* zeroed: text alone */
    vv_message *message; /* captions, VQA */
    int64_t n_messages;
    char *type;             /* tag: "caption", or of a question "count", "color" ...; NULL: none */
    float *disparity;       /* depth [h,w]: larger is nearer, 0 infinitely far; NaN where unknown */
    unsigned char *classes; /* [h,w] class map for probes; NULL: none */
    vv_instance *instance;  /* segmentation */
    int64_t n_instances;
} vv_sample;
void vv_sample_free(vv_sample *s); /* zeroes it */

typedef enum { VV_TASK_CAPTION, VV_TASK_DEPTH, VV_TASK_SEGMENTATION } vv_task;
enum { VV_TASKS = 3 };
extern const char *const vv_task_name[VV_TASKS]; /* "caption", "depth", "segmentation" */

/* What is said of a scene: its caption; one of its questions; both in turn; captions and conversations of all questions in turn. */
typedef enum { VV_ASK_NOTHING, VV_ASK_ONE, VV_ASK_BOTH, VV_ASK_ALL } vv_ask;

/* Where samples come from: a manifest, or scenes [first, first + count) of the renderer. */
typedef struct {
    const char *manifest; /* NULL: scenes */
    vv_synth_options scenes;
    int64_t first, count;
    int questions;  /* caption task on scenes: a vv_ask */
    int text_alone; /* caption task on scenes: without their pictures */
    double weight;  /* share of the draws among the sources of a task, for vv_loader_new; usually 1 */
} vv_source;

#define VV_CAPTION_PROMPT "Describe the picture." /* the user's turn before a scene's caption */

typedef struct vv_dataset vv_dataset;
/* Reads the manifest's lines (not its files) and checks each line's form for the task. skip_bad: how many samples may be bad, by
 * their form or by their files, before it is an error (VV_FILE). Each of them is warned about once and replaced by the next good
 * one, the first following the last; the size stays. VV_USAGE for impossible scenes. */
vv_status vv_dataset_open(vv_dataset **out, const vv_source *source, vv_task task, int64_t skip_bad,
                          vv_error *err) VV_MUST_USE;
void vv_dataset_free(vv_dataset *d);
int64_t vv_dataset_size(const vv_dataset *d);
/* Sample i, decoded. From any thread, which is the one that warnings are told in. On failure *out is zeroed. */
vv_status vv_dataset_get(vv_dataset *d, int64_t i, vv_sample *out, vv_error *err) VV_MUST_USE;

/* ---- order ----------------------------------------------------------------------------------------------------------------
 * Draw j of a task reads position j mod n of epoch j / n: a keyed permutation of the n samples (an eight-round Feistel network over the
 * counter-based random numbers, walking until inside), so that the order needs no memory and the state is the one number j.
 * 0 <= position < n <= 2^62; the result is in 0..n-1. */
int64_t vv_draw(uint64_t seed, const char *task, int64_t epoch, int64_t position, int64_t n);

/* With several sources, draws are dealt to them in proportion to their weights (> 0): the next one goes to the source furthest
 * behind its share, the first of equals. taken [n] counts the draws of each, from zeros; it is updated. Returns the source. */
int64_t vv_deal(const double *weights, int64_t *taken, int64_t n);

/* ---- reading ahead ---------------------------------------------------------------------------------------------------------
 * Batches in order, two of them decoded by a thread while the caller computes. The samples depend on the sources, weights, seed,
 * stream and the number of the draw alone: a loader that begins at first_draw continues as if it had begun at 0. (The count of bad
 * samples begins anew with the data set.) Data sets stay the caller's and outlive the loader. */
typedef struct vv_loader vv_loader;
/* weights [n_sources], or NULL for equal ones. stream names the order, usually the task's name. VV_USAGE for impossible numbers. */
vv_status vv_loader_new(vv_loader **out, vv_dataset *const *sources, const double *weights, int64_t n_sources,
                        uint64_t seed, const char *stream, int64_t batch, int64_t first_draw,
                        vv_error *err) VV_MUST_USE;
void vv_loader_free(vv_loader *l); /* at any moment; waits for the sample being read. NULL is fine */
/* The next `batch` samples into out (freed by the caller), with their warnings in the caller's thread. A failure is told where its
 * batch would come, and again by every call after it; then out is zeroed. */
vv_status vv_loader_next(vv_loader *l, vv_sample *out, vv_error *err) VV_MUST_USE;
int64_t vv_loader_draws(const vv_loader *l); /* of the batches handed out so far: to continue from */

#endif
