#include "server/run_curves.h"

#include <map>
#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1700000000);

std::map<std::string, double> Values(const std::optional<Scalars>& scalars) {
  REQUIRE(scalars.has_value());
  return {scalars->values.begin(), scalars->values.end()};
}

RunSample SampleAt(std::uint64_t steps) {
  RunSample sample;
  sample.steps = steps;
  sample.samples = 50 * steps;
  sample.rate = 0.1;
  sample.live_workers = 2;
  sample.stats.set_push_bytes(1000 * steps);
  sample.stats.set_pull_bytes(2000 * steps);
  return sample;
}

void SetDelays(const std::vector<std::uint64_t>& counts, RunSample* sample) {
  sample->stats.mutable_delay()->mutable_counts()->Assign(counts.begin(), counts.end());
}

TEST_CASE("before anything has happened there is nothing to write") {
  RunCurves curves;
  CHECK_FALSE(curves.Next(kStart, SampleAt(0)));
  CHECK_FALSE(curves.Next(kStart + absl::Seconds(1), SampleAt(0)));
}

TEST_CASE("rates and percentiles are over the time since the last sample") {
  RunCurves curves;
  RunSample sample = SampleAt(10);
  SetDelays({100, 0, 0}, &sample);
  const auto first = curves.Next(kStart, sample);
  REQUIRE(first);
  CHECK(first->step == 10);
  CHECK(Values(first).count("perf/examples_per_sec") == 0);  // over what time?
  CHECK(Values(first).at("ps/staleness_p99") == 0);

  sample = SampleAt(30);
  SetDelays({100, 98, 1, 1}, &sample);
  const auto second = curves.Next(kStart + absl::Seconds(2), sample);
  const auto values = Values(second);
  CHECK(second->step == 30);
  CHECK(values.at("perf/examples_per_sec") == 500);
  CHECK(values.at("perf/push_bytes_per_sec") == 10000);
  CHECK(values.at("perf/pull_bytes_per_sec") == 20000);
  CHECK(values.at("ps/staleness_p50") == 1);
  CHECK(values.at("ps/staleness_p99") == 2);  // 98 of the 100 new ones are 1, one is 2, one 3
  CHECK(values.at("train/lr") == 0.1);
  CHECK(values.at("ps/live_workers") == 2);
  CHECK(values.count("train/loss") == 0);
  CHECK_FALSE(curves.Next(kStart + absl::Seconds(3), sample));
}

TEST_CASE("losses and evaluations are written once") {
  RunCurves curves;
  RunSample sample = SampleAt(10);
  sample.training.emplace().set_seconds(1);
  sample.training->set_loss(2.5);
  sample.evaluation.emplace().set_seconds(1);
  sample.evaluation->set_accuracy(0.75);
  auto values = Values(curves.Next(kStart, sample));
  CHECK(values.at("train/loss") == 2.5);
  CHECK(values.at("eval/accuracy") == 0.75);
  sample.steps = 20;
  values = Values(curves.Next(kStart + absl::Seconds(1), sample));
  CHECK(values.count("train/loss") == 0);
  CHECK(values.count("eval/accuracy") == 0);
  sample.evaluation->set_seconds(2);  // the last one, when nobody trains any more
  values = Values(curves.Next(kStart + absl::Seconds(2), sample));
  CHECK(values.count("eval/accuracy") == 1);
}

TEST_CASE("a run that has gone back counts anew") {
  RunCurves curves;
  RunSample sample = SampleAt(100);
  SetDelays({50, 50}, &sample);
  REQUIRE(curves.Next(kStart, sample));
  sample = SampleAt(40);
  SetDelays({0, 40}, &sample);
  const auto back = curves.Next(kStart + absl::Seconds(1), sample);
  CHECK(back->step == 40);
  CHECK(Values(back).count("perf/examples_per_sec") == 0);
  CHECK(Values(back).at("ps/staleness_p50") == 1);
}

}  // namespace
}  // namespace leeway
