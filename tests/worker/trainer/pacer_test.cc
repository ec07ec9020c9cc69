#include "worker/trainer/pacer.h"

#include <cmath>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("A pace is the least time of a step") {
  Pacer::Options options;
  CHECK_FALSE(Pacer(options).active());
  CHECK(Pacer(options).Rest(0, absl::Seconds(3)) == absl::ZeroDuration());
  options.pace = absl::Seconds(2);
  const Pacer pacer(options);
  CHECK(pacer.active());
  CHECK(pacer.Rest(0, absl::Milliseconds(500)) == absl::Milliseconds(1500));
  CHECK(pacer.Rest(0, absl::Seconds(3)) == absl::ZeroDuration());
}

TEST_CASE("A straggler takes factor times max(compute, pace)") {
  Pacer::Options options;
  options.straggle = 4;
  CHECK(Pacer(options).Rest(0, absl::Seconds(1)) == absl::Seconds(3));
  options.pace = absl::Seconds(2);
  CHECK(Pacer(options).Rest(0, absl::Seconds(1)) == absl::Seconds(7));
}

TEST_CASE("The given fraction of steps is slow, the same steps for the same seed") {
  Pacer::Options options;
  options.pace = absl::Seconds(1);
  options.slow_steps = ParseSlowSteps("0.05:5").value();
  options.seed = 3;
  const Pacer pacer(options);
  options.seed = 4;
  const Pacer other(options);
  int slow = 0, different = 0;
  for (std::uint64_t step = 0; step < 20000; ++step) {
    const absl::Duration rest = pacer.Rest(step, absl::ZeroDuration());
    REQUIRE((rest == absl::Seconds(1) || rest == absl::Seconds(5)));
    REQUIRE(rest == pacer.Rest(step, absl::ZeroDuration()));
    slow += rest == absl::Seconds(5);
    different += rest != other.Rest(step, absl::ZeroDuration());
  }
  CHECK(slow == Approx(1000).margin(150));  // five standard deviations
  CHECK(different > 1000);
}

TEST_CASE("Jitter is exponential with the mean that was asked for") {
  Pacer::Options options;
  options.pace = absl::Seconds(1);
  options.jitter = 0.5;
  options.seed = 11;
  const Pacer pacer(options);
  double sum = 0, squares = 0;
  constexpr int kSteps = 20000;
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    const double extra = absl::ToDoubleSeconds(pacer.Rest(step, absl::ZeroDuration())) - 1;
    REQUIRE(extra >= 0);
    REQUIRE(std::isfinite(extra));
    sum += extra;
    squares += extra * extra;
  }
  const double mean = sum / kSteps;
  CHECK(mean == Approx(0.5).epsilon(0.05));
  CHECK(std::sqrt(squares / kSteps - mean * mean) == Approx(0.5).epsilon(0.05));
}

TEST_CASE("Slow steps: what is allowed and what is not") {
  CHECK(ParseSlowSteps("").value().factor == 1);
  CHECK(ParseSlowSteps("1:10").value().fraction == 1);
  for (const char* bad :
       {"5", "0.5:", ":5", "1.5:2", "-0.1:2", "0.1:0.5", "a:b", "0.1:2:3", "nan:2", "0.1:inf", "0.1:nan"}) {
    CHECK_FALSE(ParseSlowSteps(bad).ok());
  }
}

}  // namespace
}  // namespace leeway
