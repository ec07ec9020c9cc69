#include "worker/client/caller.h"

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/log.h"

namespace leeway {

Caller::Caller(Transport& transport, Clock& clock, Executor& executor, std::string coordinator_address,
               absl::Duration give_up_after, std::uint64_t seed)
    : transport_(transport),
      clock_(clock),
      executor_(executor),
      coordinator_address_(std::move(coordinator_address)),
      seed_(seed),
      give_up_after_(give_up_after),
      outages_(1) {}

void Caller::SetShardAddresses(std::vector<std::string> addresses) {
  MutexLock lock(mu_);
  shard_addresses_ = std::move(addresses);
  outages_.resize(shard_addresses_.size() + 1);
}

void Caller::SetGiveUpAfter(absl::Duration limit) {
  MutexLock lock(mu_);
  give_up_after_ = limit;
}

std::string Caller::AddressOf(Target target) {
  if (target == kCoordinator) return coordinator_address_;
  const auto index = static_cast<std::size_t>(target);
  return index < shard_addresses_.size() ? shard_addresses_[index] : "(no address)";
}

std::string Caller::DescribeLocked(Target target) {
  const std::string who = target == kCoordinator ? "the coordinator" : absl::StrCat("shard ", target);
  return absl::StrCat(who, " at ", AddressOf(target));
}

std::string Caller::Describe(Target target) {
  MutexLock lock(mu_);
  return DescribeLocked(target);
}

void Caller::CallBytes(Target target, const std::string& method, Buffer request, ReplyCallback done) {
  std::uint64_t seed;
  {
    MutexLock lock(mu_);
    seed = seed_ = Mix64(seed_);
  }
  Attempt(std::make_shared<Attempts>(Attempts{target, method, std::move(request), std::move(done), Backoff(seed)}));
}

void Caller::Attempt(std::shared_ptr<Attempts> call) {
  // The lock is held while the call starts, so that nothing starts after Stop() has returned. The reply only
  // posts, so a transport that answers in line does no harm.
  MutexLock lock(mu_);
  if (stopped_) {
    executor_.Post([call] { call->done(absl::CancelledError("the worker is shutting down"), {}); });
    return;
  }
  transport_.Call(AddressOf(call->target), call->method, call->request, kAttempt,
                  [this, call](absl::Status status, Buffer reply) {
                    executor_.Post([this, call, status = std::move(status), reply = std::move(reply)]() mutable {
                      Finish(call, std::move(status), std::move(reply));
                    });
                  });
}

void Caller::Finish(const std::shared_ptr<Attempts>& call, absl::Status status, Buffer reply) {
  const auto outage_index = static_cast<std::size_t>(call->target + 1);
  if (!IsRetryable(status)) {
    {
      MutexLock lock(mu_);
      if (!absl::IsCancelled(status) && outage_index < outages_.size() && outages_[outage_index].Answered()) {
        spdlog::info("{} answers again", DescribeLocked(call->target));
      }
    }
    call->done(std::move(status), std::move(reply));
    return;
  }
  Outage::Advice advice;
  std::string who;
  {
    MutexLock lock(mu_);
    if (outage_index < outages_.size()) advice = outages_[outage_index].Failed(clock_.Now(), give_up_after_);
    who = DescribeLocked(call->target);
  }
  if (advice.complain) {
    spdlog::warn("no answer from {} for {} ({}): {}", who, absl::Trunc(advice.lasting, absl::Seconds(1)), call->method,
                 status);
  }
  if (advice.give_up) {
    call->done(absl::UnavailableError(absl::StrCat("gave up on ", who, " after ",
                                                   absl::FormatDuration(absl::Trunc(advice.lasting, absl::Seconds(1))),
                                                   ": ", std::string(status.message()))),
               {});
    return;
  }
  ++retries_;
  After(call->backoff.Next(status), [this, call] { Attempt(call); });
}

void Caller::After(absl::Duration delay, std::function<void()> fn) {
  MutexLock lock(mu_);
  if (stopped_) return;
  clock_.RunAt(clock_.Now() + delay, [this, fn = std::move(fn)]() mutable { executor_.Post(std::move(fn)); });
}

void Caller::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
}

}  // namespace leeway
