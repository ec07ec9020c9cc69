#include "kernels/encodings/bf16.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

// The bits of the float32 nearest to `value` whose lower half is zero. Integers only, without branches: vectorized.
inline std::uint32_t Round(float value) {
  constexpr std::uint32_t kInfinity = 0x7f800000u, kGreatest = 0x7f7f0000u, kQuiet = 0x00400000u;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  // Adding half of the last place that is kept carries into it; a tie (exactly half) carries from odd to even only.
  const std::uint32_t rounded = (magnitude + 0x7fffu + ((magnitude >> 16) & 1u)) & 0xffff0000u;
  const std::uint32_t finite = std::min(rounded, kGreatest);
  const std::uint32_t special = magnitude > kInfinity ? (magnitude | kQuiet) & 0xffff0000u : kInfinity;
  return (bits & 0x80000000u) | (magnitude < kInfinity ? finite : special);
}

inline void Store(std::uint32_t bits, char* out) {
  const auto half = static_cast<std::uint16_t>(bits >> 16);
  std::memcpy(out, &half, sizeof half);
}

inline float Load(const char* bytes) {
  std::uint16_t half = 0;
  std::memcpy(&half, bytes, sizeof half);
  return std::bit_cast<float>(std::uint32_t{half} << 16);
}

LEEWAY_TARGET_CLONES
void Encode(const float* __restrict values, std::size_t count, char* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) Store(Round(values[i]), out + 2 * i);
}

LEEWAY_TARGET_CLONES
void EncodeResidual(float* __restrict values, std::size_t count, char* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = Round(values[i]);
    Store(bits, out + 2 * i);
    values[i] -= std::bit_cast<float>(bits);
  }
}

LEEWAY_TARGET_CLONES
void Decode(const char* __restrict bytes, std::size_t count, float* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = Load(bytes + 2 * i);
}

LEEWAY_TARGET_CLONES
void DecodeAdd(const char* __restrict bytes, std::size_t count, float* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] += Load(bytes + 2 * i);
}

}  // namespace

void EncodeBf16(const float* values, std::size_t count, char* out) { Encode(values, count, out); }
void EncodeBf16Residual(float* values, std::size_t count, char* out) { EncodeResidual(values, count, out); }
void DecodeBf16(const char* bytes, std::size_t count, float* out) { Decode(bytes, count, out); }
void DecodeAddBf16(const char* bytes, std::size_t count, float* out) { DecodeAdd(bytes, count, out); }

}  // namespace leeway
