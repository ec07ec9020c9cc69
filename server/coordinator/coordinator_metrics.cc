// Coordinator: what /metrics tells of the run, and the numbers for its curves.
#include <map>
#include <utility>

#include "kernels/schedule.h"
#include "server/coordinator/coordinator.h"

namespace leeway {
namespace {

const std::vector<std::string>& RunStates() {
  static const auto* states =
      new std::vector<std::string>{"starting", "training", "finishing", "evaluating", "finished"};  // as v1::RunState
  return *states;
}

double Number(std::uint64_t value) { return static_cast<double>(value); }

}  // namespace

void Coordinator::AddMetrics(MetricsPage* page) {
  MutexLock lock(mu_);
  const Instant now = clock_->Now();
  page->State("ps_run_state", "1 for the state that the run is in", "state", RunStates(),
              RunStates()[static_cast<std::size_t>(state_)]);
  page->Gauge("ps_global_step", "steps that were trained on; less again when the run goes back", Number(steps_));
  page->Counter("ps_examples_total", "records that were trained on, also those that were lost when the run went back",
                Number(samples_ + samples_lost_));
  if (const std::uint64_t total = policies_.policy().stop().epochs() * data_.num_records(); total > 0) {
    page->Gauge("ps_progress_ratio", "records trained on, of all in --epochs", Number(samples_) / Number(total));
  }
  page->Counter("ps_rollbacks_total", "how often the run has gone back to a checkpoint", Number(era_));
  page->Gauge("ps_membership_epoch", "number of the newest decision about who is a member",
              Number(membership_.epoch()));
  AddWorkerMetrics(now, page);
  AddStalenessMetrics(page);
  std::uint64_t connected = 0;
  for (const ShardInfo& shard : shards_) connected += MayBeThere(shard) ? 1 : 0;
  page->Gauge("ps_shards", "shards by whether the coordinator hears of them", Number(connected),
              {{"state", "connected"}});
  page->Gauge("ps_shards", "shards by whether the coordinator hears of them", Number(shards_.size() - connected),
              {{"state", "missing"}});
  if (const v1::LossPoint* point = board_.newest_point(); point != nullptr) {
    page->Gauge("ps_training_loss", "mean loss of the records trained on last, over all workers", point->loss());
  }
  if (const v1::Evaluation* evaluation = board_.newest_evaluation(); evaluation != nullptr) {
    page->Gauge("ps_evaluation_loss", "of the newest evaluation", evaluation->loss());
    page->Gauge("ps_evaluation_accuracy", "of the newest evaluation, 0 to 1", evaluation->accuracy());
  }
  if (options_.committer != nullptr) checkpoints_.AddTo(now, page);
}

void Coordinator::AddWorkerMetrics(Instant now, MetricsPage* page) {
  std::map<std::string, std::uint64_t> states;
  for (const char* state : {"joining", "live", "parked", "observer", "left", "expired", "quarantined"})
    states[state] = 0;
  v1::GetStatusReply status;
  board_.FillWorkers(now, &status);
  for (const v1::WorkerStatus& worker : status.workers()) {
    const v1::Member* member = membership_.Find(worker.worker_id());
    const bool parked = member != nullptr && member->state() == v1::PARKED;
    ++states[parked ? "parked" : worker.state()];
    if (member == nullptr) continue;  // series of those who are gone end
    const MetricLabels labels = {{"worker", worker.name()}};
    page->Timestamp("ps_worker_last_seen_timestamp_seconds", "when the coordinator has last heard of this member",
                    membership_.Silence(now, worker.worker_id()), labels);
    page->Gauge("ps_worker_waiting_seconds", "how long this member's wait that is under way has lasted, or 0",
                absl::ToDoubleSeconds(waits_under_way_.Longest(now, worker.worker_id())), labels);
    if (member->state() == v1::OBSERVER) continue;
    page->Gauge("ps_worker_clock", "steps of this member that have their verdict", Number(worker.clock()), labels);
  }
  for (const auto& [state, count] : states) {
    page->Gauge("ps_workers", "workers by state, of all that have ever joined", Number(count), {{"state", state}});
  }
}

// Here and not at the shards: each push is decided upon once, and goes to all of them. What came too late for its round
// the workers count: a step that was given up has reached no shard.
void Coordinator::AddStalenessMetrics(MetricsPage* page) const {
  std::uint64_t waited = 0;
  for (const ShardInfo& shard : shards_) waited += shard.stats.pulls_blocked();
  std::uint64_t dropped = tickets_.refused();
  v1::GetStatusReply status;
  board_.FillWorkers(clock_->Now(), &status);
  for (const v1::WorkerStatus& worker : status.workers()) dropped += worker.progress().pushes_dropped();
  const std::pair<const char*, std::uint64_t> actions[] = {
      {"wait", waited}, {"drop", dropped}, {"scale", tickets_.scaled()}};
  for (const auto& [action, count] : actions) {
    page->Counter("ps_stale_gradients_total",
                  "what was done about staleness: wait, pull requests held at the gates; drop, pushes refused by their "
                  "delay or too late for their round; scale, pushes applied at a lower rate",
                  Number(count), {{"action", action}});
  }
}

RunSample Coordinator::Sample() {
  MutexLock lock(mu_);
  RunSample sample;
  sample.steps = steps_;
  sample.samples = samples_;
  sample.rate = RateAt(policies_.policy().schedule(), samples_);
  if (board_.newest_point() != nullptr) sample.training = *board_.newest_point();
  if (board_.newest_evaluation() != nullptr) sample.evaluation = *board_.newest_evaluation();
  for (const auto& [id, member] : membership_.members()) sample.live_workers += member.state() == v1::LIVE ? 1 : 0;
  sample.stats = shards_.front().stats;
  for (std::size_t i = 1; i < shards_.size(); ++i) {
    sample.stats.set_push_bytes(sample.stats.push_bytes() + shards_[i].stats.push_bytes());
    sample.stats.set_pull_bytes(sample.stats.pull_bytes() + shards_[i].stats.pull_bytes());
  }
  return sample;
}

}  // namespace leeway
