/* c = alpha op(a) op(b) + beta c, columns first, added up in double and rounded once. */
#include <vector>

#include "cublas_v2.h"
#include "standin.h"

struct vvsi_cublas {
    bool stream, workspace;
};

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    *handle = new vvsi_cublas();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int *version)
{
    *version = 0;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream != nullptr;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
    vvsi_inside("the workspace of cuBLAS", workspace, bytes);
    handle->workspace = true;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- checks ---------------------------------------------------------------------------------------------------------------------------- */
static size_t extent(const char *name, int rows, int cols, int ld)
{
    if (ld < rows || ld < 1) vvsi_die("cublasGemmEx: stride %d of %s, which has columns of %d", ld, name, rows);
    return ((size_t)(cols - 1) * (size_t)ld + (size_t)rows) * sizeof(float);
}

static void apart(const char *name, const void *x, size_t bytes, const void *c, size_t bytes_c)
{
    if ((const char *)x < (const char *)c + bytes_c && (const char *)c < (const char *)x + bytes)
        vvsi_die("cublasGemmEx: %s overlaps the result", name);
}

/* ---- operands ---------------------------------------------------------------------------------------------------------------------------- */
static double rounded(float x, cublasComputeType_t compute)
{
    if (compute == CUBLAS_COMPUTE_32F || !isfinite(x)) return x;
    /* 11 or 8 significant digits, in the range of float: below it the spacing of the smallest normal numbers */
    const int digits = compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 11 : 8;
    int e;
    frexp(x, &e);
    const double unit = ldexp(1, (e < -125 ? -125 : e) - digits), y = nearbyint(x / unit) * unit;
    return fabs(y) >= 0x1p128 ? copysign(HUGE_VAL, x) : y;
}

/* op(x) [rows, cols], rows first */
static std::vector<double> operand(const float *x, int ld, bool transposed, int rows, int cols,
                                   cublasComputeType_t compute)
{
    std::vector<double> y((size_t)rows * (size_t)cols);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            y[(size_t)r * (size_t)cols + (size_t)c] = rounded(
                transposed ? x[(size_t)r * (size_t)ld + (size_t)c] : x[(size_t)c * (size_t)ld + (size_t)r], compute);
    return y;
}

static void product(const float *a, int lda, bool ta, const float *b, int ldb, bool tb, float *c, int ldc, int m, int n,
                    int k, float alpha, float beta, cublasComputeType_t compute)
{
    const std::vector<double> x = operand(a, lda, ta, m, k, compute), y = operand(b, ldb, tb, k, n, compute);
    std::vector<double> sum((size_t)n);
    for (int i = 0; i < m; i++) {
        sum.assign((size_t)n, 0);
        for (int l = 0; l < k; l++) {
            const double f = x[(size_t)i * (size_t)k + (size_t)l], *row = &y[(size_t)l * (size_t)n];
            for (int j = 0; j < n; j++) sum[(size_t)j] += f * row[j];
        }
        for (int j = 0; j < n; j++) {
            float *to = c + (size_t)j * (size_t)ldc + i;
            *to = (float)(beta == 0 ? alpha * sum[(size_t)j] : alpha * sum[(size_t)j] + beta * *to);
        }
    }
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType, int lda, const void *b, cudaDataType,
                            int ldb, const void *beta, void *c, cudaDataType, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t)
{
    const float al = *(const float *)alpha, be = *(const float *)beta;
    if (!handle->stream || !handle->workspace) vvsi_die("cublasGemmEx: without a stream and a workspace of its own");
    if (m < 1 || n < 1 || k < 1) vvsi_die("cublasGemmEx: m %d, n %d, k %d", m, n, k);
    vvsi_enqueue([=] {
        const size_t of_a = extent("a", ta ? k : m, ta ? m : k, lda), of_b = extent("b", tb ? n : k, tb ? k : n, ldb),
                     of_c = extent("c", m, n, ldc);
        vvsi_inside("cublasGemmEx: a", a, of_a);
        vvsi_inside("cublasGemmEx: b", b, of_b);
        vvsi_inside("cublasGemmEx: c", c, of_c);
        apart("a", a, of_a, c, of_c);
        apart("b", b, of_b, c, of_c);
        product((const float *)vvsi_alias(a), lda, ta != CUBLAS_OP_N, (const float *)vvsi_alias(b), ldb,
                tb != CUBLAS_OP_N, (float *)vvsi_alias(c), ldc, m, n, k, al, be, compute);
    });
    return CUBLAS_STATUS_SUCCESS;
}
