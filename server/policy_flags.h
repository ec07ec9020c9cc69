// The cluster's policy as flags: consistency, optimizer, schedule, data, end. They are set on shard 0 and
// reach everyone from there.
//
// Thread safety: as ParseFlags'.
#pragma once

#include "absl/status/statusor.h"
#include "proto/policy.pb.h"

namespace leeway {

// The flags as a policy. INVALID_ARGUMENT names the flag, its value and what is allowed, also for values
// that contradict each other (CheckPolicy).
absl::StatusOr<v1::Policy> PolicyFromFlags();

}  // namespace leeway
