#include "kernels/encodings/top_k.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

namespace leeway {
namespace {

// Magnitudes of floats are ordered as their 31 lower bits are.
inline std::uint32_t Magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & 0x7fffffffu; }

// The bits of a magnitude that one round of the selection looks at.
struct Digit {
  int shift, bits;
  std::uint32_t Of(std::uint32_t magnitude) const { return (magnitude >> shift) & ((1u << bits) - 1); }
};
constexpr Digit kDigits[] = {{20, 11}, {10, 10}, {0, 10}};  // from the most significant one

// Counts per value of a digit. Several counters each, taken in turn: neighbours often have the same digit, and adding
// to one counter twice in a row waits for memory.
class Histogram {
 public:
  void Add(Digit digit, const float* values, std::size_t count) {
    std::size_t i = 0;
    for (; i + kWays <= count; i += kWays) {
      for (std::size_t way = 0; way < kWays; ++way) ++counts_[way][digit.Of(Magnitude(values[i + way]))];
    }
    for (; i < count; ++i) ++counts_[0][digit.Of(Magnitude(values[i]))];
  }
  std::size_t operator[](std::uint32_t value) const {
    std::size_t sum = 0;
    for (const auto& way : counts_) sum += way[value];
    return sum;
  }

 private:
  static constexpr std::size_t kWays = 4;
  std::array<std::array<std::uint32_t, 1 << 11>, kWays> counts_ = {};
};

// What is kept: every magnitude above `magnitude`, and the first `ties` of those equal to it.
struct Threshold {
  std::uint32_t magnitude = 0;
  std::size_t ties = 0;
};

// Selection digit by digit: find the digit of the kept-th greatest magnitude, go on among those that share it. The
// first digit (exponent and three bits of the mantissa) leaves few of them, so the later rounds cost next to nothing.
Threshold FindThreshold(const float* values, std::size_t count, std::size_t kept) {
  Threshold threshold;
  std::vector<float> sharing;  // all the digits so far
  for (const Digit& digit : kDigits) {
    Histogram histogram;
    histogram.Add(digit, values, count);
    std::uint32_t value = (1u << digit.bits) - 1;
    while (histogram[value] < kept) kept -= histogram[value--];
    threshold.magnitude |= value << digit.shift;
    std::vector<float> next;
    next.reserve(histogram[value]);
    for (std::size_t i = 0; i < count; ++i) {
      if (digit.Of(Magnitude(values[i])) == value) next.push_back(values[i]);
    }
    sharing = std::move(next);
    values = sharing.data();
    count = sharing.size();
  }
  threshold.ties = kept;
  return threshold;
}

}  // namespace

void SelectTopK(const float* values, std::size_t count, std::size_t kept, char* indices, char* out_values) {
  if (kept == 0) return;
  Threshold threshold = FindThreshold(values, count, kept);
  for (std::size_t i = 0; kept > 0; ++i) {
    const std::uint32_t magnitude = Magnitude(values[i]);
    if (magnitude < threshold.magnitude) continue;
    if (magnitude == threshold.magnitude) {
      if (threshold.ties == 0) continue;
      --threshold.ties;
    }
    const auto index = static_cast<std::uint32_t>(i);
    std::memcpy(indices, &index, sizeof index);
    std::memcpy(out_values, &values[i], sizeof(float));
    indices += sizeof index;
    out_values += sizeof(float);
    --kept;
  }
}

}  // namespace leeway
