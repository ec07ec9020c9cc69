#include "worker/trainer/worker_metrics.h"

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "worker/trainer/ledger.h"
#include "worker/trainer/worker_curves.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

void CheckLines(const WorkerMetrics& metrics, const std::vector<std::string>& lines) {
  const std::string text = metrics.Text();
  INFO(text);
  for (const std::string& line : lines) {
    INFO(line);
    CHECK(absl::StrContains(text, "\n" + line + "\n"));
  }
}

TEST_CASE("a ledger tells of each step what the training thread did since the one before") {
  WorkerMetrics metrics;
  Ledger ledger("cpu", &metrics);
  CHECK_FALSE(absl::StrContains(metrics.Text(), "worker_loss "));
  PullResult pull;
  pull.gated = true;
  pull.gate_open = At(3);
  ledger.WaitedForPull(At(0), At(4), pull);  // blocked 3, pull 1
  ledger.Computed(absl::Seconds(2), absl::Seconds(0.5), 50, 100, 40, 0);
  ledger.Paced(absl::Seconds(7));
  ledger.WaitedForPush(At(10), At(10.25));
  ledger.Computed(absl::Seconds(2), absl::Seconds(0.5), 50, 75, 40, 1);
  // (The pulls' time is the last step's: this one had its weights at once.)
  CheckLines(metrics, {
                          "worker_steps_total 2",
                          "worker_examples_total 100",
                          "worker_loss 1.5",
                          "worker_epoch 1",
                          "worker_step_duration_seconds_sum{phase=\"blocked\"} 3",
                          "worker_step_duration_seconds_bucket{phase=\"blocked\",le=\"0.0001\"} 1",
                          "worker_step_duration_seconds_bucket{phase=\"blocked\",le=\"5\"} 2",
                          "worker_step_duration_seconds_sum{phase=\"pull\"} 1",
                          "worker_step_duration_seconds_sum{phase=\"compute\"} 4",
                          "worker_step_duration_seconds_sum{phase=\"data\"} 1",
                          "worker_step_duration_seconds_sum{phase=\"push\"} 0.25",
                          "worker_step_duration_seconds_sum{phase=\"paced\"} 7",
                          "worker_step_duration_seconds_count{phase=\"paced\"} 2",
                      });
}

TEST_CASE("pushes are counted by their verdict") {
  WorkerMetrics metrics;
  Ledger ledger("cpu", &metrics);
  const auto push = [&ledger](v1::Verdict verdict, bool partial) {
    PushResult result;
    result.verdict = verdict;
    result.partial = partial;
    ledger.PushEnded(result);
  };
  push(v1::APPLIED, false);
  push(v1::APPLIED, false);
  push(v1::APPLIED, true);
  push(v1::REFUSED, false);
  push(v1::DROPPED, false);
  ledger.GaveUp(absl::Seconds(1), absl::ZeroDuration());
  metrics.SetProgress(3, 5);
  metrics.SetJoined(true);
  CheckLines(metrics, {"worker_pushes_total{verdict=\"applied\"} 2", "worker_pushes_total{verdict=\"partial\"} 1",
                       "worker_pushes_total{verdict=\"refused\"} 1", "worker_pushes_total{verdict=\"dropped\"} 1",
                       "worker_steps_given_up_total 1", "worker_steps_total 0", "worker_retries_total 3",
                       "worker_clock 5", "worker_joined 1"});
}

std::map<std::string, double> Values(const std::optional<Scalars>& scalars) {
  REQUIRE(scalars.has_value());
  return {scalars->values.begin(), scalars->values.end()};
}

TEST_CASE("a worker's curves are means and rates since the last sample") {
  const absl::Time start = absl::FromUnixSeconds(1700000000);
  WorkerMetrics metrics;
  WorkerCurves curves;
  CHECK_FALSE(curves.Next(start, metrics.totals()));
  v1::PhaseSeconds seconds;
  seconds.set_compute(0.75);
  seconds.set_blocked(0.25);
  metrics.StepEnded(seconds, 10, 30, 0);
  metrics.StepEnded(seconds, 10, 10, 0);
  const auto first = curves.Next(start + absl::Seconds(4), metrics.totals());
  CHECK(first->step == 2);
  CHECK(Values(first) ==
        std::map<std::string, double>{
            {"train/loss", 2}, {"perf/examples_per_sec", 5}, {"perf/step_seconds", 1}, {"perf/blocked_share", 0.25}});
  CHECK_FALSE(curves.Next(start + absl::Seconds(5), metrics.totals()));
  metrics.StepEnded(seconds, 10, 5, 0);
  CHECK(Values(curves.Next(start + absl::Seconds(6), metrics.totals())).at("train/loss") == 0.5);
}

TEST_CASE("an evaluator's curves are its evaluations") {
  WorkerMetrics metrics;
  WorkerCurves curves;
  v1::Evaluation evaluation;
  evaluation.set_loss(0.5);
  evaluation.set_accuracy(0.75);
  metrics.Evaluated(evaluation);
  const auto scalars = curves.Next(absl::FromUnixSeconds(1700000000), metrics.totals());
  CHECK(scalars->step == 1);
  CHECK(Values(scalars) == std::map<std::string, double>{{"eval/loss", 0.5}, {"eval/accuracy", 0.75}});
  CheckLines(metrics, {"worker_evaluations_total 1", "worker_evaluation_accuracy 0.75"});
}

}  // namespace
}  // namespace leeway
