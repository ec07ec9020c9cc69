#include "worker/client/chunk_memory.h"

#include <numeric>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("Every chunk of a vector, wrapped and unpacked, gives the vector again, without a copy on the way") {
  for (const std::uint64_t elements : {1ull, 4095ull, 4097ull, 70001ull}) {
    for (const std::uint32_t shards : {1u, 2u, 3u, 40u}) {
      const Placement placement = Placement::Make(elements, shards).value();
      std::vector<float> from(elements);
      std::iota(from.begin(), from.end(), 1.0f);
      std::vector<float> to(elements);
      for (std::uint32_t shard = 0; shard < shards; ++shard) {
        for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
          const ChunkRun run = placement.Chunk(shard, chunk);
          const Buffer payload = WrapRun(placement, run, nullptr, from.data());
          REQUIRE(payload.size() == placement.RunElements(run) * sizeof(float));
          for (const Buffer::Slice& slice : payload.slices()) {
            const auto* at = reinterpret_cast<const float*>(slice.data);
            REQUIRE(at >= from.data());
            REQUIRE(at < from.data() + from.size());
          }
          // In pieces, as the network delivers it.
          Buffer pieces;
          for (std::size_t at = 0; at < payload.size(); at += 1000) {
            pieces.Append(
                Buffer::FromString(payload.Sub(at, std::min<std::size_t>(1000, payload.size() - at)).ToString()));
          }
          REQUIRE(UnpackRun(placement, run, v1::F32, pieces, to.data()).ok());
        }
      }
      REQUIRE(from == to);
    }
  }
}

TEST_CASE("A payload of the wrong size is an error that names both sizes") {
  const Placement placement = Placement::Make(10000, 2).value();
  std::vector<float> to(10000);
  const absl::Status status =
      UnpackRun(placement, placement.Chunk(0, 0), v1::F32, Buffer::FromString("abcd"), to.data());
  CHECK(absl::IsInternal(status));
  CHECK(std::string(status.message()).find("4 bytes") != std::string::npos);
}

}  // namespace
}  // namespace leeway
