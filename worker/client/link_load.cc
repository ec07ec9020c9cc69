#include "worker/client/link_load.h"

#include <algorithm>
#include <utility>

namespace leeway {

bool LinkLoad::Take(Again again) {
  if (under_way_ >= limit_) {
    waiting_.push_back(std::move(again));
    return false;
  }
  ++under_way_;
  return true;
}

std::vector<LinkLoad::Again> LinkLoad::Ended(Instant began, Instant now, absl::Duration most,
                                             const absl::Status& status) {
  // Those that were under way together fail together: once for all of them.
  if (absl::IsDeadlineExceeded(status) && began >= halved_) {
    limit_ = std::max<std::size_t>(std::min(limit_, under_way_) / 2, 1);
    halved_ = now;
  } else if (status.ok() && now - began <= most / kSmallPart) {
    ++limit_;
  }
  --under_way_;
  return std::exchange(waiting_, {});
}

}  // namespace leeway
