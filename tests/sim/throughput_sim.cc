#include "tests/sim/throughput_sim.h"

#include <algorithm>
#include <list>
#include <map>
#include <numeric>
#include <queue>
#include <set>
#include <utility>
#include <vector>

#include "server/clock_table.h"
#include "server/coordinator/round_closer.h"
#include "server/histogram.h"
#include "server/staleness_gate.h"
#include "worker/trainer/step_pipeline.h"

namespace leeway {
namespace {

double Mean(const v1::Histogram& histogram) {
  const auto total = std::accumulate(histogram.counts().begin(), histogram.counts().end(), std::uint64_t{0});
  return total == 0 ? 0 : histogram.sum() / static_cast<double>(total);
}

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  SimResult Run();

 private:
  // What was asked for, and what was known when it was answered.
  struct Read {
    StepPipeline::PullOrder order;
    double asked = 0;
    double admitted = 0;
    std::uint64_t version = 0;
  };
  struct Worker {
    explicit Worker(int depth) : pipeline(depth, 0) {}
    StepPipeline pipeline;
    double idle_since = 0;
    std::uint64_t applied = 0;            // its updates, or rounds
    std::map<std::uint64_t, Read> reads;  // by pull id
  };
  struct Event {
    double time = 0;
    std::uint64_t sequence = 0;  // what was planned first happens first
    std::function<void()> happen;
    bool operator>(const Event& other) const {
      return std::pair(time, sequence) > std::pair(other.time, other.sequence);
    }
  };

  void At(double time, std::function<void()> happen) { events_.push({time, next_sequence_++, std::move(happen)}); }
  void GoOn(std::uint32_t rank);
  void Ask(std::uint32_t rank);
  bool Admitted(std::uint32_t rank, const StepPipeline::PullOrder& order) const;
  void TryHeld();
  void Compute(std::uint32_t rank);
  void ArriveEach(std::uint32_t rank, const StepPipeline::Compute& step, const Read& read);
  void ArriveRound(std::uint32_t rank, const StepPipeline::Compute& step);
  std::uint64_t SlowestClock() const;
  void NoteGap();

  const SimOptions& options_;
  std::vector<Worker> workers_;
  ClockTable clocks_;
  RoundCloser rounds_{1, 0};
  std::set<std::uint32_t> everyone_;
  v1::ReportRoundRequest report_;                            // of the open round
  std::list<std::pair<std::uint32_t, std::uint64_t>> held_;  // pulls that the gate holds: rank, id; oldest first

  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t next_sequence_ = 0;
  double now_ = 0;
  std::uint64_t version_ = 0;
  LinearHistogram gap_, delay_;
  SimResult result_;
};

Simulation::Simulation(const SimOptions& options) : options_(options) {
  for (std::uint32_t rank = 0; rank < options.workers; ++rank) {
    workers_.emplace_back(options.depth);
    clocks_.Install(rank, 0, true);
    everyone_.insert(rank);
  }
}

SimResult Simulation::Run() {
  for (std::uint32_t rank = 0; rank < options_.workers; ++rank) GoOn(rank);
  while (version_ < options_.steps && !events_.empty()) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.time;
    event.happen();
  }
  result_.seconds = now_;
  result_.gap = gap_.ToProto();
  result_.delay = delay_.ToProto();
  return result_;
}

void Simulation::GoOn(std::uint32_t rank) {
  Ask(rank);
  if (!workers_[rank].pipeline.CanCompute()) return;
  Compute(rank);
  Ask(rank);
}

void Simulation::Ask(std::uint32_t rank) {
  while (const auto order = workers_[rank].pipeline.NextPull()) {
    At(now_ + options_.message_seconds, [this, rank, order = *order] {
      Read& read = workers_[rank].reads[order.id];
      read.order = order;
      read.asked = now_;
      held_.emplace_back(rank, order.id);
      TryHeld();
    });
  }
}

bool Simulation::Admitted(std::uint32_t rank, const StepPipeline::PullOrder& order) const {
  const GateRequest request{rank, order.clock, order.own_clock};
  return (options_.round ? AskRoundGate(rounds_.open_round(), rounds_.Missing(everyone_), request)
                         : AskGate(clocks_, options_.bound, request))
      .admitted;
}

void Simulation::TryHeld() {
  for (auto it = held_.begin(); it != held_.end();) {
    const auto [rank, id] = *it;
    Read& read = workers_[rank].reads.at(id);
    if (!Admitted(rank, read.order)) {
      ++it;
      continue;
    }
    it = held_.erase(it);
    read.admitted = now_;
    read.version = version_;
    gap_.Add(clocks_.Gap());
    const std::uint64_t slowest = SlowestClock();
    if (read.order.clock > slowest) result_.max_lead = std::max(result_.max_lead, read.order.clock - slowest);
    At(now_ + options_.message_seconds, [this, rank = rank, id = id] {
      workers_[rank].pipeline.PullArrived(id);
      GoOn(rank);
    });
  }
}

void Simulation::Compute(std::uint32_t rank) {
  Worker& worker = workers_[rank];
  const StepPipeline::Compute step = worker.pipeline.BeginCompute();
  const Read read = worker.reads.extract(step.pull_id).mapped();
  result_.blocked_seconds += std::max(0.0, read.admitted - std::max(worker.idle_since, read.asked));
  At(now_ + options_.step_seconds(rank, step.clock), [this, rank, step, read] {
    workers_[rank].pipeline.EndCompute();
    workers_[rank].idle_since = now_;
    At(now_ + options_.message_seconds, [this, rank, step, read] {
      if (options_.round) {
        ArriveRound(rank, step);
      } else {
        ArriveEach(rank, step, read);
      }
      TryHeld();
      At(now_ + options_.message_seconds, [this, rank, step] {
        workers_[rank].pipeline.PushEnded(step.clock, v1::APPLIED, 0);
        GoOn(rank);
      });
    });
    GoOn(rank);
  });
}

void Simulation::ArriveEach(std::uint32_t rank, const StepPipeline::Compute& step, const Read& read) {
  delay_.Add(version_ - read.version);
  ++version_;
  ++result_.pushes;
  ++workers_[rank].applied;
  clocks_.Advance(rank, step.clock + 1);
  NoteGap();
}

void Simulation::ArriveRound(std::uint32_t rank, const StepPipeline::Compute& step) {
  report_.set_round(step.clock);
  v1::RoundContribution& contribution = *report_.add_complete();
  contribution.set_rank(rank);
  contribution.set_samples(1);
  contribution.set_usable(true);
  rounds_.Report(0, report_);
  const auto close = rounds_.TryClose(everyone_);
  if (!close) return;
  report_.Clear();
  ++version_;
  result_.pushes += static_cast<std::uint64_t>(close->ranks_size());
  for (const std::uint32_t contributor : close->ranks()) {
    delay_.Add(0);
    ++workers_[contributor].applied;
    clocks_.Advance(contributor, rounds_.open_round());
  }
  NoteGap();
}

std::uint64_t Simulation::SlowestClock() const {
  const auto less = [](const Worker& a, const Worker& b) { return a.applied < b.applied; };
  return std::min_element(workers_.begin(), workers_.end(), less)->applied;
}

void Simulation::NoteGap() {
  std::uint64_t fastest = 0;
  for (const Worker& worker : workers_) fastest = std::max(fastest, worker.applied);
  result_.max_gap = std::max(result_.max_gap, fastest - SlowestClock());
}

}  // namespace

double SimResult::MeanDelay() const { return Mean(delay); }
double SimResult::MeanGap() const { return Mean(gap); }

SimResult SimulateThroughput(const SimOptions& options) { return Simulation(options).Run(); }

}  // namespace leeway
