// Room for one block's floats, per thread: where payloads are decoded to, and rounds are summed.
//
// Thread safety: each thread has its own. Ownership: the thread's. What lies there is overwritten by the next use of
// the same place, so nobody keeps a pointer across a call to who uses it too: this is for leaves of the call tree.
#pragma once

#include <cstddef>
#include <vector>

#include "common/placement.h"

namespace leeway {

// Floats of a payload that are looked at, or applied, in one go: a copy of so many stays in the innermost cache.
inline constexpr std::size_t kScratchPiece = 4096;

enum class ScratchPlace { kGradient, kSum, kGiven };

inline float* BlockScratch(ScratchPlace place) {
  thread_local std::vector<float> scratch[3];
  std::vector<float>& floats = scratch[static_cast<std::size_t>(place)];
  if (floats.empty()) floats.resize(Placement::kMaxBlock);
  return floats.data();
}

}  // namespace leeway
