#include "kernels/encodings/int8.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "tests/catch.h"
#include "tests/kernels/encodings/encoding_testing.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Limits = std::numeric_limits<float>;

struct Encoded {
  float scale = 0;
  std::vector<int> q;
};

Encoded Encode(const std::vector<float>& values) {
  std::string bytes(4 + values.size(), '?');
  EncodeBlock(v1::INT8, values.data(), values.size(), 0, bytes.data());
  Encoded encoded;
  std::memcpy(&encoded.scale, bytes.data(), 4);
  for (std::size_t i = 4; i < bytes.size(); ++i) encoded.q.push_back(static_cast<signed char>(bytes[i]));
  return encoded;
}

TEST_CASE("INT8: the greatest magnitude is 127 steps, halves go to even") {
  const Encoded encoded = Encode({-254, 1, -1, 3, 5, 0, 2.5f, 127});
  CHECK(encoded.scale == 2);
  CHECK(encoded.q == std::vector<int>{-127, 0, 0, 2, 2, 0, 1, 64});
  CHECK(Encode({0.3f, -0.1f}).scale == 0.3f / 127);
}

TEST_CASE("INT8: a block of zeros has scale 0") {
  const Encoded encoded = Encode({0, -0.0f, 0});
  CHECK(encoded.scale == 0);
  CHECK(encoded.q == std::vector<int>{0, 0, 0});
  float values[] = {0, -0.0f};
  char bytes[6];
  EncodeBlock(v1::INT8, values, 2, 0, bytes, values);
  CHECK(values[0] == 0);
  CHECK(values[1] == 0);
}

TEST_CASE("INT8: no value is further than half a step from what it decodes to") {
  const std::uint64_t seed = TestSeed();
  for (const testing::Kind kind : testing::kKinds) {
    for (std::uint64_t i = 0; i < 20; ++i) {
      const std::vector<float> values = testing::MakeValues(kind, 300, seed + i);
      const Encoded encoded = Encode(values);
      std::size_t wrong = 0;
      for (std::size_t k = 0; k < values.size(); ++k) {
        const double decoded = encoded.scale * static_cast<double>(encoded.q[k]);
        // Beyond the half: v / scale was rounded to float32, 24 bits of which are left for at most 127 steps.
        wrong += std::fabs(values[k] - decoded) > encoded.scale * 0.50001;
      }
      INFO("kind " << static_cast<int>(kind) << ", scale " << encoded.scale);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("INT8: the ends of float32") {
  for (const float greatest : {Limits::max(), std::nextafter(Limits::max(), 0.0f), Limits::max() / 2}) {
    const Encoded encoded = Encode({greatest, -greatest, greatest / 3});
    CHECK(encoded.q == std::vector<int>{127, -127, 42});
    CHECK(std::isfinite(encoded.scale * 127));
  }
  const Encoded tiny = Encode({Limits::denorm_min(), -190 * Limits::denorm_min(), 0});
  CHECK(tiny.scale == Limits::min());
  CHECK(tiny.q == std::vector<int>{0, 0, 0});
  CHECK(Encode({127 * Limits::min(), -Limits::min()}).q == std::vector<int>{127, -1});
}

TEST_CASE("INT8: decoding takes every byte") {
  std::string bytes(4, '\0');
  const float scale = 0.5f;
  std::memcpy(bytes.data(), &scale, 4);
  for (int q = -128; q < 128; ++q) bytes.push_back(static_cast<char>(q));
  std::vector<float> out(256);
  REQUIRE(DecodeBlock(v1::INT8, Buffer::FromString(bytes), 0, 256, out.data()).ok());
  for (int q = -128; q < 128; ++q) CHECK(out[static_cast<std::size_t>(q + 128)] == 0.5f * static_cast<float>(q));
}

}  // namespace
}  // namespace leeway
