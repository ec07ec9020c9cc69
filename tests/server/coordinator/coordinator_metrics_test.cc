// Coordinator: what /metrics tells of the run.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/server/coordinator/checkpoint_run.h"

namespace leeway {
namespace {

constexpr std::int64_t kNow = 1700000000;

std::string TextOf(CoordinatorFixture& f) {
  MetricsPage page(absl::FromUnixSeconds(kNow));
  f.coordinator.AddMetrics(&page);
  return page.Text();
}

void CheckLines(CoordinatorFixture& f, const std::vector<std::string>& lines) {
  const std::string text = TextOf(f);
  INFO(text);
  for (const std::string& line : lines) {
    INFO(line);
    CHECK(absl::StrContains(text, "\n" + line + "\n"));
  }
}

TEST_CASE("Coordinator: metrics of the run, its members and its shards") {
  CoordinatorFixture f(LeasedPolicy(2), 2);
  CheckLines(f,
             {"ps_run_state{state=\"starting\"} 1", "ps_shards{state=\"missing\"} 2", "ps_workers{state=\"live\"} 0"});
  f.Start(2);
  const v1::DataRange range = f.Acquire(0, 1, 10)->message.range();
  CHECK(f.Commit(0, 0, {range})->ok());
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = f.StampOf(0);
  report.mutable_progress()->set_steps(1);
  report.mutable_progress()->set_samples(10);
  report.mutable_progress()->set_loss_sum(25);
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
  f.Advance(absl::Seconds(3));
  v1::HeartbeatRequest heartbeat;
  *heartbeat.mutable_stamp() = f.StampOf(0);
  heartbeat.add_waits()->set_millis(7000);
  CHECK(f.Call<v1::HeartbeatReply>("Heartbeat", heartbeat)->ok());
  f.Advance(absl::Seconds(1));
  f.SyncShards();
  CheckLines(f, {
                    "ps_run_state{state=\"starting\"} 0",
                    "ps_run_state{state=\"training\"} 1",
                    "ps_global_step 1",
                    "ps_examples_total 10",
                    "ps_rollbacks_total 0",
                    "ps_workers{state=\"live\"} 2",
                    "ps_workers{state=\"expired\"} 0",
                    "ps_worker_last_seen_timestamp_seconds{worker=\"w0\"} 1699999999",
                    "ps_worker_waiting_seconds{worker=\"w0\"} 8",
                    "ps_worker_waiting_seconds{worker=\"w1\"} 0",
                    "ps_worker_clock{worker=\"w0\"} 1",
                    "ps_worker_clock{worker=\"w1\"} 0",
                    "ps_shards{state=\"connected\"} 2",
                    "ps_shards{state=\"missing\"} 0",
                    "ps_training_loss 2.5",
                });
  CHECK_FALSE(absl::StrContains(TextOf(f), "ps_evaluation_loss"));
  CHECK_FALSE(absl::StrContains(TextOf(f), "ps_checkpoint"));  // none are taken

  // Nobody says anything for longer than the lease.
  f.Advance(absl::Seconds(11));
  CheckLines(f, {"ps_workers{state=\"live\"} 0", "ps_workers{state=\"expired\"} 2", "ps_shards{state=\"missing\"} 2"});
  CHECK_FALSE(absl::StrContains(TextOf(f), "ps_worker_clock{"));
}

TEST_CASE("Coordinator: what is done about late gradients is counted by what it is") {
  v1::Policy policy = LeasedPolicy(1);
  policy.set_delay_policy(v1::SCALE);
  policy.set_max_delay(4);
  CoordinatorFixture f(policy, 2);
  f.Start(1);
  const auto open = [&f](std::uint64_t clock, std::uint64_t read) {
    v1::OpenPushRequest request;
    *request.mutable_stamp() = f.StampOf(0);
    request.set_clock(clock);
    request.set_read_serial(read);
    request.set_samples(10);
    return f.Call<v1::Ticket>("OpenPush", request)->status.code();
  };
  CHECK(open(0, 0) == absl::StatusCode::kOk);  // delays 0, 1, 2, 3: two of them are applied at a lower rate
  CHECK(open(1, 0) == absl::StatusCode::kOk);
  CHECK(open(2, 0) == absl::StatusCode::kOk);
  CHECK(open(2, 0) == absl::StatusCode::kOk);  // the same once more
  CHECK(open(3, 0) == absl::StatusCode::kOk);
  CHECK(open(4, 0) == absl::StatusCode::kAborted);
  for (std::uint32_t shard = 0; shard < 2; ++shard) {
    v1::WatchRequest watch = f.WatchOf(shard);
    watch.mutable_stats()->set_pulls_blocked(3);
    f.Call<v1::WatchReply>("WatchMembership", watch);
  }
  v1::ReportProgressRequest report;  // what its worker has seen dropped, or given up
  *report.mutable_stamp() = f.StampOf(0);
  report.mutable_progress()->set_pushes_dropped(7);
  f.Call<v1::ReportProgressReply>("ReportProgress", report);
  CheckLines(f, {"ps_stale_gradients_total{action=\"wait\"} 6", "ps_stale_gradients_total{action=\"drop\"} 8",
                 "ps_stale_gradients_total{action=\"scale\"} 2"});
}

TEST_CASE("Coordinator: metrics of its checkpoints") {
  CheckpointRun run(LeasedPolicy(1), 1);
  CoordinatorFixture& f = run.f;
  f.Start(1);
  CheckLines(f, {"ps_checkpoints_total{result=\"committed\"} 0", "ps_checkpoint_duration_seconds_count 0"});
  CHECK_FALSE(absl::StrContains(TextOf(f), "ps_checkpoint_last_success_timestamp_seconds"));
  const v1::DataRange range = f.Acquire(0, 1, 10)->message.range();
  CHECK(f.Commit(0, 0, {range})->ok());
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 1}});
  f.SyncShards();
  run.WriteAll();
  REQUIRE(run.committer.indices.size() == 1);
  run.Live(absl::Seconds(5), {0});
  CheckLines(f, {"ps_checkpoints_total{result=\"committed\"} 1", "ps_checkpoints_total{result=\"failed\"} 0",
                 "ps_checkpoint_duration_seconds_count 1", "ps_checkpoint_duration_seconds_bucket{le=\"5\"} 1",
                 "ps_checkpoint_duration_seconds_bucket{le=\"0.05\"} 0"});
  CHECK(absl::StrContains(TextOf(f), "\nps_checkpoint_last_success_timestamp_seconds 169999999"));

  const v1::DataRange next = f.Acquire(0, 2, 10)->message.range();
  CHECK(f.Commit(0, 1, {next})->ok());
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  run.Fail(0, "the disk is gone");
  CheckLines(f, {"ps_checkpoints_total{result=\"committed\"} 1", "ps_checkpoints_total{result=\"failed\"} 1"});
}

TEST_CASE("Coordinator: a sample of the run for its curves") {
  CoordinatorFixture f(LeasedPolicy(2), 2);
  f.Start(2);
  const v1::DataRange range = f.Acquire(0, 1, 10)->message.range();
  CHECK(f.Commit(0, 0, {range})->ok());
  for (std::uint32_t shard = 0; shard < 2; ++shard) {
    v1::WatchRequest watch = f.WatchOf(shard);
    watch.mutable_stats()->set_push_bytes(100);
    watch.mutable_stats()->mutable_delay()->add_counts(1 + shard);
    f.Call<v1::WatchReply>("WatchMembership", watch);
  }
  const RunSample sample = f.coordinator.Sample();
  CHECK(sample.steps == 1);
  CHECK(sample.samples == 10);
  CHECK(sample.live_workers == 2);
  CHECK(sample.stats.push_bytes() == 200);
  CHECK(sample.stats.delay().counts(0) == 1);  // of shard 0: a push is one push, however many shards it goes to
  CHECK_FALSE(sample.training.has_value());
  CHECK_FALSE(sample.evaluation.has_value());
}

}  // namespace
}  // namespace leeway
