// LEEWAY_HOST_DEVICE before an inline function: nvcc also compiles it for a GPU, so that a formula which must give the
// same bits on both is written once. Both are compiled without fused multiply-adds.
#pragma once

#if defined(__CUDACC__)
#define LEEWAY_HOST_DEVICE __host__ __device__
#else
#define LEEWAY_HOST_DEVICE
#endif
