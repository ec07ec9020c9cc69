// The numbers of the policy that can be changed while a run goes on, by the names of their flags: what `leeway set`
// takes and shows.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "proto/coordinator.pb.h"
#include "proto/policy.pb.h"

namespace leeway {

// The policy with these settings in it; its number stays. `by_flags`: when checkpoints are taken unless the policy says
// so itself. INVALID_ARGUMENT: there is no such setting (with the one that was probably meant), it is fixed for the
// run, it is named twice, or its value is not allowed, alone or with the others.
absl::StatusOr<v1::Policy> WithSettings(const v1::Policy& policy,
                                        const google::protobuf::RepeatedPtrField<v1::PolicySetting>& settings,
                                        const v1::CheckpointTimes& by_flags);

// Names and values, in the order of the documentation. Of checkpoints only what the policy says itself.
std::vector<std::pair<std::string, std::string>> SettingsOf(const v1::Policy& policy);

struct SettingText {
  std::string name;
  std::string value;  // "": the flags of ps 0 say it
  std::string allowed;
};

// The same, and what else can be changed.
std::vector<SettingText> AllSettings(const v1::Policy& policy);

// "staleness_bound: 8 -> 2; learning_rate: 0.1 -> 0.05", or "".
std::string SettingChanges(const v1::Policy& before, const v1::Policy& after);

}  // namespace leeway
