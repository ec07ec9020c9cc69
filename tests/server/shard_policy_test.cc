// Shard: while the policy changes. Two shards here are told by hand what a coordinator would tell them.
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

constexpr std::uint64_t kChange = 900;

void Propose(ShardFixture& f) {
  f.snapshot.mutable_policy_change()->Clear();
  f.snapshot.mutable_policy_change()->set_id(kChange);
  REQUIRE(f.Publish().ok());
}

struct Limit {
  std::uint32_t worker;
  std::uint64_t clock;
  std::uint64_t offset = 0;
};

void Decide(ShardFixture& f, const v1::Policy& next, const std::vector<Limit>& limits) {
  v1::PolicyChange& change = *f.snapshot.mutable_policy_change();
  *change.mutable_previous() = f.snapshot.policy();
  change.set_decided(true);
  for (const Limit& limit : limits) {
    v1::StepLimit& to = *change.add_limits();
    to.set_worker_id(limit.worker);
    to.set_incarnation(f.StampOf(limit.worker).incarnation());
    to.set_clock(limit.clock);
    to.set_offset(limit.offset);
  }
  *f.snapshot.mutable_policy() = next;
  f.snapshot.mutable_policy()->set_number(change.previous().number() + 1);
  REQUIRE(f.Publish().ok());
}

void Drop(ShardFixture& f) {
  f.snapshot.mutable_policy_change()->Clear();
  REQUIRE(f.Publish().ok());
}

std::uint64_t ReadOf(ShardFixture& f, std::uint32_t worker) {
  const v1::WatchRequest request = f.shard.Describe();
  for (const v1::StepLimit& read : request.policy_ack().read()) {
    if (read.worker_id() == worker) return read.clock();
  }
  return ~std::uint64_t{0};
}

// The pull's answer now: admitted under this policy; 0: it waits.
std::uint64_t Under(ShardFixture& f, std::uint32_t worker, std::uint64_t clock, std::uint64_t own) {
  const auto pull = f.Pull(f.PullOf(worker, clock, own));
  f.clock.Advance(absl::ZeroDuration());
  f.executor.RunAll();
  REQUIRE(pull->ok());
  return pull->message.has_not_yet() ? 0 : pull->message.policy().number();  // (the tests' stamps name policy 0)
}

TEST_CASE("Shard: it says how far each worker has come, and admits nothing beyond until it hears more") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(2);
  f.PushValue(0, 0);
  CHECK(Under(f, 0, 1, 1) == 1);
  Propose(f);
  CHECK(ReadOf(f, 0) == 2);
  CHECK(ReadOf(f, 1) == 0);
  CHECK(f.shard.Describe().policy_number() == 1);
  CHECK(Under(f, 0, 1, 1) == 1);  // again: it was admitted
  f.PushValue(0, 1);
  CHECK(Under(f, 0, 2, 2) == 0);
  CHECK(Under(f, 1, 0, 0) == 0);
  const auto waits = f.Pull(f.PullOf(0, 2, 2, 5000));
  CHECK_FALSE(waits->done());
  // Another shard has let worker 0 go on to step 4.
  Decide(f, ExactPolicy(8), {{0, 4}, {1, 0}});
  REQUIRE(waits->ok());
  CHECK(waits->message.policy().number() == 1);
  CHECK(Under(f, 0, 3, 2) == 1);
  CHECK(Under(f, 0, 4, 2) == 2);
  CHECK(Under(f, 1, 0, 0) == 2);
  CHECK(f.shard.Describe().policy_number() == 2);
  CHECK(absl::StrContains(f.shard.Describe().policy_busy(), "has not ended step 2"));
  f.PushValue(0, 2);
  f.PushValue(0, 3);
  CHECK(f.shard.Describe().policy_busy().empty());
}

TEST_CASE("Shard: a change that is given up leaves everything as it was") {
  ShardFixture f(ExactPolicy(0));
  f.Start(1);
  Propose(f);
  const auto waits = f.Pull(f.PullOf(0, 0, 0, 5000));
  CHECK_FALSE(waits->done());
  Drop(f);
  REQUIRE(waits->ok());
  CHECK(waits->message.policy().number() == 1);
  CHECK(f.shard.Describe().policy_ack().id() == 0);
}

TEST_CASE("Shard: a tighter bound does not make anybody wait for steps of before") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(2);
  for (std::uint64_t step = 0; step < 300; ++step) f.PushValue(0, step);
  f.PushValue(1, 0);
  CHECK(Under(f, 0, 300, 300) == 1);
  CHECK(Under(f, 1, 1, 1) == 1);
  Propose(f);
  CHECK(ReadOf(f, 0) == 301);
  CHECK(ReadOf(f, 1) == 2);
  Decide(f, ExactPolicy(1), {{0, 301, 0}, {1, 2, 299}});
  // Both end the step that they are in; from there on they count as being at 301.
  f.PushValue(0, 300);
  CHECK(Under(f, 0, 301, 301) == 2);  // 301 - 300 <= 1: worker 1 is in its last step of before
  f.PushValue(0, 301);
  CHECK(Under(f, 0, 302, 302) == 0);
  f.PushValue(1, 1);
  CHECK(Under(f, 0, 302, 302) == 2);
  CHECK(Under(f, 1, 2, 2) == 2);
  f.PushValue(0, 302);
  const auto waits = f.Pull(f.PullOf(0, 303, 303, 5000));
  CHECK_FALSE(waits->done());
  f.PushValue(1, 2);
  REQUIRE(waits->ok());
  // Whom it waited for is told by that worker's own clock.
  REQUIRE(waits->message.waited_for_size() == 1);
  CHECK(waits->message.waited_for(0).worker_id() == 1);
  CHECK(waits->message.waited_for(0).clock() == 3);
  // A newcomer is installed where the others are, not where worker 1 counts itself.
  f.snapshot.mutable_policy_change()->Clear();
  f.Member(2, v1::JOINING);
  REQUIRE(f.Publish().ok());
  REQUIRE(f.shard.Describe().installed_size() == 1);
  CHECK(f.shard.Describe().installed(0).clock() == 302);
}

TEST_CASE("Shard: a worker that was parked comes back by the gate's clock") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(2);
  for (std::uint64_t step = 0; step < 50; ++step) f.PushValue(0, step);
  Propose(f);
  Decide(f, ExactPolicy(2), {{0, 50, 0}, {1, 0, 50}});
  f.Member(1, v1::PARKED);
  REQUIRE(f.Publish().ok());
  for (std::uint64_t step = 50; step < 60; ++step) f.PushValue(0, step);
  f.Member(1, v1::JOINING);
  REQUIRE(f.Publish().ok());
  REQUIRE(f.shard.Describe().installed_size() == 1);
  CHECK(f.shard.Describe().installed(0).clock() == 60);
  f.Member(1, v1::LIVE, 60);
  REQUIRE(f.Publish().ok());
  CHECK(Under(f, 1, 60, 60) == 2);
  CHECK(Under(f, 0, 60, 60) == 2);
  f.PushValue(1, 60);
  CHECK(Under(f, 1, 62, 61) == 2);
  CHECK(Under(f, 1, 63, 61) == 0);
}

TEST_CASE("Shard: rate and tickets are those of the push's step") {
  v1::Policy tickets = ExactPolicy(-1);
  tickets.set_max_delay(3);
  tickets.mutable_schedule()->set_rate(0.5);
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  CHECK(Under(f, 0, 0, 0) == 1);
  Propose(f);
  Decide(f, tickets, {{0, 1}});
  const auto before = f.PushValue(0, 0);  // without a ticket, at rate 1
  REQUIRE(before->ok());
  CHECK(f.Weights()[0] == -1);
  CHECK(Says(f.PushValue(0, 1)->status, absl::StatusCode::kFailedPrecondition, {"without a ticket", "policy 2"}));
  v1::PushRequest push = f.PushOf(0, 1);
  push.mutable_ticket()->set_serial(1);
  push.mutable_ticket()->set_rate_scale(1);
  const auto after = f.Push(push, Filled(f.Elements(), 1));
  f.executor.RunAll();
  REQUIRE(after->ok());
  CHECK(f.Weights()[0] == -1.5f);
}

TEST_CASE("Shard: a push that comes again when its policy is long past gets its verdict, not a new judgement") {
  v1::Policy tickets = ExactPolicy(-1);
  tickets.set_max_delay(3);
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  CHECK(f.PushValue(0, 0)->ok());
  Propose(f);
  Decide(f, tickets, {{0, 1}});
  Drop(f);  // no step of before is open; but its worker may not have got the answer
  const auto again = f.PushValue(0, 0);
  REQUIRE(again->ok());
  CHECK(again->message.duplicate());
  CHECK(again->message.verdict() == v1::APPLIED);
  CHECK(f.Weights()[0] == -1);
}

TEST_CASE("Shard: in rounds the rate changes with the round that was named, for all") {
  v1::Policy slower = ExactPolicy(0, v1::ROUND);
  slower.set_number(1);
  slower.mutable_schedule()->set_rate(0.25);
  ShardFixture f(ExactPolicy(0, v1::ROUND));
  f.Start(1);
  CHECK(Under(f, 0, 0, 0) == 1);
  Propose(f);
  CHECK(ReadOf(f, 0) == 1);
  f.snapshot.mutable_policy_change()->set_first_round(2);  // another shard was a round ahead
  Decide(f, slower, {});
  for (std::uint64_t round = 0; round < 3; ++round) {
    CHECK(Under(f, 0, round, round) == (round < 2 ? 1 : 2));
    CHECK(f.shard.Describe().policy_busy().empty() == (round >= 2));
    f.PushValue(0, round);
    v1::RoundClose& close = *f.snapshot.add_closes();
    close.set_round(round);
    close.add_ranks(0);
    close.set_samples(1);
    REQUIRE(f.Publish().ok());
  }
  CHECK(f.Weights()[0] == -2.25f);
}

TEST_CASE("Shard: a request that knows a newer policy waits for it") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(1);
  v1::PullRequest pull = f.PullOf(0, 0, 0, 5000);
  pull.mutable_stamp()->set_policy_number(2);
  const auto waits = f.Pull(pull);
  CHECK_FALSE(waits->done());
  Propose(f);
  Decide(f, ExactPolicy(3), {{0, 0}});
  REQUIRE(waits->ok());
  CHECK_FALSE(waits->message.has_policy());  // the request has named it
}

TEST_CASE("Shard: what it is in the middle of a change survives; what it has let be read does not, and it says so") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(2);
  for (std::uint64_t step = 0; step < 5; ++step) f.PushValue(0, step);
  Propose(f);
  {
    ShardFixture g(ExactPolicy(-1));
    REQUIRE(g.shard.RestoreState(f.shard.SaveState(), f.snapshot.manifest()).ok());
    g.snapshot = f.snapshot;
    CHECK(absl::StrContains(g.shard.Describe().policy_ack().error(), "was started again"));
    CHECK(Under(g, 0, 4, 4) == 0);  // of nobody any step
    Decide(g, ExactPolicy(1), {{0, 5, 0}, {1, 0, 5}});
    CHECK(Under(g, 0, 4, 4) == 1);
    CHECK(Under(g, 0, 5, 5) == 2);
  }
  Decide(f, ExactPolicy(1), {{0, 6, 0}, {1, 1, 5}});
  ShardFixture h(ExactPolicy(-1));
  REQUIRE(h.shard.RestoreState(f.shard.SaveState(), f.snapshot.manifest()).ok());
  h.snapshot = f.snapshot;
  for (ShardFixture* shard : {&f, &h}) {
    CHECK(Under(*shard, 0, 5, 5) == 1);
    shard->PushValue(0, 5);
    shard->PushValue(0, 6);
    CHECK(Under(*shard, 0, 7, 7) == 0);
    shard->PushValue(1, 0);
    CHECK(Under(*shard, 0, 7, 7) == 2);
    CHECK(shard->shard.SaveState().members(1).gate_offset() == 5);
  }
}

}  // namespace
}  // namespace leeway
