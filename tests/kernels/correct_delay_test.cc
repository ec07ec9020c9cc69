#include "kernels/correct_delay.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "common/crc32c.h"
#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;

float Value(std::uint64_t seed, std::size_t i) {
  return static_cast<float>(4 * (UnitUniform(HashCombine(seed, i)) - 0.5));
}

struct Arrays {
  Arrays(std::uint64_t seed, std::size_t count, std::size_t shift = 0)
      : gradient(shift + count), weights(shift + count), base(shift + count), out(shift + count + 1, 7.0f) {
    for (std::size_t i = 0; i < count; ++i) {
      gradient[shift + i] = Value(seed, 3 * i);
      weights[shift + i] = Value(seed, 3 * i + 1);
      base[shift + i] = Value(seed, 3 * i + 2);
    }
  }
  void Correct(float lambda, std::size_t begin, std::size_t count) {
    CorrectDelay(lambda, gradient.data() + begin, weights.data() + begin, base.data() + begin, count,
                 out.data() + begin);
  }
  Floats gradient, weights, base, out;
};

// Every operation is rounded on its own: a volatile float cannot be fused into the next one.
float Rounded(float lambda, float gradient, float weight, float base) {
  const volatile float once = lambda * gradient;
  const volatile float twice = once * gradient;
  const volatile float moved = weight - base;
  const volatile float correction = twice * moved;
  return gradient + correction;
}

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_CASE("CorrectDelay: the formula, in double") {
  const std::uint64_t seed = TestSeed();
  for (const std::size_t count : {1, 7, 16, 33, 4099}) {
    Arrays arrays(seed, count);
    arrays.Correct(0.04f, 0, count);
    for (std::size_t i = 0; i < count; ++i) {
      const double g = arrays.gradient[i];
      const double want = g + 0.04 * g * g * (static_cast<double>(arrays.weights[i]) - arrays.base[i]);
      REQUIRE(std::abs(arrays.out[i] - want) <= 1e-6);
    }
  }
}

TEST_CASE("CorrectDelay: each operation rounded on its own, bit for bit, at every alignment and in pieces") {
  const std::uint64_t seed = TestSeed();
  for (const std::size_t count : {0, 1, 7, 16, 33, 4099}) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      Arrays arrays(seed, count, shift);
      Floats want(shift + count + 1, 7.0f);
      for (std::size_t i = shift; i < shift + count; ++i) {
        want[i] = Rounded(0.3f, arrays.gradient[i], arrays.weights[i], arrays.base[i]);
      }
      arrays.Correct(0.3f, shift, count);
      CHECK(SameBits(arrays.out, want));
      Arrays pieces(seed, count, shift);
      for (std::size_t at = 0, size = 1; at < count; at += size, size = 2 * size % 61 + 1) {
        pieces.Correct(0.3f, shift + at, std::min(size, count - at));
      }
      CHECK(SameBits(pieces.out, want));
    }
  }
}

TEST_CASE("CorrectDelay: the same bits on every machine") {
  Arrays arrays(1, 4099);
  arrays.Correct(0.04f, 0, 4099);
  CHECK(Crc32c(arrays.out.data(), 4099 * sizeof(float)) == 0x742d87c7);
}

// By hand, in powers of two: 0.5 + 0.25 * 0.5 * 0.5 * (3 - 1) = 0.625, and so on.
TEST_CASE("CorrectDelay: golden numbers, and where weights have not moved nothing changes") {
  const Floats gradient = {0.5f, -2.0f, 4.0f, 0.0f, -0.125f}, weights = {3, 1, -1, 100, 2}, base = {1, 3, -1, 0, 2};
  Floats out(5);
  CorrectDelay(0.25f, gradient.data(), weights.data(), base.data(), 5, out.data());
  CHECK(out == Floats{0.625f, -4.0f, 4.0f, 0.0f, -0.125f});
}

TEST_CASE("CorrectDelay: where the correction is not finite the gradient itself counts; a NaN stays one") {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const std::size_t count : {1, 8, 33}) {
    const auto all = [count](float gradient, float weight, float base) {
      const Floats g(count, gradient), w(count, weight), b(count, base);
      Floats out(count);
      CorrectDelay(1, g.data(), w.data(), b.data(), count, out.data());
      return out;
    };
    CHECK(all(1e25f, 2, 1) == Floats(count, 1e25f));   // the square is infinite
    CHECK(all(1e25f, 1, 1) == Floats(count, 1e25f));   // infinity times 0
    CHECK(all(2, kMost, -kMost) == Floats(count, 2));  // so is the difference
    CHECK(all(2, kInf, 1) == Floats(count, 2));        // weights that have diverged
    CHECK(all(2, kInf, kInf) == Floats(count, 2));
    CHECK(all(2, kNan, 1) == Floats(count, 2));
    CHECK(all(0x1p60f, 0.5f, 0) == Floats(count, 0x1p119f));  // large, and finite
    for (const float value : all(kNan, 2, 1)) CHECK(std::isnan(value));
    for (const float value : all(kInf, 2, 1)) CHECK(std::isinf(value));
  }
}

}  // namespace
}  // namespace leeway
