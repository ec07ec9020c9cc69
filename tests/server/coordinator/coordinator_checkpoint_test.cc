// Coordinator through Handle(): what a checkpoint says that its weights were trained on.
#include <cstdint>
#include <vector>

#include "tests/catch.h"
#include "tests/server/coordinator/checkpoint_run.h"

namespace leeway {
namespace {

TEST_CASE("Coordinator: a checkpoint says what its weights were trained on") {
  CheckpointRun run(LeasedPolicy(2), 2);
  CoordinatorFixture& f = run.f;
  f.Start(2);
  const v1::DataRange first = f.Acquire(0, 1, 10)->message.range();
  const v1::DataRange second = f.Acquire(1, 1, 10)->message.range();
  const v1::DataRange late = f.Acquire(0, 2, 10)->message.range();
  const v1::DataRange beyond = f.Acquire(1, 2, 10)->message.range();
  CHECK(f.Commit(0, 0, {first})->ok());
  CHECK(f.Commit(1, 0, {second})->ok());
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  REQUIRE(f.snapshot().cut().id() != 0);
  // Step 1 of worker 0 has come to one shard, so it belongs to the checkpoint; of worker 1 it does not.
  run.Tell(0, {{0, 2}, {1, 1}});
  run.Tell(1, {{0, 1}, {1, 1}});
  f.SyncShards();
  REQUIRE(f.snapshot().cut().limited());
  CHECK(f.Commit(1, 1, {beyond})->ok());
  f.Acquire(1, 3, 10);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {});
  f.Advance(absl::Seconds(1));
  CHECK(run.committer.indices.empty());  // the weights have step 1 of worker 0, and nobody says yet whose data it was
  CHECK(f.Commit(0, 1, {late})->ok());
  f.Advance(absl::Milliseconds(200));
  REQUIRE(run.committer.indices.size() == 1);
  const v1::CoordinatorState& state = run.committer.indices[0].coordinator_state();
  CHECK(state.samples() == 30);
  CHECK(state.steps() == 3);
  CHECK(state.leases().committed() == 30);
  REQUIRE(state.leases().leases_size() == 1);  // worker 1's second range is out
  CHECK(state.leases().leases(0).out(0).begin() == beyond.begin());
  CHECK(state.leases().next_position() == 40);
  CHECK(state.run_id() == CoordinatorFixture::kRun);
  CHECK(state.membership().members_size() == 2);
  CHECK(f.Status().samples() == 40);
  f.SyncShards();
  CHECK(f.snapshot().committed_checkpoint() == "step-00000002");
  const v1::GetStatusReply told = f.Status();
  CHECK(told.checkpoint_under_way().empty());
  REQUIRE(told.checkpoints_size() == 1);
  CHECK(told.checkpoints(0).name() == "step-00000002");
  CHECK(told.checkpoints(0).steps() == 2);
  CHECK(told.checkpoints(0).error().empty());
  CHECK(told.checkpoints(0).duration() > 1);  // it waited for a commit
}

TEST_CASE("Coordinator: a commit that does not come holds a checkpoint for a lease, the worker's death not longer") {
  for (const bool dies : {false, true}) {
    CheckpointRun run(LeasedPolicy(2), 1);
    CoordinatorFixture& f = run.f;
    f.Start(2);
    const v1::DataRange first = f.Acquire(0, 1, 10)->message.range();
    const v1::DataRange lost = f.Acquire(1, 1, 10)->message.range();
    CHECK(f.Commit(0, 0, {first})->ok());
    f.Advance(absl::Milliseconds(200));
    f.SyncShards();
    for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 1}, {1, 1}});
    f.SyncShards();
    run.WriteAll();
    run.Live(absl::Seconds(5), {0, 1});
    CHECK(run.committer.indices.empty());
    if (dies) {
      CHECK(f.Leave(1)->ok());
      f.Advance(absl::Milliseconds(200));
    } else {
      run.Live(absl::Seconds(6), {0, 1});
    }
    REQUIRE(run.committer.indices.size() == 1);
    const v1::CoordinatorState& state = run.committer.indices[0].coordinator_state();
    CHECK(state.samples() == 10);
    REQUIRE(state.leases().leases_size() == 1);
    CHECK(state.leases().leases(0).out(0).begin() == lost.begin());
  }
}

TEST_CASE("Coordinator: in rounds a checkpoint has the rounds that its weights have") {
  CheckpointRun run(RoundsPolicy(2, 100), 1);
  CoordinatorFixture& f = run.f;
  f.Start(2);
  const auto close = [&](std::uint64_t round) {
    for (std::uint32_t shard = 0; shard < 2; ++shard) f.Report(shard, round, {0, 1});
  };
  close(0);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  REQUIRE(f.snapshot().cut().id() != 0);
  // Worker 0 is in round 2 already: rounds 1 and 2 are to be closed, round 3 is not.
  run.Tell(0, {{0, 3}, {1, 2}});
  run.Tell(1, {{0, 2}, {1, 1}});
  f.SyncShards();
  for (std::uint64_t round = 1; round < 5; ++round) close(round);
  run.WriteAll();
  REQUIRE(run.committer.indices.size() == 1);
  const v1::CoordinatorState& state = run.committer.indices[0].coordinator_state();
  CHECK(state.rounds().open_round() == 3);
  CHECK(state.steps() == 3);
  CHECK(f.Status().steps() == 5);
}

TEST_CASE("Coordinator: rounds that end within one have their last checkpoint before it, at once") {
  v1::Policy policy = RoundsPolicy(2, 0);
  policy.mutable_stop()->set_minutes(0.5);
  CheckpointRun run(policy);
  CoordinatorFixture& f = run.f;
  f.Start(2);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  run.Take();
  for (std::uint32_t shard = 0; shard < 2; ++shard) f.Report(shard, 0, {0, 1});
  f.Report(0, 1, {0});
  run.Live(absl::Seconds(31), {0, 1});
  REQUIRE(f.coordinator.state() == v1::FINISHING);
  for (std::uint32_t shard = 0; shard < 2; ++shard) f.Report(shard, 1, {0, 1});  // they complete what is under way
  f.Leave(0, false, 2);
  f.Leave(1, false, 2);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  REQUIRE(f.snapshot().cut().id() != 0);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Holds(shard, 2);
  f.SyncShards();
  REQUIRE(f.snapshot().cut().limited());
  CHECK(f.snapshot().cut().round() == 1);
  run.WriteAll();
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK(f.coordinator.last_checkpoint().ok());
  CHECK(f.Status().steps() == 1);
  REQUIRE(run.committer.indices.size() == 2);
  CHECK(run.committer.indices[1].coordinator_state().rounds().open_round() == 1);
  CHECK(run.committer.indices[1].coordinator_state().steps() == 1);
}

TEST_CASE("Coordinator: a checkpoint does not wait for the others of a round whose workers are all gone") {
  CheckpointRun run(RoundsPolicy(2, 100), 1);
  CoordinatorFixture& f = run.f;
  f.Start(2);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  run.Take();
  for (std::uint32_t shard = 0; shard < 2; ++shard) f.Report(shard, 0, {0, 1});
  f.SyncShards();
  f.Report(0, 1, {0, 1});
  f.Report(1, 1, {0});
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  REQUIRE(f.snapshot().cut().id() != 0);
  run.Live(absl::Seconds(11), {});  // both are killed
  CHECK(f.coordinator.state() == v1::TRAINING);
  CHECK(f.Status().steps() == 1);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Holds(shard, 2);
  f.SyncShards();
  REQUIRE(f.snapshot().cut().limited());
  CHECK(f.snapshot().cut().round() == 2);
  // What is whole everywhere counts, as when somebody comes.
  REQUIRE(f.snapshot().closes_size() >= 1);
  const v1::RoundClose& close = f.snapshot().closes(f.snapshot().closes_size() - 1);
  CHECK(close.round() == 1);
  REQUIRE(close.ranks_size() == 1);
  CHECK(close.ranks(0) == 0);
  run.WriteAll();
  REQUIRE(run.committer.indices.size() == 2);
  CHECK(run.committer.indices[1].coordinator_state().rounds().open_round() == 2);
  CHECK(run.committer.indices[1].coordinator_state().steps() == 2);
}

// A shard that hears of the close before it has made its cut would have made it one round later than the others; a run
// that goes back to that checkpoint would wait for ever for the round between.
TEST_CASE("Coordinator: a round that all have left, and at which a cut is being made, is not closed for the next") {
  CheckpointRun run(RoundsPolicy(2, 100));
  CoordinatorFixture& f = run.f;
  f.Start(2);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  REQUIRE(f.snapshot().cut().id() != 0);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 0}, {1, 0}});
  f.SyncShards();
  REQUIRE(f.snapshot().cut().limited());
  REQUIRE(f.snapshot().cut().round() == 0);
  f.Leave(1);
  const auto again = f.Join(f.JoinOf("w1", 500));
  f.SyncShards();
  REQUIRE(again->ok());
  CHECK(again->message.entry_clock() == 1);
  run.Tell(0, {});  // its cut is made
  f.Leave(0);       // and nobody has pushed
  f.SyncShards();
  CHECK(f.snapshot().closes_size() == 0);
  run.Tell(1, {});
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  REQUIRE(run.committer.indices.size() == 1);
  CHECK(run.committer.indices[0].coordinator_state().rounds().open_round() == 0);
  REQUIRE(f.snapshot().closes_size() == 1);
  CHECK(f.snapshot().closes(0).round() == 0);
}

TEST_CASE("Coordinator: a checkpoint is taken when training begins, whether the shards keep journals or not") {
  for (const bool journals : {true, false}) {
    CheckpointRun run(LeasedPolicy(2));
    run.f.journals = journals;
    run.f.Start(2);
    run.f.Advance(absl::Milliseconds(200));
    run.f.SyncShards();
    REQUIRE(run.committer.begun == std::vector<std::uint64_t>{0});
    // Until there is one it is tried again, and then not any more.
    run.Fail(1, "shard 1: the disk is full");
    run.Live(absl::Seconds(11), {0, 1});
    REQUIRE(run.committer.begun == std::vector<std::uint64_t>{0, 0});
    run.Take();
    CHECK(run.committer.indices.size() == 1);
    run.Live(absl::Seconds(30), {0, 1});
    CHECK(run.committer.begun.size() == 2);
  }
}

TEST_CASE("Coordinator: a checkpoint goes on after a pause of the coordinator's process") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  run.f.Advance(absl::Milliseconds(200));
  run.f.SyncShards();
  const std::uint64_t cut = run.f.snapshot().cut().id();
  REQUIRE(cut != 0);
  run.Tell(1, {{0, 0}});
  v1::WatchRequest first = run.f.WatchOf(0);
  first.mutable_cut()->set_id(cut);
  run.f.clock.Advance(absl::Seconds(60));
  SECTION("a tick comes first") {}
  SECTION("the word of the shard that was missing comes first") {
    const auto told = std::make_shared<Answer<v1::WatchReply>>();
    run.f.coordinator.Handle("WatchMembership", EncodeMessage(first), FillIn(told));
  }
  run.f.Advance(absl::Seconds(1));
  run.f.SyncShards();
  CHECK(run.f.snapshot().cut().id() == cut);
  run.Take();
  CHECK(run.committer.begun.size() == 1);
  CHECK(run.committer.indices.size() == 1);
}

TEST_CASE("Coordinator: one that is started again takes the next checkpoint at its time") {
  CrashFiles files(1);
  std::vector<std::uint64_t> begun;
  for (std::uint64_t step = 0; step < 6; ++step) {  // each in a process of its own
    CheckpointRun run(LeasedPolicy(1), 2, 2, &files);
    step == 0 ? run.f.Start(1) : run.f.SyncShards();
    run.f.Advance(absl::Milliseconds(200));
    CHECK(run.committer.begun.size() == (step == 0 ? 1 : 0));  // the first
    run.f.SyncShards();
    if (step == 0) run.Take();
    CHECK(run.f.Commit(0, step, {run.f.Acquire(0, step + 1, 10)->message.range()})->ok());
    run.f.Advance(absl::Milliseconds(200));
    run.f.SyncShards();
    begun.insert(begun.end(), run.committer.begun.begin(), run.committer.begun.end());
    if (begun.back() == step + 1) run.Take();
    files.Restart(CrashFiles::Loss::kProcess);
  }
  CHECK(begun == std::vector<std::uint64_t>{0, 2, 4, 6});
}

TEST_CASE("Coordinator: the time until the next checkpoint goes on when it is started again") {
  CrashFiles files(1);
  for (const std::uint64_t life : {0, 1, 2}) {
    CheckpointRun run(LeasedPolicy(1), 0, 2, &files, 0, absl::Seconds(10));
    life == 0 ? run.f.Start(1) : run.f.SyncShards();
    run.f.Advance(absl::Milliseconds(200));
    run.f.SyncShards();
    if (life == 0) run.Take();
    run.Live(absl::Seconds(4), {0});
    CHECK(run.f.Commit(0, life, {run.f.Acquire(0, life + 1, 10)->message.range()})->ok());  // so time is saved
    CHECK(run.committer.begun.size() == (life == 1 ? 0 : 1));
    files.Restart(CrashFiles::Loss::kProcess);
  }
}

TEST_CASE("Coordinator: one that is started again knows that there is a checkpoint") {
  CrashFiles files(1);
  for (const bool again : {false, true}) {
    CheckpointRun run(LeasedPolicy(1), 0, 2, &files);
    if (again) {
      run.f.SyncShards();
      CHECK(run.f.snapshot().committed_checkpoint() == "step-00000000");
      run.Live(absl::Seconds(30), {0});
    } else {
      run.f.Start(1);
      run.f.Advance(absl::Milliseconds(200));
      run.f.SyncShards();
      run.Take();
    }
    CHECK(run.committer.begun.size() == (again ? 0 : 1));
  }
}

}  // namespace
}  // namespace leeway
