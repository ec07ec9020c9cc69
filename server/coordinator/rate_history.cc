#include "server/coordinator/rate_history.h"

#include <utility>

namespace leeway {
namespace {

void Add(const v1::RatePoint& from, v1::RatePoint* to) {
  to->set_samples(to->samples() + from.samples());
  to->set_push_bytes(to->push_bytes() + from.push_bytes());
  to->set_pull_bytes(to->pull_bytes() + from.pull_bytes());
}

void Divide(double by, v1::RatePoint* point) {
  point->set_samples(point->samples() / by);
  point->set_push_bytes(point->push_bytes() / by);
  point->set_pull_bytes(point->pull_bytes() / by);
}

}  // namespace

void RateHistory::Observe(const v1::RatePoint& point) {
  if (point.seconds() <= last_) return;
  last_ = point.seconds();
  Add(point, &sum_);
  ++observed_;
  if (!points_.empty() && point.seconds() - points_.back().seconds() < spacing_) return;
  Divide(static_cast<double>(observed_), &sum_);
  sum_.set_seconds(point.seconds());
  points_.push_back(std::exchange(sum_, {}));
  observed_ = 0;
  if (points_.size() > kMostPoints) Merge();
}

void RateHistory::Merge() {
  std::vector<v1::RatePoint> merged;
  for (std::size_t i = 0; i + 1 < points_.size(); i += 2) {
    v1::RatePoint both = points_[i + 1];
    Add(points_[i], &both);
    Divide(2, &both);
    merged.push_back(both);
  }
  if (points_.size() % 2 == 1) merged.push_back(points_.back());
  points_ = std::move(merged);
  spacing_ *= 2;
}

}  // namespace leeway
