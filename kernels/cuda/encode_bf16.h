// bfloat16 encoding on a GPU, with the bytes that kernels/encodings/bf16.h gives on the CPU.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace leeway::cuda {

cudaError_t EncodeBf16(cudaStream_t stream, std::size_t count, float* values, bool residual, std::uint16_t* out);
cudaError_t DecodeBf16(cudaStream_t stream, std::size_t count, const std::uint16_t* values, float* out);

}  // namespace leeway::cuda
