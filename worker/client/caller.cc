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
      troubles_(1),
      outages_(1) {}

void Caller::UseLocalSockets(std::string host) {
  MutexLock lock(mu_);
  host_ = std::move(host);
}

void Caller::SetShardAddresses(const std::vector<std::string>& addresses, const std::vector<v1::LocalEndpoint>& local) {
  std::string host;
  {
    MutexLock lock(mu_);
    host = host_;
  }
  std::vector<ShardAddress> shards = ChooseAddresses(addresses, local, host);
  MutexLock lock(mu_);
  shards_ = std::move(shards);
  outages_.resize(shards_.size() + 1);
  troubles_.resize(shards_.size() + 1);
}

void Caller::LeaveLocalSocket(Target target, const std::string& dialed, const absl::Status& status) {
  if (target == kCoordinator || !IsLostConnection(status)) return;
  MutexLock lock(mu_);
  const auto index = static_cast<std::size_t>(target);
  if (index >= shards_.size() || shards_[index].local.empty() || shards_[index].local != dialed) return;
  shards_[index].local.clear();
  spdlog::info("{} is called over TCP from now on: {}", DescribeLocked(target), std::string(status.message()));
}

void Caller::SetGiveUpAfter(absl::Duration limit) {
  MutexLock lock(mu_);
  give_up_after_ = limit;
}

std::string Caller::DialedAddress(Target target) {
  if (target == kCoordinator) return coordinator_address_;
  const auto index = static_cast<std::size_t>(target);
  return index < shards_.size() ? shards_[index].dialed() : "(no address)";
}

std::string Caller::NamedAddress(Target target) {
  if (target == kCoordinator) return coordinator_address_;
  const auto index = static_cast<std::size_t>(target);
  return index < shards_.size() ? shards_[index].tcp : "(no address)";
}

std::string Caller::DescribeLocked(Target target) {
  const std::string who = target == kCoordinator ? "the coordinator" : absl::StrCat("shard ", target);
  return absl::StrCat(who, " at ", NamedAddress(target));
}

std::string Caller::Describe(Target target) {
  MutexLock lock(mu_);
  return DescribeLocked(target);
}

std::string Caller::Address(Target target) {
  MutexLock lock(mu_);
  return NamedAddress(target);
}

void Caller::CallBytes(Target target, const std::string& method, Buffer request, ReplyCallback done,
                       CallOptions options) {
  std::uint64_t seed;
  {
    MutexLock lock(mu_);
    seed = seed_ = Mix64(seed_);
  }
  Attempt(std::make_shared<Attempts>(
      Attempts{target, method, std::move(request), std::move(done), std::move(options), Backoff(seed)}));
}

bool Caller::MayStart(Load load, std::function<void()> again) {
  MutexLock lock(mu_);
  return (load == Load::kUp ? up_ : down_).Take(std::move(again));
}

void Caller::FreeRoom(const Attempts& call, const absl::Status& status) {
  const Load load = call.options.load;
  if (load == Load::kNone) return;
  std::vector<LinkLoad::Again> waiting;
  {
    MutexLock lock(mu_);
    LinkLoad& link = load == Load::kUp ? up_ : down_;
    const std::size_t before = link.limit();
    waiting = link.Ended(call.began, NowLocked(), call.options.attempt, status);
    if (load == Load::kUp && !IsRetryable(status)) last_answer_up_ = NowLocked();
    if (link.limit() < before) {
      spdlog::info("{} of {} was not answered in {}: at most {} such messages at once from now on", call.method,
                   DescribeLocked(call.target), call.options.attempt, link.limit());
    }
  }
  for (LinkLoad::Again& again : waiting) executor_.Post(std::move(again));
}

void Caller::AttemptAgain(const std::shared_ptr<Attempts>& call) {
  if (call->options.wanted && !call->options.wanted()) return call->done(call->failed, {});
  const Load load = call->options.load;
  if (load != Load::kNone && !MayStart(load, [this, call] { AttemptAgain(call); })) return;
  Attempt(call);
}

void Caller::Attempt(std::shared_ptr<Attempts> call) {
  std::string dialed;
  {
    MutexLock lock(mu_);
    if (stopped_) {
      executor_.Post([call] { call->done(absl::CancelledError("the worker is shutting down"), {}); });
      return;
    }
    dialed = DialedAddress(call->target);
    call->began = NowLocked();
    ++starting_;
  }
  // Without the lock: a transport may answer in line.
  transport_.Call(
      dialed, call->method, call->request, call->options.attempt,
      [this, call, dialed](absl::Status status, Buffer reply) {
        FreeRoom(*call, status);
        if (call->options.delivery == Delivery::kInLine && status.ok()) return Finish(call, status, std::move(reply));
        executor_.Post([this, call, dialed, status = std::move(status), reply = std::move(reply)]() mutable {
          LeaveLocalSocket(call->target, dialed, status);
          Finish(call, std::move(status), std::move(reply));
        });
      });
  MutexLock lock(mu_);
  --starting_;
  started_.NotifyAll();
}

void Caller::Finish(const std::shared_ptr<Attempts>& call, absl::Status status, Buffer reply) {
  const auto index = static_cast<std::size_t>(call->target + 1);
  if (!IsRetryable(status)) {
    {
      MutexLock lock(mu_);
      if (!absl::IsCancelled(status) && index < outages_.size() && outages_[index].Answered(NowLocked())) {
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
    const Instant now = NowLocked();
    if (index < outages_.size()) {
      advice = outages_[index].Failed(call->began, now, give_up_after_);
      troubles_[index] = {status, now};
    }
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
  if (call->options.wanted && !call->options.wanted()) return call->done(std::move(status), {});
  ++retries_;
  call->failed = std::move(status);
  After(call->backoff.Next(call->failed), [this, call] { AttemptAgain(call); });
}

Caller::Trouble Caller::LastTrouble(Target target) {
  MutexLock lock(mu_);
  const auto index = static_cast<std::size_t>(target + 1);
  return index < troubles_.size() ? troubles_[index] : Trouble{};
}

Instant Caller::LastAnswerUp() {
  MutexLock lock(mu_);
  return last_answer_up_;
}

Instant Caller::Now() {
  MutexLock lock(mu_);
  return NowLocked();
}

Instant Caller::NowLocked() {
  if (!stopped_) now_ = clock_.Now();
  return now_;
}

void Caller::After(absl::Duration delay, std::function<void()> fn) {
  MutexLock lock(mu_);
  if (stopped_) return;
  clock_.RunAt(clock_.Now() + delay, [this, fn = std::move(fn)]() mutable { executor_.Post(std::move(fn)); });
}

void Caller::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  while (starting_ > 0) started_.Wait(mu_);
}

}  // namespace leeway
