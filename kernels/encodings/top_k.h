// TOP_K: the values of greatest magnitude, with their indices in ascending order.
//
// The selection is exact, of equal magnitudes the lower index is kept, and takes time linear in the block's size.
//
// Thread safety: pure functions. Bytes may lie at any address.
#pragma once

#include <cstddef>

namespace leeway {

// Writes `kept` indices (uint32) to `indices` and the `kept` values (float32) to `out_values`. Requires kept <= count,
// finite values.
void SelectTopK(const float* values, std::size_t count, std::size_t kept, char* indices, char* out_values);

}  // namespace leeway
