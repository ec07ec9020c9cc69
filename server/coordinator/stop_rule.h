// StopRule: when has the cluster trained enough?
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class StopRule {
 public:
  explicit StopRule(const v1::StopConfig& config) : config_(config) {}

  // `epochs_done`: epochs whose every record is committed; `steps`: applied pushes or closed rounds.
  // Returns the reason once a limit is reached.
  std::optional<std::string> Check(std::uint64_t epochs_done, std::uint64_t steps, absl::Duration trained) const;

  // Is there any limit that somebody may wait for?
  bool limited() const {
    return config_.epochs() > 0 || config_.steps() > 0 || config_.minutes() > 0 || !config_.target_metric().empty();
  }

  // An evaluation has come in; remembered for Check. Non-finite values never count as better.
  void Observe(const v1::Evaluation& evaluation);

  // For a restart: Restore gives a new object all that another one saved. DATA_LOSS: no such object can have saved it.
  void Save(v1::StopRuleState* state) const;
  absl::Status Restore(const v1::StopRuleState& state);

 private:
  const v1::StopConfig config_;
  std::optional<double> best_;
  std::uint32_t without_better_ = 0;
};

}  // namespace leeway
