#include "server/coordinator/stop_rule.h"

#include <limits>

#include "tests/catch.h"

namespace leeway {
namespace {

v1::Evaluation Result(double loss, double accuracy) {
  v1::Evaluation evaluation;
  evaluation.set_loss(loss);
  evaluation.set_accuracy(accuracy);
  return evaluation;
}

TEST_CASE("StopRule: without a limit there is no end") {
  StopRule rule((v1::StopConfig()));
  rule.Observe(Result(0, 1));
  CHECK_FALSE(rule.Check(1u << 30, 1u << 30, absl::Hours(1e6)));
}

TEST_CASE("StopRule: epochs, steps and minutes, whichever comes first, and the reason names it") {
  v1::StopConfig config;
  config.set_epochs(3);
  config.set_steps(100);
  config.set_minutes(0.5);
  const StopRule rule(config);
  CHECK_FALSE(rule.Check(2, 99, absl::Seconds(29)));
  CHECK(rule.Check(3, 0, absl::ZeroDuration()) == "3 epochs are done");
  CHECK(rule.Check(0, 100, absl::ZeroDuration()) == "100 steps are done");
  CHECK(rule.Check(0, 0, absl::Seconds(30)) == "0.5 minutes are over");
}

TEST_CASE("StopRule: a target of accuracy is reached from below, of loss from above") {
  v1::StopConfig config;
  config.set_target_metric("accuracy");
  config.set_target_value(0.9);
  StopRule accuracy(config);
  accuracy.Observe(Result(1, 0.89));
  CHECK_FALSE(accuracy.Check(0, 0, absl::ZeroDuration()));
  accuracy.Observe(Result(1, 0.9));
  CHECK(accuracy.Check(0, 0, absl::ZeroDuration()));
  config.set_target_metric("loss");
  config.set_target_value(0.3);
  StopRule loss(config);
  loss.Observe(Result(0.31, 1));
  CHECK_FALSE(loss.Check(0, 0, absl::ZeroDuration()));
  loss.Observe(Result(0.3, 0));
  CHECK(loss.Check(0, 0, absl::ZeroDuration()));
}

TEST_CASE("StopRule: patience counts evaluations in a row without a better value; NaN is never better") {
  v1::StopConfig config;
  config.set_target_metric("loss");
  config.set_target_value(-1);
  config.set_patience(3);
  StopRule rule(config);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double loss : {nan, 1.0, 1.1, nan, 0.9, 0.9}) rule.Observe(Result(loss, 0));
  CHECK_FALSE(rule.Check(0, 0, absl::ZeroDuration()));
  rule.Observe(Result(1.2, 0));
  CHECK_FALSE(rule.Check(0, 0, absl::ZeroDuration()));
  rule.Observe(Result(0.95, 0));
  CHECK(rule.Check(0, 0, absl::ZeroDuration()) == "3 evaluations in a row without a better loss than 0.9");
}

}  // namespace
}  // namespace leeway
