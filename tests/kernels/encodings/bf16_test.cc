#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "kernels/reference/encodings.h"
#include "tests/catch.h"
#include "tests/kernels/encodings/encoding_testing.h"

namespace leeway {
namespace {

using Limits = std::numeric_limits<float>;

std::vector<float> ThereAndBack(const std::vector<float>& values) {
  std::string bytes(2 * values.size(), '\0');
  EncodeBlock(v1::BF16, values.data(), values.size(), 0, bytes.data());
  std::vector<float> out(values.size());
  REQUIRE(DecodeBlock(v1::BF16, Buffer::FromString(bytes), 0, out.size(), out.data()).ok());
  return out;
}

TEST_CASE("BF16: every upper half, with the lower halves around a tie") {
  std::vector<float> values;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const std::uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  std::string bytes(2 * values.size(), '\0');
  EncodeBlock(v1::BF16, values.data(), values.size(), 0, bytes.data());
  const std::string want = reference::EncodeBlock(v1::BF16, values, 0);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) wrong += bytes.compare(2 * i, 2, want, 2 * i, 2) != 0;
  CHECK(wrong == 0);
}

TEST_CASE("BF16: ties go to even") {
  // 1 + 2^-7 is the bfloat16 after 1.
  const float next = 1 + 0x1p-7f, tie = 1 + 0x1p-8f, odd_tie = next + 0x1p-8f;
  const std::vector<float> out =
      ThereAndBack({tie, -tie, odd_tie, std::nextafter(tie, 2.0f), std::nextafter(tie, 0.0f)});
  CHECK(out == std::vector<float>{1, -1, 1 + 0x1p-6f, next, 1});
}

TEST_CASE("BF16: finite stays finite, and what is not finite is not made finite") {
  const float greatest = std::bit_cast<float>(0x7f7f0000u);
  const std::vector<float> out = ThereAndBack({Limits::max(), Limits::lowest(), Limits::infinity(), -Limits::infinity(),
                                               Limits::quiet_NaN(), std::bit_cast<float>(0x7f800001u), -0.0f});
  CHECK(out[0] == greatest);
  CHECK(out[1] == -greatest);
  CHECK(out[2] == Limits::infinity());
  CHECK(out[3] == -Limits::infinity());
  CHECK(std::isnan(out[4]));
  CHECK(std::isnan(out[5]));  // its set bit lies in the half that is cut off
  CHECK(std::signbit(out[6]));
}

}  // namespace
}  // namespace leeway
