// Shard: workers that are parked and come back, perhaps with pushes under way.
#include <cstdint>

#include "tests/catch.h"
#include "tests/server/shard_fixture.h"

namespace leeway {
namespace {

TEST_CASE("Shard: a parked worker holds nobody; what it had pushed stays pushed when it comes back") {
  ShardFixture f(ExactPolicy(8));
  f.Start(2);
  for (std::uint64_t step = 0; step < 6; ++step) f.PushValue(0, step);
  f.PushValue(1, 0);
  f.Member(0, v1::PARKED);
  REQUIRE(f.Publish().ok());
  for (std::uint64_t step = 1; step < 4; ++step) f.PushValue(1, step);
  f.Member(0, v1::JOINING);
  REQUIRE(f.Publish().ok());
  // It goes on at the clock that is told here: below its own, its steps would count as repetitions.
  REQUIRE(f.shard.Describe().installed_size() == 1);
  CHECK(f.shard.Describe().installed(0).clock() == 6);
}

TEST_CASE("Shard: where all are parked a pull waits for nobody, though the last to park had a push under way") {
  ShardFixture f(ExactPolicy(8));
  f.Start(2);
  for (std::uint64_t step = 0; step < 9; ++step) f.PushValue(0, step);
  const auto ahead = f.Pull(f.PullOf(0, 9, 9, 9000));
  f.executor.RunAll();
  CHECK_FALSE(ahead->done());
  f.Member(0, v1::PARKED);
  REQUIRE(f.Publish().ok());
  CHECK_FALSE(ahead->done());  // the other one may still push
  // The epoch has no more records. But the first worker has some in hand, for which it needs these weights.
  f.Member(1, v1::PARKED);
  REQUIRE(f.Publish().ok());
  f.PushValue(1, 0);
  REQUIRE(ahead->ok());
  CHECK_FALSE(ahead->message.has_not_yet());
}

TEST_CASE("Shard: a worker that was live between two snapshots has entered all the same") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  f.Member(1, v1::JOINING);
  REQUIRE(f.Publish().ok());
  // It went live at clock 20, pushed, and was parked; of that this shard hears last.
  f.Member(1, v1::PARKED, 20);
  REQUIRE(f.Publish().ok());
  const auto first = f.PushValue(1, 20);
  REQUIRE(first->ok());
  CHECK(first->message.own_clock() == 21);
  CHECK(f.Stats().version() == 1);
  // The same once more: it re-enters at 30, and is parked and joining again when this shard is told.
  f.Member(1, v1::JOINING, 20);
  REQUIRE(f.Publish().ok());
  f.Member(1, v1::JOINING, 30);
  REQUIRE(f.Publish().ok());
  REQUIRE(f.shard.Describe().installed_size() == 1);
  CHECK(f.shard.Describe().installed(0).clock() == 30);
  f.Member(1, v1::LIVE, 33);
  REQUIRE(f.Publish().ok());
  // What it had under way until then is counted like any other.
  for (const std::uint64_t step : {21, 30, 33}) {
    const auto late = f.PushValue(1, step);
    REQUIRE(late->ok());
    CHECK(late->message.verdict() == v1::APPLIED);
    CHECK_FALSE(late->message.duplicate());
  }
  CHECK(f.Stats().version() == 4);
  CHECK(f.Weights()[0] == -4);
}

TEST_CASE(
    "Shard: what a worker pushed that went live at clock 0 counts, though this shard hears of its second joining") {
  for (const bool heard_of_the_first : {true, false}) {
    ShardFixture f(ExactPolicy(-1));
    f.Start(1);
    if (heard_of_the_first) {
      f.Member(1, v1::JOINING);
      REQUIRE(f.Publish().ok());
    }
    f.Member(1, v1::JOINING).set_was_live(true);
    REQUIRE(f.Publish().ok());
    f.Member(1, v1::LIVE, 5);
    REQUIRE(f.Publish().ok());
    for (const std::uint64_t step : {0, 1, 5}) {
      const auto push = f.PushValue(1, step);
      REQUIRE(push->ok());
      CHECK(push->message.verdict() == v1::APPLIED);
      CHECK_FALSE(push->message.duplicate());
    }
    CHECK(f.Stats().version() == 3);
    CHECK(f.Weights()[0] == -3);
  }
}

TEST_CASE("Shard: pushes that are under way while their worker re-enters are applied and counted, each once") {
  v1::Policy policy = ExactPolicy(-1);
  policy.set_max_delay(64);
  ShardFixture f(policy, kLarge);
  f.Start(1);
  const auto push = [&f](std::uint64_t step, std::uint32_t chunk, bool run = true) {
    v1::PushRequest request = f.PushOf(0, step, chunk);
    request.set_samples(10);
    request.mutable_ticket()->set_serial(step + 1);
    request.mutable_ticket()->set_delay(7);
    request.mutable_ticket()->set_rate_scale(1);
    const auto answer = f.Push(request, Filled(f.Elements(chunk), 1));
    if (run) f.executor.RunAll();
    return answer;
  };
  // At the re-entry step 0 is half here, step 1 has not come, step 2 is whole but behind them, step 3 is being applied.
  REQUIRE(push(0, 0)->ok());
  REQUIRE(push(2, 0)->ok());
  REQUIRE(push(2, 1)->ok());
  REQUIRE(push(3, 0)->ok());
  const auto applying = push(3, 1, false);
  const auto reenter = [&f](std::uint64_t entry) {
    f.Member(0, v1::PARKED);
    REQUIRE(f.Publish().ok());
    f.Member(0, v1::JOINING);
    REQUIRE(f.Publish().ok());
    f.Member(0, v1::LIVE, entry);
    REQUIRE(f.Publish().ok());
  };
  reenter(100);
  CHECK(f.Stats().version() == 2);
  CHECK(applying->message.verdict() == v1::APPLIED);
  CHECK(push(1, 1)->message.verdict() == v1::APPLIED);
  CHECK(push(100, 0)->message.own_clock() == 100);
  CHECK(push(0, 1)->message.verdict() == v1::APPLIED);
  CHECK(push(1, 0)->message.verdict() == v1::APPLIED);
  CHECK(push(100, 1)->message.own_clock() == 101);
  // A chunk that is sent again, and one of a step that no honest worker has under way, are not applied.
  CHECK(push(0, 1)->message.duplicate());
  push(50, 0);
  const v1::ShardStats stats = f.Stats();
  CHECK(stats.version() == 5);
  CHECK(stats.pushes_applied() == 5);
  CHECK(stats.pushes_partial() == 0);
  CHECK(stats.samples() == 50);
  REQUIRE(stats.delay().counts_size() == 8);
  CHECK(stats.delay().counts(7) == 5);
  CHECK(f.Weights(0)[0] == -5);
  CHECK(f.Weights(1)[0] == -5);
  CHECK(f.Pull(f.PullOf(0, 101, 101))->message.ticket_watermark() == 4);
}

TEST_CASE("Shard: a null push that comes after its worker's re-entry settles its ticket, once") {
  v1::Policy policy = ExactPolicy(-1);
  policy.set_max_delay(4);
  ShardFixture f(policy);
  f.Start(1);
  f.Member(0, v1::PARKED);
  REQUIRE(f.Publish().ok());
  f.Member(0, v1::LIVE, 5);
  REQUIRE(f.Publish().ok());
  v1::PushRequest null = f.PushOf(0, 0);
  null.clear_run();
  null.set_chunk_count(1);
  null.set_null_verdict(v1::REFUSED);
  null.mutable_ticket()->set_serial(1);
  null.mutable_ticket()->set_rate_scale(1);
  for (int again = 0; again < 3; ++again) CHECK(f.Push(null, {})->message.verdict() == v1::REFUSED);
  CHECK(f.Stats().pushes_refused() == 1);
  CHECK(f.Pull(f.PullOf(0, 5, 5))->message.ticket_watermark() == 1);
}

TEST_CASE("Shard: what a re-entered worker leaves under way when it dies is partial") {
  ShardFixture f(ExactPolicy(-1), kLarge);
  f.Start(1);
  f.Push(f.PushOf(0, 0, 0), Filled(f.Elements(0), 1));
  f.executor.RunAll();
  f.Member(0, v1::PARKED);
  REQUIRE(f.Publish().ok());
  f.Member(0, v1::LIVE, 5);
  REQUIRE(f.Publish().ok());
  CHECK(f.Stats().pushes_partial() == 0);
  f.RemoveMember(0);
  REQUIRE(f.Publish().ok());
  CHECK(f.Stats().pushes_partial() == 1);
  CHECK(f.Stats().pushes_applied() == 0);
}

}  // namespace
}  // namespace leeway
