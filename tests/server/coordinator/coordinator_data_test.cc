// Coordinator through Handle(): what is leased of the data, committed, given up, and who is parked without.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"

namespace leeway {
namespace {

TEST_CASE("Coordinator: a data request that is repeated gets the same range, an overtaken one none") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  const auto first = f.Acquire(0, 1, 10);
  const auto repeated = f.Acquire(0, 1, 10);
  REQUIRE(first->ok());
  CHECK(repeated->message.range().SerializeAsString() == first->message.range().SerializeAsString());
  const auto second = f.Acquire(0, 2, 10);
  CHECK(second->message.range().begin() == 10);
  CHECK_FALSE(f.Acquire(0, 1, 10)->message.has_range());
  CHECK(f.Acquire(0, 3, 10)->message.range().begin() == 20);
  CHECK(f.Acquire(0, 4, ~std::uint64_t{0})->message.range().end() == 100);
}

// The network has kept a first attempt, and the next one was told that there is nothing. (A worker that asked on with
// another number would never hear of that range, and the epoch not end.)
TEST_CASE("Coordinator: a data request that was answered without a range, and comes again later, is the same request") {
  v1::Policy policy = LeasedPolicy(2);
  policy.mutable_stop()->set_epochs(1);
  CoordinatorFixture f(policy);
  f.Start(2);
  const auto ask = [&] {
    v1::AcquireDataRequest request;
    *request.mutable_stamp() = f.StampOf(1);
    request.set_records(100);
    request.set_request(1);
    request.set_ahead(true);
    return f.Call<v1::AcquireDataReply>("AcquireData", request)->message;
  };
  const v1::DataRange all = f.Acquire(0, 1, 100)->message.range();
  CHECK_FALSE(ask().has_range());
  CHECK(f.Commit(0, 0, {all}, false)->ok());  // the whole epoch comes back
  const v1::DataRange unheard = ask().range();
  CHECK(unheard.end() == 100);
  CHECK(ask().range().SerializeAsString() == unheard.SerializeAsString());
}

// Its first attempt was lost, and the worker went on meanwhile.
TEST_CASE("Coordinator: a commit of leased records that comes first when many later ones have come counts, once") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  std::vector<v1::DataRange> ranges;
  for (std::uint64_t number = 1; number <= 100; ++number) ranges.push_back(f.Acquire(0, number, 1)->message.range());
  for (std::uint64_t clock = 1; clock < 100; ++clock) REQUIRE(f.Commit(0, clock, {ranges[clock]})->ok());
  CHECK(f.Status().samples() == 99);
  for (int attempt = 0; attempt < 2; ++attempt) REQUIRE(f.Commit(0, 0, {ranges[0]})->ok());
  CHECK(f.Status().samples() == 100);
  CHECK(f.Status().steps() == 100);
}

TEST_CASE("Coordinator: a commit that comes again when many later ones have come counts once") {
  v1::Policy policy = LeasedPolicy(1);
  policy.set_data_sharing(v1::STATIC);
  CoordinatorFixture f(policy);
  f.Start(1);
  for (std::uint64_t clock = 0; clock < 100; ++clock) REQUIRE(f.Commit(0, clock, {})->ok());
  for (std::uint64_t clock = 0; clock < 100; ++clock) REQUIRE(f.Commit(0, clock, {})->ok());
  CHECK(f.Status().steps() == 100);
}

TEST_CASE("Coordinator: a commit counts once, a refused one not at all") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  const v1::DataRange range = f.Acquire(0, 1, 30)->message.range();
  v1::DataRange part = range;
  part.set_end(10);
  for (int repeat = 0; repeat < 3; ++repeat) CHECK(f.Commit(0, 0, {part})->ok());
  CHECK(f.Status().samples() == 10);
  CHECK(f.Status().steps() == 1);
  part.set_begin(10);
  part.set_end(30);
  CHECK(f.Commit(0, 1, {part}, false)->ok());
  CHECK(f.Status().samples() == 10);
  CHECK(f.Status().steps() == 1);
  CHECK(f.Acquire(0, 2, 30)->message.range().begin() == 10);  // handed out again
}

TEST_CASE("Coordinator: records whose pushes are refused too often are given up, and that is said") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  for (std::uint64_t i = 0; i < 4; ++i) {
    const auto events = f.Status().events_size();
    const auto range = f.Acquire(0, i + 1, 20)->message.range();
    REQUIRE(range.end() == 20);
    REQUIRE(f.Commit(0, i, {range}, /*applied=*/false)->ok());
    CHECK(f.Status().events_size() == events + (i == 3 ? 1 : 0));
  }
  const auto status = f.Status();
  CHECK(status.events(status.events_size() - 1).find("20 records are given up") != std::string::npos);
}

TEST_CASE("Coordinator: without data a worker is parked, and comes back at the shards' clock") {
  v1::Policy policy = LeasedPolicy(2);
  policy.mutable_stop()->set_epochs(1);
  CoordinatorFixture f(policy, 2);
  f.Start(2);
  const v1::DataRange all = f.Acquire(0, 1, 100)->message.range();
  const auto held = f.Acquire(1, 1, 10);
  CHECK_FALSE(held->done());
  f.SyncShards();
  CHECK(f.snapshot().members(1).state() == v1::PARKED);
  CHECK(f.Status().workers(1).state() == "parked");
  f.Advance(Coordinator::kMaxHold + absl::Milliseconds(100));
  REQUIRE(held->ok());
  CHECK(held->message.parked());
  CHECK_FALSE(held->message.has_range());
  const auto waiting = f.Acquire(1, 1, 10);
  CHECK(f.Commit(0, 0, {all}, false)->ok());  // the whole epoch comes back
  f.minimum_clock = {{0, 5}, {1, 7}};
  f.SyncShards();
  REQUIRE(waiting->ok());
  CHECK(waiting->message.reentered());
  CHECK(waiting->message.entry_clock() == 7);
  CHECK(waiting->message.range().end() == 10);
  CHECK(f.snapshot().members(1).state() == v1::LIVE);
  CHECK_FALSE(f.Acquire(1, 2, 10)->message.reentered());
}

TEST_CASE("Coordinator: who leases record by record and commits none of them is parked, until it commits some") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  const std::uint64_t most = DataLeases::Config().max_pieces;
  std::vector<v1::DataRange> held;
  for (std::uint64_t i = 0; i < most; ++i) held.push_back(f.Acquire(0, i + 1, 1)->message.range());
  CHECK(held.back().epoch() == (most - 1) / 100);
  const auto next = f.Acquire(0, most + 1, 1);
  CHECK_FALSE(next->done());
  f.SyncShards();
  CHECK(f.snapshot().members(0).state() == v1::PARKED);
  CHECK(f.Commit(0, 0, {held[0]})->ok());
  f.SyncShards();
  REQUIRE(next->ok());
  CHECK(next->message.range().end() == most % 100 + 1);
  CHECK(next->message.reentered());
  CHECK_FALSE(f.Acquire(0, most + 2, 1)->done());
}

TEST_CASE("Coordinator: who asks for records ahead of need is told at once that there are none, and not parked") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(1);
  CoordinatorFixture f(policy);
  f.Start(1);
  const auto ask = [&](std::uint64_t number, bool ahead) {
    v1::AcquireDataRequest request;
    *request.mutable_stamp() = f.StampOf(0);
    request.set_records(60);
    request.set_request(number);
    request.set_ahead(ahead);
    const auto answer = f.Call<v1::AcquireDataReply>("AcquireData", request);
    f.SyncShards();
    return answer;
  };
  const auto first = ask(1, false);
  const auto second = ask(2, true);
  REQUIRE(second->ok());
  CHECK(second->message.range().end() - second->message.range().begin() == 40);
  const auto none = ask(3, true);
  REQUIRE(none->ok());
  CHECK_FALSE(none->message.has_range());
  CHECK_FALSE(none->message.parked());
  CHECK(f.snapshot().members(0).state() == v1::LIVE);
  // What comes back is for who needs it.
  CHECK(f.Commit(0, 0, {first->message.range()}, false)->ok());
  CHECK(ask(4, true)->message.range().begin() == 0);
  const auto needed = ask(5, false);
  CHECK_FALSE(needed->done());
  CHECK(f.snapshot().members(0).state() == v1::PARKED);
}

}  // namespace
}  // namespace leeway
