// Optimizer steps on a GPU: the rules of kernels/optimizers, with the bits that they give on the CPU.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "kernels/optimizers/adagrad.h"
#include "kernels/optimizers/adam.h"
#include "kernels/optimizers/ftrl.h"
#include "kernels/optimizers/momentum.h"
#include "kernels/optimizers/rmsprop.h"
#include "kernels/optimizers/sgd.h"

namespace leeway::cuda {

// Device memory of any alignment; slots that the rule does not have are null.
struct StepArrays {
  std::size_t count;
  const float* gradient;
  float* weights;
  float* slots[2];
};

cudaError_t Step(cudaStream_t stream, const SgdRule& rule, const StepArrays& arrays);
cudaError_t Step(cudaStream_t stream, const MomentumRule& rule, bool nesterov, const StepArrays& arrays);
cudaError_t Step(cudaStream_t stream, const AdagradRule& rule, const StepArrays& arrays);
cudaError_t Step(cudaStream_t stream, const RmspropRule& rule, const StepArrays& arrays);
cudaError_t Step(cudaStream_t stream, const AdamRule& rule, const StepArrays& arrays);
cudaError_t Step(cudaStream_t stream, const FtrlRule& rule, const StepArrays& arrays);

}  // namespace leeway::cuda
