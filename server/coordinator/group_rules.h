// What the policy's parameter groups must be for a model.
//
// Thread safety: pure function.
#pragma once

#include "absl/status/status.h"
#include "common/manifest.h"
#include "proto/policy.pb.h"

namespace leeway {

// Every group that a flag names must be one of the model's: a misspelt one would change nothing, and nobody would know.
// But for "bias", which --group_decay names by default. FAILED_PRECONDITION names the group, and those there are.
absl::Status CheckGroups(const Manifest& manifest, const v1::Policy& policy);

}  // namespace leeway
