#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "kernels/reference/encodings.h"
#include "tests/catch.h"
#include "tests/kernels/encodings/encoding_testing.h"
#include "tests/seed.h"

namespace leeway {
namespace {

std::vector<std::uint32_t> Indices(const std::vector<float>& values, std::size_t kept) {
  std::string bytes(EncodedBytes(v1::TOP_K, values.size(), kept), '?');
  EncodeBlock(v1::TOP_K, values.data(), values.size(), kept, bytes.data());
  std::vector<std::uint32_t> indices(kept);
  if (kept > 0) std::memcpy(indices.data(), bytes.data() + 4, 4 * kept);
  return indices;
}

TEST_CASE("TopKCount: rounded up, at least one, at most all") {
  CHECK(TopKCount(0.01, 100) == 1);
  CHECK(TopKCount(0.01, 101) == 2);
  CHECK(TopKCount(0.01, 262'144) == 2'622);
  CHECK(TopKCount(1e-9, 5) == 1);
  CHECK(TopKCount(1, 5) == 5);
  CHECK(TopKCount(0.5, 5) == 3);
}

TEST_CASE("TOP_K: magnitudes count, of equal ones the lower index is kept") {
  CHECK(Indices({1, -3, 2, 3, -3}, 1) == std::vector<std::uint32_t>{1});
  CHECK(Indices({1, -3, 2, 3, -3}, 2) == std::vector<std::uint32_t>{1, 3});
  CHECK(Indices({1, -3, 2, 3, -3}, 4) == std::vector<std::uint32_t>{1, 2, 3, 4});
  CHECK(Indices({0, -0.0f, 0, 0}, 3) == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(Indices({0, 0, 0, 7}, 2) == std::vector<std::uint32_t>{0, 3});
  CHECK(Indices({5, 6}, 0).empty());
}

// Values that differ in the last place only: every digit of the selection decides.
TEST_CASE("TOP_K: neighbours in the last place are told apart") {
  std::vector<float> values(5000, 1.0f);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += static_cast<float>(i * 7919 % 5000) * 0x1p-23f;
  for (const std::size_t kept : {1, 17, 2500, 4999, 5000}) {
    std::string bytes(EncodedBytes(v1::TOP_K, values.size(), kept), '?');
    EncodeBlock(v1::TOP_K, values.data(), values.size(), kept, bytes.data());
    CHECK(bytes == reference::EncodeBlock(v1::TOP_K, values, kept));
  }
}

TEST_CASE("TOP_K: every number kept of a block of every kind") {
  const std::uint64_t seed = TestSeed();
  for (const testing::Kind kind : testing::kKinds) {
    const std::vector<float> values = testing::MakeValues(kind, 97, seed);
    for (std::size_t kept = 0; kept <= values.size(); ++kept) {
      std::string bytes(EncodedBytes(v1::TOP_K, values.size(), kept), '?');
      EncodeBlock(v1::TOP_K, values.data(), values.size(), kept, bytes.data());
      REQUIRE(bytes == reference::EncodeBlock(v1::TOP_K, values, kept));
    }
  }
}

}  // namespace
}  // namespace leeway
