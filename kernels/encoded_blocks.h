// EncodedBlocks: which blocks of a vector are encoded, on the CPU and in a GPU's kernels.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>

#include "kernels/host_device.h"

namespace leeway {

// Blocks of a vector of `count` values that is cut into blocks of `block`, the last of which may be shorter: every
// `stride`-th from block `first` on, `blocks` of them (a chunk, common/placement.h).
struct EncodedBlocks {
  std::size_t count = 0, block = 1;  // block > 0
  std::size_t first = 0, stride = 1;
  std::size_t blocks = 0;

  static EncodedBlocks All(std::size_t count, std::size_t block) {
    return {.count = count, .block = block, .blocks = (count + block - 1) / block};
  }
  // Of the i-th of them: its first value's place in the vector, and how many it has.
  LEEWAY_HOST_DEVICE std::size_t Begin(std::size_t i) const { return (first + i * stride) * block; }
  LEEWAY_HOST_DEVICE std::size_t Size(std::size_t i) const {
    const std::size_t left = count - Begin(i);
    return left < block ? left : block;
  }
  LEEWAY_HOST_DEVICE bool EndsVector(std::size_t i) const { return Begin(i) + block >= count; }
};

}  // namespace leeway
