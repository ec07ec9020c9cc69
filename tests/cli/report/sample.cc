#include "tests/cli/report/sample.h"

#include <cmath>
#include <string>

#include "common/hash.h"

namespace leeway {
namespace {

// In [-1, 1), the same for the same arguments.
double Noise(std::uint64_t a, std::uint64_t b) { return 2 * UnitUniform(HashCombine(a, b)) - 1; }

void AddWorker(v1::GetStatusReply& status, std::uint32_t id, double speed) {
  v1::WorkerStatus& worker = *status.add_workers();
  worker.set_worker_id(id);
  worker.set_name("worker-" + std::to_string(id - 1));
  worker.set_rank(id - 1);
  worker.set_state("left");
  worker.set_reason("finished");
  worker.set_clock(585);
  worker.set_samples_per_second(690);
  v1::Progress& progress = *worker.mutable_progress();
  progress.set_steps(585);
  progress.set_samples(585 * 128);
  progress.set_loss_sum(0.41 * 585 * 128);
  progress.set_device("cpu");
  progress.set_pushes_applied(580 + id % 3);
  progress.set_pushes_refused(5 - id % 3);
  const double compute = 48 / speed, blocked = 97 - compute;
  v1::PhaseSeconds& seconds = *progress.mutable_seconds();
  seconds.set_data(1.2 + 0.1 * id);
  seconds.set_pull(3.1);
  seconds.set_compute(compute);
  seconds.set_push(2.4);
  seconds.set_blocked(blocked);
  seconds.set_paced(id == 2 ? 4 : 0);
  progress.set_exposed_seconds(5.5 + id);
  progress.set_hidden_seconds(21 + 2 * id);
  for (std::uint32_t other = 1; other <= 4; ++other) {
    if (other == id) continue;
    v1::BlockedOn& on = *progress.add_blocked_on();
    on.set_worker_id(other);
    on.set_seconds(other == 4 ? blocked * 0.9 : 0.05 * blocked * other / 3);
  }
}

void AddShard(v1::GetStatusReply& status, std::uint32_t index) {
  v1::ShardStatus& shard = *status.add_shards();
  shard.set_index(index);
  shard.set_address("127.0.0.1:" + std::to_string(40001 + index));
  shard.set_connected(true);
  shard.set_num_blocks(53);
  v1::ShardStats& stats = *shard.mutable_stats();
  stats.set_version(2324);
  stats.set_pushes_applied(2324);
  stats.set_pushes_refused(16);
  stats.set_push_bytes(2'012'345'678);
  stats.set_pull_bytes(2'112'345'678);
  stats.set_pulls_blocked(711);
  for (std::uint64_t count : {560, 701, 640, 352, 87, 0, 0, 0}) stats.mutable_gap()->add_counts(count);
  stats.mutable_gap()->set_sum(701 + 2 * 640 + 3 * 352 + 4 * 87);
  stats.mutable_gap()->set_max(4);
  double sum = 0;
  for (std::uint64_t delay = 0; delay < 32; ++delay) {
    const double d = static_cast<double>(delay);
    const auto count = static_cast<std::uint64_t>(1600 * std::exp(-(d - 3) * (d - 3) / 4) + 60 * std::exp(-d / 4));
    stats.mutable_delay()->add_counts(count);
    sum += d * static_cast<double>(count);
  }
  stats.mutable_delay()->set_sum(sum);
  stats.mutable_delay()->set_max(17);
}

}  // namespace

v1::GetStatusReply SampleStatus() {
  v1::GetStatusReply status;
  status.set_state(v1::FINISHED);
  status.set_stop_reason("5 epochs");
  status.set_run_id(0x8c0ffee123456789);
  status.set_model("cnn");
  status.set_elements(431080);
  status.set_seconds(112.4);
  status.set_samples(300000);
  status.set_num_records(60000);
  status.set_total_samples(300000);
  status.set_samples_per_second(2701);
  status.set_steps(2324);
  v1::Policy& policy = *status.mutable_policy();
  policy.set_number(1);
  policy.set_staleness_bound(4);
  policy.set_max_delay(-1);
  policy.set_delay_policy(v1::SCALE);
  policy.mutable_optimizer()->set_kind(v1::OptimizerConfig::ADAM);
  policy.mutable_optimizer()->set_beta1(0.9);
  policy.mutable_schedule()->set_rate(0.001);
  policy.set_num_workers(4);
  policy.set_seed(1);
  for (std::uint32_t id = 1; id <= 4; ++id) AddWorker(status, id, id == 4 ? 0.55 : 1.0 + 0.06 * id);
  v1::WorkerStatus& evaluator = *status.add_workers();
  evaluator.set_worker_id(5);
  evaluator.set_name("evaluator");
  evaluator.set_role(v1::EVALUATOR);
  evaluator.set_state("observer");
  for (std::uint32_t index = 0; index < 2; ++index) AddShard(status, index);
  for (int i = 1; i <= 400; ++i) {
    const double share = i / 400.0;
    v1::LossPoint& point = *status.add_training();
    point.set_seconds(112.4 * share);
    point.set_samples(static_cast<std::uint64_t>(300000 * share));
    point.set_loss(0.22 + 1.9 * std::exp(-14 * share) + 0.25 * std::exp(-2 * share) + 0.035 * Noise(1, i));
    point.set_accuracy(0.925 - 0.6 * std::exp(-14 * share) - 0.09 * std::exp(-2 * share) + 0.012 * Noise(2, i));
  }
  for (int i = 1; i <= 10; ++i) {
    const double share = i / 10.0;
    v1::Evaluation& evaluation = *status.add_evaluations();
    evaluation.set_seconds(112.4 * share);
    evaluation.set_loss(0.27 + 0.3 * std::exp(-3 * share) + 0.01 * Noise(3, i));
    evaluation.set_accuracy(0.906 - 0.12 * std::exp(-3 * share) + 0.004 * Noise(4, i));
  }
  v1::Evaluation& last = *status.mutable_evaluations()->rbegin();
  last.set_final(true);
  last.set_accuracy(0.9031);
  last.set_loss(0.2719);
  last.set_weights_crc32c(0x00c0de42);
  status.add_events("0.0 training begins: 4 workers, 2 shards");
  status.add_events("112.4 5 epochs are done");
  return status;
}

RunFacts SampleFacts() {
  return {"leeway run --model=cnn --data=/usr/share/datasets/fashion-mnist --num_ps=2 --num_workers=4 --epochs=5",
          "2026-01-31 12:00:00",
          "2 cores, 8 GiB memory, Debian 12",
          {{"leeway", "0.1.0"}, {"oneDNN", "2.7"}}};
}

}  // namespace leeway
