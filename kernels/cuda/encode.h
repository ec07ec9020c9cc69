// Encodings on a GPU, with the bytes that kernels/encodings gives on the CPU.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace leeway::cuda {

cudaError_t EncodeBf16(cudaStream_t stream, std::size_t count, float* values, bool residual, std::uint16_t* out);
cudaError_t DecodeBf16(cudaStream_t stream, std::size_t count, const std::uint16_t* values, float* out);

// Of a vector of `count` values in blocks of `block`.
cudaError_t EncodeInt8(cudaStream_t stream, std::size_t count, std::size_t block, float* values, bool residual,
                       float* scales, std::int8_t* out);
cudaError_t SelectTopK(cudaStream_t stream, std::size_t count, std::size_t block, std::size_t kept,
                       std::size_t last_kept, const float* values, std::uint32_t* indices, float* out);

}  // namespace leeway::cuda
