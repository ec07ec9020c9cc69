#include "kernels/finite.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Limits = std::numeric_limits<float>;

std::size_t Scalar(const float* values, std::size_t count) {
  std::size_t i = 0;
  while (i < count && std::isfinite(values[i])) ++i;
  return i;
}

TEST_CASE("FirstNonFinite: every finite kind passes") {
  const std::vector<float> values = {0.0f,
                                     -0.0f,
                                     1.0f,
                                     Limits::max(),
                                     Limits::lowest(),
                                     Limits::min(),
                                     -Limits::min(),
                                     Limits::denorm_min(),
                                     -Limits::denorm_min(),
                                     std::nextafter(Limits::min(), 0.0f)};
  CHECK(FirstNonFinite(values.data(), values.size()) == values.size());
  CHECK(FirstNonFinite(nullptr, 0) == 0);
}

TEST_CASE("FirstNonFinite: finds each kind at each place, whatever the alignment") {
  const std::vector<float> bad = {Limits::infinity(),
                                  -Limits::infinity(),
                                  Limits::quiet_NaN(),
                                  -Limits::quiet_NaN(),
                                  std::bit_cast<float>(0x7f800001u),
                                  std::bit_cast<float>(0xffffffffu)};
  for (const std::size_t count : {1, 7, 8, 17, 65}) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      std::vector<float> values(shift + count + 1, 1.5f);
      values.back() = Limits::quiet_NaN();  // outside: must not be seen
      for (std::size_t at = 0; at < count; ++at) {
        const float value = bad[at % bad.size()];
        values[shift + at] = value;
        CHECK(FirstNonFinite(values.data() + shift, count) == at);
        values[shift + at] = -2.5f;
      }
      CHECK(FirstNonFinite(values.data() + shift, count) == count);
    }
  }
}

TEST_CASE("FirstNonFinite: the first of several, beyond one block") {
  std::vector<float> values(100'003, Limits::max());
  values[90'000] = Limits::infinity();
  CHECK(FirstNonFinite(values.data(), values.size()) == 90'000);
  values[8'192] = Limits::quiet_NaN();
  CHECK(FirstNonFinite(values.data(), values.size()) == 8'192);
  values[8'191] = -Limits::infinity();
  CHECK(FirstNonFinite(values.data(), values.size()) == 8'191);
  CHECK(FirstNonFinite(values.data() + 90'001, 10'002) == 10'002);
}

// Random bits are not finite once in 256: runs of every length.
TEST_CASE("FirstNonFinite: agrees with a scalar loop on random bits") {
  const std::uint64_t seed = TestSeed();
  std::vector<float> values(50'000);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(HashCombine(seed, i)));
  }
  for (std::size_t begin = 0; begin < values.size();) {
    const std::size_t left = values.size() - begin;
    const std::size_t want = Scalar(values.data() + begin, left);
    REQUIRE(FirstNonFinite(values.data() + begin, left) == want);
    begin += want + 1;
  }
}

}  // namespace
}  // namespace leeway
