#include "cli/admin/ask.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/retry.h"
#include "common/status_macros.h"
#include "server/blocking_call.h"

namespace leeway {
namespace {

constexpr absl::Duration kWait = absl::Seconds(10);  // that the coordinator holds one call
const absl::Duration kTimeout = kWait + absl::Seconds(5);
constexpr absl::Duration kPause = absl::Milliseconds(300);  // after a call that failed

template <typename Reply>
absl::StatusOr<Reply> CallOnce(const Ask& ask, const std::string& method, const google::protobuf::Message& request,
                               absl::Duration timeout) {
  return CallAndWait<Reply>(*ask.transport, ask.coordinator, "Coordinator/" + method, request, timeout);
}

// `send` gets how long the coordinator may hold the call.
template <typename Reply, typename Send>
absl::StatusOr<Reply> UntilDone(const Ask& ask, Send send) {
  const absl::Time begun = absl::Now();
  absl::Time heard = begun;
  std::string reason;
  for (;;) {
    const absl::Duration left = ask.limit - (absl::Now() - begun);
    absl::StatusOr<Reply> reply = send(std::clamp(left, absl::ZeroDuration(), kWait));
    const absl::Time now = absl::Now();
    if (reply.ok() && !reply->has_not_yet()) return reply;
    if (!reply.ok() && !IsRetryable(reply.status())) return reply;
    if (reply.ok()) {
      heard = now;
      reason = reply->not_yet().reason();
    } else {
      reason = std::string(reply.status().message());
    }
    if (now - heard >= ask.unreachable_limit) {
      return absl::UnavailableError(absl::StrCat("no answer from the coordinator at ", ask.coordinator, ": ", reason));
    }
    if (now - begun >= ask.limit) {
      return absl::DeadlineExceededError(
          absl::StrCat("not done within ", absl::FormatDuration(ask.limit), ": ", reason));
    }
    if (reply.ok() && ask.on_wait != nullptr) ask.on_wait(reason);
    if (!reply.ok()) absl::SleepFor(kPause);
  }
}

}  // namespace

absl::StatusOr<v1::GetStatusReply> AskStatus(const Ask& ask) {
  return CallOnce<v1::GetStatusReply>(ask, "GetStatus", v1::GetStatusRequest(), ask.unreachable_limit);
}

absl::StatusOr<v1::SetPolicyReply> AskSetPolicy(const Ask& ask, v1::SetPolicyRequest request) {
  return UntilDone<v1::SetPolicyReply>(ask, [&](absl::Duration wait) -> absl::StatusOr<v1::SetPolicyReply> {
    if (request.based_on() == 0) {
      v1::SetPolicyRequest which;
      which.set_run_id(request.run_id());
      ASSIGN_OR_RETURN(const v1::SetPolicyReply now, CallOnce<v1::SetPolicyReply>(ask, "SetPolicy", which, kTimeout));
      request.set_based_on(now.policy().number());
    }
    request.set_wait_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(wait)));
    return CallOnce<v1::SetPolicyReply>(ask, "SetPolicy", request, kTimeout);
  });
}

absl::StatusOr<v1::DrainReply> AskDrain(const Ask& ask, v1::DrainRequest request) {
  // Until an answer says who is meant, nobody is drained: whoever takes its place should not be, too. The first one
  // comes at once.
  absl::Duration hold = absl::ZeroDuration();
  return UntilDone<v1::DrainReply>(ask, [&](absl::Duration wait) {
    request.set_only_look(request.incarnation() == 0);
    request.set_wait_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(std::min(hold, wait))));
    absl::StatusOr<v1::DrainReply> reply = CallOnce<v1::DrainReply>(ask, "Drain", request, kTimeout);
    if (reply.ok()) {
      request.set_incarnation(reply->incarnation());
      hold = kWait;
    }
    return reply;
  });
}

}  // namespace leeway
