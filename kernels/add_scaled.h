// sum += weight * x: how the pushes of a round are added up.
//
// Invariant: the same bits on every instruction set, and however the arrays are cut into pieces: one multiplication and
// one addition per element, each rounded, never fused.
//
// Thread safety: pure function.
#pragma once

#include <cstddef>

namespace leeway {

// `x` [count] overlaps `sum` [count] nowhere.
void AddScaled(float weight, const float* x, std::size_t count, float* sum);

}  // namespace leeway
