#include "server/checkpoint_calls.h"

#include <spdlog/spdlog.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/retry.h"

namespace leeway {
namespace {

// 4 MiB over a slow network, or the sync of a large file; after that it is asked again whether it is done.
constexpr absl::Duration kTimeout = absl::Seconds(30);
constexpr absl::Duration kComplainEvery = absl::Seconds(10);

// A call under way holds it as well.
struct Answer {
  OnceEvent came;
  absl::StatusOr<Buffer> result;  // once it came
};

// One wait for shard 0: from the first attempt to the answer.
class Wait {
 public:
  Wait(const CheckpointCalls::Options& options, const std::function<bool()>& go_on, Waiter* waiter)
      : options_(options), go_on_(go_on), waiter_(waiter), limit_(options.limit()) {}

  // Until `event` has happened. False: it is to end.
  bool For(OnceEvent& event) {
    return AwaitEvent(
        event, absl::InfiniteDuration(), [this] { return GoOn(); }, waiter_);
  }
  bool Pause(absl::Duration time) {
    return leeway::Pause(
        time, [this] { return GoOn(); }, waiter_);
  }

  // After an attempt that failed with `status`, which may be repeated. False: for too long.
  bool MayGoOn(const absl::Status& status) {
    reason_ = std::string(status.message());
    // That there is no room now is an answer.
    if (absl::IsResourceExhausted(status)) since_ = complained_ = waiter_->Now();
    return waiter_->Now() - since_ < limit_;
  }
  absl::Status TooLong() const {
    return absl::DeadlineExceededError(absl::StrCat("ps 0 at ", options_.address, ", which keeps the checkpoints",
                                                    ", gave no answer within ", absl::FormatDuration(limit_), ": ",
                                                    reason_));
  }

 private:
  bool GoOn() {
    if (!go_on_()) return false;
    if (waiter_->Now() - complained_ < kComplainEvery) return true;
    complained_ = waiter_->Now();
    spdlog::warn("shard {}: waits for ps 0 at {}, which keeps the checkpoints: {}", options_.shard, options_.address,
                 reason_);
    return true;
  }

  const CheckpointCalls::Options& options_;
  const std::function<bool()>& go_on_;
  Waiter* const waiter_;
  const absl::Duration limit_;
  Instant since_ = waiter_->Now();
  Instant complained_ = since_;
  std::string reason_ = "no answer yet";
};

}  // namespace

absl::StatusOr<Buffer> CheckpointCalls::CallBytes(const std::string& method, const Buffer& request,
                                                  const std::function<bool()>& go_on) const {
  const absl::Status ends = absl::CancelledError(absl::StrCat("told to end, ps 0 at ", options_.address, " was asked"));
  Wait wait(options_, go_on, waiter_);
  Backoff backoff(HashString(options_.address) + options_.shard);
  while (go_on()) {
    const auto answer = std::make_shared<Answer>();
    transport_->Call(options_.address, absl::StrCat("CheckpointStore/", method), request, kTimeout,
                     [answer](absl::Status status, Buffer reply) {
                       if (status.ok()) {
                         answer->result = std::move(reply);
                       } else {
                         answer->result = std::move(status);
                       }
                       answer->came.Happen();
                     });
    if (!wait.For(answer->came)) return ends;  // each call has its deadline
    absl::StatusOr<Buffer> result = std::move(answer->result);
    if (absl::IsUnimplemented(result.status())) {
      return absl::FailedPreconditionError(
          absl::StrCat("ps 0 at ", options_.address,
                       " is of a version that keeps no checkpoints of others: --checkpoint_storage=own needs a newer "
                       "one there"));
    }
    if (result.ok() || !IsRetryable(result.status())) return result;
    if (!wait.MayGoOn(result.status())) return wait.TooLong();
    if (!wait.Pause(backoff.Next(result.status()))) return ends;
  }
  return ends;
}

}  // namespace leeway
