#include "server/ask_checkpoint.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/retry.h"
#include "common/rpc.h"

namespace leeway {
namespace {

constexpr absl::Duration kWait = absl::Seconds(2);  // that the coordinator holds one call
constexpr absl::Duration kTimeout = absl::Seconds(6);
constexpr absl::Duration kPause = absl::Milliseconds(200);  // after a call that failed
constexpr auto kLook = std::chrono::milliseconds(20);

// A call under way holds it as well.
struct Answer {
  Mutex mu;
  CondVar came;
  std::optional<absl::StatusOr<v1::CheckpointReply>> reply LEEWAY_GUARDED_BY(mu);
};

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
        if (!Pause()) return absl::CancelledError("given up");
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
    const auto answer = std::make_shared<Answer>();
    CallRpc<v1::CheckpointReply>(transport_, ask_.coordinator, "Coordinator/Checkpoint", request_, {}, kTimeout,
                                 [answer](absl::Status status, Decoded<v1::CheckpointReply> reply) {
                                   MutexLock lock(answer->mu);
                                   if (status.ok()) {
                                     answer->reply = std::move(reply.message);
                                   } else {
                                     answer->reply = std::move(status);
                                   }
                                   answer->came.NotifyAll();
                                 });
    for (;;) {
      {
        MutexLock lock(answer->mu);
        if (!answer->reply) answer->came.WaitUntil(answer->mu, std::chrono::steady_clock::now() + kLook);
        if (answer->reply) return *answer->reply;
      }
      if (!GoOn()) return absl::CancelledError("given up");
    }
  }

  bool GoOn() const { return !ask_.go_on || ask_.go_on(); }

  bool Pause() {
    Mutex mu;
    CondVar never;
    for (const absl::Time end = absl::Now() + kPause; absl::Now() < end;) {
      MutexLock lock(mu);
      never.WaitUntil(mu, std::chrono::steady_clock::now() + kLook);
      if (!GoOn()) return false;
    }
    return true;
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
