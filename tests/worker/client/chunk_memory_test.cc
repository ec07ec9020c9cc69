#include "worker/client/chunk_memory.h"

#include <sys/mman.h>

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

// 20 GB of address space, of which only the pages that are touched take memory.
class HugeVector {
 public:
  HugeVector() {
    void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    data_ = static_cast<float*>(memory);
  }
  ~HugeVector() { munmap(data_, kBytes); }
  HugeVector(const HugeVector&) = delete;
  HugeVector& operator=(const HugeVector&) = delete;

  static constexpr std::uint64_t kElements = 5'000'000'000;  // beyond 2^32
  float* data() { return data_; }

 private:
  static constexpr std::size_t kBytes = kElements * sizeof(float);
  float* data_ = nullptr;
};

TEST_CASE("Chunks behind 2^32 elements lie where they should") {
  HugeVector vector;
  for (const std::uint32_t shards : {1u, 3u}) {
    const Placement placement = Placement::Make(HugeVector::kElements, shards).value();
    const std::uint64_t last = placement.num_blocks() - 1;
    const auto shard = static_cast<std::uint32_t>(last % shards);
    const ChunkRun run = placement.Chunk(shard, placement.ShardChunks(shard) - 1);
    std::vector<float> values(placement.RunElements(run));
    std::iota(values.begin(), values.end(), 1.0f);
    const Buffer payload = Buffer::Wrap(nullptr, values.data(), values.size() * sizeof(float));
    REQUIRE(UnpackRun(placement, run, v1::F32, payload, vector.data()).ok());
    CHECK(vector.data()[HugeVector::kElements - 1] == values.back());
    CHECK(vector.data()[placement.BlockBegin(run.first_block)] == 1);
    // Nothing has been written where a 32-bit index would have pointed.
    CHECK(vector.data()[(HugeVector::kElements - 1) % (std::uint64_t{1} << 32)] == 0);
    const Buffer wrapped = WrapRun(placement, run, nullptr, vector.data());
    CHECK(wrapped.slices().back().data + wrapped.slices().back().size ==
          reinterpret_cast<const char*>(vector.data() + HugeVector::kElements));
    CHECK(wrapped.ToString() == payload.ToString());
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
