/* The operations on tensors that models are composed of: each checks its shapes, allocates its output, calls the backend and
 * records itself. Formulas stand in backend/backend.h under the same names. Arguments: tape, name of the output, inputs.
 * Every one returns NULL after the first error of the tape. */
#ifndef VV_OPS_H
#define VV_OPS_H

#include "tape/tape.h"

/* y = x w^T + b + res: x [...,Ci], w [Co,...] with Ci numbers a row (a convolution kernel is seen as a matrix), b [Co] or
 * NULL, res [...,Co] or NULL. */
vv_tensor *vv_linear(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, vv_tensor *res);

/* Normalises the last axis; w, b [C]. */
vv_tensor *vv_layernorm(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, double eps);

vv_tensor *vv_gelu(vv_tape *t, const char *name, vv_tensor *x, vvb_gelu_kind kind);

/* cos and sin tables [N,D/2] for P coordinates (host, [N,P]) a token; no gradient. */
typedef struct {
    vv_tensor *cos, *sin;
} vv_rope_angles;
vv_rope_angles vv_rope_table(vv_tape *t, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta);

/* Rotates, IN PLACE, the first `heads` heads of D numbers of each row of x [N,C]. The result takes over x's memory; x itself
 * must have no other reader (its value is gone). */
vv_tensor *vv_rope(vv_tape *t, const char *name, vv_tensor *x, vv_rope_angles a, int64_t heads);

/* qkv [N,3 H D], q then k then v, heads side by side; cu (host, [S+1]) the segments' prefix sums. o [N,H D].
 * qkv is an activation, and a gradient must reach it from here alone. */
vv_tensor *vv_attention(vv_tape *t, const char *name, vv_tensor *qkv, const int32_t *cu, int64_t S, int64_t H,
                        double scale);

/* y[i] = x[idx[i]] over rows; idx (host) [R], checked. */
vv_tensor *vv_gather_rows(vv_tape *t, const char *name, vv_tensor *x, const int32_t *idx, int64_t R);

/* y = x + b; b [C], [Rb,C] or the shape of x: repeated along the leading axis. */
vv_tensor *vv_add(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *b);

/* sum x w, a scalar; w is a constant as large as x. */
vv_tensor *vv_dot(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w);

/* The same numbers in another shape, in the same memory. Name NULL: not traced. */
vv_tensor *vv_view(vv_tape *t, const char *name, vv_tensor *x, int ndim, const int64_t *dim);

#endif
