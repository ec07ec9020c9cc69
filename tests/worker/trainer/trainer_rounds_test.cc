// A trainer in rounds that close without its push.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "tests/catch.h"
#include "tests/worker/trainer/trainer_bench.h"

namespace leeway {
namespace {

// To the rounding of float32, and not nothing.
void CheckSame(const std::vector<double>& with, const std::vector<double>& without) {
  double worst = 0, most = 0;
  for (std::size_t i = 0; i < with.size(); ++i) {
    worst = std::max(worst, std::abs(with[i] - without[i]));
    most = std::max(most, std::abs(with[i]));
  }
  CHECK(most > 0.1);
  CHECK(worst < 1e-5 * most);
}

TEST_CASE("A dropped push of a closed round: the worker goes on at the open one") {
  v1::Policy policy;
  policy.set_aggregation(v1::ROUND);
  policy.set_max_delay(-1);
  policy.mutable_stop()->set_epochs(2);
  Bench bench(policy, 0);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.join.set_rounds_per_epoch(20);
    bench.fake.script.verdict = [](const v1::PushRequest& push) { return push.clock() == 3 ? v1::DROPPED : v1::HELD; };
  }
  REQUIRE(bench.Run().ok());
  MutexLock lock(bench.fake.mu);
  std::set<std::uint64_t> clocks;
  for (const v1::PushRequest& push : bench.fake.pushes) clocks.insert(push.clock());
  CHECK(clocks.count(3) == 1);
  CHECK(clocks.count(4) == 0);
  CHECK(clocks.count(13) == 1);  // the fake's open round
  CHECK(*clocks.rbegin() == 39);
  CHECK(bench.fake.reports.back().progress().pushes_dropped() == 1);
  REQUIRE(bench.fake.leaves.size() == 1);
  CHECK(bench.fake.leaves[0].finished());
}

TEST_CASE("Rounds: a push that was held and is then left out counts as dropped, and its gradient comes with the next") {
  v1::Policy policy;
  policy.set_aggregation(v1::ROUND);
  policy.set_max_delay(-1);
  policy.mutable_stop()->set_epochs(1);
  const Engine::Gradients by = GENERATE(Engine::Gradients::kFloats, Engine::Gradients::kEncoded);
  // What is applied of 19 rounds when every seventh closes without the worker. The weights stay as they are, so that
  // gradients do not depend on it.
  const auto applied = [&](bool leave_out) {
    Bench bench(policy, 0, 2, by);
    bench.options.push_encoding = {v1::TOP_K, 1.0, 0};  // all of it
    {
      MutexLock lock(bench.fake.mu);
      bench.fake.rate = 0;
      bench.fake.join.set_rounds_per_epoch(19);
      bench.fake.script.verdict = [](const v1::PushRequest&) { return v1::HELD; };
      bench.fake.script.last_push = [&fake = bench.fake, leave_out](const v1::PullRequest& pull) {
        if (pull.clock() == 0) return v1::VERDICT_NONE;
        const bool out = leave_out && pull.clock() % 7 == 0;
        fake.CloseRound(pull.clock() - 1, !out);
        return out ? v1::DROPPED : v1::APPLIED;
      };
    }
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    bench.fake.CloseRound(18, true);
    const v1::Progress& progress = bench.fake.reports.back().progress();
    CHECK(progress.pushes_applied() == (leave_out ? 17 : 19));
    CHECK(progress.pushes_dropped() == (leave_out ? 2 : 0));
    return bench.fake.applied;
  };
  CheckSame(applied(false), applied(true));
}

TEST_CASE("Rounds: what became of the push that was held when the lease ran out is asked for") {
  v1::Policy policy;
  policy.set_aggregation(v1::ROUND);
  policy.set_max_delay(-1);
  policy.mutable_stop()->set_epochs(1);
  // What is applied of 19 rounds when the lease runs out behind the seventh, which closes with the push or without it.
  const auto applied = [&](bool leave_out) {
    Bench bench(policy, 0, 2, Engine::Gradients::kFloats);
    bench.options.push_encoding = {v1::TOP_K, 1.0, 0};  // all of it
    {
      MutexLock lock(bench.fake.mu);
      bench.fake.rate = 0;
      bench.fake.join.set_rounds_per_epoch(19);
      bench.fake.script.verdict = [](const v1::PushRequest&) { return v1::HELD; };
      bench.fake.script.fail = [&fake = bench.fake, leave_out](const std::string&, const std::string& method) {
        const auto held = std::count_if(fake.pushes.begin(), fake.pushes.end(),
                                        [](const v1::PushRequest& push) { return push.clock() == 6; });
        const bool now = method == "ParameterServer/Pull" && fake.expired.empty() && held == 2;  // on both shards
        if (now) {
          fake.expired.insert(fake.joins[0].incarnation());
          fake.join.set_entry_clock(7);
          fake.CloseRound(6, !leave_out);
        }
        return absl::OkStatus();
      };
      bench.fake.script.last_push = [&fake = bench.fake](const v1::PullRequest& pull) {
        if (pull.clock() == 0) return v1::VERDICT_NONE;
        fake.CloseRound(pull.clock() - 1, true);
        return v1::APPLIED;
      };
    }
    REQUIRE(bench.Run().ok());
    MutexLock lock(bench.fake.mu);
    REQUIRE(bench.fake.joins.size() == 2);
    bench.fake.CloseRound(18, true);
    return bench.fake.applied;
  };
  CheckSame(applied(false), applied(true));
}

}  // namespace
}  // namespace leeway
