#include "server/coordinator/divergence_rule.h"

#include <cmath>
#include <limits>

#include "tests/catch.h"

namespace leeway {
namespace {

constexpr std::uint64_t kWindow = DivergenceRule::kSamples;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("Without a factor nothing diverges") {
  DivergenceRule rule(0);
  rule.Evaluated(kNaN, 1);
  rule.Trained(0, 1, kNaN, kWindow, 1, 1);
  CHECK_FALSE(rule.diverged());
}

TEST_CASE("The evaluator's word is enough, and is measured by its first") {
  DivergenceRule rule(2);
  rule.Evaluated(1.5, 10);
  rule.Evaluated(0.1, 20);
  rule.Evaluated(2.9, 30);
  CHECK_FALSE(rule.diverged());
  CHECK(rule.last_good_steps() == 30);
  rule.Evaluated(3.1, 40);
  CHECK(rule.diverged());
  CHECK(rule.last_good_steps() == 30);
  rule.Evaluated(0.1, 50);
  CHECK(rule.diverged());
}

TEST_CASE("Infinite and NaN are bad from the first on") {
  for (const double loss : {kNaN, std::numeric_limits<double>::infinity()}) {
    DivergenceRule rule(2);
    rule.Evaluated(loss, 1);
    CHECK(rule.diverged());
    CHECK(rule.last_good_steps() == 0);
  }
}

TEST_CASE("Weights that are not finite have diverged, and only where somebody judges") {
  DivergenceRule rule(2);
  rule.Evaluated(1, 5);
  CHECK(rule.trusted_steps() == 5);
  rule.NotFinite("shard 1: NaN");
  CHECK(rule.reason() == "shard 1: NaN");
  rule.NotFinite("shard 0: NaN");
  CHECK(rule.reason() == "shard 1: NaN");
  DivergenceRule never(0);
  never.NotFinite("shard 1: NaN");
  CHECK_FALSE(never.diverged());
  CHECK(never.trusted_steps() == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("Of the trainers more than half must say so at the same time") {
  DivergenceRule rule(2);
  for (std::uint32_t worker = 0; worker < 4; ++worker) rule.Trained(worker, 7, 1.0 * kWindow, kWindow, 10 + worker, 4);
  CHECK(rule.last_good_steps() == 13);
  rule.Trained(0, 7, kNaN, 2 * kWindow, 20, 4);
  rule.Trained(1, 7, kNaN, 2 * kWindow, 21, 4);
  CHECK_FALSE(rule.diverged());
  SECTION("a third one") {
    rule.Trained(2, 7, 4.0 * kWindow, 2 * kWindow, 22, 4);  // 3 per sample
    CHECK(rule.diverged());
    CHECK(rule.last_good_steps() == 13);
  }
  SECTION("one of the bad is out and comes back sane") {
    rule.Forget(0);
    rule.Trained(0, 8, 1.0 * kWindow, kWindow, 23, 4);
    rule.Trained(2, 7, 2.0 * kWindow, 2 * kWindow, 24, 4);
    CHECK_FALSE(rule.diverged());
    CHECK(rule.last_good_steps() == 24);
  }
}

TEST_CASE("Half of the trainers are not more than half, also where nothing was heard of the others yet") {
  DivergenceRule rule(2);
  rule.Trained(0, 7, kNaN, kWindow, 1, 4);
  rule.Trained(1, 7, kNaN, kWindow, 2, 4);
  CHECK_FALSE(rule.diverged());
  rule.Trained(2, 7, kNaN, kWindow, 3, 4);
  CHECK(rule.diverged());
}

TEST_CASE("Single batches that are not finite do not add up") {
  DivergenceRule rule(2);
  std::uint64_t samples = 0, nonfinite = 0;
  for (std::uint64_t step = 1; step < 20; ++step) {
    for (std::uint32_t worker = 0; worker < 2; ++worker) {
      rule.Trained(worker, 1, 1.0 * static_cast<double>(samples + kWindow - nonfinite - 100), samples + kWindow, step,
                   2, nonfinite + 100);
    }
    samples += kWindow;
    nonfinite += 100;
    CHECK_FALSE(rule.diverged());
    CHECK(rule.last_good_steps() == step);
  }
  SECTION("half of them do") {
    for (std::uint32_t worker = 0; worker < 2; ++worker) {
      rule.Trained(worker, 1, 1.0 * static_cast<double>(samples - nonfinite + kWindow / 2), samples + kWindow, 30, 2,
                   nonfinite + kWindow / 2);
    }
    CHECK(rule.diverged());
  }
  SECTION("and the rest is judged as ever") {
    for (std::uint32_t worker = 0; worker < 2; ++worker) {
      rule.Trained(worker, 1, 1.0 * static_cast<double>(samples - nonfinite) + 3.0 * kWindow, samples + kWindow, 30, 2,
                   nonfinite + 100);
    }
    CHECK(rule.diverged());
  }
}

TEST_CASE("Fewer samples than a window are not judged; a new incarnation counts from 0") {
  DivergenceRule rule(2);
  rule.Trained(0, 1, 1.0 * kWindow, kWindow, 1, 1);
  rule.Trained(0, 1, 100.0 * kWindow, 2 * kWindow - 1, 2, 1);
  CHECK_FALSE(rule.diverged());
  rule.Trained(0, 2, 1.5 * kWindow, kWindow, 3, 1);
  CHECK_FALSE(rule.diverged());
  rule.Trained(0, 2, 4.0 * kWindow, 2 * kWindow, 4, 1);  // 2.5 per sample
  CHECK(rule.diverged());
}

TEST_CASE("A restarted coordinator measures by the losses that the run began with") {
  DivergenceRule rule(2);
  rule.Restore(1.0, 1.0);
  rule.Trained(0, 1, 2.5 * kWindow, kWindow, 1, 1);
  CHECK(rule.diverged());
}

TEST_CASE("What was saved first is good until a loss was; what is saved when it has diverged is not") {
  DivergenceRule rule(2);
  rule.Restore(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity());
  rule.Saved(3);
  CHECK(rule.last_good_steps() == 3);
  rule.Saved(7);
  CHECK(rule.last_good_steps() == 3);
  rule.Evaluated(1.0, 10);
  rule.Saved(20);
  CHECK(rule.last_good_steps() == 10);
}

}  // namespace
}  // namespace leeway
