// Coordinator through Handle(): what members say that they wait for, and what they have done when they leave.
#include <cstdint>
#include <limits>
#include <string>

#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"

namespace leeway {
namespace {

// A heartbeat of this worker, which has waited for shard 1 for 7 s.
absl::Status Wait(CoordinatorFixture& f, const v1::Stamp& stamp) {
  v1::HeartbeatRequest request;
  *request.mutable_stamp() = stamp;
  request.set_number(1);
  v1::WaitUnderWay& wait = *request.add_waits();
  wait.set_kind(v1::WAIT_PULL);
  wait.set_shard(1);
  wait.set_millis(7000);
  return f.Call<v1::HeartbeatReply>("Heartbeat", request)->status;
}

int Waits(CoordinatorFixture& f, int worker) { return f.Status().workers(worker).waits_under_way_size(); }

TEST_CASE("Coordinator: what a member waits for is told while it is one") {
  CoordinatorFixture f(LeasedPolicy(3), 2);
  f.Start(3);
  for (std::uint32_t worker = 0; worker < 3; ++worker) REQUIRE(Wait(f, f.StampOf(worker)).ok());
  v1::Stamp stranger = f.StampOf(0);
  stranger.set_incarnation(7);
  CHECK(absl::IsFailedPrecondition(Wait(f, stranger)));
  f.Advance(absl::Seconds(2));
  REQUIRE(Waits(f, 0) == 1);
  CHECK(f.Status().workers(0).waits_under_way(0).shard() == 1);
  CHECK(f.Status().workers(0).waits_under_way(0).millis() == 9000);
  CHECK(f.Heartbeat(0).ok());  // numbered 0: of a worker of the version before, or late
  CHECK(Waits(f, 0) == 1);
  f.Leave(1);
  CHECK(Waits(f, 1) == 0);
  CHECK(Waits(f, 2) == 1);
  for (int second = 0; second < 9; ++second) {
    f.Advance(absl::Seconds(1));
    CHECK(f.Heartbeat(0).ok());
  }
  CHECK(f.Status().workers(2).state() == "expired");
  CHECK(Waits(f, 2) == 0);
  CHECK(Waits(f, 0) == 1);
}

TEST_CASE("Coordinator: a worker that leaves brings its last figures along, since their report may be late") {
  CoordinatorFixture f(LeasedPolicy(2));
  f.Start(2);
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = f.StampOf(0);
  report.mutable_progress()->set_steps(1);
  report.mutable_progress()->set_samples(10);
  CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
  v1::LeaveRequest leave;
  *leave.mutable_stamp() = f.StampOf(0);
  *leave.mutable_progress() = report.progress();
  leave.mutable_progress()->set_steps(3);
  leave.mutable_progress()->set_samples(30);
  CHECK(f.Call<v1::LeaveReply>("Leave", leave)->ok());
  CHECK(f.Call<v1::LeaveReply>("Leave", leave)->ok());
  CHECK(absl::IsFailedPrecondition(f.Call<v1::ReportProgressReply>("ReportProgress", report)->status));
  CHECK(f.Status().workers(0).progress().steps() == 3);
  CHECK(f.Status().workers(0).progress().samples() == 30);
  // What cannot be does not keep anybody from leaving. (A worker of the version before brings nothing.)
  *leave.mutable_stamp() = f.StampOf(1);
  leave.mutable_progress()->mutable_seconds()->set_compute(std::numeric_limits<double>::quiet_NaN());
  CHECK(f.Call<v1::LeaveReply>("Leave", leave)->ok());
  CHECK(f.Status().workers(1).state() == "left");
  CHECK(f.Status().workers(1).progress().steps() == 0);
}

}  // namespace
}  // namespace leeway
