// The simulation against another one, by other code: 8 workers with steps of 1 s, applied pushes per second. That one's
// workers had a normal jitter of 10 % in the first scenario and of 2 % in the others, as `leeway study` has.
#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cli/study/simulation.h"
#include "cli/study/study_policies.h"
#include "cli/study/worker_speeds.h"
#include "tests/catch.h"

namespace leeway {
namespace {

constexpr std::uint64_t kSeed = 1;  // fixed: the other's numbers are estimates, too
constexpr std::uint32_t kWorkers = 8;

SimResult Study(const std::string& scenario, const std::string& policy, std::uint64_t pushes = 40000) {
  const auto stragglers = ParseStragglers(scenario);
  const auto policies = ParseStudyPolicies(policy, kWorkers, NeverWait());
  REQUIRE(stragglers.ok());
  REQUIRE(policies.ok());
  const WorkerSpeeds speeds(*stragglers, kWorkers, 1, kSeed);
  SimOptions options;
  options.workers = kWorkers;
  options.policy = policies->at(0).policy;
  options.pushes = pushes;
  options.step_seconds = [&speeds](std::uint32_t rank, std::uint64_t step) { return speeds.StepSeconds(rank, step); };
  SimResult result = Simulate(options);
  REQUIRE(result.complete);
  return result;
}

// Rounds of 7 among 8 workers in the second scenario, step by step. The other simulation's workers give up a step whose
// round has closed, as Leeway's do; else they would complete it, then go on with the round that is open.
double RateOfQuorum(bool give_up) {
  std::mt19937_64 random(kSeed);
  std::normal_distribution<double> jitter(1, 0.02);
  std::bernoulli_distribution slow(0.05);
  std::array<double, kWorkers> busy_until{}, finish{};
  constexpr int kRounds = 40000;
  double open = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (std::uint32_t i = 0; i < kWorkers; ++i) {
      finish[i] = std::max(open, busy_until[i]) + jitter(random) * (slow(random) ? 5 : 1);
    }
    std::array<double, kWorkers> sorted = finish;
    std::sort(sorted.begin(), sorted.end());
    open = sorted[kWorkers - 2];
    for (std::uint32_t i = 0; i < kWorkers; ++i) {
      // Who was still busy with an earlier round has not begun this one.
      if (busy_until[i] < open) busy_until[i] = finish[i];
      if (give_up) busy_until[i] = open;
    }
  }
  return 7 * kRounds / open;
}

TEST_CASE("what it gains that late workers of a quorum give their step up") {
  CHECK(RateOfQuorum(true) == Approx(5.59).epsilon(0.02));
  CHECK(RateOfQuorum(false) == Approx(4.50).epsilon(0.02));
  CHECK(Study("transient", "round:7", 400000).PushesPerSecond() == Approx(RateOfQuorum(true)).epsilon(0.01));
}

TEST_CASE("agrees with an independent simulation") {
  struct Row {
    const char* scenario;
    std::vector<double> rates;  // in the order of kPolicies
  };
  const std::vector<std::string> policies = {"round",    "round:7",  "bound:1",     "bound:3",
                                             "bound:10", "bound:-1", "max_delay:8", "max_delay:16"};
  const Row rows[] = {{"jitter", {7.01, 6.45, 7.90, 7.96, 7.98, 8.00, 7.11, 8.00}},
                      {"transient", {3.32, 5.59, 4.23, 5.34, 6.20, 6.62, 6.28, 6.28}},
                      {"persistent", {2.00, 6.82, 2.00, 2.00, 2.02, 7.25, 6.98, 7.00}}};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < policies.size(); ++i) {
      CAPTURE(row.scenario, policies[i]);
      CHECK(Study(row.scenario, policies[i]).PushesPerSecond() == Approx(row.rates[i]).epsilon(0.05));
    }
  }
}

TEST_CASE("agrees on what is blocked and refused, to within 2 of 100 pushes") {
  CHECK(Study("jitter", "round").BlockedShare() == Approx(0.12).margin(0.02));
  CHECK(Study("transient", "round").BlockedShare() == Approx(0.50).margin(0.02));
  CHECK(Study("persistent", "round").BlockedShare() == Approx(0.66).margin(0.02));
  CHECK(Study("transient", "bound:1").BlockedShare() == Approx(0.36).margin(0.02));
  CHECK(Study("transient", "bound:3").BlockedShare() == Approx(0.20).margin(0.02));
  CHECK(Study("transient", "bound:10").BlockedShare() == Approx(0.06).margin(0.02));
  CHECK(Study("jitter", "max_delay:8").WastedShare() == Approx(0.11).margin(0.02));
  CHECK(Study("jitter", "max_delay:16").WastedShare() == 0);
  CHECK(Study("transient", "max_delay:8").WastedShare() == Approx(0.05).margin(0.02));
  CHECK(Study("persistent", "max_delay:8").WastedShare() == Approx(0.04).margin(0.02));
}

TEST_CASE("the mean delay of workers that never wait is their number less one") {
  CHECK(Study("jitter", "bound:-1").delay.Mean() == Approx(kWorkers - 1).epsilon(0.01));
  CHECK(Study("mixed", "bound:-1").delay.Mean() == Approx(kWorkers - 1).epsilon(0.01));
  CHECK(Study("mixed", "scale").delay.Mean() == Approx(kWorkers - 1).epsilon(0.01));  // by tickets
}

}  // namespace
}  // namespace leeway
