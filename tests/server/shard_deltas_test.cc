// Shard: pulls in BF16, and pulls of differences in INT8.
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/encode_run.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Floats = std::vector<float>;

Buffer ToBuffer(const Floats& floats) {
  auto owner = std::make_shared<Floats>(floats);
  return Buffer::Wrap(owner, owner->data(), owner->size() * sizeof(float));
}

v1::PullRequest PullIn(const ShardFixture& f, std::uint32_t id, v1::Encoding encoding, std::uint64_t base = 0,
                       std::uint32_t chunk = 0) {
  v1::PullRequest pull = f.PullOf(id, 0, 0);
  pull.set_encoding(encoding);
  pull.set_base(base);
  pull.mutable_run()->set_first_block(f.Run(chunk).first_block);
  pull.mutable_run()->set_num_blocks(f.Run(chunk).num_blocks);
  return pull;
}

// What a worker has of one chunk.
struct Copy {
  Floats floats;
  std::uint64_t sequence = 0;

  void Take(const ShardFixture& f, std::uint32_t chunk, const v1::PullReply& reply, const Buffer& payload) {
    const Floats values = *DecodeRun(f.placement, f.Run(chunk), reply.encoding(), payload);
    REQUIRE(reply.encoding() == (reply.delta() ? v1::INT8 : v1::F32));
    if (!reply.delta()) floats.assign(values.size(), 0.0f);
    for (std::size_t i = 0; i < values.size(); ++i) floats[i] = reply.delta() ? floats[i] + values[i] : values[i];
    sequence = reply.sequence();
  }
};

TEST_CASE("Shard: a pull in BF16 is the weights rounded, in rounds too") {
  for (const v1::Aggregation aggregation : {v1::EACH, v1::ROUND}) {
    ShardFixture f(ExactPolicy(aggregation == v1::EACH ? 8 : 0, aggregation));
    f.Start(1);
    f.shard.store()->Write(f.Run(), Filled(kSmall, 1 + 0x1p-7f + 0x1p-20f));
    const auto pull = f.Pull(PullIn(f, 0, v1::BF16));
    CHECK_FALSE(pull->done());  // weights are copied on the executor, not in the call
    f.executor.RunAll();
    REQUIRE(pull->ok());
    CHECK(pull->message.encoding() == v1::BF16);
    CHECK(pull->payload.size() == 2 * kSmall);
    CHECK(*DecodeRun(f.placement, f.Run(), v1::BF16, pull->payload) == Floats(kSmall, 1 + 0x1p-7f));
    CHECK(f.Stats().pull_bytes() == 2 * kSmall);
  }
}

TEST_CASE("Shard: the second pull in INT8 is a difference, a stale base gets values") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  f.PushValue(0, 0, 3);
  const auto first = f.Pull(PullIn(f, 0, v1::INT8));
  CHECK_FALSE(first->done());
  f.executor.RunAll();
  REQUIRE(first->ok());
  CHECK_FALSE(first->message.delta());
  CHECK(first->message.encoding() == v1::F32);
  CHECK(first->message.sequence() != 0);
  CHECK(ToFloats(first->payload) == Floats(kSmall, -3));
  f.PushValue(0, 1, 127);
  const auto second = f.Pull(PullIn(f, 0, v1::INT8, first->message.sequence()));
  f.executor.RunAll();
  REQUIRE(second->ok());
  CHECK(second->message.delta());
  CHECK(second->message.encoding() == v1::INT8);
  CHECK(second->message.sequence() != first->message.sequence());
  CHECK(*DecodeRun(f.placement, f.Run(), v1::INT8, second->payload) == Floats(kSmall, -127));
  // The answer was lost: the same request again.
  const auto repeated = f.Pull(PullIn(f, 0, v1::INT8, first->message.sequence()));
  f.executor.RunAll();
  REQUIRE(repeated->ok());
  CHECK_FALSE(repeated->message.delta());
  CHECK(ToFloats(repeated->payload) == Floats(kSmall, -130));
}

TEST_CASE("Shard: a pull in an encoding that it does not answer in is refused") {
  ShardFixture each(ExactPolicy(8)), round(ExactPolicy(0, v1::ROUND));
  each.Start(1);
  round.Start(1);
  CHECK(Says(each.Pull(PullIn(each, 0, v1::TOP_K))->status, Code::kInvalidArgument, {"encoding 3", "TOP_K", "INT8"}));
  CHECK(Says(each.Pull(PullIn(each, 0, static_cast<v1::Encoding>(9)))->status, Code::kInvalidArgument, {"encoding 9"}));
  CHECK(Says(round.Pull(PullIn(round, 0, v1::INT8))->status, Code::kInvalidArgument, {"encoding 2", "rounds"}));
}

TEST_CASE("Shard: without room for a copy, INT8 is answered with values, and nothing is kept") {
  Shard::Options options;
  options.max_held_bytes = 3 * 4 * kSmall;  // half of it: one copy
  ShardFixture f(ExactPolicy(8), kSmall, options);
  f.Start(2);
  const auto kept = f.Pull(PullIn(f, 0, v1::INT8));
  f.executor.RunAll();
  REQUIRE(kept->ok());
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
  const auto refused = f.Pull(PullIn(f, 1, v1::INT8));
  f.executor.RunAll();
  REQUIRE(refused->ok());
  CHECK(refused->message.sequence() == 0);
  CHECK_FALSE(refused->message.delta());
  CHECK(ToFloats(refused->payload) == Floats(kSmall, 0));
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
}

TEST_CASE("Shard: copies fill their half and a chunk still comes in") {
  Shard::Options options;
  options.max_held_bytes = 2 * 4 * kSmall - 4;
  ShardFixture f(ExactPolicy(8), kSmall, options);
  f.Start(1);
  v1::PullRequest pull = PullIn(f, 0, v1::INT8);
  pull.mutable_run()->set_num_blocks(2);
  CHECK(f.Pull(pull)->calls == 0);
  f.executor.RunAll();
  CHECK(f.Stats().held_bytes() == 4 * 8192);
  const auto push = f.Push(f.PushOf(0, 0), Filled(kSmall, 1));  // more than what is left, but nothing else is applied
  f.executor.RunAll();
  CHECK(push->ok());
}

TEST_CASE("Shard: a member's copies go with it") {
  ShardFixture f(ExactPolicy(8));
  f.Start(2);
  const auto before = f.Pull(PullIn(f, 0, v1::INT8));
  f.Pull(PullIn(f, 1, v1::INT8));
  f.executor.RunAll();
  CHECK(f.Stats().held_bytes() == 2 * 4 * kSmall);
  // While an answer is being made, its worker expires and comes back.
  const auto on_the_way = f.Pull(PullIn(f, 0, v1::INT8, before->message.sequence()));
  f.RemoveMember(0);
  f.Publish().IgnoreError();
  CHECK(on_the_way->ok());
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
  f.Member(0).set_incarnation(777);
  f.Publish().IgnoreError();
  const auto after = f.Pull(PullIn(f, 0, v1::INT8, on_the_way->message.sequence()));
  f.executor.RunAll();
  REQUIRE(after->ok());
  CHECK_FALSE(after->message.delta());
}

TEST_CASE("Shard: PushPull answers in INT8 as well") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  const auto first = f.Pull(PullIn(f, 0, v1::INT8));
  f.executor.RunAll();
  v1::PushPullRequest both;
  *both.mutable_push() = f.PushOf(0, 0);
  *both.mutable_pull() = PullIn(f, 0, v1::INT8, first->message.sequence());
  const auto answer = f.PushPull(both, Filled(kSmall, 127));
  f.executor.RunAll();
  REQUIRE(answer->ok());
  CHECK(answer->message.push().verdict() == v1::APPLIED);
  CHECK(answer->message.pull().delta());
  CHECK(*DecodeRun(f.placement, f.Run(), v1::INT8, answer->payload) == Floats(kSmall, -127));
}

TEST_CASE("Shard: workers that follow the differences stay with the weights, whatever is lost or comes twice") {
  Random random(TestSeed());
  ShardFixture f(ExactPolicy(-1), kLarge);
  constexpr std::uint32_t kWorkers = 2;
  f.Start(kWorkers);
  std::map<std::pair<std::uint32_t, std::uint32_t>, Copy> copies;  // by worker and chunk
  int deltas = 0;
  for (std::uint64_t step = 0; step < 25; ++step) {
    for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
      Floats gradient(f.Elements(chunk));
      for (float& value : gradient) value = static_cast<float>(random.Unit() - 0.5);
      f.Push(f.PushOf(0, step, chunk), ToBuffer(gradient));
    }
    const auto id = static_cast<std::uint32_t>(random.Below(kWorkers));
    const auto chunk = static_cast<std::uint32_t>(random.Below(2));
    Copy& copy = copies[{id, chunk}];
    // Asked once or twice at a time; either answer may be the one that arrives.
    std::vector<std::shared_ptr<Answer<v1::PullReply>>> answers;
    for (std::uint64_t i = 1 + random.Below(2); i > 0; --i) {
      answers.push_back(f.Pull(PullIn(f, id, v1::INT8, copy.sequence, chunk)));
    }
    f.executor.RunAll();
    const auto& answer = answers[random.Below(answers.size())];
    REQUIRE(answer->ok());
    deltas += answer->message.delta();
    if (random.Chance(0.2)) continue;  // both lost
    copy.Take(f, chunk, answer->message, answer->payload);
    const Floats weights = f.Weights(chunk);
    double furthest = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      furthest = std::max(furthest, std::fabs(static_cast<double>(weights[i]) - copy.floats[i]));
    }
    // Gradients are at most 0.5: between two pulls of one worker a weight has moved by 25 of them at most.
    REQUIRE(furthest < 0.5 * 25 / 127);
  }
  CHECK(deltas > 0);
}

// A worker keeps the number of an answer of a process that is gone. Whatever it has answered since, the next process
// must not take it for one of its own: it would send a difference to other weights.
TEST_CASE("Shard: a copy that another process of the shard gave is no base") {
  std::uint64_t base = 0;
  for (const int process : {1, 2}) {
    ShardFixture f(ExactPolicy(-1), kSmall, Shard::Options{.generation = 0x1234567890u * process});
    f.Start(1);
    for (int i = 0; i < process; ++i) {  // the first answer of the second process is lost, so the worker asks again
      const auto pull = f.Pull(PullIn(f, 0, v1::INT8, base));
      f.executor.RunAll();
      REQUIRE(pull->ok());
      CHECK_FALSE(pull->message.delta());
      if (process == 1) base = pull->message.sequence();
    }
  }
}

}  // namespace
}  // namespace leeway
