#include "common/placement.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

constexpr std::uint32_t kMaxShards = 4096;     // far above any sensible cluster; bounds hostile input
constexpr std::uint64_t kBlocksPerShard = 16;  // enough to spread every layer and to lock finely

std::uint64_t CeilDiv(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }

}  // namespace

absl::StatusOr<Placement> Placement::Make(std::uint64_t elements, std::uint32_t num_shards) {
  if (elements == 0) return absl::InvalidArgumentError("placement: the model has no elements");
  if (num_shards == 0 || num_shards > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat("placement: num_shards is ", num_shards, "; allowed are 1 to ", kMaxShards));
  }
  Placement placement;
  placement.elements_ = elements;
  placement.num_shards_ = num_shards;
  placement.block_elements_ = kMaxBlock;
  while (placement.block_elements_ > kMinBlock &&
         CeilDiv(elements, placement.block_elements_) < kBlocksPerShard * num_shards) {
    placement.block_elements_ /= 2;
  }
  placement.num_blocks_ = CeilDiv(elements, placement.block_elements_);
  return placement;
}

std::uint64_t Placement::BlockSize(std::uint64_t block) const {
  return std::min(block_elements_, elements_ - BlockBegin(block));
}

std::uint64_t Placement::ShardBlocks(std::uint32_t shard) const {
  return shard < num_blocks_ ? (num_blocks_ - shard - 1) / num_shards_ + 1 : 0;
}

std::uint64_t Placement::ShardElements(std::uint32_t shard) const {
  return RunElements({shard, static_cast<std::uint32_t>(ShardBlocks(shard))});
}

std::uint32_t Placement::ShardChunks(std::uint32_t shard) const {
  const std::uint64_t per_chunk = kChunkElements / block_elements_;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, CeilDiv(ShardBlocks(shard), per_chunk)));
}

ChunkRun Placement::Chunk(std::uint32_t shard, std::uint32_t chunk) const {
  const std::uint64_t per_chunk = kChunkElements / block_elements_;
  const std::uint64_t first = chunk * per_chunk;
  const std::uint64_t blocks = ShardBlocks(shard);
  if (first >= blocks) return {};
  return {shard + first * num_shards_, static_cast<std::uint32_t>(std::min(per_chunk, blocks - first))};
}

std::uint64_t Placement::RunElements(const ChunkRun& run) const {
  if (run.num_blocks == 0) return 0;
  const std::uint64_t last = run.first_block + std::uint64_t{run.num_blocks - 1} * num_shards_;
  return (run.num_blocks - 1) * block_elements_ + BlockSize(last);
}

}  // namespace leeway
