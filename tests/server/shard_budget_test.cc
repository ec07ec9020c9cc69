// Shard: how much it holds for whom, and that what waits for nobody's memory goes on.
#include <algorithm>
#include <memory>
#include <vector>

#include "common/retry.h"
#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kChunk = 4 * kMiB;  // bytes of the first of kLarge's two chunks

Shard::Options Limit(std::uint64_t bytes) {
  Shard::Options options;
  options.max_held_bytes = bytes;
  return options;
}

std::shared_ptr<Answer<v1::PushReply>> PushChunk(ShardFixture& f, std::uint32_t worker, std::uint64_t step) {
  return f.Push(f.PushOf(worker, step), Filled(f.Elements(), 1));
}

TEST_CASE("Shard: a worker beyond its share is told to come back, and when; the others are let in") {
  ShardFixture f(ExactPolicy(-1), kLarge, Limit(16 * kMiB));
  f.Start(2);
  const auto a = PushChunk(f, 0, 0);
  const auto b = PushChunk(f, 0, 1);
  const auto refused = PushChunk(f, 0, 2);
  CHECK(Says(refused->status, Code::kResourceExhausted,
             {"8388608 bytes of worker 0", "share is 8388608", "limit 16777216"}));
  CHECK(RetryAfter(refused->status) == absl::Milliseconds(20));
  CHECK(RetryAfter(PushChunk(f, 0, 2)->status) == absl::Milliseconds(40));
  const auto other = PushChunk(f, 1, 0);
  CHECK(f.Stats().inflight_bytes() == 3 * kChunk);
  CHECK(f.Pull(f.PullOf(0, 0, 0))->ok());  // weights that are not copied take no memory
  f.executor.RunAll();
  CHECK(a->ok());
  CHECK(b->ok());
  CHECK(other->ok());
  CHECK(f.Stats().inflight_bytes() == 0);
  const auto again = PushChunk(f, 0, 2);
  f.executor.RunAll();
  CHECK(again->ok());
  CHECK(f.Weights()[0] == -4);
}

TEST_CASE("Shard: no room for a round is a flag that does not fit the model") {
  constexpr std::uint64_t kRound = 2 * 4 * kLarge;  // of two workers
  v1::Policy policy = ExactPolicy(0, v1::ROUND);
  policy.set_num_workers(2);
  const absl::Status refused = ShardFixture(policy, kLarge, Limit(kRound - 1)).Publish();
  CHECK(Says(refused, Code::kInvalidArgument, {"--max_held_bytes=8428607", "8428608 and above", "2 workers"}));
  CHECK(ShardFixture(policy, kLarge, Limit(kRound)).Publish().ok());
}

TEST_CASE("Shard: a duplicate, and a push that is refused for what it is, hold nothing") {
  ShardFixture f(ExactPolicy(-1), kLarge, Limit(8 * kMiB));
  f.Start(1);
  const auto first = PushChunk(f, 0, 0);
  const auto duplicate = PushChunk(f, 0, 0);
  CHECK(f.Stats().inflight_bytes() == kChunk);
  v1::PushRequest wrong = f.PushOf(0, 1);
  wrong.set_chunk_count(7);
  CHECK(absl::IsInvalidArgument(f.Push(wrong, Filled(f.Elements(), 1))->status));
  CHECK(f.Stats().inflight_bytes() == kChunk);
  f.executor.RunAll();
  CHECK(first->ok());
  CHECK(duplicate->message.duplicate());
  CHECK(f.Stats().inflight_bytes() == 0);
}

TEST_CASE("Shard: a copy counts until its last byte is sent, whoever reads slowly") {
  ShardFixture f(ExactPolicy(-1), kLarge, Limit(8 * kMiB));
  f.Start(1);
  f.Member(1, v1::OBSERVER);
  f.Publish().IgnoreError();
  v1::PullRequest pull = f.PullOf(1, 0, 0);
  pull.set_copy(true);
  std::vector<std::shared_ptr<Answer<v1::PullReply>>> unsent;  // an answer keeps its payload, as a socket does
  for (int i = 0; i < 2; ++i) unsent.push_back(f.Pull(pull));
  f.executor.RunAll();
  for (const auto& answer : unsent) CHECK(answer->ok());
  CHECK(f.Stats().inflight_bytes() == 2 * kChunk);
  const auto refused = f.Pull(pull);
  f.executor.RunAll();
  CHECK(Says(refused->status, Code::kResourceExhausted, {"worker 1"}));
  CHECK(RetryAfter(refused->status) > absl::ZeroDuration());
  CHECK(f.PushValue(0, 0)->ok());  // the worker that trains is not held up
  unsent.pop_back();
  CHECK(f.Stats().inflight_bytes() == kChunk);
  const auto again = f.Pull(pull);
  f.executor.RunAll();
  CHECK(again->ok());
}

TEST_CASE("Shard: PushPull is acknowledged at once when there is no room for the pull's copy") {
  ShardFixture f(ExactPolicy(-1), kLarge, Limit(8 * kMiB));
  f.Start(1);
  v1::PullRequest pull = f.PullOf(0, 0, 0);
  pull.set_encoding(v1::BF16);
  std::vector<std::shared_ptr<Answer<v1::PullReply>>> unsent;
  for (int i = 0; i < 3; ++i) unsent.push_back(f.Pull(pull));
  f.executor.RunAll();
  CHECK(f.Stats().inflight_bytes() == 3 * kChunk / 2);
  v1::PushPullRequest both;
  *both.mutable_push() = f.PushOf(0, 0, 1);  // 20 kB
  *both.mutable_pull() = f.PullOf(0, 0, 0);
  both.mutable_pull()->set_copy(true);
  const auto answer = f.PushPull(both, Filled(f.Elements(1), 1));
  f.executor.RunAll();
  REQUIRE(answer->ok());
  CHECK(answer->message.push().verdict() == v1::APPLIED);
  CHECK(answer->message.pull().not_yet().reason().find("worker 0") != std::string::npos);
}

TEST_CASE("Shard: a push that waits for a membership epoch counts; a stranger's does not wait") {
  ShardFixture f(ExactPolicy(-1), kLarge, Limit(8 * kMiB));
  f.Start(1);
  v1::PushRequest ahead = f.PushOf(0, 0);
  ahead.mutable_stamp()->set_membership_epoch(f.snapshot.membership_epoch() + 1);
  const auto waits = f.Push(ahead, Filled(f.Elements(), 1));
  CHECK(waits->calls == 0);
  CHECK(f.Stats().inflight_bytes() == kChunk);
  v1::PushRequest strange = ahead;
  strange.mutable_stamp()->set_worker_id(5);
  const auto stranger = f.Push(strange, Filled(f.Elements(), 1));
  REQUIRE(stranger->ok());
  CHECK(stranger->message.has_not_yet());
  strange = ahead;
  strange.mutable_stamp()->set_incarnation(5);
  CHECK(f.Push(strange, Filled(f.Elements(), 1))->message.has_not_yet());
  CHECK(f.Stats().inflight_bytes() == kChunk);
  ahead.set_clock(1);
  const auto second = f.Push(ahead, Filled(f.Elements(), 1));
  ahead.set_clock(2);
  CHECK(absl::IsResourceExhausted(f.Push(ahead, Filled(f.Elements(), 1))->status));
  f.Publish().IgnoreError();
  f.executor.RunAll();
  CHECK(waits->ok());
  CHECK(second->ok());
  CHECK(f.Stats().inflight_bytes() == 0);
}

TEST_CASE("Shard: in rounds what everybody waits for is let in, and counts until the sum is taken") {
  // Three chunks; a limit of exactly one push of each worker.
  const std::uint64_t elements = 3 * Placement::kChunkElements;
  v1::Policy policy = ExactPolicy(0, v1::ROUND);
  policy.set_num_workers(2);
  ShardFixture f(policy, elements, Limit(2 * elements * sizeof(float)));
  f.Start(2);
  const auto push = [&](std::uint32_t worker, std::uint64_t round, std::uint32_t chunk) {
    const auto answer = f.Push(f.PushOf(worker, round, chunk), Filled(f.Elements(chunk), 1));
    f.executor.RunAll();
    return answer;
  };
  // A worker that runs ahead on this shard fills its share with the next round, and no more.
  for (std::uint32_t chunk = 0; chunk < 3; ++chunk) CHECK(push(0, 1, chunk)->ok());
  CHECK(push(1, 1, 0)->ok());
  // The open round goes on.
  for (std::uint32_t worker = 0; worker < 2; ++worker) {
    for (std::uint32_t chunk = 0; chunk < 3; ++chunk) CHECK(push(worker, 0, chunk)->ok());
  }
  CHECK(f.Stats().held_bytes() == 10 * kChunk);
  v1::RoundClose& close = *f.snapshot.add_closes();
  close.add_ranks(0);
  close.add_ranks(1);
  close.set_samples(2);
  f.snapshot.set_sequence(f.snapshot.sequence() + 1);
  REQUIRE(f.shard.ApplySnapshot(f.snapshot).ok());
  CHECK(f.Stats().held_bytes() == 4 * kChunk);
  CHECK(f.Stats().inflight_bytes() == 6 * kChunk);  // being summed
  f.executor.RunAll();
  CHECK(f.Stats().inflight_bytes() == 0);
  CHECK(f.Weights() == std::vector<float>(f.Elements(), -1));
  CHECK(push(1, 1, 1)->ok());
  CHECK(push(1, 1, 2)->ok());
}

TEST_CASE("Shard: copies for differences leave less for gradients") {
  for (const bool differences : {false, true}) {
    ShardFixture f(ExactPolicy(-1), kLarge, Limit(12 * kMiB));
    f.Start(1);
    v1::PullRequest pull = f.PullOf(0, 0, 0);
    if (differences) pull.set_encoding(v1::INT8);
    CHECK(f.Pull(pull)->calls == (differences ? 0 : 1));
    f.executor.RunAll();
    CHECK(f.Stats().held_bytes() == (differences ? kChunk : 0));
    CHECK(PushChunk(f, 0, 0)->calls == 0);
    CHECK(PushChunk(f, 0, 1)->calls == 0);
    const auto third = PushChunk(f, 0, 2);
    if (differences) CHECK(Says(third->status, Code::kResourceExhausted, {"share is 8388608", "12582912 in all"}));
    f.executor.RunAll();
    CHECK(third->ok() == !differences);
  }
}

}  // namespace
}  // namespace leeway
