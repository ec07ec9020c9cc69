// Token and position embedding (kernels/transformer_ops.h says what is computed). y and dy are float32, or bfloat16
// where `bf16`.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/device_fault.h"

namespace leeway::cuda {

struct Embedding {
  std::int64_t batch, length, vocabulary, width;
  bool bf16;
  const std::int32_t* tokens;
};

cudaError_t EmbeddingForward(cudaStream_t stream, const Embedding& args, const float* wte, const float* wpe, void* y,
                             DeviceFault* fault);
cudaError_t EmbeddingBackward(cudaStream_t stream, const Embedding& args, const void* dy, float* dwte, float* dwpe,
                              bool add_dwpe);

}  // namespace leeway::cuda
