/* base/elementary.h and .c for the device and for the host side of the same file: the same text, and with -fmad=false the same bits as
 * on the CPU. In front of any other inclusion of base/elementary.h. */
#ifndef VV_CUDA_ELEMENTARY_H
#define VV_CUDA_ELEMENTARY_H

#include "cuda.h"

#define VV_ON_DEVICE __host__ __device__ __attribute__((unused))
namespace
{
#include "base/elementary.c"
}

#endif
