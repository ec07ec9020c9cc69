#include "kernels/encodings/int8.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

constexpr float kLeastScale = std::numeric_limits<float>::min();
constexpr float kGreatestScale = 0x1.020406p+121f;  // 127 times the next one overflows

// 1.5 * 2^23: the last place of a float32 of this size is 1, so adding it rounds to an integer, ties to even, and the
// integer stands in the low bits of the sum, in two's complement.
constexpr float kRounder = 12582912.0f;

inline char Byte(float rounder_plus_q) {
  return static_cast<char>(static_cast<unsigned char>(std::bit_cast<std::uint32_t>(rounder_plus_q)));
}

inline float Value(char byte, float scale) { return scale * static_cast<float>(static_cast<signed char>(byte)); }

// Magnitudes of floats are ordered as their bits are.
LEEWAY_TARGET_CLONES
std::uint32_t GreatestMagnitude(const float* values, std::size_t count) {
  std::uint32_t greatest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    greatest = std::max(greatest, std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu);
  }
  return greatest;
}

LEEWAY_TARGET_CLONES
void Encode(const float* __restrict values, std::size_t count, float scale, char* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = Byte(values[i] / scale + kRounder);
}

LEEWAY_TARGET_CLONES
void EncodeResidual(float* __restrict values, std::size_t count, float scale, char* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) {
    const float sum = values[i] / scale + kRounder;
    out[i] = Byte(sum);
    values[i] -= scale * (sum - kRounder);
  }
}

LEEWAY_TARGET_CLONES
void Decode(const char* __restrict bytes, std::size_t count, float scale, float* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = Value(bytes[i], scale);
}

LEEWAY_TARGET_CLONES
void DecodeAdd(const char* __restrict bytes, std::size_t count, float scale, float* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] += Value(bytes[i], scale);
}

}  // namespace

float Int8Scale(const float* values, std::size_t count) {
  const auto greatest = std::bit_cast<float>(GreatestMagnitude(values, count));
  return greatest == 0 ? 0 : std::clamp(greatest / 127, kLeastScale, kGreatestScale);
}

void EncodeInt8(const float* values, std::size_t count, float scale, char* out) {
  if (scale == 0) {
    std::memset(out, 0, count);
  } else {
    Encode(values, count, scale, out);
  }
}

void EncodeInt8Residual(float* values, std::size_t count, float scale, char* out) {
  if (scale == 0) {
    std::memset(out, 0, count);  // the values are what is left: zeros
  } else {
    EncodeResidual(values, count, scale, out);
  }
}

void DecodeInt8(const char* bytes, std::size_t count, float scale, float* out) { Decode(bytes, count, scale, out); }

void DecodeAddInt8(const char* bytes, std::size_t count, float scale, float* out) {
  DecodeAdd(bytes, count, scale, out);
}

}  // namespace leeway
