// g + lambda * g * g * (w - base): what a late gradient g, computed on the weights `base`, would have been on the
// weights w. A Taylor expansion with g * g for the Hessian's diagonal: DC-ASGD (Zheng et al. 2017, arXiv 1609.08326),
// equation 10.
//
// Where that is not finite g itself is given: finite gradients stay finite, whatever the weights are.
//
// Invariant: the same bits on every instruction set, and however the arrays are cut into pieces: each operation rounded
// on its own, never fused.
//
// Thread safety: pure functions.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "kernels/target_clones.h"

namespace leeway {

// For one element.
LEEWAY_INLINE float CorrectedDelay(float lambda, float gradient, float weight, float base) {
  const float corrected = gradient + lambda * gradient * gradient * (weight - base);
  return std::fabs(corrected) <= std::numeric_limits<float>::max() ? corrected : gradient;
}

// All arrays are [count]; `out` overlaps none of the others.
void CorrectDelay(float lambda, const float* gradient, const float* weights, const float* base, std::size_t count,
                  float* out);

}  // namespace leeway
