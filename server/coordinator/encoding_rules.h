// What a worker's encodings must be under a policy, so that it hears of a contradiction when it joins.
//
// Thread safety: pure function.
#pragma once

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"
#include "proto/policy.pb.h"

namespace leeway {

// INVALID_ARGUMENT: an encoding that is none, or none for pulls. FAILED_PRECONDITION, naming both values: differences
// in pulls with rounds, momentum correction with an optimizer that has momentum of its own (a gradient would count
// several times over).
absl::Status CheckEncodings(const v1::JoinRequest& request, const v1::Policy& policy);

}  // namespace leeway
