#include "kernels/schedule.h"

#include <cmath>
#include <limits>
#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

using Config = v1::ScheduleConfig;
constexpr std::uint64_t kForever = std::numeric_limits<std::uint64_t>::max();

Config Constant(double rate, std::uint64_t warmup) {
  Config config;
  config.set_rate(rate);
  config.set_warmup_samples(warmup);
  return config;
}

Config Step(double rate, std::uint64_t warmup, std::uint64_t step, double gamma) {
  Config config = Constant(rate, warmup);
  config.set_kind(Config::STEP);
  config.set_step_samples(step);
  config.set_gamma(gamma);
  return config;
}

Config Cosine(double rate, std::uint64_t warmup, std::uint64_t total, double final_rate) {
  Config config = Constant(rate, warmup);
  config.set_kind(Config::COSINE);
  config.set_total_samples(total);
  config.set_final_rate(final_rate);
  return config;
}

std::string Refusal(const Config& config) {
  const absl::Status status = CheckSchedule(config);
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST_CASE("schedule: constant") {
  CHECK(RateAt(Constant(0.25, 0), 0) == 0.25);
  CHECK(RateAt(Constant(0.25, 0), kForever) == 0.25);
}

TEST_CASE("schedule: warm-up is linear from 0 and ends in the schedule") {
  for (const Config& config : {Constant(0.5, 1000), Step(0.5, 1000, 500, 0.1), Cosine(0.5, 1000, 3000, 0.1)}) {
    CAPTURE(config.ShortDebugString());
    CHECK(RateAt(config, 0) == 0.0);
    CHECK(RateAt(config, 1) == 0.0005);
    CHECK(RateAt(config, 500) == 0.25);
    CHECK(RateAt(config, 999) == Approx(0.4995).epsilon(1e-12));
    CHECK(RateAt(config, 1000) == 0.5);
  }
}

TEST_CASE("schedule: step falls at multiples of step_samples after the warm-up") {
  const Config config = Step(0.8, 100, 1000, 0.5);
  CHECK(RateAt(config, 1099) == 0.8);
  CHECK(RateAt(config, 1100) == 0.4);
  CHECK(RateAt(config, 2099) == 0.4);
  CHECK(RateAt(config, 2100) == 0.2);
  CHECK(RateAt(config, 10'100) == 0.8 / 1024);
  CHECK(RateAt(config, kForever) == 0.0);
  CHECK(RateAt(Step(0.8, 0, 1000, 1), kForever) == 0.8);
}

// Golden values from the formula in Python: 0.01 + 0.49 * (1 + math.cos(math.pi * done)) / 2.
TEST_CASE("schedule: cosine from rate to final_rate, and no further") {
  const Config config = Cosine(0.5, 1000, 9000, 0.01);
  CHECK(RateAt(config, 1000) == 0.5);
  CHECK(RateAt(config, 3000) == Approx(0.4282411613907041).epsilon(1e-14));
  CHECK(RateAt(config, 3667) == Approx(0.37747222514781226).epsilon(1e-14));
  CHECK(RateAt(config, 5000) == Approx(0.255).epsilon(1e-14));
  CHECK(RateAt(config, 7000) == Approx(0.08175883860929586).epsilon(1e-13));
  CHECK(RateAt(config, 9000) == 0.01);
  CHECK(RateAt(config, 9001) == 0.01);
  CHECK(RateAt(config, kForever) == 0.01);
  double before = 1;
  for (std::uint64_t samples = 1000; samples <= 9000; samples += 10) {
    const double rate = RateAt(config, samples);
    REQUIRE(rate < before);
    before = rate;
  }
}

TEST_CASE("schedule: good configurations are accepted") {
  CHECK(CheckSchedule(Constant(0.1, 1000)).ok());
  CHECK(CheckSchedule(Step(0.1, 0, 1, 1)).ok());
  CHECK(CheckSchedule(Cosine(0.1, 0, 1, 0)).ok());
  CHECK(CheckSchedule(Cosine(0.1, 5, 6, 0.1)).ok());
}

TEST_CASE("schedule: refusals name flag, value and what is allowed") {
  for (const double rate : {0.0, -0.1, 2e6, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK(Refusal(Constant(rate, 0)).find("--learning_rate=") == 0);
  }
  CHECK(Refusal(Constant(0, 0)) == "--learning_rate=0: allowed: above 0, at most 1e6");
  CHECK(Refusal(Step(0.1, 0, 0, 0.5)) == "--schedule_step_samples=0: allowed: 1 and above with --schedule=step");
  CHECK(Refusal(Step(0.1, 0, 10, 0)) == "--schedule_gamma=0: allowed: above 0, at most 1");
  CHECK(Refusal(Step(0.1, 0, 10, 1.5)) == "--schedule_gamma=1.5: allowed: above 0, at most 1");
  CHECK(Refusal(Cosine(0.1, 10, 10, 0)) ==
        "--schedule_total_samples=10: allowed: above --warmup_samples=10 with --schedule=cosine");
  CHECK(Refusal(Cosine(0.1, 0, 10, 0.2)) == "--final_learning_rate=0.2: allowed: 0 to --learning_rate=0.1");
  CHECK(Refusal(Cosine(0.1, 0, 10, std::nan(""))).find("--final_learning_rate=nan: ") == 0);
  Config unknown = Constant(0.1, 0);
  unknown.set_kind(static_cast<Config::Kind>(9));
  CHECK(Refusal(unknown) == "--schedule=9: allowed: 0 (constant), 1 (step), 2 (cosine)");
}

}  // namespace
}  // namespace leeway
