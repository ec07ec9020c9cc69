#include "worker/trainer/eval_schedule.h"

#include <limits>

#include "tests/catch.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

TEST_CASE("By epochs: once per period of the cluster's samples, without catching up") {
  EvalSchedule schedule({0.5, absl::ZeroDuration(), 100}, At(0));
  CHECK_FALSE(schedule.Due(At(1), 49));
  CHECK(schedule.Due(At(2), 50));
  CHECK_FALSE(schedule.Due(At(3), 99));
  CHECK(schedule.Due(At(4), 260));
  CHECK_FALSE(schedule.Due(At(5), 299));
  CHECK(schedule.Due(At(6), 300));
}

TEST_CASE("By time, and not at all") {
  EvalSchedule timed({0, absl::Seconds(10), 100}, At(0));
  CHECK_FALSE(timed.Due(At(9), 1000));
  CHECK(timed.Due(At(10), 1000));
  CHECK_FALSE(timed.Due(At(19), 1000));
  CHECK(timed.Due(At(25), 1000));
  EvalSchedule never({0, absl::ZeroDuration(), 100}, At(0));
  CHECK_FALSE(never.Due(At(1e6), 1000000));
}

TEST_CASE("Better: by accuracy, then by loss, never NaN") {
  v1::Evaluation a, b;
  a.set_accuracy(0.9);
  b.set_accuracy(0.8);
  CHECK(Better(a, b));
  CHECK_FALSE(Better(b, a));
  b.set_accuracy(0.9);
  b.set_loss(0.5);
  a.set_loss(0.4);
  CHECK(Better(a, b));
  CHECK_FALSE(Better(a, a));
  a.set_accuracy(1);
  a.set_loss(std::numeric_limits<double>::quiet_NaN());
  CHECK_FALSE(Better(a, b));
  CHECK(Better(b, a));  // whatever has a loss is better than what has none
  CHECK_FALSE(Better(a, a));
}

}  // namespace
}  // namespace leeway
