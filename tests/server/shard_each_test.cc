// Shard with `each`: the gate, pushes exactly once, refusals.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Floats = std::vector<float>;

TEST_CASE("Shard: the gate holds a pull, and a slower worker's push releases it") {
  ShardFixture f(ExactPolicy(1));
  f.Start(2);
  f.PushValue(0, 0);
  f.PushValue(0, 1);
  const auto pull = f.Pull(f.PullOf(0, 2, 2, 5000));
  CHECK_FALSE(pull->done());
  f.clock.Advance(absl::Milliseconds(300));
  f.PushValue(1, 0, 10);
  REQUIRE(pull->ok());
  CHECK_FALSE(pull->message.has_not_yet());
  CHECK(ToFloats(pull->payload) == Floats(kSmall, -12));
  CHECK(pull->message.version() == 3);
  CHECK(pull->message.min_clock() == 1);
  CHECK(pull->message.gate_wait_micros() == 300000);
  REQUIRE(pull->message.waited_for_size() == 1);
  CHECK(pull->message.waited_for(0).worker_id() == 1);
  CHECK(f.Stats().pulls_blocked() == 1);
  CHECK(f.clock.timers() == 0);
}

TEST_CASE("Shard: at its limit a held pull is told NOT_YET, for whom, and at which clock") {
  ShardFixture f(ExactPolicy(0));
  f.Start(3);
  f.PushValue(0, 0);
  f.PushValue(1, 0);
  const auto pull = f.Pull(f.PullOf(0, 1, 1, 700));
  f.clock.Advance(absl::Milliseconds(699));
  f.executor.RunAll();
  CHECK_FALSE(pull->done());
  f.clock.Advance(absl::Milliseconds(1));
  f.executor.RunAll();
  REQUIRE(pull->ok());
  REQUIRE(pull->message.not_yet().on_size() == 1);
  CHECK(pull->message.not_yet().on(0).worker_id() == 2);
  CHECK(pull->message.not_yet().on(0).clock() == 0);
  CHECK(pull->payload.empty());
  CHECK(pull->message.gate_wait_micros() == 700000);
  // Whatever it asks for, nothing is held longer than kMaxHold.
  const auto patient = f.Pull(f.PullOf(0, 1, 1, 4000000000u));
  f.clock.Advance(Shard::kMaxHold);
  f.executor.RunAll();
  CHECK(patient->ok());
  CHECK(patient->message.has_not_yet());
}

TEST_CASE("Shard: a pull waits for its asker's own pushes, at any bound") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  const auto pull = f.Pull(f.PullOf(0, 1, 1, 1000));
  CHECK_FALSE(pull->done());
  f.PushValue(0, 0);
  REQUIRE(pull->ok());
  CHECK(ToFloats(pull->payload)[0] == -1);
}

TEST_CASE("Shard: PushPull acknowledges its push and does not make it wait for the gate") {
  ShardFixture f(ExactPolicy(0));
  f.Start(2);
  v1::PushPullRequest both;
  *both.mutable_push() = f.PushOf(0, 0);
  *both.mutable_pull() = f.PullOf(0, 1, 1, 5000);
  const auto shut = f.PushPull(both, Filled(kSmall, 2));
  CHECK_FALSE(shut->done());
  f.executor.RunAll();
  REQUIRE(shut->ok());
  CHECK(shut->message.push().verdict() == v1::APPLIED);
  CHECK(shut->message.push().own_clock() == 1);
  REQUIRE(shut->message.pull().has_not_yet());
  CHECK(shut->message.pull().not_yet().on(0).worker_id() == 1);
  CHECK(shut->payload.empty());
  *both.mutable_push() = f.PushOf(1, 0);
  *both.mutable_pull() = f.PullOf(1, 1, 1);
  const auto open = f.PushPull(both, Filled(kSmall, 3));
  f.executor.RunAll();
  REQUIRE(open->ok());
  CHECK_FALSE(open->message.pull().has_not_yet());
  CHECK(ToFloats(open->payload) == Floats(kSmall, -5));
}

TEST_CASE("Shard: a push that is sent again counts once, while it is applied and after") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  const v1::PushRequest push = f.PushOf(0, 0);
  const auto first = f.Push(push, Filled(kSmall, 1));
  const auto while_applied = f.Push(push, Filled(kSmall, 1));
  CHECK_FALSE(while_applied->done());
  f.executor.RunAll();
  const auto after = f.Push(push, Filled(kSmall, 1));
  for (const auto& answer : {first, while_applied, after}) {
    REQUIRE(answer->ok());
    CHECK(answer->message.verdict() == v1::APPLIED);
    CHECK(answer->message.own_clock() == 1);
  }
  CHECK(after->message.duplicate());
  CHECK(f.Weights() == Floats(kSmall, -1));
  CHECK(f.Stats().chunks_duplicate() == 2);
  CHECK(f.Stats().version() == 1);
}

TEST_CASE("Shard: a push that does not fit is refused with both values") {
  ShardFixture f(ExactPolicy(8), kSmall, {0, 2});
  f.Start(1);
  const auto refused = [&f](const v1::PushRequest& push, std::uint64_t elements, Code code,
                            std::initializer_list<const char*> words) {
    const auto answer = f.Push(push, Filled(elements, 1));
    f.executor.RunAll();
    CAPTURE(answer->status.message());
    REQUIRE(answer->calls == 1);
    CHECK(Says(answer->status, code, words));
  };
  const std::uint64_t right = f.Elements();
  refused(f.PushOf(0, 0), right - 1, Code::kInvalidArgument, {"23612 bytes", "23616"});
  v1::PushRequest push = f.PushOf(0, 0);
  push.mutable_run()->set_first_block(1);  // the other shard's
  refused(push, right, Code::kInvalidArgument, {"block 1", "block 0"});
  push = f.PushOf(0, 0);
  push.set_chunk_count(7);
  refused(push, right, Code::kInvalidArgument, {"chunk 0 of 7", "1 chunks"});
  push = f.PushOf(0, 0);
  push.set_chunk(1);
  refused(push, right, Code::kInvalidArgument, {"chunk 1 of 1"});
  push = f.PushOf(0, 0);
  push.set_encoding(static_cast<v1::Encoding>(9));
  refused(push, right, Code::kInvalidArgument, {"encoding 9", "3 (TOP_K)"});
  refused(f.PushOf(0, 16), right, Code::kOutOfRange, {"step 16", "clock here is 0", "16"});
  push = f.PushOf(0, 0);
  push.set_null_verdict(v1::HELD);
  refused(push, 0, Code::kInvalidArgument, {"verdict 2"});
  push.set_null_verdict(v1::APPLIED);
  refused(push, 1, Code::kInvalidArgument, {"4 bytes"});
  v1::PullRequest pull = f.PullOf(0, 0, 0);
  pull.mutable_run()->set_num_blocks(3);
  CHECK(Says(f.Pull(pull)->status, Code::kInvalidArgument, {"3 blocks", "owns 2 of the 3"}));
  pull.mutable_run()->set_first_block(~std::uint64_t{0} - 1);
  CHECK(Says(f.Pull(pull)->status, Code::kInvalidArgument, {"owns 2"}));
  auto garbage = std::make_shared<Answer<v1::PullReply>>();
  f.shard.Pull(Buffer::FromString("\xff\xff\xff"), FillIn(garbage));
  CHECK(Says(garbage->status, Code::kInvalidArgument, {"PullRequest", "malformed"}));
  CHECK(f.Weights() == Floats(right, 0));
}

TEST_CASE("Shard: a chunk with NaN or Inf is refused and counted, and the clock goes on") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  std::uint64_t step = 0;
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Floats gradient(kSmall, 1);
    gradient[7001] = bad;
    auto owner = std::make_shared<Floats>(gradient);
    const auto answer = f.Push(f.PushOf(0, step++), Buffer::Wrap(owner, owner->data(), kSmall * 4));
    f.executor.RunAll();
    CHECK(Says(answer->status, Code::kInvalidArgument, {"non-finite", "element 7001", "worker 0"}));
  }
  CHECK(f.Weights() == Floats(kSmall, 0));
  CHECK(f.Stats().chunks_nonfinite() == 2);
  CHECK(f.Stats().pushes_refused() == 2);
  CHECK(f.Stats().version() == 0);
  CHECK(f.Pull(f.PullOf(0, 2, 2))->ok());  // the clock is 2
}

TEST_CASE("Shard: a push with one refused chunk of two is partial") {
  ShardFixture f(ExactPolicy(8), kLarge);
  REQUIRE(f.placement.ShardChunks(0) == 2);
  f.Start(1);
  const auto good = f.Push(f.PushOf(0, 0, 1), Filled(f.Elements(1), 1));
  const auto bad = f.Push(f.PushOf(0, 0, 0), Filled(f.Elements(0), std::nanf("")));
  f.executor.RunAll();
  CHECK(good->ok());
  CHECK(absl::IsInvalidArgument(bad->status));
  CHECK(f.Weights(0)[0] == 0);
  CHECK(f.Weights(1)[0] == -1);
  CHECK(f.Stats().pushes_partial() == 1);
  CHECK(f.Stats().version() == 1);
}

TEST_CASE("Shard: chunks in any order make one step, and the clock waits for the last") {
  ShardFixture f(ExactPolicy(8), kLarge);
  f.Start(1);
  f.Push(f.PushOf(0, 1, 0), Filled(f.Elements(0), 1));
  f.Push(f.PushOf(0, 0, 1), Filled(f.Elements(1), 1));
  f.Push(f.PushOf(0, 1, 1), Filled(f.Elements(1), 1));
  f.executor.RunAll();
  CHECK(f.Stats().version() == 0);
  const auto last = f.Push(f.PushOf(0, 0, 0), Filled(f.Elements(0), 1));
  f.executor.RunAll();
  REQUIRE(last->ok());
  CHECK(last->message.own_clock() == 2);
  CHECK(f.Stats().version() == 2);
}

TEST_CASE("Shard: a null push moves the clock and nothing else, also when it is repeated") {
  ShardFixture f(ExactPolicy(0));
  f.Start(2);
  f.PushValue(1, 0);
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto answer = f.PushNull(0, 0, v1::REFUSED);
    REQUIRE(answer->ok());
    CHECK(answer->message.verdict() == v1::REFUSED);
    CHECK(answer->message.own_clock() == 1);
  }
  CHECK(f.Weights() == Floats(kSmall, -1));
  CHECK(f.Stats().pushes_refused() == 1);
  CHECK(f.Pull(f.PullOf(1, 1, 1))->ok());
}

}  // namespace
}  // namespace leeway
