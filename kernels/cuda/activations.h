// GELU (kernels/transformer_ops.h) and casts between float32 and bfloat16. Pointers may have any alignment.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace leeway::cuda {

// y = gelu(x), both float32, or bfloat16 where `bf16`.
cudaError_t GeluForward(cudaStream_t stream, std::size_t count, bool bf16, const void* x, void* y);
// dx *= gelu'(x).
cudaError_t GeluBackward(cudaStream_t stream, std::size_t count, bool bf16, const void* x, void* dx);

cudaError_t Cast(cudaStream_t stream, std::size_t count, const void* from, bool from_bf16, void* to, bool to_bf16);

}  // namespace leeway::cuda
