// Placement: which shard owns which part of the model vector, and how a shard's part is cut into chunks.
// A pure function of (element count, num_shards), so that every process computes the same.
//
// Thread safety: immutable after construction.
// Invariants: block b covers the elements [b * block_elements, min((b + 1) * block_elements, elements));
// shard s owns the blocks b with b mod num_shards == s; a chunk is a run of consecutive blocks of one
// shard (b, b + num_shards, ...), so a shard's chunks cover its blocks once, in order.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace leeway {

// A run of one shard's blocks: first_block, first_block + num_shards, ..., num_blocks of them.
struct ChunkRun {
  std::uint64_t first_block = 0;
  std::uint32_t num_blocks = 0;
};

class Placement {
 public:
  static constexpr std::uint64_t kMinBlock = 4 * 1024;    // elements
  static constexpr std::uint64_t kMaxBlock = 256 * 1024;  // elements: 1 MiB of float32
  static constexpr std::uint64_t kChunkElements = 1024 * 1024;

  // INVALID_ARGUMENT: no elements, no shards, or more than 4096 of them.
  static absl::StatusOr<Placement> Make(std::uint64_t elements, std::uint32_t num_shards);

  std::uint64_t elements() const { return elements_; }
  std::uint32_t num_shards() const { return num_shards_; }
  std::uint64_t block_elements() const { return block_elements_; }
  std::uint64_t num_blocks() const { return num_blocks_; }

  std::uint64_t BlockBegin(std::uint64_t block) const { return block * block_elements_; }
  std::uint64_t BlockSize(std::uint64_t block) const;  // elements; the last block may be short

  std::uint64_t ShardBlocks(std::uint32_t shard) const;    // how many blocks it owns
  std::uint64_t ShardElements(std::uint32_t shard) const;  // how many elements
  std::uint32_t ShardChunks(std::uint32_t shard) const;    // at least 1, even for a shard without blocks

  // Chunk `chunk` of `shard`; an empty run for the one chunk of a shard without blocks.
  ChunkRun Chunk(std::uint32_t shard, std::uint32_t chunk) const;
  std::uint64_t RunElements(const ChunkRun& run) const;

 private:
  std::uint64_t elements_ = 0;
  std::uint32_t num_shards_ = 1;
  std::uint64_t block_elements_ = kMinBlock;
  std::uint64_t num_blocks_ = 0;
};

}  // namespace leeway
