// Shard with `round`: sums in rank order, quorums, late pushes, evaluation of one round.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Floats = std::vector<float>;

v1::Policy RoundPolicy(std::uint32_t workers) {
  v1::Policy policy = ExactPolicy(0, v1::ROUND);
  policy.set_num_workers(workers);
  return policy;
}

void Close(ShardFixture& f, std::uint64_t round, const std::vector<std::uint32_t>& ranks, std::uint64_t samples) {
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.set_round(round);
  close.mutable_ranks()->Assign(ranks.begin(), ranks.end());
  close.set_samples(samples);
}

Buffer RandomGradient(std::uint64_t seed, std::uint64_t count) {
  Random random(seed);
  auto floats = std::make_shared<Floats>(count);
  for (float& value : *floats) value = static_cast<float>(random.Unit() - 0.5);
  return Buffer::Wrap(floats, floats->data(), count * sizeof(float));
}

TEST_CASE("Rounds: the sum is taken in rank order whatever the order of arrival, bit for bit") {
  Floats first;
  Random random(TestSeed());
  std::vector<std::uint32_t> order = {0, 1, 2, 3};
  for (int attempt = 0; attempt < 8; ++attempt) {
    for (std::size_t i = 0; i < order.size(); ++i) std::swap(order[i], order[random.Below(4)]);
    ShardFixture f(RoundPolicy(4));
    f.Start(4);
    for (std::uint64_t round = 0; round < 3; ++round) {
      std::vector<std::shared_ptr<Answer<v1::PushReply>>> answers;
      for (const std::uint32_t id : order) {
        v1::PushRequest push = f.PushOf(id, round);
        push.set_samples(id + 1);
        answers.push_back(f.Push(push, RandomGradient(TestSeed() + 10 * round + id, kSmall)));
      }
      f.executor.RunAll();
      for (const auto& answer : answers) {
        REQUIRE(answer->ok());
        CHECK(answer->message.verdict() == v1::HELD);
      }
      CHECK(f.shard.DescribeRound().complete_size() == 4);
      CHECK(f.shard.DescribeRound().round() == round);
      Close(f, round, {0, 1, 2, 3}, 10);
      REQUIRE(f.Publish().ok());
    }
    const Floats weights = f.Weights();
    if (first.empty()) first = weights;
    REQUIRE(std::memcmp(weights.data(), first.data(), first.size() * sizeof(float)) == 0);
    CHECK(f.Stats().version() == 3);
    CHECK(f.Stats().held_bytes() == 0);
    CHECK(f.Stats().pushes_applied() == 12);
  }
}

TEST_CASE("Rounds: the mean is weighted by samples") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  for (const std::uint32_t id : {0u, 1u}) {
    v1::PushRequest push = f.PushOf(id, 0);
    push.set_samples(id == 0 ? 3 : 1);
    f.Push(push, Filled(kSmall, id == 0 ? 8 : 16));
  }
  f.executor.RunAll();
  Close(f, 0, {0, 1}, 4);
  REQUIRE(f.Publish().ok());
  CHECK(f.Weights() == Floats(kSmall, -(0.75f * 8 + 0.25f * 16)));
}

TEST_CASE("Rounds: a pull waits for the round before, and is told who is missing") {
  ShardFixture f(RoundPolicy(3));
  f.Start(3);
  f.PushValue(0, 0);
  f.PushValue(2, 0);
  const auto held = f.Pull(f.PullOf(0, 1, 1, 9000));
  const auto told = f.Pull(f.PullOf(2, 1, 1, 0));
  f.clock.Advance(absl::Seconds(1));
  f.executor.RunAll();
  REQUIRE(told->ok());
  REQUIRE(told->message.not_yet().on_size() == 1);
  CHECK(told->message.not_yet().on(0).worker_id() == 1);
  f.PushValue(1, 0);
  CHECK_FALSE(held->done());  // whole is not closed
  Close(f, 0, {0, 1, 2}, 3);
  REQUIRE(f.Publish().ok());
  REQUIRE(held->ok());
  CHECK(held->message.version() == 1);
  CHECK(ToFloats(held->payload)[0] == Approx(-1).epsilon(1e-6));
}

TEST_CASE("Rounds: with a quorum the late push is dropped, counted, and told where to go on") {
  ShardFixture f(RoundPolicy(3));
  f.Start(3);
  f.PushValue(0, 0, 4);
  f.PushValue(1, 0, 8);
  Close(f, 0, {0, 1}, 2);
  REQUIRE(f.Publish().ok());
  const auto late = f.PushValue(2, 0, 100);
  REQUIRE(late->ok());
  CHECK(late->message.verdict() == v1::DROPPED);
  CHECK(late->message.open_round() == 1);
  CHECK_FALSE(late->message.duplicate());
  CHECK(f.Weights() == Floats(kSmall, -6));
  // A contributor's repetition is none the worse for it.
  const auto again = f.PushValue(0, 0, 4);
  CHECK(again->message.verdict() == v1::APPLIED);
  CHECK(again->message.duplicate());
  const auto null = f.PushNull(2, 0, v1::REFUSED);
  CHECK(null->message.verdict() == v1::DROPPED);
  CHECK(f.Stats().pushes_dropped() == 1);
}

TEST_CASE("Rounds: a worker that missed any number of rounds is told DROPPED, never that it was applied") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  for (std::uint64_t round = 0; round < 40; ++round) {
    f.PushValue(0, round);
    Close(f, round, {0}, 1);
    REQUIRE(f.Publish().ok());
  }
  for (const std::uint64_t round : {0, 1, 20, 30, 39}) {
    const auto late = f.PushValue(1, round);
    REQUIRE(late->ok());
    CHECK(late->message.verdict() == v1::DROPPED);
    CHECK(late->message.open_round() == 40);
  }
  CHECK(f.Weights() == Floats(kSmall, -40));
}

// Its first answer was lost, and it was out of reach for a while. What it took for dropped it would push again.
TEST_CASE("Rounds: a worker whose push was in a round is told so, however many have closed without it since") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  f.PushValue(0, 0, 4);
  f.PushValue(1, 0, 8);
  for (std::uint64_t round = 0; round < 40; ++round) {
    if (round > 0) f.PushValue(0, round, 0);
    round == 0 ? Close(f, round, {0, 1}, 2) : Close(f, round, {0}, 1);
    REQUIRE(f.Publish().ok());
  }
  CHECK(f.Pull(f.PullOf(1, 1, 1))->message.last_push() == v1::APPLIED);
  const auto again = f.PushValue(1, 0, 8);
  CHECK(again->message.verdict() == v1::APPLIED);
  CHECK(again->message.duplicate());
  CHECK(f.PushValue(1, 1)->message.verdict() == v1::DROPPED);
  CHECK(f.Weights() == Floats(kSmall, -6));
}

TEST_CASE("Rounds: a push that is whole here and not named in the close is dropped") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  f.PushValue(0, 0, 1);
  f.PushValue(1, 0, 100);
  Close(f, 0, {0}, 1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Weights() == Floats(kSmall, -1));
  // Their next pulls tell both what their pushes, then held, came to.
  CHECK(f.Pull(f.PullOf(0, 1, 1))->message.last_push() == v1::APPLIED);
  CHECK(f.Pull(f.PullOf(1, 1, 1))->message.last_push() == v1::DROPPED);
  CHECK(f.PushValue(1, 0, 100)->message.verdict() == v1::DROPPED);
  CHECK(f.Stats().pushes_dropped() == 1);
}

TEST_CASE("Rounds: a refused push counts as given and adds nothing") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  f.PushValue(0, 0, 2);
  CHECK(absl::IsInvalidArgument(f.PushValue(1, 0, std::nanf(""))->status));
  const v1::ReportRoundRequest report = f.shard.DescribeRound();
  REQUIRE(report.complete_size() == 2);
  CHECK(report.complete(0).usable());
  CHECK_FALSE(report.complete(1).usable());
  Close(f, 0, {0}, 1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Weights() == Floats(kSmall, -2));
  CHECK(f.Stats().pushes_refused() == 1);
}

TEST_CASE("Rounds: with null pushes only, the round closes and changes nothing") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  int reports = 0;
  f.shard.set_on_round([&reports] { ++reports; });
  f.PushNull(0, 0, v1::REFUSED);
  f.PushNull(1, 0, v1::REFUSED);
  CHECK(reports == 2);
  Close(f, 0, {}, 0);
  REQUIRE(f.Publish().ok());
  CHECK(f.Weights() == Floats(kSmall, 0));
  CHECK(f.Stats().version() == 1);
  CHECK(f.Pull(f.PullOf(0, 1, 1))->ok());
}

// A model of two blocks on three shards.
Shard::Options WithoutBlocks() { return {.index = 2, .num_shards = 3}; }

TEST_CASE("Rounds: what a shard without blocks is given counts like what the others are given") {
  ShardFixture f(RoundPolicy(3), 4096 + 600, WithoutBlocks());
  REQUIRE(f.placement.ShardBlocks(2) == 0);
  f.Start(3);
  CHECK(f.PushNull(0, 0, v1::APPLIED)->message.verdict() == v1::APPLIED);
  CHECK(f.PushNull(0, 0, v1::APPLIED)->message.verdict() == v1::APPLIED);
  f.PushNull(1, 0, v1::REFUSED);
  v1::PushRequest empty = f.PushOf(2, 0);  // a rank whose records have run out
  empty.clear_run();
  empty.set_samples(0);
  empty.set_null_verdict(v1::APPLIED);
  CHECK(f.Push(empty, {})->ok());
  const v1::ReportRoundRequest report = f.shard.DescribeRound();
  REQUIRE(report.complete_size() == 3);
  CHECK(report.complete(0).usable());
  CHECK(report.complete(0).samples() == 1);
  CHECK_FALSE(report.complete(1).usable());
  CHECK_FALSE(report.complete(2).usable());
  Close(f, 0, {0}, 1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Stats().version() == 1);
  CHECK(f.Stats().pushes_applied() == 1);
  CHECK(f.Stats().pushes_refused() == 1);
  CHECK(f.Stats().pushes_dropped() == 0);
  // A repetition is answered as the round was closed.
  CHECK(f.PushNull(0, 0, v1::APPLIED)->message.verdict() == v1::APPLIED);
  CHECK(f.PushNull(2, 0, v1::APPLIED)->message.verdict() == v1::DROPPED);
}

TEST_CASE("Rounds: a shard without blocks drops what comes for a closed round, and counts what was not named") {
  ShardFixture f(RoundPolicy(2), 4096 + 600, WithoutBlocks());
  f.Start(2);
  f.PushNull(0, 0, v1::APPLIED);
  Close(f, 0, {}, 0);
  REQUIRE(f.Publish().ok());
  CHECK(f.PushNull(0, 0, v1::APPLIED)->message.verdict() == v1::DROPPED);
  CHECK(f.Stats().pushes_dropped() == 1);
  CHECK(f.PushNull(1, 0, v1::APPLIED)->message.verdict() == v1::DROPPED);
  CHECK(f.Stats().pushes_dropped() == 2);
  CHECK(f.shard.DescribeRound().complete_size() == 0);
}

TEST_CASE("Rounds: the next round may be pushed ahead, the one after it not") {
  ShardFixture f(RoundPolicy(1));
  f.Start(1);
  CHECK(f.PushValue(0, 1)->message.verdict() == v1::HELD);
  CHECK(Says(f.PushValue(0, 2)->status, Code::kOutOfRange, {"round 2", "round 0 open"}));
  f.PushValue(0, 0, 3);
  Close(f, 0, {0}, 1);
  Close(f, 1, {0}, 1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Weights() == Floats(kSmall, -4));
  CHECK(f.Stats().version() == 2);
}

TEST_CASE("Rounds: closes are carried out once and in order, however often they are told") {
  ShardFixture f(RoundPolicy(1));
  f.Start(1);
  f.PushValue(0, 0);
  Close(f, 0, {0}, 1);
  for (int i = 0; i < 3; ++i) REQUIRE(f.Publish().ok());
  CHECK(f.Weights() == Floats(kSmall, -1));
  CHECK(f.shard.Describe().closed_round() == 1);
}

TEST_CASE("Rounds: a copy shows one round, never a mixture, and an applying round makes it wait") {
  ShardFixture f(RoundPolicy(1), kLarge);
  f.Start(1);
  f.Member(5, v1::OBSERVER);
  REQUIRE(f.Publish().ok());
  f.PushValue(0, 0);
  Close(f, 0, {0}, 1);
  f.snapshot.set_sequence(f.snapshot.sequence() + 1);
  REQUIRE(f.shard.ApplySnapshot(f.snapshot).ok());
  REQUIRE(f.executor.size() == 2);
  f.executor.RunOne();  // the first of two chunks is summed
  v1::PullRequest pull = f.PullOf(5, 0, 0, 5000);
  pull.set_copy(true);
  pull.mutable_run()->set_num_blocks(static_cast<std::uint32_t>(f.placement.num_blocks()));
  const auto copy = f.Pull(pull);
  f.executor.RunAll();
  REQUIRE(copy->ok());
  CHECK(copy->message.version() == 1);
  CHECK(ToFloats(copy->payload) == Floats(kLarge, -1));
}

TEST_CASE("Rounds: a round that is to be applied waits for the copies that are under way") {
  ShardFixture f(RoundPolicy(1), kLarge);
  f.Start(1);
  f.Member(5, v1::OBSERVER);
  REQUIRE(f.Publish().ok());
  f.PushValue(0, 0);
  v1::PullRequest pull = f.PullOf(5, 0, 0, 5000);
  pull.set_copy(true);
  pull.mutable_run()->set_num_blocks(static_cast<std::uint32_t>(f.placement.num_blocks()));
  const auto copy = f.Pull(pull);
  Close(f, 0, {0}, 1);
  REQUIRE(f.Publish().ok());
  REQUIRE(copy->ok());
  CHECK(copy->message.version() == 0);
  CHECK(ToFloats(copy->payload) == Floats(kLarge, 0));
  CHECK(f.Weights()[0] == -1);
}

TEST_CASE("Rounds: who watches one hears of its close, and counts as nobody who waits") {
  v1::Policy policy = RoundPolicy(3);
  policy.set_round_quorum(2);
  ShardFixture f(policy);
  f.Start(3);
  const auto watch = f.WatchRound(2, 0);
  const auto other = f.WatchRound(0, 0);
  f.PushValue(0, 0);
  f.PushValue(1, 0);
  CHECK_FALSE(watch->done());  // whole is not closed
  Close(f, 0, {0, 1}, 2);
  REQUIRE(f.Publish().ok());
  REQUIRE(watch->ok());
  CHECK(watch->message.open_round() == 1);
  CHECK_FALSE(watch->message.finishing());
  CHECK(other->ok());
  const auto late = f.WatchRound(2, 0);  // it is told at once, too
  REQUIRE(late->ok());
  CHECK(late->message.open_round() == 1);
  CHECK(f.Stats().pulls_blocked() == 0);
  CHECK(f.Stats().gap().counts_size() == 0);
  CHECK(f.Stats().pushes_dropped() == 0);
}

TEST_CASE("Rounds: a watch ends at its limit, at the run's end, and with its membership") {
  ShardFixture f(RoundPolicy(2));
  f.Start(2);
  const auto limited = f.WatchRound(0, 0, 1000);
  const auto held = f.WatchRound(0, 0);
  f.clock.Advance(absl::Seconds(1));
  f.executor.RunAll();
  REQUIRE(limited->ok());
  CHECK(limited->message.open_round() == 0);
  CHECK_FALSE(limited->message.finishing());
  const auto gone = f.WatchRound(1, 0);
  f.RemoveMember(1);
  REQUIRE(f.Publish().ok());
  CHECK(absl::IsFailedPrecondition(gone->status));
  CHECK_FALSE(held->done());
  f.snapshot.set_state(v1::FINISHING);
  REQUIRE(f.Publish().ok());
  REQUIRE(held->ok());
  CHECK(held->message.finishing());
}

TEST_CASE("Rounds: a watch waits for a membership that the shard has not heard of, and needs rounds") {
  ShardFixture f(RoundPolicy(1));
  f.Start(1);
  f.snapshot.set_membership_epoch(f.snapshot.membership_epoch() + 1);  // the worker knows of it
  const auto ahead = f.WatchRound(0, 0);
  f.snapshot.set_membership_epoch(f.snapshot.membership_epoch() - 1);
  f.PushValue(0, 0);
  Close(f, 0, {0}, 1);
  REQUIRE(f.Publish().ok());
  REQUIRE(ahead->ok());
  CHECK(ahead->message.open_round() == 1);
  ShardFixture each(ExactPolicy(1));
  each.Start(1);
  CHECK(Says(each.WatchRound(0, 0)->status, Code::kInvalidArgument, {"--aggregation=each"}));
}

TEST_CASE("Rounds: a worker that enters later is not waited for before its round") {
  ShardFixture f(RoundPolicy(2));
  f.Start(1);
  f.Member(1, v1::JOINING);
  REQUIRE(f.Publish().ok());
  f.Member(1, v1::LIVE, 1);
  REQUIRE(f.Publish().ok());
  const auto told = f.Pull(f.PullOf(1, 1, 1, 0));
  f.clock.Advance(absl::Seconds(1));
  f.executor.RunAll();
  REQUIRE(told->message.not_yet().on_size() == 1);
  CHECK(told->message.not_yet().on(0).worker_id() == 0);
  f.PushValue(0, 0);
  Close(f, 0, {0}, 1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Pull(f.PullOf(1, 1, 1))->ok());
  CHECK(f.PushValue(1, 1)->message.verdict() == v1::HELD);
}

}  // namespace
}  // namespace leeway
