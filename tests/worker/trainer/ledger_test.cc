#include "worker/trainer/ledger.h"

#include <limits>

#include "tests/catch.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

TEST_CASE("A wait for weights is split at the moment the gate opened") {
  Ledger ledger("cpu");
  PullResult pull;
  pull.gated = true;
  pull.gate_open = At(13);
  pull.transfer = absl::Seconds(2);
  pull.ended = At(14.5);
  pull.waited_for = {4, 7};
  ledger.WaitedForPull(At(10), At(14.5), pull);
  const v1::Progress progress = ledger.Totals(6);
  CHECK(progress.seconds().blocked() == Approx(3));
  CHECK(progress.seconds().pull() == Approx(1.5));
  CHECK(progress.exposed_seconds() == Approx(1.5));
  CHECK(progress.hidden_seconds() == Approx(0.5));  // [12.5, 13): the gate of another chunk was shut still
  CHECK(progress.retries() == 6);
  REQUIRE(progress.blocked_on().size() == 2);
  CHECK(progress.blocked_on(0).worker_id() == 4);
  CHECK(progress.blocked_on(0).seconds() == Approx(1.5));
}

TEST_CASE("What was over before the wait began was hidden") {
  Ledger ledger("cpu");
  PullResult pull;
  pull.gated = true;
  pull.gate_open = At(5);
  pull.transfer = absl::Seconds(1);
  pull.ended = At(6);
  ledger.WaitedForPull(At(10), At(10), pull);
  CHECK(ledger.Totals(0).seconds().blocked() == 0);
  CHECK(ledger.Totals(0).hidden_seconds() == Approx(1));
  CHECK(ledger.Totals(0).exposed_seconds() == 0);
}

PushResult PushOf(double begin, double end) {
  PushResult push;
  push.verdict = v1::APPLIED;
  push.transfer = absl::Seconds(end - begin);
  push.ended = At(end);
  return push;
}

PullResult PullOf(double begin, double end) {
  PullResult pull;
  pull.transfer = absl::Seconds(end - begin);
  pull.ended = At(end);
  return pull;
}

TEST_CASE("Nothing is hidden where every transfer is waited for") {
  Ledger ledger("cpu");
  for (int step = 0; step < 5; ++step) {
    const double at = 100 * step;
    ledger.WaitedForPull(At(at), At(at + 20), PullOf(at, at + 20));
    ledger.Computed(absl::Seconds(40), absl::ZeroDuration(), 1, 1, 1, 0);
    // The verdict is there before the wait for it is over.
    ledger.PushEnded(PushOf(at + 60, at + 90));
    ledger.WaitedForPush(At(at + 60), At(at + 90));
  }
  CHECK(ledger.Totals(0).exposed_seconds() == Approx(5 * 50));
  CHECK(ledger.Totals(0).hidden_seconds() == 0);
}

TEST_CASE("A transfer is hidden for as long as nobody waits for any") {
  Ledger ledger("cpu");
  // Computing in [0, 20); then a wait for the push until 30, and one for the pull until 35.
  ledger.Computed(absl::Seconds(20), absl::ZeroDuration(), 1, 1, 1, 0);
  ledger.PushEnded(PushOf(0, 30));
  ledger.WaitedForPush(At(20), At(30));
  ledger.WaitedForPull(At(30), At(35), PullOf(5, 35));
  const v1::Progress progress = ledger.Totals(0);
  CHECK(progress.exposed_seconds() == Approx(10 + 5));
  CHECK(progress.hidden_seconds() == Approx(20 + 15));
  // One that ends while the next step computes.
  ledger.PushEnded(PushOf(32, 50));
  ledger.Computed(absl::Seconds(20), absl::ZeroDuration(), 1, 1, 1, 0);
  CHECK(ledger.Totals(0).hidden_seconds() == Approx(20 + 15 + 15));
}

TEST_CASE("Time at the gate is not exposed communication") {
  Ledger ledger("cpu");
  PullResult pull = PullOf(40, 45);
  pull.gated = true;
  pull.gate_open = At(40);
  ledger.PushEnded(PushOf(8, 15));
  ledger.WaitedForPull(At(10), At(45), pull);
  CHECK(ledger.Totals(0).seconds().blocked() == Approx(30));
  CHECK(ledger.Totals(0).exposed_seconds() == Approx(5));
  CHECK(ledger.Totals(0).hidden_seconds() == Approx(7));  // the push cost nothing
}

TEST_CASE("Steps and verdicts are counted") {
  Ledger ledger("cpu");
  ledger.Computed(absl::Seconds(2), absl::Seconds(0.5), 64, 100, 50, 3);
  ledger.Computed(absl::Seconds(2), absl::Seconds(0.5), 32, 20, 30, 2);
  ledger.Paced(absl::Seconds(1));
  PushResult push;
  push.verdict = v1::APPLIED;
  push.transfer = absl::Seconds(3);
  push.ended = At(3);
  ledger.PushEnded(push);
  ledger.WaitedForPush(At(2), At(3));
  push.partial = true;
  push.ended = At(10);
  ledger.PushEnded(push);
  push = {};
  push.verdict = v1::REFUSED;
  ledger.PushEnded(push);
  push.verdict = v1::DROPPED;
  ledger.PushEnded(push);
  ledger.WaitedForPush(At(10), At(10));
  const v1::Progress progress = ledger.Totals(0);
  CHECK(progress.steps() == 2);
  CHECK(progress.samples() == 96);
  CHECK(progress.loss_sum() == Approx(120));
  CHECK(progress.correct() == 80);
  CHECK(progress.epoch() == 3);
  CHECK(progress.seconds().compute() == Approx(4));
  CHECK(progress.seconds().data() == Approx(1));
  CHECK(progress.seconds().paced() == Approx(1));
  CHECK(progress.seconds().push() == Approx(1));
  CHECK(progress.hidden_seconds() == Approx(2 + 3));
  CHECK(progress.pushes_applied() == 1);
  CHECK(progress.pushes_partial() == 1);
  CHECK(progress.pushes_refused() == 1);
  CHECK(progress.pushes_dropped() == 1);
}

TEST_CASE("A loss that is not finite is counted, and does not spoil the sum") {
  WorkerMetrics metrics;
  Ledger ledger("cpu", &metrics);
  ledger.Computed(absl::Seconds(1), {}, 10, 30, 5, 0);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    ledger.Computed(absl::Seconds(1), {}, 7, bad, 0, 0);
  }
  ledger.Computed(absl::Seconds(1), {}, 10, 20, 5, 0);
  const v1::Progress progress = ledger.Totals(0);
  CHECK(progress.samples() == 34);
  CHECK(progress.nonfinite_samples() == 14);
  CHECK(progress.loss_sum() == Approx(50));
  CHECK(metrics.totals().loss_sum == Approx(50));
  CHECK(metrics.totals().finite_samples == 20);
}

TEST_CASE("A step that was given up took its time, and counts for nothing else") {
  Ledger ledger("cpu");
  ledger.Computed(absl::Seconds(4), absl::Seconds(1), 10, 20, 5, 0);
  ledger.GaveUp(absl::Seconds(3), absl::Seconds(0.5));
  ledger.Paced(absl::Seconds(2));
  PushResult push;
  push.verdict = v1::DROPPED;
  ledger.PushEnded(push);
  const v1::Progress progress = ledger.Totals(0);
  CHECK(progress.steps() == 1);
  CHECK(progress.steps_given_up() == 1);
  CHECK(progress.samples() == 10);
  CHECK(progress.loss_sum() == 20);
  CHECK(progress.correct() == 5);
  CHECK(progress.pushes_dropped() == 1);
  CHECK(progress.seconds().compute() == Approx(7));
  CHECK(progress.seconds().data() == Approx(1.5));
  CHECK(progress.seconds().paced() == Approx(2));
}

}  // namespace
}  // namespace leeway
