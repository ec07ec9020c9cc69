// Coordinator: neighbouring protocol versions work together, and which shard a ps without a number becomes.
#include <initializer_list>

#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

const auto kVersionFive = [](Coordinator::Options* options) { options->protocol_version = 5; };

TEST_CASE("Coordinator: workers and ps of the version before and the one after are let in, others are not") {
  CoordinatorFixture f(LeasedPolicy(1), 2, nullptr, kVersionFive);
  v1::WatchRequest watch = f.WatchOf(0);
  v1::JoinRequest join = f.JoinOf("w0", 100);
  for (const std::uint32_t version : {0u, 1u, 3u, 7u, 0xffffffffu}) {
    CAPTURE(version);
    watch.set_protocol_version(version);
    const auto watched = f.Call<v1::WatchReply>("WatchMembership", watch);
    CHECK(Says(watched->status, Code::kFailedPrecondition,
               {"ps 0 at shard0:1 speaks protocol version", "this coordinator speaks 5 and works with 4 to 6"}));
    join.set_protocol_version(version);
    CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition,
               {"worker 'w0' speaks protocol version", "this coordinator speaks 5 and works with 4 to 6"}));
  }
  watch.set_protocol_version(4);
  CHECK(f.Call<v1::WatchReply>("WatchMembership", watch)->ok());
  watch = f.WatchOf(1);
  watch.set_protocol_version(5);
  CHECK(f.Call<v1::WatchReply>("WatchMembership", watch)->ok());
  // A worker talks to every ps, so it is looked at beside each.
  join.set_protocol_version(6);
  CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition,
             {"worker 'w0' speaks protocol version 6, the ps at shard0:1 speaks 4"}));
  for (const std::uint32_t version : {4u, 5u}) {
    join.set_protocol_version(version);
    const auto answer = f.Join(join);
    CHECK((answer->calls == 0 || answer->status.ok()));  // it waits, or is told for whom
  }
}

std::shared_ptr<Answer<v1::ClaimShardReply>> Claim(CoordinatorFixture& f, std::uint64_t claim, std::uint32_t shards,
                                                   std::uint32_t version = 5) {
  v1::ClaimShardRequest request;
  request.set_claim(claim);
  request.set_num_shards(shards);
  request.set_protocol_version(version);
  return f.Call<v1::ClaimShardReply>("ClaimShard", request);
}

TEST_CASE("Coordinator: a ps without a number gets a shard that nobody serves") {
  CoordinatorFixture f(LeasedPolicy(1), 3, nullptr, kVersionFive);
  v1::WatchRequest watch = f.WatchOf(1);
  watch.set_protocol_version(5);
  REQUIRE(f.Call<v1::WatchReply>("WatchMembership", watch)->ok());
  CHECK(Claim(f, 1, 3)->message.shard_index() == 2);
  CHECK(Claim(f, 1, 3)->message.shard_index() == 2);
  CHECK(Says(Claim(f, 2, 3)->status, Code::kUnavailable, {"each of the 3 shards has its ps, or it is on its way"}));
  CHECK(Says(Claim(f, 3, 4)->status, Code::kFailedPrecondition, {"a ps of 4", "num_shards 3"}));
  CHECK(Says(Claim(f, 3, 3, 2)->status, Code::kFailedPrecondition, {"a ps speaks protocol version 2", "speaks 5"}));
  // This process is stopped for a minute, as all that it has heard: what was served then may still be.
  f.clock.Advance(absl::Seconds(60));
  CHECK(Claim(f, 2, 3)->message.shard_index() != 1);
  // The one of shard 1 falls silent: after a lease its place is free.
  f.Advance(absl::Seconds(11));
  CHECK(Claim(f, 4, 3)->message.shard_index() == 1);
}

TEST_CASE("Coordinator: a second ps of a shard, without a journal, waits until the first one is silent for a lease") {
  CoordinatorFixture f(LeasedPolicy(1), 2);
  f.Start(1);
  v1::WatchRequest other = f.WatchOf(1);
  other.set_generation(other.generation() + 1);
  other.set_keeps_journal(false);
  const auto refused = [&] { return f.Call<v1::WatchReply>("WatchMembership", other)->status; };
  CHECK(Says(refused(), Code::kUnavailable, {"serves this shard, or did within --lease"}));
  f.clock.Advance(absl::Seconds(60));  // this process was stopped: it has heard nobody
  CHECK(Says(refused(), Code::kUnavailable, {"serves this shard, or did within --lease"}));
}

}  // namespace
}  // namespace leeway
