// The test every gradient passes before it may touch the weights.
//
// Thread safety: pure function.
#pragma once

#include <cstddef>

namespace leeway {

// The index of the first NaN or infinity among the `count` floats at `values`, or `count` when all are finite.
// Runs at memory speed; any alignment a float may have.
std::size_t FirstNonFinite(const float* values, std::size_t count);

}  // namespace leeway
