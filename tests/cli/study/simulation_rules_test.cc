// The simulation: late pushes, quorums, death and rejoin.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/study/simulation.h"
#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

// Steps of 1 s, but for worker 0: `slow` s.
SimOptions Steps(std::uint32_t workers, double slow = 1) {
  SimOptions options;
  options.workers = workers;
  options.policy = NeverWait();
  options.step_seconds = [slow](std::uint32_t rank, std::uint64_t) { return rank == 0 ? slow : 1; };
  return options;
}

// Exponential steps of 1 s in the mean.
SimOptions RandomSteps(std::uint32_t workers, std::uint64_t seed) {
  SimOptions options = Steps(workers);
  options.step_seconds = [seed](std::uint32_t rank, std::uint64_t step) {
    return -std::log1p(-UnitUniform(HashCombine(HashCombine(seed, rank), step)));
  };
  return options;
}

// Worker 0 dies `life` seconds after its first start, and never again; the others live for ever.
void LetDie(SimOptions* options, double life, double away, double lease) {
  options->life_seconds = [life](std::uint32_t rank, std::uint64_t lives) {
    return rank == 0 && lives == 0 ? life : 1e8;
  };
  options->away_seconds = away;
  options->lease_seconds = lease;
}

// What a simulation says to it, checked: each step gets one verdict, and reads share weights.
class Witness : public Learner {
 public:
  Weights Read() override {
    if (now_ == nullptr) now_ = std::make_shared<int>(0);
    return now_;
  }
  std::uint32_t Begin(std::uint32_t rank, std::uint64_t clock, Weights weights) override {
    CHECK(weights != nullptr);
    CHECK(begun_.emplace(std::pair(rank, clock), weights).second);
    ++steps;
    return 1;
  }
  void Apply(double, std::uint32_t rank, std::uint64_t clock, const v1::Ticket& ticket) override {
    CHECK(begun_.erase({rank, clock}) == 1);
    ++applied;
    if (ticket.serial() != 0) scales[ticket.delay()] = ticket.rate_scale();
    now_ = nullptr;
  }
  void Refuse(std::uint32_t rank, std::uint64_t clock) override {
    CHECK(begun_.erase({rank, clock}) == 1);
    ++refused;
  }
  void Hold(std::uint32_t rank, std::uint64_t clock) override {
    CHECK(begun_.erase({rank, clock}) == 1);
    held_.insert(rank);
  }
  void Close(double, const v1::RoundClose& close) override {
    for (const std::uint32_t rank : close.ranks()) CHECK(held_.erase(rank) == 1);
    applied += static_cast<std::uint64_t>(close.ranks_size());
    unused += held_.size();
    held_.clear();
    now_ = nullptr;
  }
  void Leave(std::uint32_t rank) override {
    const auto first = begun_.lower_bound({rank, 0}), last = begun_.lower_bound({rank + 1, 0});
    left += static_cast<std::uint64_t>(std::distance(first, last));
    begun_.erase(first, last);
  }
  std::uint64_t open() const { return begun_.size() + held_.size(); }

  std::uint64_t steps = 0, applied = 0, refused = 0, unused = 0, left = 0;
  std::map<std::uint64_t, double> scales;  // by delay

 private:
  Weights now_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, Weights> begun_;
  std::set<std::uint32_t> held_;
};

TEST_CASE("no applied delay reaches max_delay, and every push is accepted or refused") {
  std::uint64_t random = TestSeed();
  for (const std::int64_t limit : {1, 2, 5, 9, 40}) {
    for (const double message : {0.0, 0.07}) {
      random = Mix64(random);
      SimOptions options = RandomSteps(2 + static_cast<std::uint32_t>(random % 7), random);
      options.policy.set_max_delay(limit);
      options.policy.set_staleness_bound(random % 3 == 0 ? 2 : -1);
      options.depth = static_cast<int>(random / 7 % 2);
      options.message_seconds = message;
      options.pushes = 3000;
      Witness witness;
      options.learner = &witness;
      const SimResult result = Simulate(options);
      CAPTURE(limit, message, options.workers, options.depth);
      REQUIRE(result.complete);
      CHECK(result.delay.Max() < static_cast<std::uint64_t>(limit));
      CHECK(witness.applied == result.pushes);
      CHECK(witness.refused == result.refused);
      CHECK(witness.applied + witness.refused + witness.open() == witness.steps);
      CHECK(result.dropped + result.lost == 0);
      if (limit <= 2) CHECK(result.refused > 0);
    }
  }
}

TEST_CASE("scale gives each push 1 / max(1, delay) of the rate") {
  SimOptions options = RandomSteps(5, TestSeed());
  options.policy.set_delay_policy(v1::SCALE);
  Witness witness;
  options.learner = &witness;
  CHECK(Simulate(options).delay.Mean() == Approx(4).epsilon(0.01));
  CHECK(witness.scales.size() > 5);
  for (const auto& [delay, scale] : witness.scales) {
    CHECK(scale == 1.0 / static_cast<double>(std::max<std::uint64_t>(1, delay)));
  }
}

TEST_CASE("a quorum of rounds goes on without the slowest, whose pushes are dropped") {
  SimOptions options = Steps(4, 3.5);
  options.policy.set_aggregation(v1::ROUND);
  options.policy.set_staleness_bound(0);
  options.policy.set_round_quorum(3);
  options.pushes = 3000;
  Witness witness;
  options.learner = &witness;
  const SimResult result = Simulate(options);
  CHECK(result.PushesPerSecond() == Approx(3).epsilon(0.001));
  CHECK(result.blocked_seconds == 0);
  // It gives each step up when the round closes, and begins the next one with the others.
  CHECK(result.dropped == Approx(1000).margin(1));
  CHECK(witness.refused == result.dropped);
  CHECK(witness.applied == result.pushes);
}

TEST_CASE("a round's end is known a message later: a step is given up then, or its push comes too late") {
  for (const double slow : {1.01, 1.15, 50.0}) {
    CAPTURE(slow);
    SimOptions options = Steps(4, slow);
    options.policy.set_aggregation(v1::ROUND);
    options.policy.set_staleness_bound(0);
    options.policy.set_round_quorum(3);
    options.message_seconds = 0.1;
    options.pushes = 3000;
    Witness witness;
    options.learner = &witness;
    const SimResult result = Simulate(options);
    // Push, verdict, pull, weights. The slow one hears of the end when the others have their verdicts, at 1.2 s.
    CHECK(result.PushesPerSecond() == Approx(3 / 1.4).epsilon(0.001));
    CHECK(result.dropped == Approx(1000).margin(2));
    CHECK(witness.refused == result.dropped);
    CHECK(witness.applied == result.pushes);
    CHECK(witness.applied + witness.refused + witness.unused + witness.open() == witness.steps);
  }
}

TEST_CASE("a worker that has died holds the others until its lease ends, and no longer") {
  for (const bool round : {false, true}) {
    CAPTURE(round);
    SimOptions options = Steps(4);
    options.policy.set_aggregation(round ? v1::ROUND : v1::EACH);
    options.policy.set_staleness_bound(round ? 0 : 2);
    LetDie(&options, 10.5, 1e6, 30);
    options.pushes = 400;
    Witness witness;
    options.learner = &witness;
    const SimResult result = Simulate(options);
    REQUIRE(result.complete);
    CHECK(result.deaths == 1);
    CHECK(witness.left == 1);  // it died in the middle of a step
    // All have made 10 steps; the others make one more, which waits for its round, or three at bound 2. The last
    // heartbeat was heard at 10 s, so from 40.03 s on the three go on: 119 rounds or 117 steps are left to each.
    CHECK(result.blocked_seconds == Approx(3 * (40.03 - (round ? 11 : 13))));
    CHECK(result.seconds == Approx(40.03 + (round ? 119 : 117)));
  }
}

TEST_CASE("a worker that comes back enters at the gate's minimum, once its old lease has ended") {
  for (const bool round : {false, true}) {
    for (const double away : {2.0, 50.0}) {
      CAPTURE(round, away);
      SimOptions options = Steps(3);
      options.policy.set_aggregation(round ? v1::ROUND : v1::EACH);
      options.policy.set_staleness_bound(round ? 0 : 1);
      LetDie(&options, 5.5, away, 9);
      options.pushes = 3000;
      Witness witness;
      options.learner = &witness;
      const SimResult result = Simulate(options);
      REQUIRE(result.complete);
      CHECK(result.deaths == 1);
      CHECK(result.lost == 0);
      CHECK(result.max_gap <= (round ? 1 : 2));
      CHECK(result.max_lead <= 1);
      // Its last heartbeat was at 3 s: 12 s is when the others go on, and when it gets in at the earliest.
      const double back = std::max(12.0, 5.5 + away);
      CHECK(result.lived_seconds == Approx(3 * result.seconds - (back - 12)).epsilon(0.001));
      CHECK(result.seconds == Approx(1000 + 6 + (back - 12) / 3).margin(3));
      CHECK(witness.applied + witness.refused + witness.unused + witness.left + witness.open() == witness.steps);
    }
  }
}

TEST_CASE("whoever dies and comes back, the bound holds, and no ticket of the dead is waited for") {
  std::uint64_t random = TestSeed();
  for (int i = 0; i < 24; ++i) {
    random = Mix64(random);
    const std::uint64_t seed = random;
    SimOptions options = RandomSteps(2 + static_cast<std::uint32_t>(random % 5), seed);
    const bool round = i % 3 == 0;
    const std::uint64_t bound = i % 3 == 1 ? 1 : 3;
    options.policy.set_aggregation(round ? v1::ROUND : v1::EACH);
    options.policy.set_staleness_bound(round ? 0 : static_cast<std::int64_t>(bound));
    if (round) options.policy.set_round_quorum(i % 2 == 0 ? 0 : options.workers - 1);
    if (!round && i % 2 == 0) options.policy.set_max_delay(6);
    options.depth = round ? 0 : i % 4 / 2;
    options.message_seconds = i % 5 == 0 ? 0.2 : 0;
    options.life_seconds = [seed](std::uint32_t rank, std::uint64_t life) {
      return -20 * std::log1p(-UnitUniform(HashCombine(HashCombine(~seed, rank), life)));
    };
    options.away_seconds = 3;
    options.lease_seconds = 4;
    options.pushes = 1000;
    Witness witness;
    options.learner = &witness;
    const SimResult result = Simulate(options);
    CAPTURE(i, seed, options.workers, options.depth);
    REQUIRE(result.complete);
    CHECK(result.deaths > 10);
    if (!round) CHECK(result.max_lead <= bound);
    if (!round) CHECK(result.max_gap <= bound + 1);
    if (options.policy.max_delay() > 0) CHECK(result.delay.Max() < 6);
    CHECK(witness.applied == result.pushes);
    CHECK(witness.refused == result.refused + result.dropped);
    CHECK(witness.applied + witness.refused + witness.unused + witness.left + witness.open() == witness.steps);
    CHECK(result.BlockedShare() < 1);
  }
}

TEST_CASE("a run that gets nowhere is given up") {
  SimOptions options = Steps(3);
  options.life_seconds = [](std::uint32_t, std::uint64_t) { return 0.5; };
  options.away_seconds = 1;
  options.lease_seconds = 1;
  options.pushes = 100;
  const SimResult result = Simulate(options);
  CHECK_FALSE(result.complete);
  CHECK(result.pushes == 0);
  CHECK(result.deaths > 100);
}

TEST_CASE("ten thousand workers") {
  for (const std::string policy : {"each", "round", "tickets"}) {
    CAPTURE(policy);
    SimOptions options = RandomSteps(10000, 1);
    options.policy.set_staleness_bound(policy == "each" ? 3 : -1);
    if (policy == "round") options.policy.set_aggregation(v1::ROUND);
    if (policy == "round") options.policy.set_staleness_bound(0);
    if (policy == "tickets") options.policy.set_max_delay(1 << 20);
    options.life_seconds = [](std::uint32_t rank, std::uint64_t) { return rank % 1000 == 0 ? 2.5 : 1e8; };
    options.away_seconds = 1;
    options.lease_seconds = 1;
    options.pushes = 50000;
    const SimResult result = Simulate(options);
    CHECK(result.complete);
    CHECK(result.deaths >= 10);
    if (policy == "tickets") CHECK(result.delay.Quantile(0.9) > 9000);
  }
}

}  // namespace
}  // namespace leeway
