// Softmax cross-entropy over the rows of a matrix of logits (kernels/ops.h, kernels/transformer_ops.h).
//
// Thread safety: each call enqueues on `stream` and returns the launch's error. Ownership: `workspace` is the stream's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device_fault.h"

namespace leeway::cuda {

struct CrossEntropy {
  std::int64_t rows, classes, columns;  // the first `classes` of `columns` mean something
  const void* logits;                   // float32, or bfloat16 where `bf16`
  void* dlogits;                        // as logits; may be null
  bool bf16;
  const std::int32_t* labels;
  float scale;
  double* loss_sum;
  std::int64_t* correct;
  DeviceFault* fault;
};

// How many rows a workspace of so many bytes serves.
std::int64_t CrossEntropyRows(std::size_t workspace_bytes);

cudaError_t SoftmaxCrossEntropy(cudaStream_t stream, const CrossEntropy& args, void* workspace);

}  // namespace leeway::cuda
