#include "worker/trainer/ledger.h"

#include "tests/catch.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{} + absl::Seconds(seconds); }

TEST_CASE("A wait for weights is split at the moment the gate opened") {
  Ledger ledger("cpu");
  PullResult pull;
  pull.gated = true;
  pull.gate_open = At(13);
  pull.transfer = absl::Seconds(2);
  pull.waited_for = {4, 7};
  ledger.WaitedForPull(At(10), At(14.5), pull);
  const v1::Progress progress = ledger.Totals(6);
  CHECK(progress.seconds().blocked() == Approx(3));
  CHECK(progress.seconds().pull() == Approx(1.5));
  CHECK(progress.exposed_seconds() == Approx(1.5));
  CHECK(progress.hidden_seconds() == Approx(0.5));
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
  ledger.WaitedForPull(At(10), At(10), pull);
  CHECK(ledger.Totals(0).seconds().blocked() == 0);
  CHECK(ledger.Totals(0).hidden_seconds() == Approx(1));
  CHECK(ledger.Totals(0).exposed_seconds() == 0);
}

TEST_CASE("Steps and verdicts are counted") {
  Ledger ledger("cpu");
  ledger.Computed(absl::Seconds(2), absl::Seconds(0.5), 64, 100, 50, 3);
  ledger.Computed(absl::Seconds(2), absl::Seconds(0.5), 32, 20, 30, 2);
  ledger.Paced(absl::Seconds(1));
  PushResult push;
  push.verdict = v1::APPLIED;
  push.transfer = absl::Seconds(3);
  ledger.WaitedForPush(absl::Seconds(1));
  ledger.PushEnded(push);
  push.partial = true;
  ledger.PushEnded(push);
  push = {};
  push.verdict = v1::REFUSED;
  ledger.PushEnded(push);
  push.verdict = v1::DROPPED;
  ledger.PushEnded(push);
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

}  // namespace
}  // namespace leeway
