#include "cli/run_monitor.h"

#include <algorithm>

namespace leeway {
namespace {

constexpr absl::Duration kCompareWith = absl::Seconds(5);
// Workers report every second: over less than this, shares and rates jump.
constexpr absl::Duration kCompareAtLeast = absl::Seconds(2);
constexpr absl::Duration kLastFigures = absl::Seconds(1);

const v1::GetStatusReply& Empty() {
  static const auto* empty = new v1::GetStatusReply();
  return *empty;
}

}  // namespace

void RunMonitor::Observe(v1::GetStatusReply status, absl::Time now) {
  ++observations_;
  farthest_ = std::max(farthest_, status.state());
  if (status.state() == v1::FINISHED) finished_at_ = std::min(finished_at_, now);
  history_.emplace_back(now, std::move(status));
  // The front stays older than kCompareWith, so that `before` spans that time at least.
  while (history_.size() > 2 && now - history_[1].first >= kCompareWith) history_.pop_front();
}

const v1::GetStatusReply& RunMonitor::now() const { return history_.empty() ? Empty() : history_.back().second; }

const v1::GetStatusReply& RunMonitor::before() const {
  const bool far = !history_.empty() && history_.back().first - history_.front().first >= kCompareAtLeast;
  return far ? history_.front().second : Empty();
}

bool RunMonitor::complete(absl::Time now) const { return now >= finished_at_ + kLastFigures; }

}  // namespace leeway
