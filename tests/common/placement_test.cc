#include "common/placement.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

TEST_CASE("Placement: every element is in one block of one chunk of one shard, and loads differ by a block") {
  Random random(TestSeed());
  for (int round = 0; round < 300; ++round) {
    const auto shards = static_cast<std::uint32_t>(random.Between(1, random.Chance(0.1) ? 4096 : 9));
    const std::uint64_t elements = random.Between(1, std::uint64_t{1} << random.Between(1, 26));
    CAPTURE(elements, shards);
    const auto made = Placement::Make(elements, shards);
    REQUIRE(made.ok());
    const Placement& placement = *made;
    const std::uint64_t block = placement.block_elements();
    REQUIRE((block >= Placement::kMinBlock && block <= Placement::kMaxBlock && (block & (block - 1)) == 0));
    // As large as 16 blocks for each shard allow.
    const std::uint64_t wanted = std::uint64_t{16} * shards;
    if (block > Placement::kMinBlock) REQUIRE(placement.num_blocks() >= wanted);
    if (block < Placement::kMaxBlock) REQUIRE((elements + 2 * block - 1) / (2 * block) < wanted);
    std::vector<int> seen(placement.num_blocks());
    std::uint64_t sum = 0;
    std::uint64_t most = 0;
    std::uint64_t least = ~std::uint64_t{0};
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      std::uint64_t own = 0;
      REQUIRE(placement.ShardChunks(shard) >= 1);
      for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
        const ChunkRun run = placement.Chunk(shard, chunk);
        std::uint64_t in_run = 0;
        for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
          const std::uint64_t b = run.first_block + std::uint64_t{i} * shards;
          if (b % shards != shard || b >= seen.size()) FAIL("block " << b << " is not of shard " << shard);
          ++seen[b];
          in_run += placement.BlockSize(b);
        }
        if (placement.RunElements(run) != in_run || in_run > Placement::kChunkElements) FAIL("a run of " << in_run);
        own += in_run;
      }
      if (placement.Chunk(shard, placement.ShardChunks(shard)).num_blocks != 0) FAIL("one chunk too many");
      if (placement.ShardElements(shard) != own) FAIL("shard " << shard << " owns " << own);
      sum += own;
      most = std::max(most, placement.ShardBlocks(shard));
      least = std::min(least, placement.ShardBlocks(shard));
    }
    REQUIRE(sum == elements);
    REQUIRE(most - least <= 1);
    REQUIRE(std::count(seen.begin(), seen.end(), 1) == static_cast<std::ptrdiff_t>(seen.size()));
  }
}

TEST_CASE("Placement: elements, bytes and blocks beyond 32 bits") {
  constexpr std::uint64_t kElements = (std::uint64_t{1} << 50) + 12345;  // more than 2^32 blocks
  for (const std::uint32_t shards : {1u, 7u, 4096u}) {
    CAPTURE(shards);
    const Placement placement = Placement::Make(kElements, shards).value();
    const std::uint64_t last = placement.num_blocks() - 1;
    CHECK(placement.num_blocks() == (std::uint64_t{1} << 32) + 1);
    CHECK(placement.BlockBegin(last) == std::uint64_t{1} << 50);
    CHECK(placement.BlockSize(last) == 12345);
    std::uint64_t chunks_end = 0;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      const std::uint32_t chunks = placement.ShardChunks(shard);
      // A chunk is four blocks of this size; the last one may be short, and ends with the shard.
      const ChunkRun before = placement.Chunk(shard, chunks - 2);
      const ChunkRun run = placement.Chunk(shard, chunks - 1);
      REQUIRE(before.first_block == shard + std::uint64_t{chunks - 2} * 4 * shards);
      REQUIRE(placement.RunElements(before) == Placement::kChunkElements);
      REQUIRE(run.first_block == before.first_block + std::uint64_t{4} * shards);
      const std::uint64_t end = run.first_block + std::uint64_t{run.num_blocks - 1} * shards;
      REQUIRE(end <= last);
      REQUIRE(end + shards > last);
      REQUIRE(placement.RunElements(run) == (run.num_blocks - 1) * Placement::kMaxBlock + placement.BlockSize(end));
      if (end == last) chunks_end = placement.RunElements(run);
    }
    CHECK(chunks_end % Placement::kMaxBlock == 12345);
  }
}

TEST_CASE("Placement: a shard's elements beyond 32 bits") {
  constexpr std::uint64_t kElements = (std::uint64_t{1} << 40) + 12345;
  for (const std::uint32_t shards : {1u, 7u, 100u}) {
    const Placement placement = Placement::Make(kElements, shards).value();
    std::uint64_t sum = 0;
    for (std::uint32_t shard = 0; shard < shards; ++shard) sum += placement.ShardElements(shard);
    CHECK(sum == kElements);
  }
}

TEST_CASE("Placement: impossible arguments name their value") {
  using Code = absl::StatusCode;
  CHECK(Says(Placement::Make(0, 1).status(), Code::kInvalidArgument, {"no elements"}));
  CHECK(Says(Placement::Make(5, 0).status(), Code::kInvalidArgument, {"num_shards is 0", "4096"}));
  CHECK(Says(Placement::Make(5, 4097).status(), Code::kInvalidArgument, {"4097"}));
  CHECK(Placement::Make(std::uint64_t{1} << 40, 4096).ok());
}

}  // namespace
}  // namespace leeway
