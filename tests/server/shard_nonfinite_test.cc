// Shard: how it counts a worker's pushes that are not finite, for the coordinator's quarantine.
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "tests/catch.h"
#include "tests/server/shard_fixture.h"

namespace leeway {
namespace {

const float kInfinity = std::numeric_limits<float>::infinity();

// (current, longest) of `worker`, as the shard reports them.
using Runs = std::pair<std::uint64_t, std::uint64_t>;
Runs RunsOf(ShardFixture& f, std::uint32_t worker) {
  const v1::WatchRequest described = f.shard.Describe();
  for (const v1::NonFiniteRun& run : described.nonfinite_runs()) {
    if (run.worker_id() == worker) return {run.current(), run.longest()};
  }
  return {0, 0};
}

TEST_CASE("Non-finite runs: a push counts once however many of its chunks are bad, a good push ends the run") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  f.Start(2);
  const auto push = [&f](std::uint64_t step, float first, float second) {
    f.Push(f.PushOf(0, step, 0), Filled(f.Elements(0), first));
    f.Push(f.PushOf(0, step, 1), Filled(f.Elements(1), second));
    f.executor.RunAll();
  };
  push(0, std::nanf(""), std::nanf(""));
  CHECK(RunsOf(f, 0) == Runs{1, 1});
  push(1, 1, kInfinity);
  CHECK(RunsOf(f, 0) == Runs{2, 2});
  push(1, 1, kInfinity);  // sent again
  CHECK(RunsOf(f, 0) == Runs{2, 2});
  f.Push(f.PushOf(0, 2, 0), Filled(f.Elements(0), kInfinity));
  f.executor.RunAll();
  CHECK(RunsOf(f, 0) == Runs{2, 2});  // not whole yet
  f.Push(f.PushOf(0, 2, 1), Filled(f.Elements(1), 1));
  f.executor.RunAll();
  CHECK(RunsOf(f, 0) == Runs{3, 3});
  push(3, 1, 1);
  CHECK(RunsOf(f, 0) == Runs{0, 3});
  push(4, kInfinity, 1);
  CHECK(RunsOf(f, 0) == Runs{1, 3});
  CHECK(RunsOf(f, 1) == Runs{0, 0});
  CHECK(f.shard.Describe().nonfinite_runs_size() == 1);
}

// Its answer was lost, and its step is over when it comes again: told APPLIED, its worker would commit the records of a
// partial push, and take what the chunk's finite blocks said for applied.
TEST_CASE("A refused chunk is refused again, though the other chunks of its push were applied") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  f.Start(1);
  f.Push(f.PushOf(0, 0, 0), Filled(f.Elements(0), 1));
  f.Push(f.PushOf(0, 0, 1), Filled(f.Elements(1), kInfinity));
  f.executor.RunAll();
  for (const bool member : {true, false}) {
    CAPTURE(member);
    if (!member) {
      f.RemoveMember(0);
      f.Member(1);
      REQUIRE(f.Publish().ok());
    }
    const auto applied = f.Push(f.PushOf(0, 0, 0), Filled(f.Elements(0), 1));
    const auto refused = f.Push(f.PushOf(0, 0, 1), Filled(f.Elements(1), kInfinity));
    REQUIRE(applied->ok());
    CHECK(applied->message.verdict() == v1::APPLIED);
    REQUIRE(refused->ok());
    CHECK(refused->message.verdict() == v1::REFUSED);
  }
}

TEST_CASE("Non-finite runs: what the worker itself refused counts, what its delay refused does not") {
  v1::Policy policy = ExactPolicy(-1);
  SECTION("without tickets") {
    ShardFixture f(policy);
    f.Start(1);
    f.PushNull(0, 0, v1::REFUSED);
    CHECK(RunsOf(f, 0) == Runs{1, 1});
    f.PushNull(0, 1, v1::DROPPED);
    CHECK(RunsOf(f, 0) == Runs{1, 1});
  }
  SECTION("with tickets") {
    policy.set_max_delay(4);
    ShardFixture f(policy);
    f.Start(1);
    f.PushNull(0, 0, v1::REFUSED);
    CHECK(RunsOf(f, 0) == Runs{0, 0});
    v1::PushRequest push = f.PushOf(0, 1);
    push.set_null_verdict(v1::REFUSED);
    push.set_chunk_count(1);
    push.mutable_ticket()->set_serial(1);
    push.mutable_ticket()->set_rate_scale(1);
    CHECK(f.Push(push, {})->ok());
    CHECK(RunsOf(f, 0) == Runs{1, 1});
    f.PushNull(0, 2, v1::REFUSED);  // by its delay: says nothing of its values
    CHECK(RunsOf(f, 0) == Runs{1, 1});
  }
}

TEST_CASE("Non-finite runs: a new incarnation goes on where the last one was") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(2);
  f.PushValue(1, 0, kInfinity);
  f.PushValue(1, 1, kInfinity);
  f.RemoveMember(1);
  REQUIRE(f.Publish().ok());
  CHECK(RunsOf(f, 1) == Runs{2, 2});
  f.Member(1).set_incarnation(999);
  REQUIRE(f.Publish().ok());
  f.PushValue(1, 0, kInfinity);
  CHECK(RunsOf(f, 1) == Runs{3, 3});
}

TEST_CASE("Non-finite runs: in rounds a push counts when its round closes") {
  v1::Policy policy = ExactPolicy(0, v1::ROUND);
  policy.set_num_workers(3);
  ShardFixture f(policy);
  f.Start(3);
  const auto close = [&f](std::uint64_t round, std::initializer_list<std::uint32_t> ranks) {
    v1::RoundClose& close = *f.snapshot.add_closes();
    close.set_round(round);
    close.mutable_ranks()->Assign(ranks.begin(), ranks.end());
    close.set_samples(ranks.size());
    REQUIRE(f.Publish().ok());
    f.executor.RunAll();
  };
  for (std::uint64_t round = 0; round < 2; ++round) {
    f.PushValue(0, round, 1);
    f.PushValue(1, round, kInfinity);
    f.PushNull(2, round, v1::REFUSED);
    CHECK(RunsOf(f, 1) == Runs{round, round});
    close(round, {0});
    CHECK(RunsOf(f, 0) == Runs{0, 0});
    CHECK(RunsOf(f, 1) == Runs{round + 1, round + 1});
    CHECK(RunsOf(f, 2) == Runs{round + 1, round + 1});
  }
  CHECK(f.Stats().pushes_refused() == 4);
  f.PushValue(0, 2, 1);
  f.PushValue(1, 2, 1);
  f.PushNull(2, 2, v1::APPLIED);  // no data left for it in this epoch: says nothing
  close(2, {0, 1});
  CHECK(RunsOf(f, 1) == Runs{0, 2});
  CHECK(RunsOf(f, 2) == Runs{2, 2});
}

TEST_CASE("Non-finite runs: a shard's saved state has them") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  f.PushValue(0, 0, kInfinity);
  f.PushValue(0, 1, kInfinity);
  ShardFixture restored(ExactPolicy(-1));
  REQUIRE(restored.shard.RestoreState(f.shard.SaveState(), ZeroManifest(kSmall)).ok());
  CHECK(RunsOf(restored, 0) == Runs{2, 2});
}

}  // namespace
}  // namespace leeway
