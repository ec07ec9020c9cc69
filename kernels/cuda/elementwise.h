// Ops on one element at a time (kernels/ops.h says what each computes). Pointers are device memory of any alignment.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace leeway::cuda {

cudaError_t ReluForward(cudaStream_t stream, std::size_t count, const float* x, float* y);
cudaError_t ReluBackward(cudaStream_t stream, std::size_t count, const float* y, const float* dy, float* dx);
cudaError_t Fill(cudaStream_t stream, std::size_t count, float value, float* x);
cudaError_t Scale(cudaStream_t stream, std::size_t count, float factor, float* x);
cudaError_t Axpy(cudaStream_t stream, std::size_t count, float a, const float* x, float* y);

}  // namespace leeway::cuda
