#include "worker/trainer/ledger.h"

#include <algorithm>
#include <cmath>

namespace leeway {
namespace {

double Seconds(absl::Duration time) { return std::max(0.0, absl::ToDoubleSeconds(time)); }

}  // namespace

Instant Ledger::GateOpened(Instant from, Instant to, const PullResult& pull) {
  return pull.gated ? std::clamp(pull.gate_open, from, std::max(from, to)) : from;
}

void Ledger::WaitedForPull(Instant from, Instant to, const PullResult& pull) {
  const Instant open = GateOpened(from, to, pull);
  const double blocked = Seconds(open - from);
  const double waited = Seconds(to - open);
  v1::PhaseSeconds& seconds = *totals_.mutable_seconds();
  seconds.set_blocked(seconds.blocked() + blocked);
  seconds.set_pull(seconds.pull() + waited);
  for (const std::uint32_t worker : pull.waited_for) {
    blocked_on_[worker] += blocked / static_cast<double>(pull.waited_for.size());
  }
  transfers_.push_back({pull.ended - pull.transfer, pull.ended});
  Exposed(open, to);
}

void Ledger::WaitedForData(absl::Duration time) {
  totals_.mutable_seconds()->set_data(totals_.seconds().data() + Seconds(time));
}

void Ledger::WaitedForPush(Instant from, Instant to) {
  totals_.mutable_seconds()->set_push(totals_.seconds().push() + Seconds(to - from));
  Exposed(from, to);
}

void Ledger::Exposed(Instant from, Instant to) {
  totals_.set_exposed_seconds(totals_.exposed_seconds() + Seconds(to - from));
  if (from < to) waits_.push_back({from, to});
  if (waits_.size() > kWaits) waits_.pop_front();
  CountHidden();
}

void Ledger::CountHidden() {
  for (const Interval& transfer : transfers_) {
    double hidden = Seconds(transfer.end - transfer.begin);
    for (const Interval& wait : waits_) {
      hidden -= Seconds(std::min(transfer.end, wait.end) - std::max(transfer.begin, wait.begin));
    }
    totals_.set_hidden_seconds(totals_.hidden_seconds() + std::max(0.0, hidden));
  }
  transfers_.clear();
}

void Ledger::Computed(absl::Duration compute, absl::Duration data, std::uint64_t samples, double loss_sum,
                      double correct, std::uint64_t epoch) {
  CountHidden();
  WaitedForData(data);
  totals_.mutable_seconds()->set_compute(totals_.seconds().compute() + Seconds(compute));
  totals_.set_steps(totals_.steps() + 1);
  totals_.set_samples(totals_.samples() + samples);
  // One bad batch must not spoil the sum for good.
  if (std::isfinite(loss_sum)) {
    totals_.set_loss_sum(totals_.loss_sum() + loss_sum);
  } else {
    totals_.set_nonfinite_samples(totals_.nonfinite_samples() + samples);
  }
  correct_ += correct;
  totals_.set_correct(static_cast<std::uint64_t>(std::llround(correct_)));
  totals_.set_epoch(std::max<std::uint64_t>(totals_.epoch(), epoch));
  if (metrics_ != nullptr) TellStep(samples, loss_sum, epoch);
}

void Ledger::TellStep(std::uint64_t samples, double loss_sum, std::uint64_t epoch) {
  const v1::PhaseSeconds& now = totals_.seconds();
  v1::PhaseSeconds step;
  step.set_data(now.data() - at_last_step_.data());
  step.set_pull(now.pull() - at_last_step_.pull());
  step.set_compute(now.compute() - at_last_step_.compute());
  step.set_push(now.push() - at_last_step_.push());
  step.set_blocked(now.blocked() - at_last_step_.blocked());
  step.set_paced(now.paced() - at_last_step_.paced());
  at_last_step_ = now;
  metrics_->StepEnded(step, samples, loss_sum, epoch);
}

void Ledger::GaveUp(absl::Duration compute, absl::Duration data) {
  CountHidden();
  WaitedForData(data);
  totals_.mutable_seconds()->set_compute(totals_.seconds().compute() + Seconds(compute));
  totals_.set_steps_given_up(totals_.steps_given_up() + 1);
  if (metrics_ != nullptr) metrics_->StepGivenUp();
}

void Ledger::Paced(absl::Duration time) {
  totals_.mutable_seconds()->set_paced(totals_.seconds().paced() + Seconds(time));
}

void Ledger::PushEnded(const PushResult& push) {
  if (metrics_ != nullptr) metrics_->PushEnded(push);
  if (push.verdict == v1::REFUSED) totals_.set_pushes_refused(totals_.pushes_refused() + 1);
  if (push.verdict == v1::DROPPED) totals_.set_pushes_dropped(totals_.pushes_dropped() + 1);
  if (push.verdict == v1::APPLIED && push.partial) totals_.set_pushes_partial(totals_.pushes_partial() + 1);
  if (push.verdict == v1::APPLIED && !push.partial) totals_.set_pushes_applied(totals_.pushes_applied() + 1);
  transfers_.push_back({push.ended - push.transfer, push.ended});
}

v1::Progress Ledger::Totals(std::uint64_t retries) const {
  v1::Progress progress = totals_;
  progress.set_retries(retries);
  for (const auto& [worker, seconds] : blocked_on_) {
    v1::BlockedOn& on = *progress.add_blocked_on();
    on.set_worker_id(worker);
    on.set_seconds(seconds);
  }
  return progress;
}

}  // namespace leeway
