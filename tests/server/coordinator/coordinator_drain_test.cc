// Coordinator through Handle(): Drain.
#include <optional>
#include <string>

#include "tests/catch.h"
#include "tests/server/coordinator/checkpoint_run.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Asked = std::shared_ptr<Answer<v1::DrainReply>>;

Asked Ask(CoordinatorFixture& f, const std::string& target, std::uint64_t incarnation = 0, int wait_seconds = 10,
          bool only_look = false) {
  v1::DrainRequest request;
  request.set_only_look(only_look);
  request.set_target(target);
  request.set_incarnation(incarnation);
  request.set_wait_millis(static_cast<std::uint32_t>(1000 * wait_seconds));
  Asked asked = f.Call<v1::DrainReply>("Drain", request);
  if (wait_seconds == 0) f.Advance(absl::Milliseconds(50));
  return asked;
}

bool ToldToLeave(CoordinatorFixture& f, std::uint32_t worker) {
  v1::HeartbeatRequest request;
  *request.mutable_stamp() = f.StampOf(worker);
  const auto answer = f.Call<v1::HeartbeatReply>("Heartbeat", request);
  return answer->ok() && answer->message.drain();
}

TEST_CASE("Coordinator: a worker that is drained is told so, alone, and its asker hears when it has left") {
  CoordinatorFixture f(LeasedPolicy(2), 1);
  f.Start(2);
  CHECK(Says(Ask(f, "w9")->status, Code::kNotFound, {"\"w9\"", "did you mean w"}));
  const Asked first = Ask(f, "w1", 0, 0);
  REQUIRE(first->ok());
  CHECK(first->message.has_not_yet());
  CHECK(first->message.incarnation() == 101);
  CHECK(ToldToLeave(f, 1));
  CHECK_FALSE(ToldToLeave(f, 0));
  CHECK(f.Status().workers(1).state() == "draining");
  const Asked asked = Ask(f, "w1", first->message.incarnation());
  CHECK_FALSE(asked->done());
  f.Leave(1);
  f.Advance(absl::Milliseconds(200));
  REQUIRE(asked->ok());
  CHECK(asked->message.done() == "worker 'w1' has left");
  // Whoever takes its place was not meant.
  f.SyncShards();
  f.Join(f.JoinOf("w1", 555));
  f.SyncShards();
  const Asked again = Ask(f, "w1", first->message.incarnation());
  REQUIRE(again->ok());
  CHECK(again->message.done() == "worker 'w1' has left, and has come back");
  CHECK_FALSE(ToldToLeave(f, 1));
}

TEST_CASE("Coordinator: a ps that is drained is told so until it is silent; the process that replaces it is not") {
  CheckpointRun run(LeasedPolicy(1));
  CoordinatorFixture& f = run.f;
  f.Start(1);
  CHECK(Says(Ask(f, "ps-2")->status, Code::kNotFound, {"\"ps-2\"", "did you mean ps-"}));
  const Asked first = Ask(f, "ps-1", 0, 0);
  REQUIRE(first->ok());
  CHECK(first->message.has_not_yet());
  f.SyncShards();
  REQUIRE(f.snapshot().drains_size() == 1);
  CHECK(f.snapshot().drains(0).shard_index() == 1);
  CHECK(f.snapshot().drains(0).generation() == 7001);
  const Asked asked = Ask(f, "ps-1", first->message.incarnation());
  CHECK_FALSE(asked->done());
  for (int i = 0; i < 5; ++i) {  // ps 0 goes on
    f.Heartbeat(0).IgnoreError();
    f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
    f.Advance(absl::Seconds(1));
  }
  REQUIRE(asked->ok());
  CHECK(asked->message.done() == "ps-1 has ended");
  v1::WatchRequest next = f.WatchOf(1);
  next.set_generation(9001);
  run.Send(1, next);
  CHECK(f.known[1].drains().empty());
  const Asked again = Ask(f, "ps-1", first->message.incarnation());
  REQUIRE(again->ok());
  CHECK(again->message.done() == "ps-1 has ended, and another process has taken its place");
}

// Shard 0 asks, shard 1 is silent.
void LiveWithout1(CoordinatorFixture& f, int seconds) {
  for (int i = 0; i < seconds; ++i) {
    f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
    f.Advance(absl::Seconds(1));
  }
}

TEST_CASE("Coordinator: a ps that could not be heard has not ended by that: ps 0 was stopped, or started again") {
  for (const bool again : {false, true}) {
    CrashFiles files(1);
    std::optional<CheckpointRun> run;
    run.emplace(LeasedPolicy(1), 0, 2, &files);
    run->f.Start(1);
    if (again) {
      run.reset();
      files.Restart(CrashFiles::Loss::kProcess);
      run.emplace(LeasedPolicy(1), 0, 2, &files);
    } else {
      run->f.clock.Advance(absl::Seconds(60));
    }
    CoordinatorFixture& f = run->f;
    const auto now = Ask(f, "ps-1", 7001, 0);
    REQUIRE(now->ok());
    CHECK(now->message.has_not_yet());
    LiveWithout1(f, 4);  // what found nobody comes again, some seconds later
    CHECK(Ask(f, "ps-1", 7001, 0)->message.has_not_yet());
    SECTION("it comes") {
      f.SyncShards();
      CHECK(Ask(f, "ps-1", 7001, 0)->message.has_not_yet());
      LiveWithout1(f, 4);
      CHECK(Ask(f, "ps-1", 7001, 0)->message.done() == "ps-1 has ended");
    }
    SECTION("it does not come") {
      LiveWithout1(f, 7);
      CHECK(Ask(f, "ps-1", 7001, 0)->message.done() == "ps-1 has ended");
    }
  }
}

TEST_CASE("Coordinator: a ps that has not come is not drained, and has not ended") {
  CheckpointRun run(LeasedPolicy(1));
  CHECK(Says(Ask(run.f, "ps-1")->status, Code::kFailedPrecondition, {"drain: ps-1 has not come"}));
}

TEST_CASE("Coordinator: who waits for a drained ps hears that the run is over") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_steps(1);
  CheckpointRun run(policy);
  CoordinatorFixture& f = run.f;
  f.Start(1);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  run.Take();
  const Asked asked = Ask(f, "ps-1");
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  f.Leave(0);
  f.Advance(absl::Milliseconds(200));
  f.SyncShards();
  CHECK_FALSE(asked->done());
  run.Take();
  CHECK(f.coordinator.state() == v1::FINISHED);
  REQUIRE(asked->ok());
  CHECK(asked->message.done() == "the run is over, and ps-1 ends with it");
}

TEST_CASE("Coordinator: who looks first drains nobody else by a call that the network brings again much later") {
  CheckpointRun run(LeasedPolicy(2));
  CoordinatorFixture& f = run.f;
  f.Start(2);
  const Asked worker = Ask(f, "w1", 0, 0, /*only_look=*/true);
  const Asked ps = Ask(f, "ps-1", 0, 0, /*only_look=*/true);
  REQUIRE(worker->ok());
  REQUIRE(ps->ok());
  CHECK(worker->message.incarnation() == 101);
  CHECK(ps->message.incarnation() == 7001);
  f.SyncShards();
  CHECK_FALSE(ToldToLeave(f, 1));
  CHECK(f.snapshot().drains().empty());
  Ask(f, "w1", 101);
  Ask(f, "ps-1", 7001);
  f.SyncShards();
  CHECK(ToldToLeave(f, 1));
  CHECK(f.snapshot().drains_size() == 1);
  // Others take their places, and all four calls come again.
  f.Leave(1);
  f.SyncShards();
  f.Join(f.JoinOf("w1", 555));
  f.SyncShards();
  v1::WatchRequest next = f.WatchOf(1);
  next.set_generation(9001);
  run.Send(1, next);
  for (const bool only_look : {true, false}) {
    CHECK(Ask(f, "w1", only_look ? 0 : 101, 0, only_look)->ok());
    CHECK(Ask(f, "ps-1", only_look ? 0 : 7001, 0, only_look)->ok());
  }
  CHECK_FALSE(ToldToLeave(f, 1));
  run.Send(1, next);
  CHECK(f.known[1].drains().empty());
}

TEST_CASE("Coordinator: a ps without --checkpoint_dir is not drained: the run would end with it") {
  CoordinatorFixture f(LeasedPolicy(1), 1);
  f.Start(1);
  CHECK(Says(Ask(f, "ps-0")->status, Code::kFailedPrecondition, {"ps-0", "--checkpoint_dir"}));
  CHECK(f.snapshot().drains().empty());
}

}  // namespace
}  // namespace leeway
