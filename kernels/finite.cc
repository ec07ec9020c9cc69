#include "kernels/finite.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/target_clones.h"

namespace leeway {
namespace {

constexpr std::size_t kBlock = 4096;  // fits the first-level cache, for the second look

// NaN and infinity have all exponent bits set: one more in the exponent's last place carries into the sign bit,
// which was cleared. Integer operations only, so that every instruction set vectorizes it.
LEEWAY_TARGET_CLONES
bool AllFinite(const float* values, std::size_t count) {
  std::uint32_t carried = 0;
  for (std::size_t i = 0; i < count; ++i) {
    carried |= (std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu) + 0x00800000u;
  }
  return carried >> 31 == 0;
}

}  // namespace

std::size_t FirstNonFinite(const float* values, std::size_t count) {
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t size = std::min(kBlock, count - begin);
    if (AllFinite(values + begin, size)) continue;
    std::size_t i = begin;
    while (std::isfinite(values[i])) ++i;
    return i;
  }
  return count;
}

}  // namespace leeway
