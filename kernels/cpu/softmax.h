// Softmax cross-entropy of the cpu backend. Meaning: SoftmaxCrossEntropy of kernels/ops.h, and, with
// columns beyond the classes, of kernels/transformer_ops.h.
//
// Thread safety: a pure function over the caller's memory.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/transformer_ops.h"

namespace leeway {

// `dlogits` may be null. INVALID_ARGUMENT: a label outside [0, classes); the message names row and label.
absl::Status CpuSoftmaxCrossEntropy(const LogitsShape& shape, const float* logits, const std::int32_t* labels,
                                    float scale, float* dlogits, LossSum* sum);

}  // namespace leeway
