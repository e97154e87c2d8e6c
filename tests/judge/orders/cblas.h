/* What ref/backend/cpu/gemm.c needs of a BLAS: found before the system's by the build that tests/judge makes. */
#ifndef CBLAS_H
#define CBLAS_H

enum CBLAS_ORDER { CblasRowMajor = 101 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };

void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE ta, enum CBLAS_TRANSPOSE tb, int M, int N, int K,
                 float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

#endif
