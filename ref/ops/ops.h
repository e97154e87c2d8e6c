/* The operations on tensors that models are composed of: each checks its shapes, allocates its output, calls the backend and
 * records itself. Formulas stand in backend/backend.h under the same names. Arguments: tape, name of the output, inputs.
 * Every one returns NULL after the first error of the tape. */
#ifndef VV_OPS_H
#define VV_OPS_H

#include "tape/tape.h"

/* y = x w^T + b + res: x [...,Ci], w [Co,...] with Ci numbers a row (a convolution kernel is seen as a matrix), b [Co] or
 * NULL, res [...,Co] or NULL. Where w has an adapter, its scale B (A x) is added. */
vv_tensor *vv_linear(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, vv_tensor *res);

/* Normalises the last axis; w, b [C]. */
vv_tensor *vv_layernorm(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, double eps);

/* Divides groups of w->n numbers by their root mean square: x's last axis is a multiple of that (one norm for each head of [N,H d]
 * with w [d]), y has x's shape. */
vv_tensor *vv_rmsnorm(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, double eps);

/* The first D numbers of each row, divided by their length: [R,D]. */
vv_tensor *vv_unit_rows(vv_tape *t, const char *name, vv_tensor *x, int64_t D);

/* silu(g) u, two tensors of one shape. */
vv_tensor *vv_silu_mul(vv_tape *t, const char *name, vv_tensor *g, vv_tensor *u);

vv_tensor *vv_gelu(vv_tape *t, const char *name, vv_tensor *x, vvb_gelu_kind kind);

vv_tensor *vv_relu(vv_tape *t, const char *name, vv_tensor *x);
vv_tensor *vv_sigmoid(vv_tape *t, const char *name, vv_tensor *x);
vv_tensor *vv_softplus(vv_tape *t, const char *name, vv_tensor *x);

/* y[i] = a[i] b[i]^T: a [B,M,K], b [B,N,K], y [B,M,N]. */
vv_tensor *vv_batched_matmul(vv_tape *t, const char *name, vv_tensor *a, vv_tensor *b);

/* x [B,H,W,Ci], w [Co,Ci,kh,kw], b [Co] or NULL; zeros around x. y [B,Ho,Wo,Co], Ho = (H + 2 pad - kh) / stride + 1, rounded down. */
vv_tensor *vv_conv2d(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, int64_t stride,
                     int64_t pad);

/* Each pixel becomes k x k: x [B,H,W,Ci], w [Ci,Co,k,k], b [Co] or NULL, y [B,k H,k W,Co]. */
vv_tensor *vv_conv_transpose2d(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b);

/* x [B,H,W,C], y [B,Ho,Wo,C]. */
vv_tensor *vv_resize_bilinear(vv_tape *t, const char *name, vv_tensor *x, int64_t Ho, int64_t Wo, int align_corners);

/* cos and sin tables [N,D/2] for P coordinates (host, [N,P]) a token; no gradient. */
typedef struct {
    vv_tensor *cos, *sin;
} vv_rope_angles;
vv_rope_angles vv_rope_table(vv_tape *t, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta);

/* Rotates, IN PLACE, the first `heads` heads of D numbers of each row of x [N,C]. The result takes over x's memory; x itself
 * must have no other reader (its value is gone). */
vv_tensor *vv_rope(vv_tape *t, const char *name, vv_tensor *x, vv_rope_angles a, int64_t heads);

/* q [Nq,H D], k and v [Nk,Hkv D], heads side by side; or k = v = NULL and q is [N,(H + 2 Hkv) D]: q, then k, then v. o [Nq,H D].
 * args: segments, heads, scale, causal as in backend.h; D follows from the shapes. Its tables are copied.
 * q, k and v are activations, and a gradient must reach them from here alone. */
vv_tensor *vv_attention(vv_tape *t, const char *name, vv_tensor *q, vv_tensor *k, vv_tensor *v,
                        const vvb_attention_args *args);

/* y[i] = x[idx[i]] over rows; idx (host) [R], checked. */
vv_tensor *vv_gather_rows(vv_tape *t, const char *name, vv_tensor *x, const int32_t *idx, int64_t R);

/* y [Ra+Rb,C]: row i of a [Ra,C] becomes row idx_a[i], row i of b [Rb,C] row idx_b[i] (host; together each row of y once, checked).
 * Image features are so put among the embeddings of a text. Ra or Rb may be 0. */
vv_tensor *vv_merge_rows(vv_tape *t, const char *name, vv_tensor *a, const int32_t *idx_a, vv_tensor *b,
                         const int32_t *idx_b);

/* y = x + b; b [C], [Rb,C] or the shape of x: repeated along the leading axis. */
vv_tensor *vv_add(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *b);

/* a x, with a number of the host. */
vv_tensor *vv_scale(vv_tape *t, const char *name, vv_tensor *x, double a);

/* sum x w, a scalar; w is a constant as large as x. */
vv_tensor *vv_dot(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w);

/* sum_r weight[r] (log sum_v exp z[r,v] - z[r,target[r]]), a scalar, with z = x w^T: x [...,C] of R rows, w [V,C]; target (host,
 * [R]) checked, weight (host, [R]). ce, unless NULL, becomes the tensor [R] of the unweighted terms, "NAME#tokens"; no gradient. */
vv_tensor *vv_linear_cross_entropy(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, const int32_t *target,
                                   const double *weight, int64_t R, vv_tensor **ce);

/* The same numbers in another shape, in the same memory. Name NULL: not traced. */
vv_tensor *vv_view(vv_tape *t, const char *name, vv_tensor *x, int ndim, const int64_t *dim);

#endif
