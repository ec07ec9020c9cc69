// AskStatus, AskSetPolicy, AskDrain: a request of a person to the coordinator, sent again for as long as the answer is
// not_yet or the coordinator is not reached.
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

struct Ask {
  Transport* transport = nullptr;
  std::string coordinator;  // host:port
  absl::Duration limit = absl::InfiniteDuration();
  absl::Duration unreachable_limit = absl::Seconds(10);              // without an answer
  std::function<void(const std::string& reason)> on_wait = nullptr;  // called with every not_yet
};

// Errors: the coordinator's; DEADLINE_EXCEEDED with what it waits for; UNAVAILABLE: the coordinator is not reached.
// AskSetPolicy and AskDrain first ask what is there, and then for a change of that only: the network may bring a call
// again when much has changed.
absl::StatusOr<v1::GetStatusReply> AskStatus(const Ask& ask);
absl::StatusOr<v1::SetPolicyReply> AskSetPolicy(const Ask& ask, v1::SetPolicyRequest request);
absl::StatusOr<v1::DrainReply> AskDrain(const Ask& ask, v1::DrainRequest request);

}  // namespace leeway
