/* c = alpha op(a) op(b) + beta c. The only file that knows a BLAS.
 *
 * A library that splits one product over its own threads gives other bits for other thread counts (the split decides where
 * sums are cut). So the output is cut here into tiles that are a pure function of the shape, and each tile is one
 * single-threaded library call inside our parallel region. */
#include <stdlib.h>

#include "cpu.h"

#ifdef VV_CBLAS
#ifdef VV_ACCELERATE
#include <Accelerate/Accelerate.h>
#else
#include <cblas.h>
#endif
#ifdef VV_DOUBLE
#define CBLAS_GEMM cblas_dgemm
#else
#define CBLAS_GEMM cblas_sgemm
#endif

static void library_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b,
                            int64_t ldb, int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    /* a stride of 0, of a matrix without columns, is an error to some libraries: they would leave c as it was */
    CBLAS_GEMM(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)M, (int)N, (int)K,
               (vv_real)alpha, a, (int)vv_max(lda, 1), b, (int)vv_max(ldb, 1), (vv_real)beta, c, (int)vv_max(ldc, 1));
}

static void full_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                         int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    if (M == 0 || N == 0) return;
    if (lda > INT32_MAX || ldb > INT32_MAX || ldc > INT32_MAX || K > INT32_MAX) {
        vvcpu_fail("matmul", "a row stride beyond 2^31 - 1");
        return;
    }
    /* The OpenMP flavour of OpenBLAS would start threads of its own outside a parallel region: it asks for our maximum. */
    const int alone = !omp_in_parallel() && omp_get_max_threads() > 1, keep = omp_get_max_threads();
    if (alone) omp_set_num_threads(1);
    library_product(c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta);
    if (alone) omp_set_num_threads(keep);
}

VVB_DEF void vvb_library_product(vv_real *c, const vv_real *a, const vv_real *b, int64_t M, int64_t N, int64_t K)
{
    vvcpu_ready();
    vvcpu_library_threads(vvb_get_info()->threads);
    library_product(c, N, a, K, 0, b, K, 1, M, N, K, 1, 0);
    vvcpu_library_threads(1);
}

#else /* BLAS=none: our own blocked product; sums run in an order that no compiler or instruction set can change */

enum { MR = 4, NR = 64 / sizeof(vv_real), KB = 256 }; /* NR: one 512-bit register of columns */

/* a KB x MR panel of op(a), a KB x NR panel of op(b), zero beyond the edges: the inner loops need no special cases */
static void pack(vv_real *panel, int64_t width, const vv_real *x, int64_t ld, int by_rows, int64_t n, int64_t kn)
{
    for (int64_t k = 0; k < kn; k++)
        for (int64_t j = 0; j < width; j++)
            panel[k * width + j] = j < n ? (by_rows ? x[j * ld + k] : x[k * ld + j]) : 0;
}

/* c[m,n] += alpha times the sum over one block of k, each element's terms added in the order of k */
static void kernel(vv_real *c, int64_t ldc, const vv_real *pa, const vv_real *pb, int64_t m, int64_t n, int64_t kn,
                   vv_real alpha)
{
    vv_real acc[MR][NR] = {{0}};
    for (int64_t k = 0; k < kn; k++)
        for (int i = 0; i < MR; i++)
            for (int j = 0; j < NR; j++) acc[i][j] += pa[k * MR + i] * pb[k * NR + j];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) c[i * ldc + j] += alpha * acc[i][j];
}

static void start_from(vv_real *c, int64_t ldc, int64_t M, int64_t N, vv_real beta)
{
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

static void full_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                         int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    vv_real pa[KB * MR], pb[KB * NR];
    if (beta != 1) start_from(c, ldc, M, N, (vv_real)beta);
    for (int64_t k0 = 0; k0 < K; k0 += KB) {
        const int64_t kn = vv_min(KB, K - k0);
        for (int64_t j0 = 0; j0 < N; j0 += NR) {
            const int64_t n = vv_min(NR, N - j0);
            pack(pb, NR, tb ? b + j0 * ldb + k0 : b + k0 * ldb + j0, ldb, tb, n, kn);
            for (int64_t i0 = 0; i0 < M; i0 += MR) {
                const int64_t m = vv_min(MR, M - i0);
                pack(pa, MR, ta ? a + k0 * lda + i0 : a + i0 * lda + k0, lda, !ta, m, kn);
                kernel(c + i0 * ldc + j0, ldc, pa, pb, m, n, kn, (vv_real)alpha);
            }
        }
    }
}

VVB_DEF void vvb_library_product(vv_real *c, const vv_real *a, const vv_real *b, int64_t M, int64_t N, int64_t K)
{
    vvb_matmul(c, N, a, K, 0, b, K, 1, M, N, K, 1, 0);
}
#endif

/* ---- emulated precision -------------------------------------------------------------------------------------------- */
static void rounded_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b,
                            int64_t ldb, int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    const int64_t rows_a = ta ? K : M, cols_a = ta ? M : K, rows_b = tb ? N : K, cols_b = tb ? K : N;
    vv_real *ra = vv_calloc(vv_mul(rows_a, cols_a), sizeof *ra), *rb = vv_calloc(vv_mul(rows_b, cols_b), sizeof *rb);
    if (ra && rb) {
        vvcpu_round_rows(ra, a, lda, rows_a, cols_a);
        vvcpu_round_rows(rb, b, ldb, rows_b, cols_b);
        full_product(c, ldc, ra, cols_a, ta, rb, cols_b, tb, M, N, K, alpha, beta);
    } else vvcpu_fail("matmul", "out of memory");
    free(ra);
    free(rb);
}

void vvcpu_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                   int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    if (vvcpu_rounds_operands()) rounded_product(c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta);
    else full_product(c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta);
}

/* ---- tiles -------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t m, n; /* rows and columns of a tile */
} tile;

/* The tile is 800x1280 (a larger one is packed less often), halved along its longer side until there are enough of them or it is small;
 * then evened out, so that the last row and column of tiles are not slivers. Enough is 8 from 2 G multiplications on, 4 below (a ViT-S
 * step is a tenth faster so, on one thread as on two). Products too small to pay for threads are one tile. */
static tile choose_tile(int64_t M, int64_t N, int64_t K)
{
    tile t = {vv_min(M, 800), vv_min(N, 1280)};
    const int64_t work = M * N * vv_max(K, 1), enough = work < (int64_t)1 << 31 ? 4 : 8;
    if (work < (1 << 18)) return (tile){M, N};
    while (((M + t.m - 1) / t.m) * ((N + t.n - 1) / t.n) < enough && (t.m > 64 || t.n > 64)) {
        if (t.m >= t.n) t.m = (t.m + 1) / 2;
        else t.n = (t.n + 1) / 2;
    }
    const int64_t rows = (M + t.m - 1) / t.m, cols = (N + t.n - 1) / t.n;
    t.m = ((M + rows - 1) / rows + 15) / 16 * 16;
    t.n = ((N + cols - 1) / cols + 15) / 16 * 16;
    return t;
}

static void start_tile(vv_real *c, int64_t ldc, const vv_real *bias, const vv_real *res, int64_t ldres, int64_t m,
                       int64_t n)
{
    for (int64_t i = 0; i < m; i++) {
        vv_real *y = c + i * ldc;
        const vv_real *r = res ? res + i * ldres : NULL;
        if (bias && r)
            for (int64_t j = 0; j < n; j++) y[j] = bias[j] + r[j];
        else if (bias)
            for (int64_t j = 0; j < n; j++) y[j] = bias[j];
        else if (y != r)
            for (int64_t j = 0; j < n; j++) y[j] = r[j];
    }
}

void vvcpu_tiled_product(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                         int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta, const vv_real *bias,
                         const vv_real *res, int64_t ldres)
{
    vvcpu_ready();
    if (M == 0 || N == 0) return;
    const tile t = choose_tile(M, N, K);
    const int64_t rows = (M + t.m - 1) / t.m, cols = (N + t.n - 1) / t.n;
    const double from = bias || res ? 1 : beta;
#pragma omp parallel for schedule(dynamic, 1) if (rows * cols > 1)
    for (int64_t i = 0; i < rows * cols; i++) {
        const int64_t m0 = i % rows * t.m, n0 = i / rows * t.n, m = vv_min(t.m, M - m0), n = vv_min(t.n, N - n0);
        vv_real *out = c + m0 * ldc + n0;
        if (bias || res) start_tile(out, ldc, bias ? bias + n0 : NULL, res ? res + m0 * ldres + n0 : NULL, ldres, m, n);
        vvcpu_product(out, ldc, ta ? a + m0 : a + m0 * lda, lda, ta, tb ? b + n0 * ldb : b + n0, ldb, tb, m, n, K,
                      alpha, from);
    }
}

VVB_DEF void vvb_matmul(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb,
                        int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    vvcpu_tiled_product(c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta, NULL, NULL, 0);
}
