// TrainingSession: where work comes from, what is reported, and the end.
#include <algorithm>
#include <utility>
#include <vector>

#include "worker/client/describe_wait.h"
#include "worker/trainer/leave_cluster.h"
#include "worker/trainer/training_session.h"

namespace leeway {
namespace {

constexpr absl::Duration kReportEvery = absl::Seconds(1);
constexpr absl::Duration kParkedPause = absl::Milliseconds(100);
constexpr absl::Duration kShortBatchAfter = absl::Milliseconds(100);
constexpr absl::Duration kLastReport = absl::Seconds(5);
constexpr absl::Duration kPreemptionGrace = absl::Seconds(10);  // for pushes under way

}  // namespace

bool TrainingSession::GetWork() {
  const bool stale = work_ && !source_.leased() && work_clock_ != pipeline_.clock();
  if (stale) source_.Return(*std::exchange(work_, std::nullopt));
  while (!work_ && !Broken() && !Ending()) {
    Work work;
    switch (source_.Take(pipeline_.clock(), no_more_data_, &work)) {
      case WorkSource::Answer::kWork:
        work_ = std::move(work);
        work_clock_ = pipeline_.clock();
        no_more_data_ = false;
        return true;
      case WorkSource::Answer::kFinished:
        return false;
      case WorkSource::Answer::kLater: {
        const Instant from = worker_.caller.Now();
        const std::size_t pushes = pushes_.size();
        WaitFor(v1::WAIT_PUSH, from, [&] { return pushes_.size() < pushes || pushes == 0; });
        WaitedForPush(from, worker_.caller.Now());
        return false;  // a refusal may have dropped the weights
      }
      case WorkSource::Answer::kNeedsData: {
        const Instant from = worker_.caller.Now();
        if (parked_) {
          // It may re-enter at another clock: with nothing in flight.
          WaitFor(v1::WAIT_PUSH, from, [&] { return pushes_.empty(); });
          mailbox_->RunUntil([&] { return Broken() || Ending(); }, kParkedPause);
        }
        AskForData();
        // While there is no data the coordinator holds the request. Records in hand are not held back by that: the
        // epoch may be waiting for them.
        const bool some = source_.HasSome();
        WaitFor(
            v1::WAIT_DATA, from, [&] { return !acquiring_; }, some ? kShortBatchAfter : absl::InfiniteDuration());
        if (some && acquiring_) no_more_data_ = true;
        WaitedForData(from, worker_.caller.Now());
        break;
      }
    }
  }
  return work_.has_value();
}

void TrainingSession::AskForData() {
  if (acquiring_) return;
  acquiring_ = true;
  v1::AcquireDataRequest request;
  request.set_records(std::max<std::uint64_t>(source_.wanted(), 1));
  // The next number when this one has got a range: should the network bring an attempt late, when there is data again,
  // what that gets is what the next attempt is answered. Nobody else would ever commit it.
  request.set_request(data_ranges_ + 1);
  const bool ahead = source_.missing() == 0;
  request.set_ahead(ahead);
  coordinator_->AcquireData(
      std::move(request), [this, mailbox = mailbox_, ahead](absl::Status status, v1::AcquireDataReply reply) {
        mailbox->Post([this, ahead, status, reply = std::move(reply)] { OnData(ahead, status, reply); });
      });
}

void TrainingSession::OnData(bool ahead, absl::Status status, const v1::AcquireDataReply& reply) {
  acquiring_ = false;
  if (!status.ok()) return Fail(status);
  if (reply.reentered()) {
    pipeline_.Reenter(reply.entry_clock());
    // What was prefetched is dropped, and the training thread may be waiting for just that. At the end it is not, and
    // what is pulled then would come into the engine's memory when the next session uses it.
    if (!Broken() && !Ending()) SendPulls();
  }
  *settled_ = pipeline_.settled();
  none_ahead_ = !reply.has_range();
  if (reply.has_range()) {
    ++data_ranges_;
    parked_ = no_more_data_ = false;
    Fail(source_.Add(reply.range()));
  } else if (!ahead || reply.parked()) {
    no_more_data_ = true;  // a batch that is not full may go now
    parked_ = reply.parked();
  }
}

v1::Progress TrainingSession::Totals() const {
  v1::Progress totals = ledger_.Totals(worker_.caller.retries());
  waits_.AddTotals(&totals);
  return totals;
}

void TrainingSession::Report(bool now) {
  if (!now && (answered_report_ < reports_ || worker_.caller.Now() - last_report_ < kReportEvery)) return;
  last_report_ = worker_.caller.Now();
  const std::uint64_t number = ++reports_;
  if (worker_.metrics != nullptr) worker_.metrics->SetProgress(worker_.caller.retries(), *settled_);
  v1::ReportProgressRequest request;
  *request.mutable_progress() = Totals();
  waits_.Take(worker_.caller.Now(), &request);
  // A report that is lost is made up for by the next: totals are sent. Only the end waits for its answer.
  coordinator_->ReportProgress(std::move(request), [this, mailbox = mailbox_, number](absl::Status) {
    mailbox->Post([this, number] { answered_report_ = std::max(answered_report_, number); });
  });
  if (now) mailbox_->RunUntil([&] { return answered_report_ == number || Broken(); }, kLastReport);
}

// Completes what is under way where that is possible, and waits until nothing uses the engine's memory any more.
void TrainingSession::Drain() {
  for (auto& [id, pull] : pulls_) pull.pull->Abandon();
  pulls_.clear();
  worker_.engine.FlushSender();  // every chunk that was computed has reached its push
  const auto settled = [this] { return pushes_.empty() && commits_.empty(); };
  const Instant start = worker_.caller.Now();
  while (!Broken() && !mailbox_->RunUntil([&] { return settled() || Broken(); }, kReportEvery)) {
    if (worker_.cancellation.cancelled() && worker_.caller.Now() - start >= kPreemptionGrace) break;
    if (worker_.caller.Now() - start >= kWorthTelling) TellWaits(WaitsUnderWay(v1::WAIT_PUSH, start));
  }
  TellWaits({});
  WaitedForPush(start, worker_.caller.Now());
  for (auto& [clock, push] : pushes_) push.push->Abandon();
  while (!mailbox_->RunUntil([this] { return pushes_.empty(); }, kReportEvery)) {
    if (worker_.cancellation.cancelled()) break;  // the process ends, and with it the transport
  }
  SettleHeld(view_->expired().ok() ? v1::VERDICT_NONE : AskOfHeldPush());
}

absl::Status TrainingSession::Leave(const std::string& reason, bool finished) {
  if (work_) source_.Return(*std::exchange(work_, std::nullopt));
  v1::LeaveRequest request;
  request.set_reason(reason);
  request.set_finished(finished);
  request.set_pushed(std::min(pipeline_.settled(), first_abandoned_));
  *request.mutable_progress() = Totals();
  for (v1::DataRange& range : source_.TakeRemaining()) *request.add_returned() = std::move(range);
  return LeaveCluster(*coordinator_, mailbox_, std::move(request), lease_, worker_.cancellation);
}

}  // namespace leeway
