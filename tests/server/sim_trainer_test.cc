// The cluster of sim_test.cc with the parts of a real worker: its pipeline, retries, error feedback, watches of rounds.
// LEEWAY_TEST_SEED=n repeats a failing run as the first.
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/sim_cluster.h"
#include "tests/support/sim_options.h"

namespace leeway {
namespace {

struct Totals {
  std::uint64_t processes = 0;
  std::uint64_t incarnations = 0;
  std::uint64_t exact = 0;     // processes whose gradients were found again to the last value
  std::uint64_t applied = 0;   // chunks
  std::uint64_t restarts = 0;  // of a ps
  std::uint64_t given_up = 0;  // steps, in rounds with a quorum
};

void Add(SimCluster& cluster, Totals* totals) {
  totals->processes += cluster.lives();
  totals->incarnations += cluster.incarnations();
  totals->exact += cluster.exact();
  totals->applied += cluster.applied();
  totals->restarts += cluster.ps_restarts();
  totals->given_up += cluster.given_up();
}

Totals RunMany(int count, bool rounds) {
  Totals totals;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t seed = TestSeed() + static_cast<std::uint64_t>(i);
    SimCluster cluster(SimTrainerOptions(seed, rounds));
    const std::optional<std::string> wrong = cluster.Run();
    if (wrong) FAIL("LEEWAY_TEST_SEED=" << seed << (rounds ? " (rounds): " : ": ") << *wrong);
    Add(cluster, &totals);
  }
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%d clusters, %llu processes, %llu incarnations, %llu processes exact, %llu chunks applied, %llu restarts "
      "of a ps, %llu steps given up\n",
      count, number(totals.processes), number(totals.incarnations), number(totals.exact), number(totals.applied),
      number(totals.restarts), number(totals.given_up));
  return totals;
}

TEST_CASE("simulation of trainers: what `each` applies and what is kept are all of the gradients, whatever happens") {
  const Totals totals = RunMany(100, false);
  CHECK(totals.incarnations > totals.processes);
  CHECK(totals.exact > 50);
  CHECK(totals.applied > 1000);
  CHECK(totals.restarts > 20);
}

TEST_CASE("simulation of trainers: what rounds apply and what is kept are all of the gradients, whatever happens") {
  const Totals totals = RunMany(140, true);
  CHECK(totals.incarnations > totals.processes);
  CHECK(totals.exact > 50);
  CHECK(totals.restarts > 20);
  CHECK(totals.given_up > 10);
}

TEST_CASE("simulation of trainers: with two chunks per shard") {
  Totals totals;
  for (std::uint64_t i = 0; i < 4; ++i) {
    SimCluster::Options options = SimTrainerOptions(TestSeed() + i, i % 2 == 1);
    options.shards = 2;
    options.elements = 2'200'000;
    options.num_records = 12;
    if (options.policy.stop().steps() > 0) options.policy.mutable_stop()->set_steps(5);
    SimCluster cluster(options);
    const std::optional<std::string> wrong = cluster.Run();
    if (wrong) FAIL("LEEWAY_TEST_SEED=" << options.seed << ": " << *wrong);
    Add(cluster, &totals);
  }
  CHECK(totals.processes >= 4);
}

TEST_CASE("simulation of trainers: a seed repeats its run exactly") {
  for (std::uint64_t i = 0; i < 4; ++i) {
    std::uint64_t fingerprint = 0;
    for (int attempt = 0; attempt < 2; ++attempt) {
      SimCluster cluster(SimTrainerOptions(TestSeed() + i, i % 2 == 1));
      CHECK_FALSE(cluster.Run());
      if (attempt == 0) fingerprint = cluster.Fingerprint();
      CHECK(cluster.Fingerprint() == fingerprint);
    }
  }
}

}  // namespace
}  // namespace leeway
