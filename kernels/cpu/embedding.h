// Token and position embedding of the cpu backend. Meanings: kernels/transformer_ops.h.
//
// Thread safety: pure functions over the caller's memory.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/transformer_ops.h"

namespace leeway {

// INVALID_ARGUMENT: a token outside [0, vocabulary); the message names its place.
absl::Status CpuEmbeddingForward(const EmbeddingShape& shape, const std::int32_t* tokens, const float* wte,
                                 const float* wpe, float* y);
void CpuEmbeddingBackward(const EmbeddingShape& shape, const std::int32_t* tokens, const float* dy, float* dwte,
                          float* dwpe, Write write_dwpe);

}  // namespace leeway
