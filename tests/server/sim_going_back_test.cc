// The clusters of sim_test.cc and sim_trainer_test.cc, which lose what only a checkpoint brings back.
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
  std::uint64_t back = 0;      // goings back
  std::uint64_t stuck = 0;     // runs without a checkpoint to go back to
  std::uint64_t restarts = 0;  // of a ps
};

Totals RunMany(int count, SimLoss loss, bool trainers) {
  Totals totals;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t seed = TestSeed() + static_cast<std::uint64_t>(i);
    const bool rounds = seed % 2 == 1;
    SimCluster cluster(SimLossOptions(seed, rounds, trainers, loss));
    const std::optional<std::string> wrong = cluster.Run();
    if (wrong) FAIL("LEEWAY_TEST_SEED=" << seed << (trainers ? " (trainers): " : ": ") << *wrong);
    totals.back += cluster.eras();
    totals.stuck += cluster.stuck() ? 1 : 0;
    totals.restarts += cluster.ps_restarts();
  }
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%d clusters: %llu restarts of a ps, %llu goings back, %llu without a checkpoint\n", count,
              number(totals.restarts), number(totals.back), number(totals.stuck));
  return totals;
}

TEST_CASE("simulation of losses: a machine takes the end of its journal with it") {
  CHECK(RunMany(100, SimLoss::kUnsynced, false).back > 1);
  CHECK(RunMany(30, SimLoss::kUnsynced, true).back > 1);
}

TEST_CASE("simulation of losses: a ps without a journal dies") {
  CHECK(RunMany(100, SimLoss::kNoJournal, false).back > 1);
  CHECK(RunMany(30, SimLoss::kNoJournal, true).back > 1);
}

TEST_CASE("simulation of losses: a ps has lost its journal") {
  CHECK(RunMany(100, SimLoss::kJournalLost, false).back > 1);
  CHECK(RunMany(30, SimLoss::kJournalLost, true).back > 1);
}

TEST_CASE("simulation of losses: another number of ps goes on") {
  CHECK(RunMany(100, SimLoss::kOtherShards, false).back > 1);
  CHECK(RunMany(30, SimLoss::kOtherShards, true).back > 1);
}

}  // namespace
}  // namespace leeway
