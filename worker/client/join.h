// JoinCluster: asks the coordinator until it lets this incarnation in.
//
// Thread safety: blocks the calling thread; Cancellation::Cancel from any thread ends the wait.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"

namespace leeway {

// Sends `request` until the answer is not `not_yet`; logs every 10 s what it waits for. Sets the caller's shard
// addresses. FAILED_PRECONDITION: the cluster trains something else (both values are named), IsOver() or
// IsQuarantined(); UNAVAILABLE: the coordinator could not be reached for the caller's limit; DEADLINE_EXCEEDED: still
// not_yet after `patience`; CANCELLED: by `cancellation`.
absl::StatusOr<v1::JoinReply> JoinCluster(Caller& caller, const v1::JoinRequest& request, absl::Duration patience,
                                          Cancellation& cancellation);

// True for the answer to an incarnation that was a member and is none any more: it was cut off for longer than its
// lease while it joined. A new one may join.
bool IsOver(const absl::Status& status);

// True for the answer to a worker whose pushes were not finite, again and again: no incarnation of this name may join.
bool IsQuarantined(const absl::Status& status);

}  // namespace leeway
