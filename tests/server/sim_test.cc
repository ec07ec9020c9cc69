// The whole cluster in one thread, under faults, from many seeds. LEEWAY_TEST_SEED=n repeats a failing run as the
// first.
#include <chrono>
#include <cstdint>
#include <string>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/sim_cluster.h"
#include "tests/support/sim_options.h"

namespace leeway {
namespace {

struct Totals {
  std::uint64_t events = 0;
  std::uint64_t lives = 0;
  std::uint64_t held = 0;
  std::uint64_t applied = 0;
  std::uint64_t resolved = 0;
  std::uint64_t deltas = 0;
  std::uint64_t given_up = 0;      // steps, in rounds with a quorum
  std::uint64_t restarts = 0;      // of a ps
  std::uint64_t coordinators = 0;  // restarts of ps 0
  std::uint64_t checkpoints = 0;
  std::uint64_t brought = 0;       // pieces of them, to ps 0
  std::uint64_t without_last = 0;  // checkpoint: runs
  std::uint64_t quarantined = 0;
  std::uint64_t policies = 0;  // changes of one
  std::uint64_t corrected = 0;
};

Totals RunMany(int count, bool rounds) {
  Totals totals;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    const std::uint64_t seed = TestSeed() + static_cast<std::uint64_t>(i);
    SimCluster cluster(SimOptions(seed, rounds));
    const std::optional<std::string> wrong = cluster.Run();
    if (wrong) FAIL("LEEWAY_TEST_SEED=" << seed << (rounds ? " (rounds): " : ": ") << *wrong);
    totals.events += cluster.events();
    totals.lives += cluster.lives();
    totals.held += cluster.pulls_held();
    totals.applied += cluster.applied();
    totals.resolved += cluster.resolved();
    totals.deltas += cluster.deltas();
    totals.given_up += cluster.given_up();
    totals.restarts += cluster.ps_restarts();
    totals.coordinators += cluster.coordinator_restarts();
    totals.checkpoints += cluster.checkpoints();
    totals.brought += cluster.brought();
    totals.without_last += cluster.without_last_checkpoint() ? 1 : 0;
    totals.quarantined += cluster.quarantined();
    totals.policies += cluster.policy_changes();
    totals.corrected += cluster.corrected();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%d clusters, %llu events, %llu lives, %llu restarts of a ps, %llu of them of ps 0, %llu checkpoints (%llu "
      "pieces "
      "brought), %llu runs without the last one, %llu quarantines, %llu changes of the policy, %llu pulls held, %llu "
      "differences, "
      "%llu steps given up, %llu pushes applied, %llu of them learned of late, %llu corrected: %.1f s\n",
      count, number(totals.events), number(totals.lives), number(totals.restarts), number(totals.coordinators),
      number(totals.checkpoints), number(totals.brought), number(totals.without_last), number(totals.quarantined),
      number(totals.policies), number(totals.held), number(totals.deltas), number(totals.given_up),
      number(totals.applied), number(totals.resolved), number(totals.corrected), took.count());
  return totals;
}

TEST_CASE("simulation: `each` under loss, duplication, disorder, partitions, deaths, full disks, and checkpoints") {
  const Totals totals = RunMany(400, false);
  CHECK(totals.lives > 250);
  CHECK(totals.held > 100);
  CHECK(totals.applied > 1000);
  CHECK(totals.deltas > 100);
  CHECK(totals.resolved > 0);
  CHECK(totals.restarts > 100);
  CHECK(totals.coordinators > 30);
  CHECK(totals.checkpoints > 100);
  CHECK(totals.brought > 100);
  CHECK(totals.quarantined > 10);
  CHECK(totals.policies > 200);
  CHECK(totals.corrected > 500);
}

TEST_CASE("simulation: rounds under the same") {
  const Totals totals = RunMany(300, true);
  // For a minute one ps or another did not answer: that happens, but not often.
  CHECK(totals.without_last < 10);
  CHECK(totals.lives > 150);
  CHECK(totals.held > 100);
  CHECK(totals.restarts > 50);
  CHECK(totals.coordinators > 15);
  CHECK(totals.checkpoints > 50);
  CHECK(totals.quarantined > 1);
  CHECK(totals.policies > 100);
  CHECK(totals.given_up > 100);
}

TEST_CASE("simulation: from 1 worker to 64 and back while it trains, with deaths of a ps") {
  for (std::uint64_t i = 0; i < 2; ++i) {
    SimCluster::Options options;
    options.seed = TestSeed() + i;
    options.workers = 1;
    options.visitors = 63;
    options.num_records = 1500;
    const std::int64_t bounds[] = {-1, 8};
    options.policy = SimPolicy(bounds[i % 2], options.workers);
    options.files = true;
    options.ps_deaths = static_cast<int>(2 * i);
    options.time_limit = absl::Hours(3);
    SimCluster cluster(options);
    const std::optional<std::string> wrong = cluster.Run();
    if (wrong) FAIL("LEEWAY_TEST_SEED=" << options.seed << ": " << *wrong);
    CHECK(cluster.most_members() == 64);
  }
}

TEST_CASE("simulation: a seed repeats its run exactly") {
  for (std::uint64_t i = 0; i < 5; ++i) {
    std::uint64_t fingerprint = 0;
    for (int attempt = 0; attempt < 2; ++attempt) {
      SimCluster cluster(SimOptions(TestSeed() + i, i % 2 == 1));
      CHECK_FALSE(cluster.Run());
      if (attempt == 0) fingerprint = cluster.Fingerprint();
      CHECK(cluster.Fingerprint() == fingerprint);
    }
  }
}

}  // namespace
}  // namespace leeway
