#include "server/coordinator/stop_rule.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace leeway {

std::optional<std::string> StopRule::Check(std::uint64_t epochs_done, std::uint64_t steps,
                                           absl::Duration trained) const {
  if (config_.epochs() > 0 && epochs_done >= config_.epochs()) {
    return absl::StrCat(config_.epochs(), " epochs are done");
  }
  if (config_.steps() > 0 && steps >= config_.steps()) return absl::StrCat(config_.steps(), " steps are done");
  if (config_.minutes() > 0 && trained >= absl::Minutes(config_.minutes())) {
    return absl::StrCat(config_.minutes(), " minutes are over");
  }
  if (!config_.target_metric().empty() && best_.has_value()) {
    const bool loss = config_.target_metric() == "loss";
    // A negative target value means patience alone decides.
    if (config_.target_value() >= 0 && (loss ? *best_ <= config_.target_value() : *best_ >= config_.target_value())) {
      return absl::StrCat("the target is reached: ", config_.target_metric(), " ", *best_);
    }
    if (config_.patience() > 0 && without_better_ >= config_.patience()) {
      return absl::StrCat(without_better_, " evaluations in a row without a better ", config_.target_metric(), " than ",
                          *best_);
    }
  }
  return std::nullopt;
}

void StopRule::Observe(const v1::Evaluation& evaluation) {
  const bool loss = config_.target_metric() == "loss";
  const double value = loss ? evaluation.loss() : evaluation.accuracy();
  const bool better = std::isfinite(value) && (!best_ || (loss ? value < *best_ : value > *best_));
  if (better) best_ = value;
  without_better_ = better ? 0 : without_better_ + 1;
}

void StopRule::Save(v1::StopRuleState* state) const {
  state->set_any(best_.has_value());
  state->set_best(best_.value_or(0));
  state->set_without_better(without_better_);
}

absl::Status StopRule::Restore(const v1::StopRuleState& state) {
  if (!std::isfinite(state.best())) return absl::DataLossError(absl::StrCat("the best evaluation is ", state.best()));
  if (state.any()) best_ = state.best();
  without_better_ = state.without_better();
  return absl::OkStatus();
}

}  // namespace leeway
