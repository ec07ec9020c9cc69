// ChunkId: the name of a chunk. ChunkNumbers: a number for each chunk of a placement, 0, 1, ..., to index arrays with.
//
// Thread safety: immutable after construction.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/placement.h"

namespace leeway {

// Chunk `chunk` of shard `shard`, as Placement::Chunk has it.
struct ChunkId {
  std::uint32_t shard = 0;
  std::uint32_t chunk = 0;
  friend auto operator<=>(const ChunkId&, const ChunkId&) = default;
};

class ChunkNumbers {
 public:
  explicit ChunkNumbers(const Placement& placement) {
    for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
      first_.push_back(first_.back() + placement.ShardChunks(shard));
    }
  }

  std::size_t size() const { return first_.back(); }
  std::size_t operator[](ChunkId id) const { return first_[id.shard] + id.chunk; }

 private:
  std::vector<std::size_t> first_ = {0};  // per shard, and the end
};

}  // namespace leeway
