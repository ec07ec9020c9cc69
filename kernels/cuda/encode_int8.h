// int8 encoding on a GPU (VectorOps::EncodeInt8, kernels/vector_ops.h), with the bytes that kernels/encodings/int8.h
// gives on the CPU.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/encoded_blocks.h"

namespace leeway::cuda {

// `residual` may be null. Where the GPU has clusters of thread blocks (compute capability 9.0) and everything is
// aligned, values are read once; else twice.
cudaError_t EncodeInt8(cudaStream_t stream, const EncodedBlocks& blocks, const float* values, float* residual,
                       char* out);

}  // namespace leeway::cuda
