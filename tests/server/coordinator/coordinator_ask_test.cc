// Coordinator through Handle(): checkpoints that somebody asks for, and the last one.
#include <string>

#include "tests/catch.h"
#include "tests/server/coordinator/checkpoint_run.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Asked = std::shared_ptr<Answer<v1::CheckpointReply>>;

Asked Ask(CheckpointRun& run, std::uint64_t number = 0, bool if_possible = false, int wait_seconds = 10) {
  v1::CheckpointRequest request;
  request.set_number(number);
  request.set_if_possible(if_possible);
  request.set_wait_millis(static_cast<std::uint32_t>(1000 * wait_seconds));
  const Asked asked = run.f.Call<v1::CheckpointReply>("Checkpoint", request);
  run.f.SyncShards();
  return asked;
}

TEST_CASE("Coordinator: who asks for a checkpoint is told when it is committed, and where") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  const Asked first = Ask(run);
  const Asked joins = Ask(run);  // the same one will do
  CHECK_FALSE(first->done());
  run.Take();
  REQUIRE(first->ok());
  REQUIRE(joins->ok());
  CHECK(first->message.name() == "step-00000000");
  CHECK(first->message.path() == "dir/step-00000000");
  CHECK(run.committer.indices.size() == 1);
  // Of just these steps there is one.
  run.committer.begin_refusal = absl::AlreadyExistsError("dir/step-00000000 holds a good checkpoint");
  const Asked again = Ask(run);
  REQUIRE(again->ok());
  CHECK(again->message.name() == "step-00000000");
  CHECK(run.committer.indices.size() == 1);
}

TEST_CASE("Coordinator: who asks when the cut is made gets the next checkpoint") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  const Asked first = Ask(run);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 0}});
  run.f.SyncShards();
  const Asked second = Ask(run);
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 10)->message.range()})->ok());
  run.WriteAll();
  run.f.SyncShards();
  CHECK(first->ok());
  CHECK_FALSE(second->done());
  REQUIRE(run.committer.begun.size() == 2);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 1}});
  run.f.SyncShards();
  run.WriteAll();
  REQUIRE(second->ok());
  CHECK(second->message.name() == "step-00000001");
}

// The first of them ends once it has its checkpoint: for another one it would be missing.
TEST_CASE("Coordinator: all ps that are told to end at once have one checkpoint, also who asks when the cut is made") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  const Asked first = Ask(run, 0, true);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 0}});
  run.f.SyncShards();
  const Asked second = Ask(run, 0, true);
  const Asked person = Ask(run);  // who does not end gets the next one
  run.WriteAll();
  CHECK(first->ok());
  CHECK(second->ok());
  CHECK(second->message.name() == "step-00000000");
  CHECK_FALSE(person->done());
}

TEST_CASE("Coordinator: who asks hears why there is no checkpoint") {
  CheckpointRun run(LeasedPolicy(1));
  CHECK(Says(Ask(run)->status, Code::kFailedPrecondition, {"training has not begun"}));
  run.f.Start(1);
  const Asked asked = Ask(run);
  run.Fail(1, "shard 1: the disk is full");
  run.f.SyncShards();
  CHECK(Says(asked->status, Code::kAborted, {"shard 1: the disk is full"}));
  CHECK(run.f.snapshot().cut().id() == 0);
  // It is no reason to wait before somebody asks again.
  const Asked again = Ask(run);
  run.Take();
  CHECK(again->ok());
}

TEST_CASE("Coordinator: without a place for checkpoints nobody is kept waiting") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  const auto asked = f.Call<v1::CheckpointReply>("Checkpoint", v1::CheckpointRequest());
  CHECK(Says(asked->status, Code::kFailedPrecondition, {"no --checkpoint_dir"}));
}

TEST_CASE("Coordinator: a request that has waited long enough is told what for, and asks again by its number") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  const Asked asked = Ask(run, 0, false, 1);
  run.f.Advance(absl::Seconds(2));
  REQUIRE(asked->ok());
  CHECK(asked->message.name().empty());
  CHECK(asked->message.not_yet().reason() == "step-00000000 is being taken");
  // Its cut waits for pushes that a full disk holds up.
  v1::WatchRequest watch = run.f.WatchOf(1);
  watch.set_pushes_wait("no room");
  run.f.Call<v1::WatchReply>("WatchMembership", watch);
  const Asked held_up = Ask(run, asked->message.number(), false, 0);
  CHECK(held_up->message.not_yet().reason() == "step-00000000 is being taken; waiting: ps 1: no room");
  const std::uint64_t number = asked->message.number();
  run.f.SyncShards();
  run.Take();
  const Asked again = Ask(run, number);
  REQUIRE(again->ok());
  CHECK(again->message.name() == "step-00000000");
  CHECK(run.committer.begun.size() == 1);
}

TEST_CASE("Coordinator: a ps that is missing is waited for, or not, as is asked; one under way is given up") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  const Asked first = Ask(run);
  for (int second = 0; second < 11; ++second) {
    run.f.Advance(absl::Seconds(1));
    CHECK(run.f.Heartbeat(0).ok());
    run.Send(0, run.f.WatchOf(0));  // only this one
  }
  CHECK(run.f.snapshot().cut().id() == 0);
  CHECK(Says(Ask(run, first->message.number())->status, Code::kAborted, {"ps 1 is not there"}));
}

TEST_CASE("Coordinator: a shard whose journal has grown too much has a checkpoint taken, once") {
  CheckpointRun run(LeasedPolicy(1));
  run.f.Start(1);
  run.f.Advance(absl::Milliseconds(200));
  run.f.SyncShards();
  run.Take();  // when training begins
  const auto complain = [&] {
    v1::WatchRequest request = run.f.WatchOf(1);
    request.set_wants_checkpoint(true);
    return request;
  };
  run.Send(1, complain());
  CHECK(run.committer.begun.size() == 1);  // nothing has been trained on since
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 10)->message.range()})->ok());
  run.Send(1, complain());
  run.f.SyncShards();
  REQUIRE(run.committer.begun.size() == 2);
  const v1::WatchRequest before = complain();
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{0, 1}});
  run.f.SyncShards();
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {});
  CHECK(run.f.Commit(0, 1, {run.f.Acquire(0, 2, 10)->message.range()})->ok());
  REQUIRE(run.committer.indices.size() == 2);
  run.f.Call<v1::WatchReply>("WatchMembership", before);  // from before it knew
  run.f.Advance(absl::Seconds(1));
  CHECK(run.committer.begun.size() == 2);
  run.f.SyncShards();
  run.Send(1, complain());
  CHECK(run.committer.begun.size() == 3);
}

// --- The last one ----------------------------------------------------------------------------------------

// One worker, which has trained for a step; the run is over when it leaves.
void TrainToTheEnd(CheckpointRun& run) {
  run.f.Start(1);
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 100)->message.range()})->ok());
  run.f.SyncShards();
  CHECK(run.f.coordinator.state() == v1::FINISHING);
  CHECK(run.f.Leave(0)->ok());
  run.f.Advance(absl::Milliseconds(200));
  run.f.SyncShards();
}

v1::Policy OneEpoch() {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(1);
  return policy;
}

TEST_CASE("Coordinator: the end comes behind the last checkpoint") {
  CheckpointRun run(OneEpoch());
  TrainToTheEnd(run);
  CHECK(run.f.coordinator.state() == v1::FINISHING);
  REQUIRE(run.f.snapshot().cut().id() != 0);
  const Asked asked = Ask(run);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{7, 0}});
  run.f.SyncShards();
  run.WriteAll();
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  CHECK(run.f.coordinator.last_checkpoint().ok());
  REQUIRE(run.committer.indices.size() == 1);
  CHECK(run.committer.indices[0].step() == 1);
  CHECK(run.committer.indices[0].coordinator_state().samples() == 100);
  REQUIRE(asked->ok());
  CHECK(asked->message.name() == "step-00000001");
}

TEST_CASE("Coordinator: one that is under way when training ends is given up for the last one") {
  CheckpointRun run(OneEpoch());
  run.f.Start(1);
  const Asked asked = Ask(run);
  const std::uint64_t before = run.f.snapshot().cut().id();
  CHECK(run.f.Commit(0, 0, {run.f.Acquire(0, 1, 100)->message.range()})->ok());
  CHECK(run.f.Leave(0)->ok());
  run.f.Advance(absl::Milliseconds(300));
  run.f.SyncShards();
  REQUIRE(run.f.snapshot().cut().id() != 0);
  CHECK(run.f.snapshot().cut().id() != before);
  for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{7, 0}});
  run.f.SyncShards();
  run.WriteAll();
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  REQUIRE(asked->ok());
  CHECK(asked->message.name() == "step-00000001");
}

TEST_CASE("Coordinator: a last checkpoint that cannot be written is tried again, then the end comes without it") {
  for (const bool in_time : {true, false}) {
    CheckpointRun run(OneEpoch());
    run.committer.refusal = absl::ResourceExhaustedError("dir: no space left");
    TrainToTheEnd(run);
    for (int second = 0; second < 70 && run.f.coordinator.state() != v1::FINISHED; ++second) {
      if (in_time && second == 30) run.committer.refusal = absl::OkStatus();
      if (run.f.snapshot().cut().id() != 0 && !run.f.snapshot().cut().limited()) {
        for (std::uint32_t shard = 0; shard < 2; ++shard) run.Tell(shard, {{7, 0}});
        run.f.SyncShards();
        run.WriteAll();
      }
      run.f.Advance(absl::Seconds(1));
      run.f.SyncShards();
    }
    CHECK(run.f.coordinator.state() == v1::FINISHED);
    CHECK(run.committer.indices.size() > 2);
    const absl::Status last = run.f.coordinator.last_checkpoint();
    if (in_time) {
      CHECK(last.ok());
    } else {
      CHECK(Says(last, Code::kUnavailable, {"training has ended", "no space left"}));
    }
  }
}

TEST_CASE("Coordinator: the end does not wait for ever for a ps that is gone") {
  CheckpointRun run(OneEpoch());
  TrainToTheEnd(run);
  run.f.Advance(absl::Seconds(50));
  CHECK(run.f.coordinator.state() == v1::FINISHING);
  run.f.Advance(absl::Seconds(15));
  CHECK(run.f.coordinator.state() == v1::FINISHED);
  CHECK(Says(run.f.coordinator.last_checkpoint(), Code::kUnavailable, {"ps 0 is not there"}));
}

}  // namespace
}  // namespace leeway
