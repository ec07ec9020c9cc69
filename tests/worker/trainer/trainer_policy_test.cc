// A trainer whose cluster changes its policy, or drains it.
#include <cstdint>
#include <set>

#include "tests/catch.h"
#include "tests/worker/trainer/trainer_bench.h"

namespace leeway {
namespace {

TEST_CASE("A step obeys the policy that its weights were read under, whatever else the worker has heard") {
  v1::Policy before = Leased(-1);
  before.set_number(1);
  v1::Policy after = before;
  after.set_number(2);
  after.set_max_delay(5);
  Bench bench(before, 2, 1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.policy = [&before, &after](const v1::PullRequest& pull) {
      return pull.clock() < 4 ? &before : &after;
    };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.committed == kRecords);
  std::set<std::uint64_t> with, without;
  for (const v1::PushRequest& push : bench.fake.pushes) (push.has_ticket() ? with : without).insert(push.clock());
  CHECK(without == std::set<std::uint64_t>{0, 1, 2, 3});
  REQUIRE_FALSE(with.empty());
  CHECK(*with.begin() == 4);
  // Once it has heard of the new one, it names it.
  CHECK(bench.fake.pulls.front().stamp().policy_number() == 1);
  CHECK(bench.fake.pulls.back().stamp().policy_number() == 2);
}

TEST_CASE("A worker that is drained completes what is under way, hands back the rest, leaves, and does not come back") {
  Bench bench(Leased(4), 1, 2);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_lease_millis(150);  // heartbeats every 50 ms
    bench.fake.script.fail = [&bench](const std::string&, const std::string& method) {
      if (method == "ParameterServer/Push" && bench.fake.pushes.size() == 6) bench.fake.drain = true;
      return absl::OkStatus();
    };
    bench.fake.script.gate = [&bench](const v1::PullRequest& pull) { return !bench.fake.drain || pull.clock() < 8; };
  }
  REQUIRE(bench.Run().ok());
  CHECK(bench.cancellation.cancelled());
  MutexLock lock(bench.fake.mu);
  REQUIRE(bench.fake.joins.size() == 1);
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].reason() == "drained");
  CHECK_FALSE(bench.fake.leaves[0].returned().empty());
  std::set<std::uint64_t> pushed, committed;
  for (const v1::PushRequest& push : bench.fake.pushes) pushed.insert(push.clock());
  for (const v1::CommitDataRequest& commit : bench.fake.commits) committed.insert(commit.clock());
  CHECK(pushed == committed);
}

}  // namespace
}  // namespace leeway
