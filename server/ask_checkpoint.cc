#include "server/ask_checkpoint.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/retry.h"
#include "server/blocking_call.h"
#include "server/waiter.h"

namespace leeway {
namespace {

constexpr absl::Duration kWait = absl::Seconds(2);  // that the coordinator holds one call
constexpr absl::Duration kTimeout = absl::Seconds(6);
constexpr absl::Duration kPause = absl::Milliseconds(200);  // after a call that failed

class Asker {
 public:
  Asker(Transport& transport, const CheckpointAsk& ask) : transport_(transport), ask_(ask) {}

  absl::StatusOr<v1::CheckpointReply> Ask() {
    absl::Time heard = absl::Now();
    std::string waits_for = "no answer";
    for (;;) {
      const absl::StatusOr<v1::CheckpointReply> reply = Call();
      const absl::Time now = absl::Now();
      if (reply.ok() && !reply->name().empty()) return reply;
      if (!reply.ok() && !IsRetryable(reply.status())) return reply.status();
      if (reply.ok()) {
        heard = now;
        request_.set_number(reply->number());
        waits_for = reply->not_yet().reason();
        if (ask_.on_wait) ask_.on_wait(waits_for);
      } else {
        waits_for = std::string(reply.status().message());
        if (now - heard >= ask_.unreachable_limit) {
          return absl::UnavailableError(
              absl::StrCat("no answer from the coordinator at ", ask_.coordinator, ": ", waits_for));
        }
        if (!Pause(kPause, ask_.go_on)) return absl::CancelledError("given up");
      }
      if (now - begun_ >= ask_.limit) {
        return absl::DeadlineExceededError(
            absl::StrCat("no checkpoint within ", absl::FormatDuration(ask_.limit), ": ", waits_for));
      }
    }
  }

 private:
  absl::StatusOr<v1::CheckpointReply> Call() {
    const absl::Duration left = std::max(ask_.limit - (absl::Now() - begun_), absl::ZeroDuration());
    request_.set_wait_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(std::min(kWait, left))));
    request_.set_if_possible(ask_.if_possible);
    return CallAndWait<v1::CheckpointReply>(transport_, ask_.coordinator, "Coordinator/Checkpoint", request_, kTimeout,
                                            ask_.go_on);
  }

  Transport& transport_;
  const CheckpointAsk& ask_;
  const absl::Time begun_ = absl::Now();
  v1::CheckpointRequest request_;
};

}  // namespace

absl::StatusOr<v1::CheckpointReply> AskForCheckpoint(Transport& transport, const CheckpointAsk& ask) {
  return Asker(transport, ask).Ask();
}

}  // namespace leeway
