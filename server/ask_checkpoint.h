// AskForCheckpoint: has a running cluster take a checkpoint, and waits until it is committed.
//
// Thread safety: any thread; it blocks, and so is not for those that answer calls.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/transport.h"
#include "proto/coordinator.pb.h"

namespace leeway {

struct CheckpointAsk {
  std::string coordinator;   // host:port
  bool if_possible = false;  // a ps that is missing is not waited for
  absl::Duration limit = absl::InfiniteDuration();
  absl::Duration unreachable_limit = absl::Seconds(10);         // without an answer of the coordinator
  std::function<bool()> go_on = {};                             // called some 50 times a second; false: CANCELLED
  std::function<void(const std::string& reason)> on_wait = {};  // called with every not_yet
};

// What the coordinator answers in the end (its name is not empty). Errors: Coordinator.Checkpoint's; DEADLINE_EXCEEDED
// with what it waits for; UNAVAILABLE: the coordinator is not reached.
absl::StatusOr<v1::CheckpointReply> AskForCheckpoint(Transport& transport, const CheckpointAsk& ask);

}  // namespace leeway
