#include "worker/trainer/data_lead.h"

#include <algorithm>

namespace leeway {

void DataLead::StepBegins(Instant now) {
  if (last_) {
    const absl::Duration step = now - *last_;
    // Of the last few steps: one that was slow is forgotten soon.
    step_ = step_ == absl::InfiniteDuration() ? step : step_ + (step - step_) / 4;
  }
  last_ = now;
}

std::uint64_t DataLead::Wanted(std::uint64_t in_hand, std::uint64_t missing) const {
  const auto steps = static_cast<std::uint64_t>(kLead / std::max(step_, absl::Microseconds(1)));
  const std::uint64_t lead = std::min(steps * samples_per_step_, most_ / samples_per_step_ * samples_per_step_);
  const std::uint64_t more = lead - std::min(lead, in_hand);
  // Not for each batch anew: by the time that half is used up the other half is there.
  if (missing == 0) return 2 * in_hand < lead ? more : 0;
  return std::max(missing, more);
}

}  // namespace leeway
