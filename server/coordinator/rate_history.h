// RateHistory: samples and bytes per second over the whole run, for the status page's curves.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariants: at most kMostPoints points; each is the mean of what was observed since the point before it. When there
// are too many, pairs are merged, and from then on a point covers twice the time.
#pragma once

#include <cstddef>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

class RateHistory {
 public:
  static constexpr std::size_t kMostPoints = 600;

  // `point.seconds()` never falls; observations of the same moment count once.
  void Observe(const v1::RatePoint& point);
  const std::vector<v1::RatePoint>& points() const { return points_; }

 private:
  void Merge();

  std::vector<v1::RatePoint> points_;
  double spacing_ = 1;  // seconds
  v1::RatePoint sum_;   // of what was observed since the last point
  std::size_t observed_ = 0;
  double last_ = -1;
};

}  // namespace leeway
