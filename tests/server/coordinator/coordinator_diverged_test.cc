// Coordinator through Handle(): weights that are worth no checkpoint.
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/server/coordinator/checkpoint_run.h"
#include "tests/server/coordinator/rollback_run.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

v1::Policy OneEpoch() {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(1);
  return policy;
}

// One worker, which trains for the epoch in a step, and leaves.
void TrainToTheEnd(CheckpointRun& run) {
  run.f.Start(1);
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 100)->message.range()})->ok());
  run.f.SyncShards();
  CHECK(run.f.Leave(0)->ok());
  run.f.Advance(absl::Milliseconds(200));
  run.f.SyncShards();
}

// One worker trains, and the first checkpoint is due.
void Begin(CheckpointRun& run) {
  run.f.Start(1);
  run.f.Advance(absl::Milliseconds(200));
  run.f.SyncShards();
  REQUIRE(run.f.snapshot().cut().id() != 0);
}

// An evaluator joins; its number.
std::uint32_t JoinEvaluator(CoordinatorFixture& f) {
  v1::JoinRequest join = f.JoinOf("e", 900);
  join.set_role(v1::EVALUATOR);
  const auto joined = f.Join(join);
  f.SyncShards();
  f.SyncShards();
  REQUIRE(joined->ok());
  return joined->message.worker_id();
}

void Evaluate(CoordinatorFixture& f, std::uint32_t worker, double loss) {
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = f.StampOf(worker);
  report.mutable_evaluation()->set_loss(loss);
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
}

TEST_CASE("Coordinator: a run whose weights are not finite at its end has failed, and has no last checkpoint") {
  CrashFiles files(1);
  const auto check = [](CheckpointRun& run) {
    CHECK(run.f.coordinator.state() == v1::FINISHED);
    CHECK(run.f.Status().failure() == "1 epochs are done, but there is no model: shard 1: weights hold a NaN");
    CHECK(run.f.coordinator.last_checkpoint().ok());  // it is not missing: the failure says all
    CHECK(run.committer.indices.empty());
    const auto asked = run.f.Call<v1::CheckpointReply>("Checkpoint", v1::CheckpointRequest());
    CHECK(Says(asked->status, Code::kFailedPrecondition, {"there is no model"}));
  };
  {
    CheckpointRun run(OneEpoch(), 0, 2, &files);
    TrainToTheEnd(run);
    REQUIRE(run.f.snapshot().cut().id() != 0);
    run.Tell(0, {{7, 0}});
    run.Fail(1, "shard 1: weights hold a NaN", true);
    check(run);
  }
  files.Restart(CrashFiles::Loss::kPower);
  CheckpointRun run(OneEpoch(), 0, 2, &files);
  check(run);
}

TEST_CASE("Coordinator: weights that are not finite cost a checkpoint while training goes on, and no more") {
  CheckpointRun run(OneEpoch());
  Begin(run);
  run.Fail(1, "shard 1: weights hold a NaN", true);
  CHECK(run.f.coordinator.state() == v1::TRAINING);
  CHECK(run.f.Status().failure().empty());
  CHECK(absl::StrContains(run.f.Status().checkpoints(0).error(), "weights hold a NaN"));
}

TEST_CASE("Coordinator: with --rollback_on_divergence they are a divergence") {
  CheckpointRun run(OneEpoch(), 0, 2, nullptr, 2);
  Begin(run);
  run.Fail(1, "shard 1: weights hold a NaN", true);
  run.f.Advance(absl::Seconds(1));
  run.f.SyncShards();
  // The committer has nothing to go back to.
  CHECK(run.f.coordinator.state() == v1::FINISHING);
  CHECK(absl::StrContains(run.f.Status().failure(), "the loss has diverged: shard 1: weights hold a NaN"));
  CHECK(run.f.Leave(0)->ok());
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  CHECK(run.committer.begun.size() == 1);
}

TEST_CASE("Coordinator: a loss that is bad at the very end makes the run fail; the last checkpoint is given up") {
  CheckpointRun run(OneEpoch(), 0, 2, nullptr, 2);
  run.f.Start(1);
  const std::uint32_t id = JoinEvaluator(run.f);
  Evaluate(run.f, id, 1.0);
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 100)->message.range()})->ok());
  CHECK(run.f.Leave(0)->ok());
  run.f.SyncShards();
  CHECK(run.f.coordinator.state() == v1::EVALUATING);
  Evaluate(run.f, id, 2.5);
  CHECK(absl::StrContains(run.f.Status().failure(), "1 epochs are done, but the loss has diverged: the evaluator's"));
  CHECK(run.f.Leave(id)->ok());
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  CHECK(run.committer.indices.empty());
}

TEST_CASE("Coordinator: an evaluator that comes while the last checkpoint is taken has a word on it") {
  CheckpointRun run(OneEpoch(), 0, 2, nullptr, 2);
  TrainToTheEnd(run);
  const std::uint32_t id = JoinEvaluator(run.f);
  run.Take();
  run.Live(absl::Seconds(65), {id});  // longer than --last_checkpoint_timeout
  CHECK(run.f.coordinator.state() == v1::EVALUATING);
  CHECK(run.f.Status().waiting_for() == "the final evaluation, then the last checkpoint");
  CHECK(run.committer.indices.empty());
  const bool good = GENERATE(false, true);
  Evaluate(run.f, id, good ? 1.0 : std::numeric_limits<double>::infinity());
  CHECK(run.f.Leave(id)->ok());
  run.Live(absl::Seconds(1), {});
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  CHECK(run.f.Status().failure().empty() == good);
  CHECK(run.committer.indices.size() == (good ? 1 : 0));
  CHECK(run.f.coordinator.last_checkpoint().ok());
}

TEST_CASE("Coordinator: with rollback_on_divergence the last checkpoint counts when the final evaluation is over") {
  const bool dies = GENERATE(false, true);
  const bool drained = GENERATE(false, true);
  CheckpointRun run(OneEpoch(), 0, 2, nullptr, 2);
  Begin(run);
  run.Take();
  const std::uint32_t id = JoinEvaluator(run.f);
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 100)->message.range()})->ok());
  CHECK(run.f.Leave(0)->ok());
  run.Live(absl::Seconds(5), {id});
  CHECK(run.f.coordinator.state() == v1::EVALUATING);
  REQUIRE(run.committer.begun.size() == 2);
  run.Take();
  CHECK(run.committer.indices.size() == 1);
  if (drained) {  // a ps, with its weights, where there is no journal
    v1::CheckpointRequest ask;
    ask.set_if_possible(true);
    ask.set_wait_millis(2000);
    const auto asked = run.f.Call<v1::CheckpointReply>("Checkpoint", ask);
    REQUIRE(asked->ok());
    CHECK(asked->message.name() == "step-00000001");
    CHECK(run.f.coordinator.state() == v1::EVALUATING);
  }
  if (dies) {
    run.Live(absl::Seconds(11), {});
  } else {
    Evaluate(run.f, id, 1.0);
    CHECK(run.f.Leave(id)->ok());
    run.Live(absl::Seconds(1), {});
  }
  CHECK(run.committer.indices.size() == 2);
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  CHECK(run.f.coordinator.last_checkpoint().ok());
}

TEST_CASE("Coordinator: a run that has failed as it diverged does not go back, whatever a ps has lost") {
  GivenCheckpoint committer;
  committer.checkpoint.emplace().mutable_coordinator_state()->set_run_id(CoordinatorFixture::kRun);
  committer.holds = true;
  std::size_t gone_back = 0;
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_steps(1);
  CoordinatorFixture f(policy, 1, nullptr, [&](Coordinator::Options* options) {
    options->committer = &committer;
    options->rollback_on_divergence = 2;
    options->on_go_back = [&gone_back](auto, const auto&) { ++gone_back; };
  });
  f.journals = true;
  f.Start(1);
  Evaluate(f, 0, std::numeric_limits<double>::infinity());
  const bool chooses = GENERATE(true, false);  // when the limit is reached
  if (chooses) f.Advance(absl::Milliseconds(200));
  REQUIRE(committer.held.size() == (chooses ? 1 : 0));
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  REQUIRE(f.coordinator.state() == v1::FINISHING);
  const std::string failure = f.Status().failure();
  CHECK(absl::StrContains(failure, "1 steps are done, but the loss has diverged"));
  v1::WatchRequest lost = f.WatchOf(0);
  lost.set_lost("gone");
  CHECK(
      Says(f.Call<v1::WatchReply>("WatchMembership", lost)->status, Code::kUnavailable, {"gone; the run has failed"}));
  for (const auto& chosen : committer.held) chosen(*committer.checkpoint);
  f.RunAll();
  CHECK(gone_back == 0);
  const auto left = f.Leave(0);
  REQUIRE(left->ok());
  CHECK(left->message.failure() == failure);
  CHECK(f.coordinator.state() == v1::FINISHED);
}

TEST_CASE("Coordinator: one worker's bad loss is no divergence before the others have been heard") {
  CheckpointRun run(LeasedPolicy(2), 0, 2, nullptr, 2);
  run.f.Start(2);
  for (const std::uint32_t worker : {0, 1}) {
    CHECK(run.f.Status().failure().empty());
    CHECK(run.f.coordinator.state() == v1::TRAINING);
    v1::ReportProgressRequest report;
    *report.mutable_stamp() = run.f.StampOf(worker);
    report.mutable_progress()->set_samples(DivergenceRule::kSamples);
    report.mutable_progress()->set_nonfinite_samples(DivergenceRule::kSamples);
    CHECK(run.f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
    run.f.Advance(absl::Milliseconds(200));
    run.f.SyncShards();
    if (run.f.snapshot().cut().id() != 0) run.Take();  // the first
    run.f.Advance(absl::Milliseconds(200));
  }
  CHECK(absl::StrContains(run.f.Status().failure(), "the training loss of 2 of 2 workers is not finite"));
}

TEST_CASE("Coordinator: with a checkpoint goes up to which step the loss was good") {
  for (const double factor : {0.0, 2.0}) {
    v1::Policy policy = LeasedPolicy(1);
    CheckpointRun run(policy, 1, 2, nullptr, factor);
    Begin(run);
    run.Take();
    Evaluate(run.f, 0, 1.0);  // after no step
    CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 10)->message.range()})->ok());
    run.f.Advance(absl::Milliseconds(200));
    run.f.SyncShards();
    run.Take();
    CHECK(run.f.snapshot().committed_checkpoint() == "step-00000001");
    REQUIRE(run.committer.trusted.size() == 2);
    CHECK(run.committer.trusted[1] == (factor == 0 ? std::numeric_limits<std::uint64_t>::max() : 0));
  }
}

}  // namespace
}  // namespace leeway
