#include "cli/study/simulation.h"

#include <cmath>
#include <vector>

#include "absl/time/time.h"
#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "worker/trainer/pacer.h"

namespace leeway {
namespace {

// Steps as the workers of a cluster would pace them: 1 s each, before what `pace` adds; worker 0 is `straggle` times
// slower.
SimOptions Paced(std::uint32_t workers, Pacer::Options pace = {}, double straggle = 1) {
  SimOptions options;
  options.workers = workers;
  options.policy = NeverWait();
  const std::uint64_t seed = TestSeed();
  pace.pace = absl::Seconds(1);
  std::vector<Pacer> pacers;
  for (std::uint32_t rank = 0; rank < workers; ++rank) {
    pace.seed = HashCombine(seed, rank);
    pace.straggle = rank == 0 ? straggle : 1;
    pacers.emplace_back(pace);
  }
  options.step_seconds = [pacers](std::uint32_t rank, std::uint64_t step) {
    return absl::ToDoubleSeconds(pacers[rank].Rest(step, absl::ZeroDuration()));
  };
  return options;
}

Pacer::Options Jitter(double jitter) {
  Pacer::Options pace;
  pace.jitter = jitter;
  return pace;
}

Pacer::Options SlowStepsOf(double fraction, double factor) {
  Pacer::Options pace;
  pace.slow_steps = {fraction, factor};
  return pace;
}

SimResult Rounds(SimOptions options, std::uint64_t rounds = 5000) {
  options.policy.set_aggregation(v1::ROUND);
  options.policy.set_staleness_bound(0);
  options.pushes = rounds * options.workers;
  SimResult result = Simulate(options);
  REQUIRE(result.pushes == rounds * options.workers);
  return result;
}

SimResult Bounded(SimOptions options, std::int64_t bound, std::uint64_t pushes = 20000) {
  options.policy.set_staleness_bound(bound);
  options.pushes = pushes;
  SimResult result = Simulate(options);
  REQUIRE(result.pushes == pushes);
  return result;
}

TEST_CASE("equal workers never wait, whatever the bound") {
  const SimOptions options = Paced(4);
  for (const SimResult& result :
       {Rounds(options, 100), Bounded(options, 0, 400), Bounded(options, 3, 400), Bounded(options, -1, 400)}) {
    CHECK(result.seconds == Approx(100));
    CHECK(result.PushesPerSecond() == Approx(4));
    CHECK(result.blocked_seconds == 0);
  }
}

TEST_CASE("depth 1 hides the messages") {
  SimOptions options = Paced(4);
  options.message_seconds = 0.05;
  CHECK(Bounded(options, -1).PushesPerSecond() == Approx(4 / 1.2).epsilon(0.001));
  CHECK(Rounds(options).PushesPerSecond() == Approx(4 / 1.2).epsilon(0.001));
  options.depth = 1;
  CHECK(Bounded(options, -1).PushesPerSecond() == Approx(4).epsilon(0.001));
  CHECK(Bounded(options, 3).PushesPerSecond() == Approx(4).epsilon(0.001));
}

TEST_CASE("a round lasts as long as its slowest step") {
  // The mean of the largest of 4 exponential times is 1 + 1/2 + 1/3 + 1/4 of theirs.
  const double largest = 1 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4;
  const SimResult jitter = Rounds(Paced(4, Jitter(0.5)), 20000);
  CHECK(jitter.PushesPerSecond() == Approx(4 / (1 + 0.5 * largest)).epsilon(0.015));
  CHECK(jitter.BlockedShare() == Approx(1 - 1.5 / (1 + 0.5 * largest)).epsilon(0.03));
  CHECK(jitter.max_gap == 0);
  CHECK(jitter.delay.Mean() == 0);

  const SimResult slow = Rounds(Paced(4, SlowStepsOf(0.05, 5)), 20000);
  CHECK(slow.PushesPerSecond() == Approx(4 / (1 + 4 * (1 - std::pow(0.95, 4)))).epsilon(0.03));

  const SimResult straggler = Rounds(Paced(4, {}, 4));
  CHECK(straggler.PushesPerSecond() == Approx(1));
  CHECK(straggler.BlockedShare() == Approx(3 * 0.75 / 4).epsilon(0.001));  // three of four workers wait 3 s of 4
}

TEST_CASE("without a bound every worker goes at its own speed") {
  CHECK(Bounded(Paced(4, {}, 4), -1).PushesPerSecond() == Approx(3 + 1.0 / 4).epsilon(0.001));
  CHECK(Bounded(Paced(4, Jitter(0.5)), -1).PushesPerSecond() == Approx(4 / 1.5).epsilon(0.015));
  CHECK(Bounded(Paced(4, SlowStepsOf(0.05, 5)), -1).PushesPerSecond() == Approx(4 / 1.2).epsilon(0.03));
  CHECK(Bounded(Paced(4, Jitter(0.5)), -1).blocked_seconds == 0);
}

TEST_CASE("no bound beats a persistent straggler, only its absence does") {
  const SimOptions options = Paced(4, {}, 4);
  const double round = Rounds(options).PushesPerSecond();
  for (const std::int64_t bound : {1, 3, 10}) {
    CAPTURE(bound);
    CHECK(Bounded(options, bound).PushesPerSecond() / round == Approx(1).margin(0.05));
  }
  const double free = Bounded(options, -1).PushesPerSecond() / round;
  CHECK(free >= 2.5);
  CHECK(free == Approx(3.25).epsilon(0.01));
}

TEST_CASE("a bound pays where steps are slow now and then") {
  const SimOptions options = Paced(4, SlowStepsOf(0.05, 5));
  const double round = Rounds(options).PushesPerSecond();
  const double narrow = Bounded(options, 1).PushesPerSecond() / round;
  const double usual = Bounded(options, 3).PushesPerSecond() / round;
  const double wide = Bounded(options, 10).PushesPerSecond() / round;
  CHECK(usual >= 1.2);
  CHECK(narrow < usual);
  CHECK(usual < wide);
  CHECK(wide < Bounded(options, -1).PushesPerSecond() / round);
}

TEST_CASE("the mean delay of P workers that never wait is P - 1, and P more per step of depth") {
  for (const std::uint32_t workers : {2, 4, 8}) {
    CAPTURE(workers);
    SimOptions options = Paced(workers, Jitter(0.3));
    CHECK(Bounded(options, -1).delay.Mean() == Approx(workers - 1.0).epsilon(0.01));
    options.depth = 1;
    CHECK(Bounded(options, -1).delay.Mean() == Approx(2.0 * workers - 1).epsilon(0.01));
    options.depth = 2;
    CHECK(Bounded(options, -1).delay.Mean() == Approx(3.0 * workers - 1).epsilon(0.01));
  }
}

TEST_CASE("what is applied between a push and its worker's next pull is no delay") {
  // All push at once, and all pull when all have pushed: the first push of each burst is not late at all.
  SimOptions options = Paced(4);
  options.message_seconds = 0.01;
  CHECK(Bounded(options, -1).delay.Mean() == Approx(1.5).epsilon(0.001));
}

TEST_CASE("no pull leads by more than the bound, no clock by more than the bound and one") {
  std::uint64_t random = TestSeed();
  for (int i = 0; i < 40; ++i) {
    random = Mix64(random);
    SimOptions options = Paced(2 + static_cast<std::uint32_t>(random % 10));
    const std::uint64_t bound = std::vector<std::uint64_t>{0, 1, 3, 10}[static_cast<std::size_t>(i) % 4];
    options.depth = bound == 0 ? 0 : i / 4 % 3;
    options.message_seconds = i % 3 == 0 ? 0.15 : 0;
    options.step_seconds = [random](std::uint32_t rank, std::uint64_t step) {
      return -std::log1p(-UnitUniform(HashCombine(HashCombine(random, rank), step)));
    };
    const SimResult result = Bounded(options, static_cast<std::int64_t>(bound), 10000);
    CAPTURE(i, options.workers, bound, options.depth);
    CHECK(result.max_lead <= bound);
    CHECK(result.max_gap <= bound + 1);
    // Exponential steps differ enough that the bound is met, so that the checks above mean something.
    CHECK(result.max_gap == bound + 1);
    CHECK(result.gap.Max() <= result.max_gap);
    CHECK(result.blocked_seconds > 0);
    // Between a worker's read and its push, each of the others goes from s behind at most to s + 1 ahead at most.
    if (options.depth == 0) CHECK(result.delay.Max() <= (options.workers - 1) * (2 * bound + 1));
  }
}

TEST_CASE("the same options give the same result") {
  const SimOptions options = Paced(8, Jitter(1));
  const SimResult a = Bounded(options, 3), b = Bounded(options, 3);
  CHECK(a.seconds == b.seconds);
  CHECK(a.delay.counts() == b.delay.counts());
  CHECK(a.gap.counts() == b.gap.counts());
}

}  // namespace
}  // namespace leeway
