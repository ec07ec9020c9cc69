// Shard: members that come, park, go and die; tickets, initial weights, evaluators, the end.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Floats = std::vector<float>;

TEST_CASE("Shard: a request that knows a newer membership waits until the shard does too") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  v1::PullRequest ahead = f.PullOf(0, 0, 0, 5000);
  ahead.mutable_stamp()->set_membership_epoch(f.snapshot.membership_epoch() + 1);
  v1::PushRequest push = f.PushOf(0, 0);
  *push.mutable_stamp() = ahead.stamp();
  const auto pulled = f.Pull(ahead);
  const auto pushed = f.Push(push, Filled(kSmall, 1));
  CHECK_FALSE(pulled->done());
  CHECK_FALSE(pushed->done());
  REQUIRE(f.Publish().ok());
  CHECK(pulled->ok());
  CHECK(pushed->ok());
  // One that is never caught up with is told so at the limit; that is no failure.
  ahead.mutable_stamp()->set_membership_epoch(99);
  push = f.PushOf(0, 1);
  *push.mutable_stamp() = ahead.stamp();
  const auto pull_late = f.Pull(ahead);
  const auto push_late = f.Push(push, Filled(kSmall, 1));
  f.clock.Advance(absl::Seconds(6));
  f.executor.RunAll();
  REQUIRE(pull_late->ok());
  CHECK(pull_late->message.not_yet().reason().find("epoch 99") != std::string::npos);
  REQUIRE(push_late->ok());
  CHECK(push_late->message.has_not_yet());
  CHECK(push_late->message.verdict() == v1::VERDICT_NONE);
}

TEST_CASE("Shard: an incarnation that is no member is refused, naming both, also while it is held") {
  ShardFixture f(ExactPolicy(0));
  f.Start(2);
  f.PushValue(0, 0);
  const v1::PullRequest old_pull = f.PullOf(0, 1, 1, 5000);
  const v1::PushRequest old_push = f.PushOf(0, 1);
  const auto held = f.Pull(old_pull);
  f.Member(0).set_incarnation(0xfeed);
  REQUIRE(f.Publish().ok());
  for (const absl::Status& status :
       {held->status, f.Pull(old_pull)->status, f.Push(old_push, Filled(kSmall, 1))->status}) {
    CAPTURE(status.message());
    CHECK(Says(status, Code::kFailedPrecondition, {"incarnation 64 of worker 0", "live incarnation: feed"}));
  }
  f.RemoveMember(0);
  REQUIRE(f.Publish().ok());
  CHECK(Says(f.Pull(old_pull)->status, Code::kFailedPrecondition, {"live incarnation: none"}));
  v1::PullRequest other_run = f.PullOf(1, 0, 0);
  other_run.mutable_stamp()->set_run_id(0xdef);
  CHECK(Says(f.Pull(other_run)->status, Code::kFailedPrecondition, {"run abc", "run def"}));
}

TEST_CASE("Shard: a former incarnation's chunk answers for itself only") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  const auto former = f.Push(f.PushOf(0, 0), Filled(kSmall, 1));
  f.snapshot.set_sequence(f.snapshot.sequence() + 1);
  f.Member(0).set_incarnation(0xfeed);
  REQUIRE(f.shard.ApplySnapshot(f.snapshot).ok());
  const auto first = f.Push(f.PushOf(0, 0), Filled(kSmall, 1));
  const auto duplicate = f.Push(f.PushOf(0, 0), Filled(kSmall, 1));
  f.executor.RunAll();
  for (const auto& answer : {former, first, duplicate}) {
    REQUIRE(answer->ok());
    CHECK(answer->message.verdict() == v1::APPLIED);
    CHECK(answer->message.duplicate() == (answer == duplicate));
  }
  CHECK(f.Weights() == Floats(kSmall, -2));
}

TEST_CASE("Shard: the dead do not block, and what death cuts short is partial") {
  ShardFixture f(ExactPolicy(0), kLarge);
  f.Start(2);
  f.PushValue(0, 0);
  f.Push(f.PushOf(1, 0, 0), Filled(f.Elements(0), 4));
  f.executor.RunAll();
  const auto held = f.Pull(f.PullOf(0, 1, 1, 5000));
  CHECK_FALSE(held->done());
  f.RemoveMember(1);
  REQUIRE(f.Publish().ok());
  REQUIRE(held->ok());
  CHECK(f.Stats().pushes_partial() == 1);
  CHECK(f.Weights(0)[0] == -5);
  CHECK(f.Weights(1)[0] == -1);
}

TEST_CASE("Shard: joiners are installed at the minimum, hold the gate, and enter where the coordinator says") {
  ShardFixture f(ExactPolicy(0));
  f.Start(1);
  for (std::uint64_t step = 0; step < 3; ++step) f.PushValue(0, step);
  f.Member(1, v1::JOINING);
  REQUIRE(f.Publish().ok());
  const v1::WatchRequest told = f.shard.Describe();
  REQUIRE(told.installed_size() == 1);
  CHECK(told.installed(0).worker_id() == 1);
  CHECK(told.installed(0).clock() == 3);
  CHECK(told.known_sequence() == f.snapshot.sequence());
  f.PushValue(0, 3);
  const auto held = f.Pull(f.PullOf(0, 4, 4, 5000));
  CHECK_FALSE(held->done());
  const auto early = f.Pull(f.PullOf(1, 3, 3, 5000));  // not live here yet
  CHECK_FALSE(early->done());
  f.Member(1, v1::LIVE, 4);
  REQUIRE(f.Publish().ok());
  CHECK(held->ok());
  CHECK(early->ok());
  CHECK(f.shard.Describe().installed_size() == 0);
  const auto pushed = f.PushValue(1, 4);
  REQUIRE(pushed->ok());
  CHECK(pushed->message.own_clock() == 5);
}

TEST_CASE("Shard: with a delay rule a push needs its ticket, and the watermark follows") {
  v1::Policy policy = ExactPolicy(-1);
  policy.set_max_delay(4);
  ShardFixture f(policy);
  f.Start(2);
  v1::PushRequest push = f.PushOf(0, 0);
  CHECK(Says(f.Push(push, Filled(kSmall, 1))->status, Code::kFailedPrecondition, {"step 0", "ticket"}));
  push.mutable_ticket()->set_serial(2);
  push.mutable_ticket()->set_rate_scale(3);
  CHECK(Says(f.Push(push, Filled(kSmall, 1))->status, Code::kInvalidArgument, {"rate_scale is 3"}));
  push.mutable_ticket()->set_rate_scale(0.5);
  REQUIRE(f.Push(push, Filled(kSmall, 1)) != nullptr);
  f.executor.RunAll();
  CHECK(f.Weights() == Floats(kSmall, -0.5f));
  CHECK(f.Pull(f.PullOf(0, 1, 1))->message.ticket_watermark() == 0);
  f.snapshot.add_void_tickets(1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Pull(f.PullOf(0, 1, 1))->message.ticket_watermark() == 2);
  // A null push settles its ticket too.
  v1::PushRequest null = f.PushOf(1, 0);
  null.clear_run();
  null.set_null_verdict(v1::REFUSED);
  null.mutable_ticket()->set_serial(3);
  null.mutable_ticket()->set_rate_scale(1);
  CHECK(f.Push(null, {})->ok());
  CHECK(f.Pull(f.PullOf(0, 1, 1))->message.ticket_watermark() == 3);
}

TEST_CASE("Shard: steps before a newcomer's entry are over") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  f.Member(1, v1::JOINING);
  REQUIRE(f.Publish().ok());
  f.Member(1, v1::LIVE, 3);
  REQUIRE(f.Publish().ok());
  CHECK(f.PushValue(1, 2)->message.verdict() == v1::DROPPED);
  CHECK(f.Stats().version() == 0);
}

TEST_CASE("Shard: initial weights come block by block; until then there is nothing to pull") {
  ShardFixture f(ExactPolicy(8));
  f.snapshot.set_await_weights(true);
  f.Start(1);
  CHECK_FALSE(f.shard.Describe().weights_ready());
  const auto early = f.Pull(f.PullOf(0, 0, 0, 100));
  f.clock.Advance(absl::Seconds(1));
  f.executor.RunAll();
  CHECK(early->message.not_yet().reason().find("3 blocks are missing") != std::string::npos);
  const auto held = f.Pull(f.PullOf(0, 0, 0, 9000));
  const auto put = [&f](std::uint64_t first, std::uint32_t blocks, const Buffer& payload) {
    v1::PutWeightsRequest request;
    *request.mutable_stamp() = f.StampOf(0);
    request.mutable_run()->set_first_block(first);
    request.mutable_run()->set_num_blocks(blocks);
    const auto answer = f.PutWeights(request, payload);
    f.executor.RunAll();
    return answer;
  };
  CHECK(Says(put(0, 1, Filled(4095, 1))->status, Code::kInvalidArgument, {"16380 bytes", "16384"}));
  CHECK(Says(put(0, 1, Filled(4096, std::nanf("")))->status, Code::kInvalidArgument, {"non-finite", "element 0"}));
  CHECK_FALSE(put(0, 1, Filled(4096, 1))->message.complete());
  CHECK_FALSE(put(0, 1, Filled(4096, 2))->message.complete());  // again: no harm
  CHECK(put(1, 2, Filled(kSmall - 4096, 3))->message.complete());
  CHECK(put(0, 3, Filled(kSmall, 9))->message.complete());  // too late: ignored
  REQUIRE(held->ok());
  CHECK(ToFloats(held->payload)[0] == 2);
  CHECK(ToFloats(held->payload)[5000] == 3);
  CHECK(f.shard.Describe().weights_ready());
}

TEST_CASE("Shard: an evaluator passes the gate, reads copies, and may not push") {
  ShardFixture f(ExactPolicy(0));
  f.Start(2);
  f.Member(5, v1::OBSERVER);
  REQUIRE(f.Publish().ok());
  f.PushValue(0, 0);
  v1::PullRequest pull = f.PullOf(5, 0, 0, 1000);
  pull.set_copy(true);
  const auto copy = f.Pull(pull);
  f.executor.RunAll();
  REQUIRE(copy->ok());
  f.PushValue(1, 0);
  CHECK(ToFloats(copy->payload) == Floats(kSmall, -1));
  pull.set_min_version(3);
  const auto held = f.Pull(pull);
  CHECK_FALSE(held->done());
  f.PushValue(0, 1);
  CHECK(held->ok());
  CHECK(Says(f.Push(f.PushOf(5, 0), Filled(kSmall, 1))->status, Code::kFailedPrecondition, {"evaluator"}));
}

TEST_CASE("Shard: at the end nobody starts a step, and nobody is held") {
  ShardFixture f(ExactPolicy(0));
  f.Start(2);
  f.PushValue(0, 0);
  const auto held = f.Pull(f.PullOf(0, 1, 1, 9000));
  f.snapshot.set_state(v1::FINISHING);
  REQUIRE(f.Publish().ok());
  REQUIRE(held->ok());
  CHECK(held->message.finishing());
  CHECK(f.PushValue(1, 0)->ok());  // the step under way is finished
  CHECK(f.Weights() == Floats(kSmall, -2));
}

TEST_CASE("Shard: Shutdown answers everything that is held, and everything after") {
  ShardFixture f(ExactPolicy(0));
  f.Start(2);
  f.PushValue(0, 0);
  const auto pull = f.Pull(f.PullOf(0, 1, 1, 9000));
  v1::PushRequest ahead = f.PushOf(0, 1);
  ahead.mutable_stamp()->set_membership_epoch(99);
  const auto push = f.Push(ahead, Filled(kSmall, 1));
  f.shard.Shutdown("the test says so");
  const auto later = f.Pull(f.PullOf(0, 0, 0));
  v1::PushPullRequest both;
  *both.mutable_push() = f.PushOf(0, 1);
  const auto push_pull = f.PushPull(both, Filled(kSmall, 1));
  f.executor.RunAll();
  for (const absl::Status& status : {pull->status, push->status, later->status, push_pull->status}) {
    CHECK(Says(status, Code::kUnavailable, {"the test says so"}));
  }
  CHECK(f.clock.timers() == 0);
}

TEST_CASE("Shard: a snapshot of another run, model or placement is refused; an old one is ignored") {
  ShardFixture f(ExactPolicy(0));
  f.Start(1);
  v1::WatchReply other = f.snapshot;
  other.set_run_id(0xdef);
  CHECK(Says(f.shard.ApplySnapshot(other), Code::kFailedPrecondition, {"run abc", "def"}));
  other = f.snapshot;
  other.set_model_fingerprint(0x77);
  CHECK(Says(f.shard.ApplySnapshot(other), Code::kFailedPrecondition, {"77"}));
  other = f.snapshot;
  other.set_sequence(0);
  other.clear_members();
  CHECK(f.shard.ApplySnapshot(other).ok());
  CHECK(f.Pull(f.PullOf(0, 0, 0))->ok());
  ShardFixture fresh(ExactPolicy(0));
  fresh.snapshot.set_block_elements(8192);
  CHECK(Says(fresh.Publish(), Code::kFailedPrecondition, {"8192", "4096"}));
}

}  // namespace
}  // namespace leeway
