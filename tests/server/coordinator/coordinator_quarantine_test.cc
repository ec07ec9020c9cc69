// Coordinator through Handle(): workers whose pushes are not finite.
#include <cstdint>
#include <string>

#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

// Shard `shard` says that worker `worker` has had `longest` such pushes in a row.
void SayRun(CoordinatorFixture& f, std::uint32_t shard, std::uint32_t worker, std::uint64_t longest) {
  v1::WatchRequest watch = f.WatchOf(shard);
  v1::NonFiniteRun& run = *watch.add_nonfinite_runs();
  run.set_worker_id(worker);
  run.set_longest(longest);
  f.Call<v1::WatchReply>("WatchMembership", watch);
  f.clock.Advance(absl::ZeroDuration());
  f.RunAll();
  f.SyncShards();
}

v1::Policy WithQuarantine(v1::Policy policy, std::uint32_t after = 3) {
  policy.set_quarantine_after(after);
  return policy;
}

TEST_CASE("Quarantine: after so many pushes in a row a worker is out, at one epoch, and others get its data") {
  CoordinatorFixture f(WithQuarantine(LeasedPolicy(2)), 2);
  f.Start(2);
  const v1::DataRange lost = f.Acquire(1, 1, 100)->message.range();
  CHECK(lost.end() - lost.begin() == 100);
  const v1::Stamp stamp = f.StampOf(1);
  SayRun(f, 1, 1, 2);
  CHECK(f.snapshot().members_size() == 2);
  const std::uint64_t epoch = f.snapshot().membership_epoch();
  SayRun(f, 1, 1, 3);
  CHECK(f.snapshot().membership_epoch() == epoch + 1);
  REQUIRE(f.snapshot().members_size() == 1);
  CHECK(f.snapshot().members(0).name() == "w0");
  SayRun(f, 0, 1, 4);  // another shard says so too
  CHECK(f.snapshot().membership_epoch() == epoch + 1);

  v1::CommitDataRequest commit;
  *commit.mutable_stamp() = stamp;
  *commit.add_ranges() = lost;
  commit.set_applied(true);
  CHECK(absl::IsFailedPrecondition(f.Call<v1::CommitDataReply>("CommitData", commit)->status));
  const auto again = f.Acquire(0, 1, 100);
  REQUIRE(again->ok());
  CHECK(again->message.range().epoch() == 0);
  CHECK(again->message.range().begin() == 0);

  const v1::WorkerStatus worker = f.Status().workers(1);
  CHECK(worker.state() == "quarantined");
  CHECK(worker.reason() == "3 pushes in a row held a NaN or an infinity (--quarantine_after=3)");
  const std::string event = f.Status().events(f.Status().events_size() - 1);
  CHECK(event.find("worker 'w1' is quarantined: 3 pushes in a row") != event.npos);
}

TEST_CASE("Quarantine: no incarnation of that name is let in, another name is") {
  CoordinatorFixture f(WithQuarantine(LeasedPolicy(2)));
  f.Start(2);
  const auto waiting = f.Join(f.JoinOf("w1", 500));  // its next incarnation waits behind the lease
  CHECK_FALSE(waiting->done());
  SayRun(f, 0, 1, 3);
  CHECK(Says(waiting->status, Code::kFailedPrecondition, {"join: worker 'w1' is quarantined: 3 pushes"}));
  const auto later = f.Join(f.JoinOf("w1", 501));
  CHECK(Says(later->status, Code::kFailedPrecondition, {"'w1' is quarantined", "another name"}));
  CHECK(later->status.message().find("join again") == std::string::npos);  // what a worker reads as an invitation
  const auto other = f.Join(f.JoinOf("w2", 502));
  f.SyncShards();
  REQUIRE(other->ok());
  CHECK(other->message.rank() == 1);
}

TEST_CASE("Quarantine: who was out before its pushes were counted does not come back") {
  CoordinatorFixture f(WithQuarantine(LeasedPolicy(2)));
  f.Start(2);
  f.Leave(1);
  SayRun(f, 0, 1, 3);
  CHECK(absl::IsFailedPrecondition(f.Join(f.JoinOf("w1", 500))->status));
  CHECK(f.Status().workers(1).state() == "quarantined");
}

TEST_CASE("Quarantine: 0 is never; a worker that nobody knows is nobody") {
  CoordinatorFixture f(WithQuarantine(LeasedPolicy(1), 0));
  f.Start(1);
  SayRun(f, 0, 0, 1000000);
  SayRun(f, 0, 77, 1000000);
  CHECK(f.snapshot().members_size() == 1);
  CoordinatorFixture g(WithQuarantine(LeasedPolicy(1)));
  g.Start(1);
  SayRun(g, 0, 77, 1000000);
  CHECK(g.snapshot().members_size() == 1);
}

TEST_CASE("Quarantine: it outlives the coordinator") {
  CrashFiles files(1);
  {
    CoordinatorFixture f(WithQuarantine(LeasedPolicy(2)), 1, &files);
    f.Start(2);
    SayRun(f, 0, 1, 3);
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(WithQuarantine(LeasedPolicy(2)), 1, &files);
  f.SyncShards();
  CHECK(f.snapshot().members_size() == 1);
  CHECK(Says(f.Join(f.JoinOf("w1", 500))->status, Code::kFailedPrecondition, {"'w1' is quarantined: 3 pushes"}));
  CHECK(f.Status().workers(1).state() == "quarantined");
}

TEST_CASE("Quarantine: a round closes without the worker that is out") {
  CoordinatorFixture f(WithQuarantine(RoundsPolicy(2, 5)));
  f.Start(2);
  f.Report(0, 0, {0});
  CHECK(f.Status().steps() == 0);
  SayRun(f, 0, 1, 3);
  CHECK(f.Status().steps() == 1);
}

TEST_CASE("Quarantine: with static data the run ends when all others have finished") {
  v1::Policy policy = WithQuarantine(LeasedPolicy(2));
  policy.set_data_sharing(v1::STATIC);
  CoordinatorFixture f(policy);
  f.Start(2);
  SayRun(f, 0, 1, 3);
  f.Leave(0, true);
  CHECK(f.Status().stop_reason() == "every worker has finished; in quarantine: w1");
}

TEST_CASE("Quarantine: when all are in it, the run waits for another worker, then says why it ends") {
  CoordinatorFixture f(WithQuarantine(LeasedPolicy(2)));
  f.Start(2);
  SayRun(f, 0, 0, 3);
  SayRun(f, 0, 1, 5);
  CHECK(f.snapshot().members_size() == 0);
  f.AdvanceServed(absl::Seconds(59));
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.AdvanceServed(absl::Seconds(2));
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK(f.Status().stop_reason() == "no worker for 1m; in quarantine: w0, w1");
  CHECK(f.Status().failure() == f.Status().stop_reason());
}

}  // namespace
}  // namespace leeway
