#include "worker/client/chunk_tracker.h"

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Key = std::pair<std::uint32_t, std::uint32_t>;

// The chunk of every element, computed from the placement alone.
std::vector<Key> ChunkOfElement(const Placement& placement) {
  std::vector<Key> owner(placement.elements());
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) {
    for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
      const ChunkRun run = placement.Chunk(shard, chunk);
      for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
        const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
        for (std::uint64_t e = 0; e < placement.BlockSize(block); ++e) {
          owner[placement.BlockBegin(block) + e] = {shard, chunk};
        }
      }
    }
  }
  return owner;
}

TEST_CASE("A chunk is ready when its last element is final, once, for any cut and order of tensors") {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 30; ++round) {
    const std::uint64_t elements = 1 + random() % 100000;
    const auto shards = static_cast<std::uint32_t>(1 + random() % 7);
    const Placement placement = Placement::Make(elements, shards).value();
    const std::vector<Key> owner = ChunkOfElement(placement);
    ChunkTracker tracker(placement);
    for (int step = 0; step < 3; ++step) {
      tracker.Reset();
      std::map<Key, std::uint64_t> missing;
      for (const Key& key : owner) ++missing[key];
      // Tensors: random cuts, in random order.
      std::vector<std::pair<std::uint64_t, std::uint64_t>> tensors;
      for (std::uint64_t at = 0; at < elements;) {
        const std::uint64_t count = std::min(elements - at, 1 + random() % 20000);
        tensors.push_back({at, count});
        at += count;
      }
      std::shuffle(tensors.begin(), tensors.end(), random);
      for (const auto& [first, count] : tensors) {
        std::vector<Key> expected;
        for (std::uint64_t e = first; e < first + count; ++e) {
          if (--missing[owner[e]] == 0) expected.push_back(owner[e]);
        }
        std::vector<Key> ready;
        for (const ChunkId id : tracker.MarkFinal(first, count)) ready.push_back({id.shard, id.chunk});
        std::sort(ready.begin(), ready.end());
        std::sort(expected.begin(), expected.end());
        REQUIRE(ready == expected);
      }
    }
  }
}

TEST_CASE("Chunks of several MiB: the last layers' chunk leaves before the first layers are final") {
  const Placement placement = Placement::Make(5 * Placement::kChunkElements, 2).value();
  ChunkTracker tracker(placement);
  tracker.Reset();
  const std::uint64_t half = placement.elements() / 2;
  const std::vector<ChunkId> early = tracker.MarkFinal(half, placement.elements() - half);
  CHECK_FALSE(early.empty());
  const std::vector<ChunkId> late = tracker.MarkFinal(0, half);
  CHECK(early.size() + late.size() == placement.ShardChunks(0) + placement.ShardChunks(1));
}

TEST_CASE("Chunks behind 2^32 elements are counted as the others") {
  const Placement placement = Placement::Make(5'000'000'000, 3).value();
  std::size_t chunks = 0;
  for (std::uint32_t shard = 0; shard < 3; ++shard) chunks += placement.ShardChunks(shard);
  ChunkTracker tracker(placement);
  tracker.Reset();
  constexpr std::uint64_t kHigh = 4'900'000'000;
  const std::vector<ChunkId> high = tracker.MarkFinal(kHigh, placement.elements() - kHigh);
  CHECK(high.size() == 96);  // of 4,770: about 100,000,000 of the elements
  for (const ChunkId id : high) {
    const ChunkRun run = placement.Chunk(id.shard, id.chunk);
    if (placement.BlockBegin(run.first_block) < kHigh) FAIL("chunk " << id.chunk << " of shard " << id.shard);
  }
  CHECK(tracker.MarkFinal(0, kHigh).size() == chunks - high.size());
}

}  // namespace
}  // namespace leeway
