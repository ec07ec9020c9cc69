#include "worker/trainer/static_feed.h"

namespace leeway {

std::optional<std::uint64_t> StaticFeed::Next() {
  if (!again_.empty()) {
    const std::uint64_t step = again_.front();
    again_.pop_front();
    return step;
  }
  if (total_ > 0 && next_ >= total_) return std::nullopt;
  return next_++;
}

bool StaticFeed::Settle(std::uint64_t step, bool applied) {
  if (!applied && ++failed_attempts_[step] < kAttempts) {
    again_.push_back(step);
    return true;
  }
  failed_attempts_.erase(step);
  done_ahead_.insert(step);
  while (done_ahead_.erase(done_) > 0) ++done_;
  return applied;
}

}  // namespace leeway
