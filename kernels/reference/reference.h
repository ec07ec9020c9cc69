// Every op of kernels/ops.h as the plainest loop there is, in double throughout: what the fast ones are tested
// against, and exact enough for gradients by central differences.
//
// Shapes, layouts and meanings are those of kernels/ops.h, on host vectors. Vectors have the sizes that the shapes
// say; results are returned.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace leeway::reference {

using Values = std::vector<double>;

Values LinearForward(const LinearShape& shape, const Values& x, const Values& w, const Values& bias,
                     Activation activation);
Values LinearBackwardData(const LinearShape& shape, const Values& dy, const Values& w);

struct WeightGradients {
  Values dw, dbias;
};
WeightGradients LinearBackwardWeights(const LinearShape& shape, const Values& x, const Values& dy);

// `shape` is that of x.
Values Conv3x3Forward(const ImageShape& shape, std::int64_t out_channels, const Values& x, const Values& w,
                      const Values& bias);
Values Conv3x3BackwardData(const ImageShape& shape, std::int64_t out_channels, const Values& dy, const Values& w);
WeightGradients Conv3x3BackwardWeights(const ImageShape& shape, std::int64_t out_channels, const Values& x,
                                       const Values& dy);

Values ReluForward(const Values& x);
Values ReluBackward(const Values& y, const Values& dy);

struct Pooled {
  Values y;
  std::vector<std::int32_t> choice;
};
Pooled MaxPoolForward(const ImageShape& shape, const Values& x, Activation activation);
Values MaxPoolBackward(const ImageShape& shape, const Values& dy, const std::vector<std::int32_t>& choice);

struct Loss {
  double loss_sum = 0;
  std::int64_t correct = 0;
  Values dlogits;
};
// Labels are in [0, classes).
Loss SoftmaxCrossEntropy(std::int64_t batch, std::int64_t classes, const Values& logits,
                         const std::vector<std::int32_t>& labels, double scale);

}  // namespace leeway::reference
