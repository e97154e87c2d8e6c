/* Inside the CPU backend only: errors, per-thread scratch memory, fixed-order sums, the product of one tile. */
#ifndef VV_CPU_H
#define VV_CPU_H

#include <omp.h>

#include "backend/backend.h"

/* An OpenMP region costs about 2 microseconds: loops over fewer elements than this stay on one thread. */
#define VVCPU_GRAIN 16384

/* Keeps the first failure for vvb_error. Called from any thread. */
void vvcpu_fail(const char *function, const char *what);

/* Makes sure that vvb_init has run; called by every function that multiplies matrices. */
void vvcpu_ready(void);

/* The number of threads of the matrix library itself: 1 but for vvb_library_product. */
void vvcpu_library_threads(int n);

/* At least n numbers of the calling thread's own, valid until its next call; NULL (and a failure kept) without memory. */
vv_real *vvcpu_scratch(const char *function, int64_t n);

/* c = alpha op(a) op(b) + beta c on the calling thread alone (with OpenBLAS and our own product) (arguments as vvb_matmul). */
void vvcpu_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                   int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta);

/* Emulated precision: the unit roundoff of the one that is set, whether products round their operands, and x [R,C] rounded to y, whose
 * rows lie together. */
double vvcpu_unit_roundoff(void);
int vvcpu_rounds_operands(void);
void vvcpu_round_rows(vv_real *y, const vv_real *x, int64_t ldx, int64_t R, int64_t C);

/* The same on all threads, in output tiles that depend on the shape alone, so that bits do not depend on the number of
 * threads. With bias [N] or res [M,N] (stride ldres) the result starts from their sum instead of beta c. */
void vvcpu_tiled_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                         int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta, const vv_real *bias,
                         const vv_real *res, int64_t ldres);

/* Columns that a thread owns where rows are added up: contiguous inner loops, rows in order. */
enum { VVCPU_STRIP = 64 };

/* out[c] += sum over r of x[r,c]: a thread owns a strip of columns and adds the rows in order, in double. */
void vvcpu_add_column_sums(vv_real *out, const vv_real *x, int64_t R, int64_t C);

/* ---- fixed-order sums: VVCPU_LANES partial sums, then a fixed tree; the compiler may use any vector width ---------- */
enum { VVCPU_LANES = 16 };

static inline double vvcpu_tree(const double *lane)
{
    double s[VVCPU_LANES];
    for (int l = 0; l < VVCPU_LANES; l++) s[l] = lane[l];
    for (int half = VVCPU_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) s[l] += s[l + half];
    return s[0];
}

/* sum over i of EXPR(i), each term rounded as written, added in double lanes. A macro, because C99 has no closures. */
#define VVCPU_SUM(result, n, i, EXPR)                                                                                  \
    do {                                                                                                               \
        double lane_[VVCPU_LANES] = {0};                                                                               \
        int64_t i = 0;                                                                                                 \
        for (; i + VVCPU_LANES <= (n);) {                                                                              \
            const int64_t end_ = i + VVCPU_LANES;                                                                      \
            for (int l_ = 0; i < end_; i++, l_++) lane_[l_] += (double)(EXPR);                                         \
        }                                                                                                              \
        for (int l_ = 0; i < (n); i++, l_++) lane_[l_] += (double)(EXPR);                                              \
        (result) = vvcpu_tree(lane_);                                                                                  \
    } while (0)

#endif
