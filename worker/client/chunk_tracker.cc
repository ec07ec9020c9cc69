#include "worker/client/chunk_tracker.h"

#include <algorithm>

namespace leeway {

ChunkTracker::ChunkTracker(const Placement& placement)
    : placement_(placement), chunk_of_block_(placement.num_blocks()) {
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
    for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
      const ChunkRun run = placement.Chunk(shard, chunk);
      for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
        chunk_of_block_[run.first_block + std::uint64_t{i} * placement.num_shards()] =
            static_cast<std::uint32_t>(chunks_.size());
      }
      chunks_.push_back({{shard, chunk}, placement.RunElements(run), placement.RunElements(run)});
    }
  }
}

void ChunkTracker::Reset() {
  for (Chunk& chunk : chunks_) chunk.missing = chunk.elements;
}

std::vector<ChunkId> ChunkTracker::MarkFinal(std::uint64_t first, std::uint64_t count) {
  std::vector<ChunkId> ready;
  const std::uint64_t end = first + count;
  while (first < end) {
    const std::uint64_t block = first / placement_.block_elements();
    const std::uint64_t block_end = std::min(end, placement_.BlockBegin(block) + placement_.BlockSize(block));
    Chunk& chunk = chunks_[chunk_of_block_[block]];
    chunk.missing -= block_end - first;
    if (chunk.missing == 0) ready.push_back(chunk.id);
    first = block_end;
  }
  return ready;
}

}  // namespace leeway
