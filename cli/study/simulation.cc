#include "cli/study/simulation.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/check_policy.h"
#include "server/staleness_gate.h"

namespace leeway {
namespace {

// A push costs some ten events. Beyond these nearly all are refused, or everybody dies before a step is done.
constexpr std::uint64_t kEventsPerPush = 200;
Membership::Config MembershipOf(const SimOptions& options) {
  Membership::Config config;
  config.lease = absl::Seconds(options.lease_seconds);
  config.max_members = options.workers;
  return config;
}

}  // namespace

Simulation::Simulation(const SimOptions& options)
    : options_(options),
      tickets_needed_(NeedsTicket(options.policy)),
      workers_(options.workers),
      membership_(MembershipOf(options)),
      rounds_(1, options.policy.round_quorum()) {}

SimResult Simulation::Run() {
  // All join before the first becomes live: so they enter together, as behind the start's barrier.
  for (std::uint32_t rank = 0; rank < options_.workers; ++rank) Join(rank);
  Promote();
  std::uint64_t events_left = kEventsPerPush * (options_.pushes + options_.workers);
  while (result_.pushes < options_.pushes && !events_.empty() && events_left-- > 0 && now_ < kLongestSeconds) {
    std::pop_heap(events_.begin(), events_.end(), std::greater<>());
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.time;
    event.happen();
  }
  result_.complete = result_.pushes >= options_.pushes;
  result_.seconds = now_;
  for (const Worker& worker : workers_) {
    if (worker.pipeline) result_.lived_seconds += now_ - worker.joined;
    result_.blocked_seconds += BlockedSoFar(worker);
  }
  return std::move(result_);
}

void Simulation::After(double seconds, std::function<void()> happen) {
  events_.push_back({now_ + seconds, next_sequence_++, std::move(happen)});
  std::push_heap(events_.begin(), events_.end(), std::greater<>());
}

void Simulation::After(double seconds, std::uint32_t rank, std::uint64_t incarnation, std::function<void()> happen) {
  After(seconds, [this, rank, incarnation, happen = std::move(happen)] {
    if (workers_[rank].incarnation == incarnation) happen();
  });
}

// --- One worker's steps ----------------------------------------------------------------------------------

void Simulation::GoOn(std::uint32_t rank) {
  Ask(rank);
  if (!workers_[rank].pipeline->CanCompute()) return;
  Compute(rank);
  Ask(rank);
}

void Simulation::Ask(std::uint32_t rank) {
  Worker& worker = workers_[rank];
  for (const std::uint64_t pull : worker.pipeline->TakeDropped()) Forget(rank, pull);
  while (const auto order = worker.pipeline->NextPull()) {
    worker.reads[order->id].order = *order;
    After(options_.message_seconds, rank, worker.incarnation,
          [this, rank, pull = order->id] { PullArrives(rank, pull); });
  }
}

void Simulation::Forget(std::uint32_t rank, std::uint64_t pull) {
  const auto found = workers_[rank].reads.extract(pull);
  if (!found.empty() && found.mapped().held) held_.erase({found.mapped().order.clock, *found.mapped().held});
}

bool Simulation::Admits(std::uint32_t rank, std::uint64_t clock, std::uint64_t own_clock) const {
  const GateRequest request{rank, clock, own_clock};
  return Round() ? AskRoundGate(rounds_.open_round(), {}, request).admitted
                 : GateAdmits(clocks_, options_.policy.staleness_bound(), request);
}

void Simulation::PullArrives(std::uint32_t rank, std::uint64_t pull) {
  const auto found = workers_[rank].reads.find(pull);
  if (found == workers_[rank].reads.end()) return;  // dropped meanwhile
  Read& read = found->second;
  read.asked = now_;
  if (Admits(rank, read.order.clock, read.order.own_clock)) return Admit(rank, pull);
  read.held = next_sequence_++;
  held_[{read.order.clock, *read.held}] = {rank, pull};
}

void Simulation::Admit(std::uint32_t rank, std::uint64_t pull) {
  Worker& worker = workers_[rank];
  Read& read = worker.reads.at(pull);
  read.held.reset();
  read.admitted = now_;
  read.version = tickets_needed_ ? watermark_.value() : version_;
  if (options_.learner != nullptr) read.weights = options_.learner->Read();
  result_.gap.Add(clocks_.Gap());
  const std::uint64_t slowest = clock_counts_.begin()->first;
  if (read.order.clock > slowest) result_.max_lead = std::max(result_.max_lead, read.order.clock - slowest);
  After(options_.message_seconds, rank, worker.incarnation, [this, rank, pull] {
    workers_[rank].pipeline->PullArrived(pull);
    GoOn(rank);
  });
}

double Simulation::BlockedSoFar(const Worker& worker) const {
  if (worker.computing || worker.reads.empty()) return 0;
  const Read& next = worker.reads.begin()->second;
  return next.held ? now_ - std::max(worker.idle_since, next.asked) : 0;
}

void Simulation::TryHeld() {
  for (auto it = held_.begin(); it != held_.end();) {
    const auto [rank, pull] = it->second;
    const StepPipeline::PullOrder order = workers_[rank].reads.at(pull).order;
    if (Admits(rank, order.clock, order.own_clock)) {
      it = held_.erase(it);
      Admit(rank, pull);
    } else if (Admits(rank, order.clock, 0)) {
      ++it;  // it waits for the worker's own pushes alone
    } else {
      return;  // who has got further is not let in either
    }
  }
}

void Simulation::Compute(std::uint32_t rank) {
  Worker& worker = workers_[rank];
  const StepPipeline::Compute step = worker.pipeline->BeginCompute();
  const Read read = worker.reads.extract(step.pull_id).mapped();
  worker.computing = true;
  worker.step = step.clock;
  result_.blocked_seconds += std::max(0.0, read.admitted - std::max(worker.idle_since, read.asked));
  Push push{rank, worker.incarnation, step.clock, read.version, 1, {}, false};
  if (options_.learner != nullptr) push.samples = options_.learner->Begin(rank, step.clock, read.weights);
  if (WatchesRounds()) {
    After(options_.message_seconds, rank, worker.incarnation, [this, rank] {
      workers_[rank].watching = true;
      if (rounds_.open_round() > workers_[rank].step) AnswerWatch(rank);
    });
  }
  After(options_.step_seconds(rank, step.clock), rank, worker.incarnation, [this, push] {
    if (!workers_[push.rank].computing || workers_[push.rank].step != push.clock) return;  // it was given up
    EndCompute(push.rank);
    Send(push);
    GoOn(push.rank);
  });
}

void Simulation::EndCompute(std::uint32_t rank) {
  workers_[rank].computing = false;
  workers_[rank].pipeline->EndCompute();
  workers_[rank].idle_since = now_;
}

void Simulation::AnswerWatch(std::uint32_t rank) {
  workers_[rank].watching = false;
  After(options_.message_seconds, rank, workers_[rank].incarnation,
        [this, rank, open_round = rounds_.open_round()] { GiveUp(rank, open_round); });
}

// The worker hears that `open_round` is open. What it computes for an earlier one comes to nothing.
void Simulation::GiveUp(std::uint32_t rank, std::uint64_t open_round) {
  Worker& worker = workers_[rank];
  if (!worker.computing || worker.step >= open_round) return;
  EndCompute(rank);
  ++result_.dropped;
  if (options_.learner != nullptr) options_.learner->Refuse(rank, worker.step);
  worker.pipeline->PushEnded(worker.step, v1::DROPPED, open_round);
  GoOn(rank);
}

void Simulation::Send(Push push) {
  const double message = options_.message_seconds;
  // What has left arrives, whatever becomes of its sender.
  if (!tickets_needed_) return After(message, [this, push] { PushArrives(push); });
  After(message, [this, push]() mutable {
    if (!IsMember(push)) return;
    v1::OpenPushRequest request;
    request.mutable_stamp()->set_worker_id(push.rank);
    request.mutable_stamp()->set_incarnation(push.incarnation);
    request.set_clock(push.clock);
    request.set_read_serial(push.version);
    request.set_samples(push.samples);
    const absl::StatusOr<v1::Ticket> ticket = office_.Open(options_.policy, request);
    push.refused = !ticket.ok();
    if (ticket.ok()) push.ticket = *ticket;
    After(options_.message_seconds, push.rank, push.incarnation,
          [this, push] { After(options_.message_seconds, [this, push] { PushArrives(push); }); });
  });
}

// --- What becomes of a push ------------------------------------------------------------------------------

void Simulation::PushArrives(const Push& push) {
  if (!IsMember(push)) {
    ++result_.lost;
    return;
  }
  v1::Verdict verdict = push.refused ? v1::REFUSED : v1::APPLIED;
  if (!Round()) {
    Take(push);
  } else if (push.clock < rounds_.open_round()) {
    verdict = v1::DROPPED;
    ++result_.dropped;
    if (options_.learner != nullptr) options_.learner->Refuse(push.rank, push.clock);
  } else {
    TakeForRound(push);
  }
  TryHeld();
  After(options_.message_seconds, push.rank, push.incarnation,
        [this, push, verdict, open_round = rounds_.open_round()] {
          workers_[push.rank].pipeline->PushEnded(push.clock, verdict, open_round);
          GoOn(push.rank);
        });
}

void Simulation::Take(const Push& push) {
  if (push.refused) {
    ++result_.refused;
    if (options_.learner != nullptr) options_.learner->Refuse(push.rank, push.clock);
  } else {
    result_.delay.Add(tickets_needed_ ? push.ticket.delay() : version_ - push.version);
    ++version_;
    ++result_.pushes;
    if (options_.learner != nullptr) options_.learner->Apply(now_, push.rank, push.clock, push.ticket);
  }
  if (tickets_needed_) {
    watermark_.Settle(push.ticket.serial());
    office_.Settle(push.rank, push.incarnation, push.clock);
  }
  clocks_.Advance(push.rank, push.clock + 1);
  SetClock(push.rank, workers_[push.rank].clock + 1);
  NoteGap();
}

void Simulation::TakeForRound(const Push& push) {
  v1::ReportRoundRequest report;
  report.set_round(push.clock);
  v1::RoundContribution& contribution = *report.add_complete();
  contribution.set_rank(push.rank);
  contribution.set_samples(push.samples);
  contribution.set_usable(true);
  if (options_.learner != nullptr) options_.learner->Hold(push.rank, push.clock);
  rounds_.Report(0, report);
  CloseRound();
}

void Simulation::CloseRound() {
  if (!Round()) return;
  std::optional<v1::RoundClose> close = rounds_.TryClose(expected_);
  // All who took part are gone, and those who came since wait for the next one.
  if (expected_.empty() && !joiners_.empty()) close = rounds_.Abandon();
  if (!close) return;
  ++version_;
  result_.pushes += static_cast<std::uint64_t>(close->ranks_size());
  for (int i = 0; i < close->ranks_size(); ++i) result_.delay.Add(0);
  if (options_.learner != nullptr) options_.learner->Close(now_, *close);
  for (const std::uint32_t rank : expected_) {
    clocks_.Advance(rank, rounds_.open_round());
    SetClock(rank, rounds_.open_round());
    if (workers_[rank].watching) AnswerWatch(rank);
  }
  if (!clock_counts_.empty()) NoteGap();
  expected_.merge(joiners_);
  joiners_.clear();
}

void Simulation::Discount(std::uint64_t clock) {
  const auto found = clock_counts_.find(clock);
  if (--found->second == 0) clock_counts_.erase(found);
}

void Simulation::SetClock(std::uint32_t rank, std::uint64_t clock) {
  Discount(workers_[rank].clock);
  workers_[rank].clock = clock;
  ++clock_counts_[clock];
}

void Simulation::NoteGap() {
  result_.max_gap = std::max(result_.max_gap, clock_counts_.rbegin()->first - clock_counts_.begin()->first);
}

double SimResult::WastedShare() const {
  const double wasted = static_cast<double>(refused + dropped + lost);
  return wasted > 0 ? wasted / (wasted + static_cast<double>(pushes)) : 0;
}

v1::Policy NeverWait() {
  v1::Policy policy;
  policy.set_aggregation(v1::EACH);
  policy.set_staleness_bound(-1);
  policy.set_max_delay(-1);
  policy.set_delay_policy(v1::APPLY);
  return policy;
}

}  // namespace leeway
