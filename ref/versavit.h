/* versavit: the vision tower of VersaViT as a library.
 *
 *   versavit_model *m;
 *   versavit_error e = {0};
 *   versavit_features f;
 *   if (versavit_load(&m, "model", &e)) { fprintf(stderr, "%s\n", e.message); return e.status; }
 *   versavit_encode_file(m, "cat.png", &f, &e);          f.data [f.rows, f.cols]: one row a 2x2 block of patches, raster order
 *
 * Training: forward keeps what the backward needs, backward takes the gradient of your loss with respect to the features and adds to the
 * gradients of the weights, step is one AdamW update of all weights and clears the gradients.
 *
 *   versavit_forward(m, pictures, n, &f, &e);  ... your loss ...  versavit_backward(m, dfeatures, &e);  versavit_step(m, &adamw, &norm, &e);
 *
 * Functions return 0 or a status, which e repeats with one line of explanation (what, where, expected, found): 2 a wrong argument or
 * order of calls, 3 a file or its content, 4 memory or the backend, 5 a number that is not finite. The library never prints or exits.
 * e may be NULL; an e with a status keeps it, so several calls can be checked at once. All calls of a process come from one thread: the number of
 * threads, the scratch memory and the first failure belong to it. */
#ifndef VERSAVIT_H
#define VERSAVIT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VERSAVIT_VERSION "0.1.0"

typedef struct versavit_model versavit_model;

typedef struct {
    int status;
    char message[600];
} versavit_error;

const char *versavit_version(void);        /* of the library that is linked */
void versavit_threads(int n);              /* 0: as many as this process may use (the default) */
const char *versavit_matrix_library(void); /* "OpenBLAS 0.3.21 pthread" */

/* ---- models -------------------------------------------------------------------------------------------------------------- */
/* From a Hugging Face folder; with random weights from a run configuration (data/configs/tiny.json); back to a folder, as F32. */
int versavit_load(versavit_model **m, const char *dir, versavit_error *e);
int versavit_new(versavit_model **m, const char *config, uint64_t seed, versavit_error *e);
int versavit_save(const versavit_model *m, const char *dir, versavit_error *e);
void versavit_free(versavit_model *m); /* NULL is fine */

/* ---- weights: number 0 to versavit_tensors(m) - 1, under their Hugging Face names ------------------------------------------- */
int64_t versavit_tensors(const versavit_model *m);
const char *versavit_tensor_name(const versavit_model *m, int64_t i);            /* NULL out of range */
int64_t versavit_find(const versavit_model *m, const char *name);                /* its number; -1: no such tensor */
int versavit_tensor_shape(const versavit_model *m, int64_t i, int64_t shape[5]); /* the rank; 0 out of range */
int versavit_get(const versavit_model *m, int64_t i, float *values,
                 versavit_error *e); /* values [product of the shape] */
int versavit_set(versavit_model *m, int64_t i, const float *values, versavit_error *e);
int versavit_gradient(const versavit_model *m, int64_t i, float *values,
                      versavit_error *e); /* zeros when there is none yet */
int versavit_freeze(versavit_model *m, int64_t i, int frozen,
                    versavit_error *e); /* no backward, no step; its gradient is dropped */

/* ---- pictures to features -------------------------------------------------------------------------------------------------- */
typedef struct {
    const unsigned char *rgb; /* [height, width, 3] */
    int64_t height, width;
} versavit_picture;

typedef struct {
    float *data; /* [rows, cols]; belongs to the model until its next call, do not free it */
    int64_t rows, cols;
} versavit_features;

/* Merged features of a picture: rows = patches/4, cols = hidden_size. PNG or JPEG, or pixels. */
int versavit_encode_file(versavit_model *m, const char *path, versavit_features *f, versavit_error *e);
int versavit_encode(versavit_model *m, const versavit_picture *picture, versavit_features *f, versavit_error *e);

/* ---- training --------------------------------------------------------------------------------------------------------------- */
typedef struct {
    double lr, beta1, beta2, eps,
        weight_decay; /* as torch.optim.AdamW; decay only on matrices, not on biases and norms */
    double max_norm;  /* clip the global norm; 0: do not */
} versavit_adamw;
versavit_adamw versavit_adamw_default(void); /* 1e-3, 0.9, 0.999, 1e-8, 0.01, clip 1 */

/* n pictures as one packed batch, features one picture after the other. */
int versavit_forward(versavit_model *m, const versavit_picture *pictures, int64_t n, versavit_features *f,
                     versavit_error *e);
/* dfeatures [rows, cols] of the last forward, once. Gradients add up until the step. */
int versavit_backward(versavit_model *m, const float *dfeatures, versavit_error *e);
/* *norm (may be NULL): the global gradient norm before clipping. One that is not finite is status 5: no weight changes, and the gradients
 * are cleared all the same, so that the next batch starts afresh. */
int versavit_step(versavit_model *m, const versavit_adamw *a, double *norm, versavit_error *e);

#ifdef __cplusplus
}
#endif
#endif
