// RunTrainer: what it says that it waits for, while it does.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/support/fast_clock.h"
#include "tests/worker/trainer/trainer_bench.h"
#include "worker/trainer/trainer.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {
namespace {

// What the worker's first heartbeat that tells of a wait says, when `method` of this address fails until then; from the
// call number `after` on.
v1::WaitUnderWay FirstTold(Bench& bench, const std::string& address, const std::string& method, int after = 0) {
  WorkerMetrics metrics;
  bench.options.metrics = &metrics;
  bench.options.identity.give_up_after = absl::Hours(10);
  v1::HeartbeatRequest told;
  std::vector<v1::WaitUnderWay> shown;  // by the process itself
  {
    MutexLock lock(bench.fake.mu);
    bench.fake.script.fail = [&, address, method](const std::string& to, const std::string& called) {
      if (to != address || called != method || bench.fake.calls[called] <= after) return absl::OkStatus();
      for (const v1::HeartbeatRequest& heartbeat : bench.fake.heartbeats) {
        if (told.waits().empty() && !heartbeat.waits().empty()) {
          told = heartbeat;
          shown = metrics.waits();
        }
      }
      return told.waits().empty() ? absl::UnavailableError("cut off") : absl::OkStatus();
    };
  }
  // The training thread looks up once a second, by real time.
  Runtime runtime(bench.fake, absl::Hours(10), std::make_unique<FastClock>(100));
  REQUIRE(RunTrainer(runtime.caller, *bench.worker.engine, bench.worker.manifest(), bench.worker.data, bench.options,
                     bench.cancellation)
              .ok());
  REQUIRE(told.waits_size() == 1);
  REQUIRE(shown.size() == 1);
  CHECK(shown[0].kind() == told.waits(0).kind());
  CHECK(metrics.waits().empty());  // it is over
  return told.waits(0);
}

TEST_CASE("A worker says with its heartbeats which ps it waits for, with which call, and what that comes to") {
  Bench bench(Leased(4), 1);
  // (The model is one block, of shard 0.)
  const v1::WaitUnderWay wait = FirstTold(bench, "shard-0", "ParameterServer/Pull", 10);
  CHECK(wait.kind() == v1::WAIT_PULL);
  CHECK(wait.has_shard());
  CHECK(wait.shard() == 0);
  CHECK(wait.address() == "shard-0");
  CHECK(wait.error() == "UNAVAILABLE: cut off");
  CHECK(wait.clock() > 0);
  CHECK(wait.millis() >= 6000);
}

TEST_CASE("The same of a push, and of what it waits for at the coordinator") {
  {
    Bench bench(Leased(4), 0);
    const v1::WaitUnderWay wait = FirstTold(bench, "shard-1", "ParameterServer/Push", 10);
    CHECK(wait.kind() == v1::WAIT_PUSH);
    CHECK(wait.shard() == 1);
  }
  v1::Policy tickets = Leased(4);
  tickets.set_max_delay(100);
  for (const auto& [method, kind] : {std::pair("OpenPush", v1::WAIT_TICKET), std::pair("AcquireData", v1::WAIT_DATA)}) {
    CAPTURE(method);
    Bench bench(tickets, 0);
    const v1::WaitUnderWay wait =
        FirstTold(bench, FakeCluster::kCoordinatorAddress, std::string("Coordinator/") + method);
    CHECK(wait.kind() == kind);
    CHECK(wait.address() == FakeCluster::kCoordinatorAddress);
    CHECK(wait.error() == "UNAVAILABLE: cut off");
  }
}

}  // namespace
}  // namespace leeway
