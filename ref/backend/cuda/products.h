/* What device.cu needs of gemm.cu: the product library is opened with the device and closed with it. */
#ifndef VV_CUDA_PRODUCTS_H
#define VV_CUDA_PRODUCTS_H

#include <stddef.h>

/* "cuBLAS 13.0.2"; why not, when it cannot be used, goes to `why`. */
const char *vvcu_open_products(char *why, size_t size);
void vvcu_close_products(void);

#endif
