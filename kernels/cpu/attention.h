// Causal attention of the cpu backend. Meanings: kernels/transformer_ops.h.
//
// Queries are taken in blocks of 64 rows; their scores against the keys up to them are all of the score matrix that
// ever exists. Products are oneDNN's.
//
// Thread safety: pure functions over the caller's memory.
#pragma once

#include <cstddef>

#include "kernels/transformer_ops.h"

namespace leeway {

// Floats of scratch memory that the two functions need.
std::size_t CpuAttentionScratch(const AttentionShape& shape);

// Throw dnnl::error (caught by CpuStream::Run).
void CpuAttentionForward(const AttentionShape& shape, const float* qkv, float* y, float* lse, float* scratch);
void CpuAttentionBackward(const AttentionShape& shape, const float* qkv, const float* y, const float* lse,
                          const float* dy, float* dqkv, float* scratch);

}  // namespace leeway
