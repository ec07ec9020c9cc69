#include "kernels/encodings/residual.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

constexpr std::size_t kSizes[] = {0, 1, 7, 16, 33, 1000, 4099};
constexpr float kMomentum = 0.9f;

std::vector<float> Values(std::size_t count, Random& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.Unit() - 0.5) * std::ldexp(1.0f, random.Below(40));
  return values;
}

TEST_CASE("The loops of error feedback give the bits of plain ones, at any size and alignment") {
  Random random(TestSeed());
  for (const std::size_t count : kSizes) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      const std::vector<float> gradient = Values(count + shift, random);
      std::vector<float> sum = Values(count + shift, random), velocity = Values(count + shift, random);
      std::vector<float> plain_sum = sum, plain_velocity = velocity;
      AddValues(gradient.data() + shift, count, sum.data() + shift);
      AddMomentum(gradient.data() + shift, count, kMomentum, velocity.data() + shift, sum.data() + shift);
      for (std::size_t i = shift; i < count + shift; ++i) {
        plain_sum[i] += gradient[i];
        const float scaled = kMomentum * plain_velocity[i];
        plain_velocity[i] = scaled + gradient[i];
        plain_sum[i] += plain_velocity[i];
      }
      CHECK(sum == plain_sum);
      CHECK(velocity == plain_velocity);
    }
  }
}

TEST_CASE("One value that is not below 2^120 is found wherever it is, alone or in a sum") {
  const float below = std::nextafter(kEncodableLimit, 0.0f);
  const float bad[] = {kEncodableLimit,
                       -kEncodableLimit,
                       std::numeric_limits<float>::max(),
                       std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN(),
                       -std::numeric_limits<float>::quiet_NaN()};
  for (const std::size_t count : kSizes) {
    std::vector<float> values(count, -below);
    const std::vector<float> zeros(count);
    CHECK(Encodable(values.data(), count));
    CHECK(SumEncodable(zeros.data(), values.data(), count));
    CHECK(MomentumSumEncodable(zeros.data(), zeros.data(), kMomentum, values.data(), count));
    for (std::size_t i = 0; i < count; i += 1 + count / 5) {
      for (const float value : bad) {
        values[i] = value;
        CHECK_FALSE(Encodable(values.data(), count));
        CHECK_FALSE(SumEncodable(zeros.data(), values.data(), count));
        CHECK_FALSE(SumEncodable(values.data(), zeros.data(), count));
        CHECK_FALSE(MomentumSumEncodable(zeros.data(), zeros.data(), kMomentum, values.data(), count));
        CHECK_FALSE(MomentumSumEncodable(values.data(), zeros.data(), kMomentum, zeros.data(), count));
      }
      values[i] = -below;
    }
    if (count == 0) continue;
    CHECK_FALSE(SumEncodable(values.data(), values.data(), count));
    CHECK_FALSE(MomentumSumEncodable(values.data(), values.data(), kMomentum, zeros.data(), count));
  }
}

}  // namespace
}  // namespace leeway
