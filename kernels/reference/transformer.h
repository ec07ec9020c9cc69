// Every op of kernels/transformer_ops.h as the plainest loops there are, in double throughout: what the fast ones are
// tested against, and exact enough for gradients by central differences.
//
// Shapes, layouts and meanings are those of kernels/transformer_ops.h, on host vectors; results are returned. Tokens
// and labels are in range.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/reference/reference.h"
#include "kernels/transformer_ops.h"

namespace leeway::reference {

Values EmbeddingForward(const EmbeddingShape& shape, const std::vector<std::int32_t>& tokens, const Values& wte,
                        const Values& wpe);
struct EmbeddingGradients {
  Values dwte, dwpe;  // dwte alone, not added to anything
};
EmbeddingGradients EmbeddingBackward(const EmbeddingShape& shape, const std::vector<std::int32_t>& tokens,
                                     const Values& dy);

struct Normalized {
  Values y, mean, rstd;
};
Normalized LayerNormForward(const NormShape& shape, const Values& x, const Values& gain, const Values& bias);
struct NormGradients {
  Values dx, dgain, dbias;
};
// The statistics are computed from x.
NormGradients LayerNormBackward(const NormShape& shape, const Values& x, const Values& gain, const Values& dy);

Values GeluForward(const Values& x);
// dy * gelu'(x).
Values GeluBackward(const Values& x, const Values& dy);

// y and lse.
struct Attended {
  Values y, lse;
};
Attended AttentionForward(const AttentionShape& shape, const Values& qkv);
// dqkv. y and lse are computed from qkv.
Values AttentionBackward(const AttentionShape& shape, const Values& qkv, const Values& dy);

Loss PaddedSoftmaxCrossEntropy(const LogitsShape& shape, const Values& logits, const std::vector<std::int32_t>& labels,
                               double scale);

}  // namespace leeway::reference
