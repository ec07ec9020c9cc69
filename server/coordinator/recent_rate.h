// RecentRate: how fast a total grows, over the last 5 seconds in which it was heard of.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariant: bounded: observations are 100 ms apart, and none is older than the window but the first two.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "absl/time/time.h"
#include "common/clock.h"

namespace leeway {

class RecentRate {
 public:
  static constexpr absl::Duration kWindow = absl::Seconds(5);
  static constexpr absl::Duration kSpacing = absl::Milliseconds(100);

  // A total that is smaller than the last one begins anew: its owner was started again.
  void Observe(Instant now, std::uint64_t total) {
    if (!seen_.empty() && total < seen_.back().second) seen_.clear();
    if (seen_.size() >= 2 && now - seen_[seen_.size() - 2].first < kSpacing) seen_.pop_back();
    seen_.emplace_back(now, total);
    while (seen_.size() > 2 && seen_.front().first + kWindow < now) seen_.pop_front();
  }

  // Per second; 0 when nothing was heard for the window.
  double Get(Instant now) const {
    if (seen_.size() < 2 || seen_.back().first + kWindow < now) return 0;
    const double seconds = absl::ToDoubleSeconds(seen_.back().first - seen_.front().first);
    return seconds > 0 ? static_cast<double>(seen_.back().second - seen_.front().second) / seconds : 0;
  }

 private:
  std::deque<std::pair<Instant, std::uint64_t>> seen_;
};

}  // namespace leeway
