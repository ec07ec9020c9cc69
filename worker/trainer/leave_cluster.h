// LeaveCluster: the last that a worker says, and what it hears: how the run has ended. The coordinator tells that also
// to who is no member any more.
//
// Thread safety: blocks the mailbox's owner; Cancellation::Cancel from any thread shortens the wait.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/coordinator.pb.h"
#include "worker/client/cancellation.h"
#include "worker/client/coordinator_client.h"
#include "worker/trainer/mailbox.h"

namespace leeway {

// OK: the run has not failed, or nobody says how it has ended and this worker was told to end. A RunFailure: it has.
// UNAVAILABLE: the coordinator has not answered for a `lease` and some seconds. `cancellation` wakes the mailbox.
absl::Status LeaveCluster(CoordinatorClient& coordinator, const std::shared_ptr<Mailbox>& mailbox,
                          v1::LeaveRequest request, absl::Duration lease, const Cancellation& cancellation);

}  // namespace leeway
