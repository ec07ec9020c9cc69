// AlignedFloats: floats at a cache line's begin, so that no loop's speed depends on where malloc put its arrays.
//
// Thread safety: as a std::vector.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace leeway {

class AlignedFloats {
 public:
  AlignedFloats(std::size_t size, float value) : size_(size), lines_((size + kPerLine - 1) / kPerLine) {
    std::fill_n(data(), size, value);
  }

  std::size_t size() const { return size_; }
  float* data() { return lines_.data()->values; }
  const float* data() const { return lines_.data()->values; }

 private:
  static constexpr std::size_t kPerLine = 16;
  struct alignas(64) Line {
    float values[kPerLine];
  };

  std::size_t size_;
  std::vector<Line> lines_;
};

}  // namespace leeway
