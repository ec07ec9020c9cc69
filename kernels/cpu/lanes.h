// Lanes: sums and maxima whose terms go to 16 lanes in turn, which are combined in a fixed order at the end: they
// vectorize, and give the same bits on every instruction set.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/target_clones.h"

namespace leeway::loops {

inline constexpr std::int64_t kLanes = 16;

// The sum of term(0) to term(count - 1).
template <typename Term>
LEEWAY_INLINE float LaneSum(std::int64_t count, Term term) {
  float lanes[kLanes] = {};
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  }
  for (std::int64_t i = whole; i < count; ++i) lanes[i - whole] += term(i);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// The largest of x[0] to x[count - 1], where NaN does not count; -Inf where nothing does.
LEEWAY_INLINE float LaneMax(std::int64_t count, const float* x) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
  }
  for (std::int64_t i = whole; i < count; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  for (std::int64_t lane = 1; lane < kLanes; ++lane) lanes[0] = lanes[lane] > lanes[0] ? lanes[lane] : lanes[0];
  return lanes[0];
}

}  // namespace leeway::loops
