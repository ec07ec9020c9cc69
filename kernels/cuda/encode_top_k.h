// top-k encoding on a GPU (VectorOps::EncodeTopK, kernels/vector_ops.h), with the bytes that kernels/encodings/top_k.h
// gives on the CPU.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "kernels/encoded_blocks.h"

namespace leeway::cuda {

// `residual` may be null. `out` lies at a multiple of 4 bytes. Where at most some 2 % of a block are kept values are
// mostly read once (and, with a residual, once more to write it), else six times.
cudaError_t EncodeTopK(cudaStream_t stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                       const float* values, float* residual, char* out);

}  // namespace leeway::cuda
