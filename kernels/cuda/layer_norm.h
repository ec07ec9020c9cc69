// Layer norm (kernels/transformer_ops.h says what is computed). Typed pointers are float32, or bfloat16 where `bf16`.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error. Ownership: `workspace` is the stream's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace leeway::cuda {

struct NormForward {
  std::int64_t rows, width;
  bool bf16;
  const void* x;
  const void* branch;  // null: the norm of x
  void* sum;           // x + branch, where there is a branch; may be either
  const float *gain, *bias;
  void* y;
  float *mean, *rstd;
};
cudaError_t LayerNormForward(cudaStream_t stream, const NormForward& args);

struct NormBackward {
  std::int64_t rows, width;
  bool bf16;
  const void* x;
  const float *gain, *mean, *rstd;
  const void* dy;
  void* dx;
  bool add_dx;
  float *dgain, *dbias;
  bool add;  // to dgain and dbias
};
cudaError_t LayerNormBackward(cudaStream_t stream, const NormBackward& args, void* workspace,
                              std::size_t workspace_bytes);

}  // namespace leeway::cuda
