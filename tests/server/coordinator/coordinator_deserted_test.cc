// Coordinator through Handle(): no worker is left.
#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"

namespace leeway {
namespace {

TEST_CASE("Coordinator: without a worker the run ends after the abandon time-out, unless one comes back") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  f.Leave(0);
  f.AdvanceServed(absl::Seconds(50));
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.Join(f.JoinOf("w0", 777));
  f.SyncShards();
  f.AdvanceServed(absl::Seconds(5));
  f.Leave(0);
  f.SyncShards();
  f.AdvanceServed(absl::Seconds(55));
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.AdvanceServed(absl::Seconds(10));
  f.SyncShards();
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK(f.Status().stop_reason() == "no worker for 1m");
  CHECK(f.Status().failure().empty());  // there was no limit to reach
}

TEST_CASE("Coordinator: a run that is left before its limit is reached has failed") {
  const auto limited = [](auto set) {
    v1::Policy policy = LeasedPolicy(1);
    set(*policy.mutable_stop());
    return policy;
  };
  for (const v1::Policy& policy : {limited([](v1::StopConfig& stop) { stop.set_epochs(5); }),
                                   limited([](v1::StopConfig& stop) { stop.set_steps(5); }),
                                   limited([](v1::StopConfig& stop) { stop.set_minutes(500); }),
                                   limited([](v1::StopConfig& stop) { stop.set_target_metric("loss"); })}) {
    CoordinatorFixture f(policy);
    f.Start(1);
    f.Leave(0);
    f.AdvanceServed(absl::Seconds(61));
    f.SyncShards();
    CHECK(f.coordinator.state() == v1::FINISHED);
    CHECK(f.Status().failure() == "no worker for 1m");
    CHECK(f.snapshot().failure() == "no worker for 1m");  // so that every ps says so
  }
}

// It may be its own machine whose network is cut. The others try for minutes, and the run is whole when they are back.
TEST_CASE("Coordinator: while a ps is silent as well, that no worker is left does not end the run") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(5);
  CoordinatorFixture f(policy, 2);
  f.Start(1);
  f.Advance(absl::Minutes(5));
  CHECK(f.coordinator.state() == v1::TRAINING);
  CHECK(f.Status().waiting_for() == "ps 0 is not there");
  f.SyncShards();
  f.Advance(absl::Seconds(5));
  CHECK(f.Status().waiting_for() == "a worker: none is left");
  // From then on it counts: the shards are there, and no worker comes.
  f.AdvanceServed(absl::Seconds(60));
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK(f.Status().failure() == "no worker for 1m");
}

}  // namespace
}  // namespace leeway
