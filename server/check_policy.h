// CheckPolicy: values of a policy that contradict each other, or that no cluster can work by.
//
// Thread safety: a pure function.
#pragma once

#include "absl/status/status.h"
#include "proto/policy.pb.h"

namespace leeway {

// INVALID_ARGUMENT names the flag, its value and what is allowed.
absl::Status CheckPolicy(const v1::Policy& policy);

// True when a push needs a ticket under this policy: it has a rule of delays.
bool NeedsTicket(const v1::Policy& policy);

}  // namespace leeway
