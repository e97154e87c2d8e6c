/* THE CONTRACT. Every function that does arithmetic on tensor data stands here and nowhere else: formula, shapes, what may
 * be NULL or alias, what happens at size 0 and with NaN, FLOPs, accuracy. backend/cpu/ is one implementation of it, the
 * reference; another is linked in front of it and replaces it function by function (CPU definitions are weak symbols).
 *
 * Rules for all of them
 *  - Pointers are memory of the backend (vvb_alloc), row-major, last axis contiguous. Nothing but the backend reads them.
 *    Arguments marked (host) are ordinary host arrays. Buffers do not overlap unless the text says so.
 *  - Outputs come first, then saved outputs, inputs, sizes, scalars; in _bwd: gradients, dy, forward tensors, sizes.
 *  - *Parameter* gradients (dw, db) are ADDED to. *Activation* gradients (dx, dq ...) are written, or added to when acc != 0.
 *    A NULL gradient is not wanted and costs no time.
 *  - A size of 0 is legal wherever a size is: nothing is read, sums are 0. NaN and Inf spread as IEEE 754 says, never hidden.
 *  - Nothing is returned. A failure (memory, device) is kept, with the function's name, until vvb_error() is asked.
 *  - A function not provided by another backend and not by the CPU archive is a link error with its name; so is a wrong
 *    version or precision, because both are part of every symbol (vvb_gelu_fwd is vvb1_f32_gelu_fwd).
 *  - The same call gives the same bits on any number of threads. Calls come from one thread; a backend starts its own.
 *
 * Accuracy, with u = vvb_get_info()->unit_roundoff and every error measured against exact arithmetic on the given inputs:
 *  EXACT     equal
 *  ULP(n)    at most n units in the last place
 *  DOT(K)    |error| <= 4 sqrt(K) u gauge for each element, and RMS(error) <= sqrt(K) u RMS(gauge) over many elements (over
 *            n of them times 1 + 3/sqrt(n): of few it is a matter of chance), plus K*2^-149 for underflow in float. K = 0
 *            counts as 1. The gauge is the same formula with every term taken absolutely; what is added to (dw, acc) is one
 *            of the terms, named below or not.
 *            (4x the worst sequential float sum measured; the provable 2K would hide one dropped term once K > 2900.)
 * Scalars (a, alpha, eps, scale) come in double and may be rounded to vv_real first: that too is error.                 */
#ifndef VV_BACKEND_H
#define VV_BACKEND_H

#include "base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VVB_ABI 1
#define VVB_PASTE2(tag, f) vvb1_##tag##_##f
#define VVB_PASTE(tag, f) VVB_PASTE2(tag, f)
#define VVB_SYM(f) VVB_PASTE(VV_REAL_TAG, f)
#define VVB_DEF __attribute__((weak)) /* in front of each CPU definition */

#define vvb_init VVB_SYM(init)
#define vvb_get_info VVB_SYM(get_info)
#define vvb_error VVB_SYM(error)
#define vvb_alloc VVB_SYM(alloc)
#define vvb_free VVB_SYM(free)
#define vvb_zero VVB_SYM(zero)
#define vvb_upload VVB_SYM(upload)
#define vvb_download VVB_SYM(download)
#define vvb_copy VVB_SYM(copy)
#define vvb_sync VVB_SYM(sync)
#define vvb_elementary VVB_SYM(elementary)
#define vvb_axpy VVB_SYM(axpy)
#define vvb_dot VVB_SYM(dot)
#define vvb_scale VVB_SYM(scale)
#define vvb_add_fwd VVB_SYM(add_fwd)
#define vvb_add_bwd VVB_SYM(add_bwd)
#define vvb_gather_rows_fwd VVB_SYM(gather_rows_fwd)
#define vvb_gather_rows_bwd VVB_SYM(gather_rows_bwd)
#define vvb_matmul VVB_SYM(matmul)
#define vvb_linear_fwd VVB_SYM(linear_fwd)
#define vvb_linear_bwd VVB_SYM(linear_bwd)
#define vvb_layernorm_fwd VVB_SYM(layernorm_fwd)
#define vvb_layernorm_bwd VVB_SYM(layernorm_bwd)
#define vvb_gelu_fwd VVB_SYM(gelu_fwd)
#define vvb_gelu_bwd VVB_SYM(gelu_bwd)
#define vvb_rope_table VVB_SYM(rope_table)
#define vvb_rope_fwd VVB_SYM(rope_fwd)
#define vvb_rope_bwd VVB_SYM(rope_bwd)
#define vvb_attention_fwd VVB_SYM(attention_fwd)
#define vvb_attention_bwd VVB_SYM(attention_bwd)
#define vvb_sum_squares VVB_SYM(sum_squares)
#define vvb_adamw VVB_SYM(adamw)
#define vvb_library_product VVB_SYM(library_product)

/* ---- start and information --------------------------------------------------------------------------------------
 * vvb_init sets the number of threads (0: as many as this process may use) and prepares the device. It may be called
 * again to change the number. The other functions may be called without it.                                          */
void vvb_init(int threads);

typedef struct {
    const char *name;     /* "cpu"                                                                       */
    const char *device;   /* processor or device, as precisely as it is known                            */
    const char *product;  /* who multiplies matrices: "OpenBLAS 0.3.21 pthread", "own blocked product"   */
    const char *core;     /* the kernel set chosen at run time: "SkylakeX", "none"                       */
    double unit_roundoff; /* of matrix products: 2^-53, 2^-24, 2^-11 (tf32, fp16), 2^-8 (bf16)           */
    int deterministic;    /* same call, same bits                                                        */
    int threads;
    int64_t bytes, peak_bytes; /* allocated with vvb_alloc now, and at most so far                        */
} vvb_info;
const vvb_info *vvb_get_info(void);

/* The first failure since the last call ("attention_fwd: out of memory"), or NULL. Asking clears it. */
const char *vvb_error(void);

/* ---- memory -----------------------------------------------------------------------------------------------------
 * alloc: 64-byte aligned, not initialised, NULL (and an error kept) without memory; 0 bytes give a valid pointer.
 * upload: host to backend. download: backend to host. copy: backend to backend, no overlap. zero: all bytes 0.
 * sync: waits until everything before it has been done.                                                              */
void *vvb_alloc(int64_t bytes);
void vvb_free(void *p, int64_t bytes);
void vvb_zero(void *p, int64_t bytes);
void vvb_upload(void *dst, const void *host, int64_t bytes);
void vvb_download(void *host, const void *src, int64_t bytes);
void vvb_copy(void *dst, const void *src, int64_t bytes);
void vvb_sync(void);

/* ---- elementary functions ---------------------------------------------------------------------------------------
 * y[i] = f(x[i]), i < n. y may be x. f: exp, log, tanh, erf, sin, cos; sin and cos for |x| <= 2^21, NaN beyond.
 * n FLOPs by convention. Class ULP(1), subnormal results included; the same bits in every build of this precision.   */
typedef enum { VVB_EXP, VVB_LOG, VVB_TANH, VVB_ERF, VVB_SIN, VVB_COS } vvb_function;
void vvb_elementary(vv_real *y, const vv_real *x, int64_t n, vvb_function f);

/* ---- pointwise, sums, rows --------------------------------------------------------------------------------------
 * axpy:   y[i] += a x[i].                     2n FLOPs, DOT(2), gauge |y| + |a||x|.
 * scale:  y[i] = a x[i]; y may be x.           n FLOPs, ULP(2).
 * dot:    y[0] = sum_i x[i] w[i]; w NULL: sum_i x[i]. Lanes and blocks are added in double in a fixed tree.
 *         2n FLOPs, DOT(n), gauge sum |x||w|.
 * add:    y[r,c] = x[r,c] + b[r mod Rb, c]: b [Rb,C] is repeated along the rows (Rb = 1: a bias; Rb = R: a plain sum; Rb = 0
 *         only with R = 0).
 *         y may be x. bwd: db[k,c] += sum of dy over the rows r with r mod Rb = k (dx is dy itself: nothing to compute);
 *         R C FLOPs each; fwd ULP(1), bwd DOT(R/Rb), gauge sum |dy|.
 * gather_rows: y[i,:] = x[idx[i],:], i < R, x [Rx,C], idx [R] with 0 <= idx < Rx (checked by the caller). EXACT.
 *         bwd: dx[idx[i],:] += dy[i,:] in the order of i; dx is first set to 0 unless acc. R C FLOPs, DOT(R), gauge sum |dy|. */
void vvb_axpy(vv_real *y, const vv_real *x, double a, int64_t n);
void vvb_scale(vv_real *y, const vv_real *x, double a, int64_t n);
void vvb_dot(vv_real *y, const vv_real *x, const vv_real *w, int64_t n);
void vvb_add_fwd(vv_real *y, const vv_real *x, const vv_real *b, int64_t R, int64_t C, int64_t Rb);
void vvb_add_bwd(vv_real *db, const vv_real *dy, int64_t R, int64_t C, int64_t Rb);
void vvb_gather_rows_fwd(vv_real *y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C);
void vvb_gather_rows_bwd(vv_real *dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C, int64_t Rx, int acc);

/* ---- matrix product ---------------------------------------------------------------------------------------------
 * c[m,n] = alpha sum_k op(a)[m,k] op(b)[k,n] + beta c[m,n];  op transposes when ta / tb != 0. a, b, c have the row strides
 * lda, ldb, ldc >= their number of columns as stored. beta = 0 does not read c. K = 0 gives beta c.
 * 2 M N K FLOPs. DOT(K), gauge |alpha| |a||b| + |beta c|.                                                             */
void vvb_matmul(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb, int tb,
                int64_t M, int64_t N, int64_t K, double alpha, double beta);

/* ---- Linear, with an optional residual --------------------------------------------------------------------------
 * y[r,o] = sum_i x[r,i] w[o,i] + b[o] + res[r,o]      (torch.nn.Linear: the weight is [out, in])
 *   x [R,Ci]  w [Co,Ci]  b [Co] or NULL  res [R,Co] or NULL; y may be res.
 * dx[r,i] = sum_o dy[r,o] w[o,i];  dw[o,i] += sum_r dy[r,o] x[r,i];  db[o] += sum_r dy[r,o];  (dres is dy itself)
 * FLOPs 2 R Ci Co forward; 2 R Ci Co for dx, the same for dw. DOT(Ci+2), gauge |x||w| + |b| + |res|; dx DOT(Co), gauge
 * |dy||w|; dw DOT(R), gauge |dw| + |dy|'|x|; db DOT(R), gauge |db| + sum |dy|.                                         */
void vvb_linear_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res, int64_t R,
                    int64_t Ci, int64_t Co);
void vvb_linear_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    int64_t R, int64_t Ci, int64_t Co, int acc);

/* ---- LayerNorm over the last axis (Ba, Kiros, Hinton 2016, arXiv:1607.06450; torch.nn.LayerNorm) ----------------------
 * y[r,c] = (x[r,c] - mean[r]) rstd[r] w[c] + b[c];   rstd = 1 / sqrt(var + eps), var biased (divided by C).
 *   x,y,dx,dy [R,C]   w,b,dw,db [C]   mean,rstd [R] written by fwd, read by bwd.   C >= 1.
 * NaN and Inf stay in their row. FLOPs 8RC fwd, 14RC bwd.
 * fwd DOT(C), gauge (|x| + mean|x|) rstd |w| + |b|; of mean: mean|x|; of rstd: rstd (1 + rstd mean|x|).
 * bwd with n = (x - mean) rstd, N = (|x| + mean|x|) rstd:
 * dx DOT(C), gauge rstd (G + mean G + N mean(G N)), G = |dy||w|; dw DOT(R+C), gauge sum_r |dy| N; db DOT(R), gauge sum_r |dy|. */
void vvb_layernorm_fwd(vv_real *y, vv_real *mean, vv_real *rstd, const vv_real *x, const vv_real *w, const vv_real *b,
                       int64_t R, int64_t C, double eps);
void vvb_layernorm_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *w,
                       const vv_real *mean, const vv_real *rstd, int64_t R, int64_t C, int acc);

/* ---- GELU (Hendrycks, Gimpel 2016, arXiv:1606.08415) -------------------------------------------------------------
 * ERF:   y = x Phi(x) = x/2 (1 + erf(x / sqrt 2))      dy/dx = Phi(x) + x phi(x),   phi(x) = exp(-x^2/2) / sqrt(2 pi)
 * QUICK: y = x s(1.702 x), s the logistic sigmoid       dy/dx = s + 1.702 x s (1 - s)  at 1.702 x
 * y may be x; dx may be dy (not with acc). -Inf gives NaN as the formulas do (0 times Inf).
 * FLOPs 8n fwd, 14n bwd. DOT(16) with gauge |x| (1 + |x|) fwd, |dy| (1 + x^2) bwd: the factor is the function's own
 * condition number, a relative change of u in x moves the exponent by |x| u.                                           */
typedef enum { VVB_GELU_ERF, VVB_GELU_QUICK } vvb_gelu_kind;
void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind);
void vvb_gelu_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, vvb_gelu_kind kind, int acc);

/* ---- Rotary position embedding (Su et al. 2021, arXiv:2104.09864; Qwen2-VL section 2.1 for two axes) ----------------
 * table: pos (host) [N,P] holds P coordinates of each token. With F = D / (2P) frequencies an axis, angle d = a F + k of
 *   token n is pos[n,a] theta^(-k/F), a < P, k < F;  cos, sin [N, D/2]. P = 2: the first F angles turn with the row, the
 *   others with the column. P = 1 is the usual rotary. Angles, cos and sin are computed in double, rounded once.
 *   D divisible by 2P. N D FLOPs by convention. For angles below 2^21: ULP(1), and besides 2^-48 |angle|,
 *   because exponent, frequency and angle are rounded to double (theta up to 10^7).
 * fwd: every head of every row is rotated, pairs are (d, d + D/2), d < D/2 ("rotate half", not neighbours):
 *   y[d] = x[d] cos - x[d+D/2] sin;   y[d+D/2] = x[d+D/2] cos + x[d] sin.
 *   x, y: N rows with the strides ldx, ldy >= H D, heads side by side. y may be x.
 * bwd is the transposed rotation: dx[d] = dy[d] cos + dy[d+D/2] sin;  dx[d+D/2] = dy[d+D/2] cos - dy[d] sin. dx may be dy.
 * FLOPs 3 N H D. DOT(2), gauge |x[d]||cos| + |x[d+D/2]||sin| and so on.                                               */
void vvb_rope_table(vv_real *cos, vv_real *sin, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta);
void vvb_rope_fwd(vv_real *y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D);
void vvb_rope_bwd(vv_real *dx, int64_t lddx, const vv_real *dy, int64_t lddy, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D);

/* ---- Attention within segments of variable length (Vaswani et al. 2017, arXiv:1706.03762; Dao et al. 2022, arXiv:2205.14135
 *      for keeping row statistics instead of the matrix) --------------------------------------------------------------
 * cu (host) [S+1] are the prefix sums of the segment lengths, cu[0] = 0, cu[S] = N. For each segment and head h, with q, k, v
 * the [n,D] blocks of that segment (row strides ldq, ldk, ldv, ldo >= H D; heads side by side):
 *   s = scale q k^T;   p = softmax over each row;   o = p v;   lse[n,h] = log sum_j exp(s[n,j])      (lse [N,H] is saved)
 * A token sees all tokens of its segment and no others. Memory grows with N: scores live in tiles of query rows.
 * bwd, p recomputed from lse, delta = sum_d dO o:   dv = p^T dO;  ds = p (dO v^T - delta);  dq = scale ds k;  dk = scale ds^T q.
 *   dq, dk, dv are written (there is no acc), with the strides ldq, ldk, ldv of q, k, v; dO and o with ldo.
 * FLOPs, with n2 the sum of squared lengths: fwd H n2 (4D + 5); bwd H n2 (10D + 8).
 * With E = 1 + 2 max_j scale |q||k|_j of the row (how much rounding of the scores moves p), n the segment's length:
 *   o DOT(n+D), gauge E p|v|;  dv DOT(n+D), gauge sum_i E p |dO|;  dq and dk DOT(2n+2D), gauge scale |ds||k|, scale |ds|'|q|,
 *   |ds| = E p (|dO||v| + sum |dO||o|);  lse DOT(n+D), gauge |lse| + E.                                                 */
void vvb_attention_fwd(vv_real *o, int64_t ldo, vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k,
                       int64_t ldk, const vv_real *v, int64_t ldv, const int32_t *cu, int64_t S, int64_t H, int64_t D,
                       double scale);
void vvb_attention_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                       const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                       const vv_real *v, int64_t ldv, const int32_t *cu, int64_t S, int64_t H, int64_t D, double scale);

/* ---- AdamW (Loshchilov, Hutter 2019, arXiv:1711.05101; the form of torch.optim.AdamW) --------------------------------------
 * With g' = grad_scale g and t >= 1 the number of this update of the parameter:
 *   m = beta1 m + (1 - beta1) g';   v = beta2 v + (1 - beta2) g'^2
 *   p = p - lr weight_decay p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)      eps OUTSIDE the corrected root
 *   p, m, v [n] are updated, g [n] read. The moments and the sum for p are computed in double and rounded once, the quotient in
 *   vv_real. Memory bound: 28 bytes a float parameter. 14n FLOPs. DOT(4); gauge of m: beta1|m| + (1-beta1)|g'|, of v: itself, of
 *   p: |p| + 4 |update|.
 * sum_squares: sum x^2 as a host double, lanes and blocks in a fixed tree; 2n FLOPs; DOT(n) with u = 2^-53.                     */
typedef struct {
    double lr, beta1, beta2, eps, weight_decay, grad_scale;
    int64_t t;
} vvb_adamw_args;
void vvb_adamw(vv_real *p, vv_real *m, vv_real *v, const vv_real *g, int64_t n, const vvb_adamw_args *a);
double vvb_sum_squares(const vv_real *x, int64_t n);

/* ---- for benchmarks ---------------------------------------------------------------------------------------------------------
 * c [M,N] = a [M,K] b^T, b [N,K], by one plain call of the matrix library with its own threading at the current number of threads:
 * the speed that others are fractions of. Its bits may depend on the number of threads.                                           */
void vvb_library_product(vv_real *c, const vv_real *a, const vv_real *b, int64_t M, int64_t N, int64_t K);

#ifdef __cplusplus
}
#endif
#endif
