#include "server/coordinator_link.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc.h"
#include "common/run_failure.h"

namespace leeway {
namespace {

constexpr absl::Duration kWatchWait = absl::Seconds(1);              // also how often statistics travel
constexpr absl::Duration kWatchWaitInCut = absl::Milliseconds(200);  // a checkpoint waits for what is told
constexpr absl::Duration kTimeout = absl::Seconds(6);
constexpr absl::Duration kComplainEvery = absl::Seconds(10);
// How long the end waits for a journal that cannot be written.
constexpr absl::Duration kLastWrite = absl::Seconds(10);
// How long a shard that was started again after the end tries to tell a coordinator that may not be there any more.
constexpr absl::Duration kLastCall = absl::Seconds(5);

}  // namespace

void CoordinatorLink::Start(std::function<void(absl::Status)> on_end) {
  on_end_ = std::move(on_end);
  last_contact_ = last_complaint_ = last_written_ = clock_->Now();
  shard_->set_on_round([this] { ReportRound(); });
  // An earlier process of this shard may have written that it knows of the end, which nothing takes back.
  finishing_ = shard_->state() == v1::FINISHED;
  failure_ = shard_->failure();
  if (finishing_) spdlog::info("this shard's journal says that the run is finished");
  executor_->Post([this] { Watch(); });
}

void CoordinatorLink::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
}

bool CoordinatorLink::stopped() {
  MutexLock lock(mu_);
  return stopped_;
}

void CoordinatorLink::End(absl::Status status) {
  {
    MutexLock lock(mu_);
    if (std::exchange(stopped_, true)) return;
  }
  on_end_(std::move(status));
}

void CoordinatorLink::WatchOn(std::uint64_t id, bool written) {
  if (id != next_watch_) return;
  ++next_watch_;
  const Instant now = clock_->Now();
  if (written) last_written_ = now;
  if (finishing_ && now - last_written_ >= kLastWrite) {
    return End(absl::UnavailableError("the run is over, and the journal could not be written"));
  }
  if (written) {
    Watch();
  } else {
    Send();
  }
}

void CoordinatorLink::Watch() {
  if (stopped()) return;
  v1::WatchRequest request = shard_->Describe();
  request.set_address(options_.address);
  request.set_era(options_.era.number);
  if (!options_.lost.empty()) request.set_lost(options_.lost);
  if (!options_.local_endpoint.host().empty()) *request.mutable_local_endpoint() = options_.local_endpoint;
  const absl::Duration wait = finishing_ ? absl::ZeroDuration() : request.has_cut() ? kWatchWaitInCut : kWatchWait;
  request.set_wait_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(wait)));
  request.set_can_prove(true);
  request.set_proof(last_request_.proof());
  told_the_end_ = finishing_;
  last_request_ = std::move(request);
  Send();
}

void CoordinatorLink::Send() {
  if (stopped()) return;
  last_request_.set_pushes_wait(std::string(options_.can_write().message()));
  CallRpc<v1::WatchReply>(
      *transport_, options_.coordinator, "Coordinator/WatchMembership", last_request_, {}, kTimeout,
      [this](absl::Status status, Decoded<v1::WatchReply> reply) {
        executor_->Post([this, status, snapshot = std::move(reply.message)] { OnWatch(status, snapshot); });
      });
}

void CoordinatorLink::OnWatch(absl::Status status, const v1::WatchReply& snapshot) {
  if (stopped()) return;
  if (!status.ok()) return OnFailure(status);
  last_contact_ = clock_->Now();
  if (snapshot.prove() != 0) {
    last_request_.set_proof(snapshot.prove());
    return Send();
  }
  if (absl::Status fits = reached_ ? absl::OkStatus() : options_.check(); !fits.ok()) return End(fits);
  // What a journal brought back of the open round has not been reported by this process.
  if (!reached_.exchange(true)) ReportRound();
  backoff_.Reset();
  if (snapshot.era() != options_.era.number) {
    next_era_ = {snapshot.era(), snapshot.base_checkpoint()};
    return End(absl::AbortedError(absl::StrCat("the run has gone back to ", next_era_.base)));
  }
  if (told_the_end_) return End(RunFailure(failure_));
  if (absl::Status applied = shard_->ApplySnapshot(snapshot); !applied.ok()) return End(applied);
  finishing_ = snapshot.state() == v1::FINISHED;
  failure_ = snapshot.failure();
  for (const v1::DrainOrder& order : snapshot.drains()) {
    const bool mine =
        order.shard_index() == last_request_.shard_index() && order.generation() == last_request_.generation();
    if (mine) options_.on_drain();
  }
  // The next call says what is carried out here, so that must not be forgotten. Where the journal cannot be written,
  // the line to the coordinator stays, and the call says again what was safe.
  const std::uint64_t id = ++next_watch_;
  shard_->WhenWritten([this, id](const absl::Status& written) {
    if (written.ok()) executor_->Post([this, id] { WatchOn(id, true); });
  });
  clock_->RunAt(clock_->Now() + kWatchWait, [this, id] { executor_->Post([this, id] { WatchOn(id, false); }); });
}

void CoordinatorLink::OnFailure(const absl::Status& status) {
  const Instant now = clock_->Now();
  // At the end the coordinator may be gone before it has heard that we know.
  if (told_the_end_ && (reached_ || now - last_contact_ >= kLastCall)) return End(RunFailure(failure_));
  if (!IsRetryable(status)) return End(status);
  const absl::Duration limit = reached_ ? options_.give_up_after : options_.start_timeout;
  if (now - last_contact_ >= limit) {
    return End(absl::UnavailableError(absl::StrCat("coordinator ", options_.coordinator, " not reached for ",
                                                   absl::FormatDuration(limit), ": ", status.message())));
  }
  if (now - last_complaint_ >= kComplainEvery) {
    last_complaint_ = now;
    spdlog::warn("waiting for the coordinator at {}: {}", options_.coordinator, std::string(status.message()));
  }
  clock_->RunAt(now + backoff_.Next(status), [this] { executor_->Post([this] { Send(); }); });
}

void CoordinatorLink::ReportRound() {
  {
    MutexLock lock(mu_);
    if (stopped_) return;
    if (std::exchange(reporting_, true)) {
      report_again_ = true;
      return;
    }
  }
  const v1::ReportRoundRequest request = shard_->DescribeRound();
  if (request.complete().empty()) return OnReported(absl::OkStatus());
  CallRpc<v1::ReportRoundReply>(
      *transport_, options_.coordinator, "Coordinator/ReportRound", request, {}, kTimeout,
      [this](absl::Status status, const Decoded<v1::ReportRoundReply>&) { OnReported(status); });
}

void CoordinatorLink::OnReported(const absl::Status& status) {
  bool again = false;
  {
    MutexLock lock(mu_);
    reporting_ = false;
    again = std::exchange(report_again_, false);
  }
  // A report that was lost, for whatever reason, is made again: nothing else would close the round.
  if (!status.ok()) {
    const absl::Duration wait = IsRetryable(status) ? Backoff::kFirst : kWatchWait;
    clock_->RunAt(clock_->Now() + wait, [this] { executor_->Post([this] { ReportRound(); }); });
  } else if (again) {
    executor_->Post([this] { ReportRound(); });
  }
}

}  // namespace leeway
