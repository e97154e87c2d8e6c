/* c = alpha op(a) op(b) + beta c by cuBLAS. The only file that knows it.
 *
 * The library is found when the program runs: in the program itself, if it was linked, or under its usual names. Its matrices
 * are columns first: what is row-major here is its transpose there, and c^T = op(b)^T op(a)^T. A workspace of our own and a single
 * stream give the same bits each time. Rounded operands: TF32 and BF16 are the library's (its kernels round what they load and add up
 * in float); FP16, which has a smaller range, is rounded here first and multiplied in float. */
#include <dlfcn.h>
#include <stdio.h>

#include "cublas.h"
#include "cuda.h"
#include "products.h"

/* The toolkit's header has two of this name in C++. */
typedef cublasStatus_t gemm_ex(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void *,
                               const void *, cudaDataType, int, const void *, cudaDataType, int, const void *, void *,
                               cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
static struct {
    decltype(&cublasCreate_v2) create;
    decltype(&cublasDestroy_v2) destroy;
    decltype(&cublasGetVersion_v2) version;
    decltype(&cublasSetStream_v2) set_stream;
    decltype(&cublasSetWorkspace_v2) set_workspace;
    decltype(static_cast<gemm_ex *>(&cublasGemmEx)) gemm;
} lib;

static cublasHandle_t handle;
static void *workspace;
enum { WORKSPACE = 32 << 20 }; /* what cuBLAS recommends for its largest devices */

static int find_functions(void)
{
    static char name[32];
    snprintf(name, sizeof name, "libcublas.so.%d", CUDART_VERSION / 1000);
    const char *const names[] = {NULL, name, "libcublas.so"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *in = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
        if (!in) continue;
        lib.create = (decltype(lib.create))dlsym(in, "cublasCreate_v2");
        lib.destroy = (decltype(lib.destroy))dlsym(in, "cublasDestroy_v2");
        lib.version = (decltype(lib.version))dlsym(in, "cublasGetVersion_v2");
        lib.set_stream = (decltype(lib.set_stream))dlsym(in, "cublasSetStream_v2");
        lib.set_workspace = (decltype(lib.set_workspace))dlsym(in, "cublasSetWorkspace_v2");
        lib.gemm = (decltype(lib.gemm))dlsym(in, "cublasGemmEx");
        if (lib.create && lib.destroy && lib.version && lib.set_stream && lib.set_workspace && lib.gemm) return 1;
    }
    return 0;
}

const char *vvcu_open_products(char *why, size_t size)
{
    static char text[40] = "none";
    int version = 0;
    if (!find_functions()) {
        snprintf(why, size, "cuBLAS is missing: no libcublas.so.%d among the libraries (LD_LIBRARY_PATH)",
                 CUDART_VERSION / 1000);
        return text;
    }
    cublasStatus_t s = lib.create(&handle);
    if (s == CUBLAS_STATUS_SUCCESS) s = lib.set_stream(handle, vvcu_stream());
    if (s == CUBLAS_STATUS_SUCCESS && cudaMallocAsync(&workspace, WORKSPACE, vvcu_stream()) != cudaSuccess)
        s = CUBLAS_STATUS_ALLOC_FAILED;
    if (s == CUBLAS_STATUS_SUCCESS) s = lib.set_workspace(handle, workspace, WORKSPACE);
    if (s == CUBLAS_STATUS_SUCCESS) s = lib.version(handle, &version);
    if (s != CUBLAS_STATUS_SUCCESS) snprintf(why, size, "cuBLAS cannot start (status %d)", (int)s);
    /* 120304 is 12.3.4 */
    else snprintf(text, sizeof text, "cuBLAS %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    return text;
}

void vvcu_close_products(void)
{
    if (handle) (void)lib.destroy(handle);
    if (workspace) (void)cudaFreeAsync(workspace, vvcu_stream());
}

/* ---- products ------------------------------------------------------------------------------------------------------------ */
/* c = beta c, what is left without terms; 0 times what is not read is 0 */
static __global__ void no_terms(float *c, int64_t ldc, int64_t M, int64_t N, float beta)
{
    VVCU_FOR(i, M * N) {
        float *p = c + i / N * ldc + i % N;
        *p = beta == 0 ? 0 : beta * *p;
    }
}

static __global__ void round_rows(float *y, const float *x, int64_t ldx, int64_t R, int64_t C, vvb_precision p)
{
    VVCU_FOR(i, R * C) y[i] = vvcu_nearest(x[i / C * ldx + i % C], p);
}

static void product(const char *function, float *c, int64_t ldc, const float *a, int64_t lda, int ta, const float *b,
                    int64_t ldb, int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta,
                    cublasComputeType_t compute)
{
    const float al = (float)alpha, be = (float)beta;
    const int64_t most = vv_max(vv_max(M, N), vv_max(K, vv_max(lda, vv_max(ldb, ldc))));
    if (most > INT32_MAX) {
        vvcu_fail(function, "a size or a row stride beyond 2^31 - 1");
        return;
    }
    const cublasStatus_t s = lib.gemm(handle, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, (int)N,
                                      (int)M, (int)K, &al, b, CUDA_R_32F, (int)ldb, a, CUDA_R_32F, (int)lda, &be, c,
                                      CUDA_R_32F, (int)ldc, compute, CUBLAS_GEMM_DEFAULT);
    if (s != CUBLAS_STATUS_SUCCESS) {
        char what[60];
        snprintf(what, sizeof what, "cuBLAS failed with status %d", (int)s);
        vvcu_fail(function, what);
    }
}

static void fp16_product(const char *function, float *c, int64_t ldc, const float *a, int64_t lda, int ta,
                         const float *b, int64_t ldb, int tb, int64_t M, int64_t N, int64_t K, double alpha,
                         double beta)
{
    const int64_t rows_a = ta ? K : M, cols_a = ta ? M : K, rows_b = tb ? N : K, cols_b = tb ? K : N;
    const int64_t bytes_a = vvcu_aligned(rows_a * cols_a * 4), bytes_b = vvcu_aligned(rows_b * cols_b * 4);
    char *both = (char *)vvcu_product_scratch(function, bytes_a + bytes_b);
    if (!both) return;
    float *ra = (float *)both, *rb = (float *)(both + bytes_a);
    VVCU_LAUNCH(function, round_rows, VVCU_GRID(rows_a * cols_a), VVCU_BLOCK, 0, ra, a, lda, rows_a, cols_a, VVB_FP16);
    VVCU_LAUNCH(function, round_rows, VVCU_GRID(rows_b * cols_b), VVCU_BLOCK, 0, rb, b, ldb, rows_b, cols_b, VVB_FP16);
    product(function, c, ldc, ra, cols_a, ta, rb, cols_b, tb, M, N, K, alpha, beta, CUBLAS_COMPUTE_32F);
}

void vvcu_gemm(const char *function, float *c, int64_t ldc, const float *a, int64_t lda, int ta, const float *b,
               int64_t ldb, int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    const vvb_precision p = vvcu_operands();
    if (M == 0 || N == 0 || !vvcu_ready()) return;
    if (K == 0) VVCU_LAUNCH(function, no_terms, VVCU_GRID(M * N), VVCU_BLOCK, 0, c, ldc, M, N, (float)beta);
    else if (p == VVB_FP16) fp16_product(function, c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta);
    else
        product(function, c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta,
                p == VVB_TF32   ? CUBLAS_COMPUTE_32F_FAST_TF32
                : p == VVB_BF16 ? CUBLAS_COMPUTE_32F_FAST_16BF
                                : CUBLAS_COMPUTE_32F);
}

void vvb_matmul(float *c, int64_t ldc, const float *a, int64_t lda, int ta, const float *b, int64_t ldb, int tb,
                int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    vvcu_gemm("matmul", c, ldc, a, lda, ta, b, ldb, tb, M, N, K, alpha, beta);
}

void vvb_library_product(float *c, const float *a, const float *b, int64_t M, int64_t N, int64_t K)
{
    if (!vvcu_ready() || M == 0 || N == 0) return;
    product("library_product", c, N, a, vv_max(K, 1), 0, b, vv_max(K, 1), 1, M, N, K, 1, 0, CUBLAS_COMPUTE_32F);
}
