#include "kernels/add_scaled.h"

#include <cstdint>
#include <vector>

#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

float Value(std::uint64_t seed, std::size_t i) { return static_cast<float>(UnitUniform(HashCombine(seed, i)) - 0.5); }

// The product is rounded on its own: a volatile float cannot be fused into the addition.
TEST_CASE("AddScaled: one multiplication and one addition per element, bit for bit, at every alignment") {
  const std::uint64_t seed = TestSeed();
  for (const std::size_t count : {0, 1, 7, 16, 33, 4099}) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      const float weight = 0.3f + static_cast<float>(shift);
      std::vector<float> x(shift + count), sum(count + 1, 3.0f), want(count + 1, 3.0f);
      for (std::size_t i = 0; i < count; ++i) {
        x[shift + i] = Value(seed, i);
        want[i] = sum[i] = Value(~seed, i);
        const volatile float product = weight * x[shift + i];
        want[i] += product;
      }
      AddScaled(weight, x.data() + shift, count, sum.data());
      CHECK(sum == want);
    }
  }
}

}  // namespace
}  // namespace leeway
