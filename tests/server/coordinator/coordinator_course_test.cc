// Coordinator through Handle(): leases of members, tickets, and how a run ends.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("Coordinator: a silent worker is out when its lease ends, and others get its data") {
  CoordinatorFixture f(LeasedPolicy(2));
  f.Start(2);
  const v1::DataRange lost = f.Acquire(1, 1, 100)->message.range();
  CHECK(lost.end() - lost.begin() == 100);
  for (int i = 0; i < 11; ++i) {
    f.Advance(absl::Seconds(1));
    CHECK(f.Heartbeat(0).ok());
  }
  f.SyncShards();
  REQUIRE(f.snapshot().members_size() == 1);
  v1::Stamp stamp;
  stamp.set_run_id(CoordinatorFixture::kRun);
  stamp.set_worker_id(1);
  stamp.set_incarnation(101);
  v1::HeartbeatRequest heartbeat;
  *heartbeat.mutable_stamp() = stamp;
  CHECK(Says(f.Call<v1::HeartbeatReply>("Heartbeat", heartbeat)->status, Code::kFailedPrecondition,
             {"incarnation 65 of worker 1", "none"}));
  v1::CommitDataRequest commit;
  *commit.mutable_stamp() = stamp;
  *commit.add_ranges() = lost;
  commit.set_applied(true);
  CHECK(absl::IsFailedPrecondition(f.Call<v1::CommitDataReply>("CommitData", commit)->status));
  CHECK(f.Status().samples() == 0);
  CHECK(f.Status().workers(1).state() == "expired");
  CHECK(f.Status().workers(1).rank() == 1);
  // Epoch 0 is out, so w0 gets the dead worker's range before anything of epoch 1.
  const auto again = f.Acquire(0, 1, 100);
  REQUIRE(again->ok());
  CHECK(again->message.range().epoch() == 0);
  CHECK(again->message.range().begin() == 0);
}

TEST_CASE("Coordinator: its status tells rates, of each shard and over time, and who has been silent how long") {
  CoordinatorFixture f(LeasedPolicy(2), 2);
  f.Start(2);
  for (std::uint64_t second = 1; second <= 8; ++second) {
    f.Advance(absl::Seconds(1));
    CHECK(f.Heartbeat(0).ok());
    for (std::uint32_t shard = 0; shard < 2; ++shard) {
      v1::WatchRequest watch = f.WatchOf(shard);
      watch.mutable_stats()->set_push_bytes(second * 1000 * (shard + 1));
      watch.mutable_stats()->set_pull_bytes(second * 500);
      f.Call<v1::WatchReply>("WatchMembership", watch);
    }
  }
  const v1::GetStatusReply status = f.Status();
  CHECK(status.shards(0).push_bytes_per_second() == Approx(1000).epsilon(0.05));
  CHECK(status.shards(1).push_bytes_per_second() == Approx(2000).epsilon(0.05));
  CHECK(status.shards(1).pull_bytes_per_second() == Approx(500).epsilon(0.05));
  REQUIRE(status.rates_size() >= 7);
  CHECK(status.rates(status.rates_size() - 1).push_bytes() == Approx(3000).epsilon(0.05));
  CHECK(status.rates(status.rates_size() - 1).seconds() > 6.5);
  CHECK(status.workers(0).silent_seconds() < 0.5);
  CHECK(status.workers(1).silent_seconds() == Approx(8).margin(0.5));
  CHECK(status.workers(1).state() == "live");
}

TEST_CASE("Coordinator: who cannot write is named until it can: the journal of a ps, its own state") {
  CrashFiles files(1);
  CoordinatorFixture f(LeasedPolicy(1), 2, &files);
  f.Start(1);
  CHECK(f.Status().waiting_for().empty());
  v1::WatchRequest watch = f.WatchOf(1);
  watch.set_pushes_wait("the journal cannot be written: the disk is on fire");
  f.Call<v1::WatchReply>("WatchMembership", watch);
  CHECK(f.Status().waiting_for() == "ps 1: the journal cannot be written: the disk is on fire");
  f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(1));
  CHECK(f.Status().waiting_for().empty());

  files.FailAppends(absl::ResourceExhaustedError("no room"));
  f.Acquire(0, 1, 10);
  CHECK(f.Status().waiting_for() == "the coordinator's state cannot be saved: no room");
  files.FailAppends(absl::OkStatus());
  f.Advance(absl::Seconds(1));
  CHECK(f.Status().waiting_for().empty());
}

TEST_CASE("Coordinator: a ps that falls silent while the rest trains is named, at once and until it is back") {
  CoordinatorFixture f(LeasedPolicy(1), 2);
  f.Start(1);
  CHECK(f.Status().waiting_for().empty());
  const auto events = [&f](const std::string& text) {
    const v1::GetStatusReply status = f.Status();
    int found = 0;
    for (const std::string& event : status.events()) found += event.find(text) != std::string::npos ? 1 : 0;
    return found;
  };
  const auto pass = [&f](int seconds, bool both) {
    for (int second = 0; second < seconds; ++second) {
      f.Advance(absl::Seconds(1));
      CHECK(f.Heartbeat(0).ok());
      f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
      if (both) f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(1));
    }
  };
  pass(15, false);
  CHECK(f.Status().state() == v1::TRAINING);
  CHECK(f.Status().waiting_for() == "ps 1 is not there");
  CHECK(events("ps 1 at ") == 1);
  CHECK(events("is silent for 10") == 1);
  pass(3, true);
  CHECK(f.Status().waiting_for().empty());
  CHECK(events("ps 1 answers again") == 1);
  pass(15, false);
  CHECK(events("is silent for 10") == 2);
  // After a pause of the coordinator's own process nobody is silent.
  pass(3, true);
  f.clock.Advance(absl::Seconds(60));
  f.executor.RunAll();
  f.Advance(absl::Milliseconds(200));
  CHECK(events("is silent for") == 2);
  CHECK(f.Status().waiting_for().empty());
}

TEST_CASE("Coordinator: after a pause of its process nobody has expired") {
  CoordinatorFixture f(LeasedPolicy(2));
  f.Start(2);
  f.clock.Advance(absl::Seconds(60));  // no tick in between: stopped, or starved
  f.executor.RunAll();
  f.Advance(absl::Seconds(5));
  f.SyncShards();
  CHECK(f.snapshot().members_size() == 2);
  f.Advance(absl::Seconds(6));  // a whole lease without a heartbeat: now they are out
  f.SyncShards();
  CHECK(f.snapshot().members_size() == 0);
}

TEST_CASE("Coordinator: the last epoch's last record ends the run, trainers leave, then it is over") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(2);
  CoordinatorFixture f(policy);
  f.Start(1);
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    CHECK(f.coordinator.state() == v1::TRAINING);
    const v1::DataRange range = f.Acquire(0, 1 + epoch, 100)->message.range();
    CHECK(range.epoch() == epoch);
    CHECK(f.Commit(0, epoch, {range})->ok());
  }
  CHECK(f.coordinator.state() == v1::FINISHING);
  CHECK(f.Status().stop_reason() == "2 epochs are done");
  const auto end = f.Acquire(0, 3, 10);
  REQUIRE(end->ok());
  CHECK(end->message.state() == v1::FINISHING);
  const auto late = f.Join(f.JoinOf("late", 9));
  REQUIRE(late->ok());
  CHECK(late->message.state() == v1::FINISHING);
  CHECK(late->message.run_id() == 0);
  f.Leave(0);
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK_FALSE(f.coordinator.Over());
  f.SyncShards();
  CHECK(f.coordinator.Over());
}

TEST_CASE("Coordinator: with an evaluator the final weights are evaluated before the end") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_steps(1);
  CoordinatorFixture f(policy);
  f.Start(1);
  v1::JoinRequest join = f.JoinOf("eval", 50);
  join.set_role(v1::EVALUATOR);
  const auto evaluator = f.Join(join);
  f.SyncShards();
  REQUIRE(evaluator->ok());
  CHECK(evaluator->message.worker_id() == 1);
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  CHECK(f.Status().stop_reason() == "1 steps are done");
  f.Leave(0);
  CHECK(f.coordinator.state() == v1::EVALUATING);
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = f.StampOf(1);
  report.mutable_stamp()->set_incarnation(50);
  report.mutable_evaluation()->set_accuracy(0.5);
  report.mutable_evaluation()->set_final(true);
  const auto reported = f.Call<v1::ReportProgressReply>("ReportProgress", report);
  REQUIRE(reported->ok());
  CHECK(reported->message.state() == v1::EVALUATING);
  v1::LeaveRequest leave;
  *leave.mutable_stamp() = report.stamp();
  f.Call<v1::LeaveReply>("Leave", leave);
  CHECK(f.coordinator.state() == v1::FINISHED);
  REQUIRE(f.Status().evaluations_size() == 1);
  CHECK(f.Status().evaluations(0).samples() == 10);
}

TEST_CASE("Coordinator: the evaluation waits for an evaluator that waits for the lease of a killed one") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_steps(1);
  CoordinatorFixture f(policy);
  f.Start(1);
  v1::JoinRequest join = f.JoinOf("eval", 50);
  join.set_role(v1::EVALUATOR);
  f.Join(join);
  f.SyncShards();
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  f.Leave(0);
  CHECK(f.coordinator.state() == v1::EVALUATING);
  join.set_incarnation(51);
  auto again = f.Join(join);
  for (int i = 0; i < 20 && !(again->ok() && !again->message.has_not_yet()); ++i) {
    if (again->done()) again = f.Join(join);  // it was told to ask again
    f.Advance(absl::Seconds(1));
    f.SyncShards();
  }
  REQUIRE(again->ok());
  CHECK_FALSE(again->message.has_not_yet());
  CHECK(f.coordinator.state() == v1::EVALUATING);
  // And one that asks no more is not waited for.
  f.Advance(absl::Seconds(30));
  CHECK(f.coordinator.state() == v1::FINISHED);
}

TEST_CASE("Coordinator: a report that cannot be true changes nothing") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = f.StampOf(0);
  report.mutable_progress()->set_samples(10);
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
  report.mutable_progress()->set_samples(20);
  report.mutable_progress()->set_device(std::string(1 << 20, 'x'));
  report.mutable_evaluation()->set_accuracy(1);
  CHECK(absl::IsInvalidArgument(f.Call<v1::ReportProgressReply>("ReportProgress", report)->status));
  CHECK(f.Status().workers(0).progress().samples() == 10);
  CHECK(f.Status().evaluations().empty());
}

// Its answer was lost, once with the process that had saved it.
TEST_CASE("Coordinator: an evaluation that is reported again counts once") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_target_metric("loss");
  policy.mutable_stop()->set_target_value(-1);
  policy.mutable_stop()->set_patience(1);
  CrashFiles files(1);
  v1::ReportProgressRequest first, second;
  {
    CoordinatorFixture f(policy, 1, &files);
    f.Start(1);
    *first.mutable_stamp() = f.StampOf(0);
    first.mutable_evaluation()->set_seconds(10);
    first.mutable_evaluation()->set_loss(0.5);
    for (int i = 0; i < 2; ++i) CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", first)->ok());
    CHECK(f.Status().evaluations_size() == 1);
    CHECK(f.coordinator.state() == v1::TRAINING);
    second = first;
    second.mutable_evaluation()->set_seconds(20);
    second.mutable_evaluation()->set_loss(0.25);
    CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", second)->ok());
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(policy, 1, &files);
  f.SyncShards();
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", second)->ok());
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", first)->ok());
  CHECK(f.Status().evaluations_size() == 2);
  CHECK(f.coordinator.state() == v1::TRAINING);
  second.mutable_evaluation()->set_seconds(30);  // no better than the one before
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", second)->message.state() == v1::FINISHING);
}

TEST_CASE("Coordinator: a target, and minutes, end the run") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_target_metric("accuracy");
  policy.mutable_stop()->set_target_value(0.9);
  policy.mutable_stop()->set_minutes(1);
  CoordinatorFixture f(policy);
  f.Start(1);
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = f.StampOf(0);
  report.mutable_evaluation()->set_accuracy(0.89);
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->message.state() == v1::TRAINING);
  report.mutable_evaluation()->set_accuracy(0.91);
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->message.state() == v1::FINISHING);
  CoordinatorFixture g(policy);
  g.Start(1);
  for (int i = 0; i < 61; ++i) {
    g.Advance(absl::Seconds(1));
    CHECK(g.Heartbeat(0).ok());
  }
  CHECK(g.coordinator.state() == v1::FINISHING);
  CHECK(g.Status().seconds() == Approx(60).margin(0.5));  // time stands still after training
}

TEST_CASE("Coordinator: a static run ends when every rank has finished") {
  v1::Policy policy = LeasedPolicy(2);
  policy.set_data_sharing(v1::STATIC);
  CoordinatorFixture f(policy);
  f.Start(2);
  CHECK(Says(f.Acquire(0, 1, 10)->status, Code::kFailedPrecondition, {"statically"}));
  CHECK(f.Commit(0, 0, {})->ok());
  CHECK(f.Status().samples() == 10);
  f.Leave(0, true);
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.Leave(1, true);
  CHECK(f.coordinator.state() == v1::FINISHED);
}

TEST_CASE("Coordinator: a long reason for leaving is cut between two characters, so that the status can be read") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  v1::LeaveRequest request;
  *request.mutable_stamp() = f.StampOf(0);
  request.set_reason(std::string(198, 'a') + "\u2713 and so on");  // three bytes, of which two would be kept
  f.Call<v1::LeaveReply>("Leave", request);
  const auto status = f.Call<v1::GetStatusReply>("GetStatus", v1::GetStatusRequest());
  REQUIRE(status->ok());
  CHECK(status->message.workers(0).reason() == std::string(198, 'a'));
}

TEST_CASE("Coordinator: tickets, their refusals, and the void serials of the dead") {
  v1::Policy policy = LeasedPolicy(2);
  policy.set_max_delay(2);
  CoordinatorFixture f(policy);
  f.Start(2);
  const auto open = [&f](std::uint32_t worker, std::uint64_t step, std::uint64_t read) {
    v1::OpenPushRequest request;
    *request.mutable_stamp() = f.StampOf(worker);
    request.set_clock(step);
    request.set_read_serial(read);
    return f.Call<v1::Ticket>("OpenPush", request);
  };
  CHECK(open(0, 0, 0)->message.serial() == 1);
  CHECK(open(0, 0, 0)->message.serial() == 1);
  CHECK(open(1, 0, 0)->message.serial() == 2);
  CHECK(Says(open(0, 1, 0)->status, Code::kAborted, {"delay 2", "max_delay 2"}));
  CHECK(f.Commit(0, 0, {})->ok());
  f.Leave(0);
  f.Leave(1);
  f.SyncShards();
  // Also the one that is committed: a shard may wait for a step before it.
  REQUIRE(f.snapshot().void_tickets_size() == 2);
  CHECK(f.snapshot().void_tickets(0) == 1);
  CHECK(f.snapshot().void_tickets(1) == 2);
  f.Join(f.JoinOf("w9", 9));  // the next snapshot
  f.SyncShards();
  CHECK(f.snapshot().void_tickets_size() == 0);  // every shard knows
  v1::OpenPushRequest stranger;
  stranger.mutable_stamp()->set_run_id(CoordinatorFixture::kRun);
  stranger.mutable_stamp()->set_worker_id(55);
  CHECK(Says(f.Call<v1::Ticket>("OpenPush", stranger)->status, Code::kFailedPrecondition, {"worker 55"}));
}

}  // namespace
}  // namespace leeway
