// RunTrainer: a worker whose last call, Leave, is not answered at once.
#include "common/run_failure.h"
#include "tests/catch.h"
#include "tests/worker/trainer/trainer_bench.h"
#include "worker/trainer/trainer.h"

namespace leeway {
namespace {

// How a worker ends whose first `lost` Leaves do not arrive, and whose lease runs out meanwhile. The run has failed.
absl::Status EndOf(Bench& bench, int lost, bool preempted) {
  bench.options.identity.give_up_after = absl::Seconds(1);
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.failure = "the loss has diverged";
    bench.fake.script.fail = [&bench, lost, preempted](const std::string&, const std::string& method) -> absl::Status {
      FakeCluster& fake = bench.fake;
      if (preempted && method == "ParameterServer/Push" && fake.pushes.size() == 10) bench.cancellation.Cancel();
      if (fake.calls["Coordinator/Leave"] == 0) return absl::OkStatus();
      if (method == "Coordinator/Heartbeat") return absl::FailedPreconditionError("its lease ran out");
      const bool arrives = method != "Coordinator/Leave" || fake.calls[method] > lost;
      return arrives ? absl::OkStatus() : absl::UnavailableError("the network is down");
    };
  }
  return bench.Run();
}

TEST_CASE("A worker that is cut off when the run ends hears how it has ended, after its lease too") {
  Bench bench(Leased(4), 1);
  const absl::Status status = EndOf(bench, 2, false);
  CHECK(IsRunFailure(status));
  CHECK(status.message() == "the run has failed: the loss has diverged");
}

TEST_CASE("A worker that nobody tells how the run has ended does not say that all went well") {
  Bench bench(Leased(4), 1);
  const absl::Status status = EndOf(bench, 1000, false);
  CHECK(absl::IsUnavailable(status));
  CHECK(status.ToString().find("the network is down") != std::string::npos);
}

TEST_CASE(
    "A Leave that is lost without a word is sent again while there is time, also by a worker that was told to end") {
  for (const bool preempted : {false, true}) {
    Bench bench(Leased(4), 1);
    EndOf(bench, 1, preempted).IgnoreError();
    MutexLock lock(bench.fake.mu);
    CHECK(bench.fake.calls["Coordinator/Leave"] > 1);
    CHECK(bench.fake.timeouts["Coordinator/Leave"] < absl::Seconds(5));
  }
}

TEST_CASE("A worker that was told to end need not hear how the run has ended") {
  Bench bench(Leased(4), 1);
  CHECK(EndOf(bench, 1000, true).ok());
  MutexLock lock(bench.fake.mu);
  CHECK(bench.fake.calls["Coordinator/Leave"] > 0);
}

}  // namespace
}  // namespace leeway
