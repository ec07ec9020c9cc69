// Every encoding against its definition (kernels/reference/encodings.h), byte by byte, over sizes around the width of
// vectors and pieces, and over values of every kind.
#include <cmath>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "kernels/reference/encodings.h"
#include "tests/catch.h"
#include "tests/kernels/encodings/encoding_testing.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using namespace testing;

constexpr std::size_t kSizes[] = {1,  2,  3,  7,   8,   9,    15,   16,   17,   31,  33,
                                  63, 64, 65, 100, 257, 1000, 4095, 4096, 4097, 9001};

struct Case {
  v1::Encoding encoding;
  std::vector<float> values;
  std::size_t kept;
};

template <typename Check>
void ForEachCase(const Check& check) {
  std::uint64_t seed = TestSeed();
  for (const v1::Encoding encoding : kEncodings) {
    for (const Kind kind : kKinds) {
      for (const std::size_t count : kSizes) {
        for (const double fraction : {0.01, 0.3, 1.0}) {
          if (encoding != v1::TOP_K && fraction < 1) continue;
          INFO(v1::Encoding_Name(encoding)
               << ", kind " << static_cast<int>(kind) << ", " << count << " values, fraction " << fraction);
          const std::size_t kept = encoding == v1::TOP_K ? TopKCount(fraction, count) : 0;
          check(Case{encoding, MakeValues(kind, count, ++seed), kept}, seed);
        }
      }
    }
  }
}

// Encodes at an address that is not aligned, and checks that nothing is written around it.
std::string Encode(const Case& c, const float* values, float* residual) {
  const std::size_t bytes = EncodedBytes(c.encoding, c.values.size(), c.kept);
  const std::size_t shift = 1 + bytes % 3;
  std::string out(shift + bytes + 9, '?');
  char* end = EncodeBlock(c.encoding, values, c.values.size(), c.kept, out.data() + shift, residual);
  REQUIRE(end == out.data() + shift + bytes);
  REQUIRE(out.substr(0, shift) == std::string(shift, '?'));
  REQUIRE(out.substr(shift + bytes) == "?????????");
  return out.substr(shift, bytes);
}

TEST_CASE("EncodeBlock writes what the definition says, with a residual and without") {
  ForEachCase([](const Case& c, std::uint64_t) {
    const std::string want = reference::EncodeBlock(c.encoding, c.values, c.kept);
    CHECK(Encode(c, c.values.data(), nullptr) == want);
    std::vector<float> residual(c.values.size(), std::nanf(""));
    CHECK(Encode(c, c.values.data(), residual.data()) == want);
    std::vector<float> in_place = c.values;
    CHECK(Encode(c, in_place.data(), in_place.data()) == want);
    CHECK(SameBits(in_place, residual));
  });
}

TEST_CASE("Nothing is lost: decoded + residual is the value, exactly") {
  ForEachCase([](const Case& c, std::uint64_t) {
    std::vector<float> residual(c.values.size());
    const std::string bytes = Encode(c, c.values.data(), residual.data());
    const std::vector<float> decoded = reference::DecodeBlock(c.encoding, bytes, c.values.size());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < c.values.size(); ++i) {
      const bool finite = std::isfinite(decoded[i]) && std::isfinite(residual[i]);
      // In float32 there is no room for an error that the sum would round away: it must not be needed.
      wrong += !finite || static_cast<double>(decoded[i]) != static_cast<double>(c.values[i]) - residual[i];
    }
    CHECK(wrong == 0);
  });
}

TEST_CASE("DecodeBlock and DecodeAddBlock read it back, however the payload is cut") {
  ForEachCase([](const Case& c, std::uint64_t seed) {
    const std::size_t count = c.values.size();
    const std::string bytes = reference::EncodeBlock(c.encoding, c.values, c.kept);
    const std::vector<float> want = reference::DecodeBlock(c.encoding, bytes, count);
    const std::vector<float> start = MakeValues(Kind::kSpread, count, ~seed);
    std::vector<float> sum(count);
    for (std::size_t i = 0; i < count; ++i) sum[i] = start[i] + want[i];
    const Buffer payload = CutAnywhere("ab" + bytes + "xyz", seed);

    std::vector<float> out(count, std::nanf(""));
    const absl::StatusOr<std::size_t> end = DecodeBlock(c.encoding, payload, 2, count, out.data());
    REQUIRE(end.ok());
    CHECK(*end == 2 + bytes.size());
    CHECK(SameBits(out, want));

    std::vector<float> added = start;
    const absl::StatusOr<std::size_t> added_end = DecodeAddBlock(c.encoding, payload, 2, count, added.data());
    REQUIRE(added_end.ok());
    CHECK(*added_end == 2 + bytes.size());
    CHECK(SameBits(added, sum));

    const absl::StatusOr<std::size_t> checked = CheckBlock(c.encoding, payload, 2, count);
    REQUIRE(checked.ok());
    CHECK(*checked == 2 + bytes.size());
  });
}

}  // namespace
}  // namespace leeway
