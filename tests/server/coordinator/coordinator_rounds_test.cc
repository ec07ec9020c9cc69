// Coordinator through Handle(): rounds, who takes part in them, and who has left.
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

TEST_CASE("Coordinator: a round closes once for all shards, and exactly as many rounds as were asked for") {
  CoordinatorFixture f(RoundsPolicy(2, 3), 2);
  f.Start(2);
  for (std::uint64_t round = 0; round < 3; ++round) {
    f.Report(0, round, {0, 1});
    f.SyncShards();
    CHECK(f.Status().steps() == round);
    f.Report(1, round, {0, 1});
    f.Report(1, round, {0, 1});
    f.SyncShards();
    CHECK(f.Status().steps() == round + 1);
  }
  CHECK(f.Status().samples() == 60);
  CHECK(f.coordinator.state() == v1::FINISHING);
  CHECK(f.Status().stop_reason() == "3 rounds are closed");
  f.Report(0, 3, {0, 1});
  f.Report(1, 3, {0, 1});
  CHECK(f.Status().steps() == 3);
}

// It was under way when its sender died, or when the run went back: what it speaks of may be lost.
TEST_CASE("Coordinator: a report of a process that does not serve its shard any more, or not yet, is not counted") {
  CoordinatorFixture f(RoundsPolicy(1, 3));
  f.Start(1);
  v1::ReportRoundRequest late = f.ReportOf(0, 0, {0});
  late.set_generation(0x6999);
  CHECK(Says(f.Call<v1::ReportRoundReply>("ReportRound", late)->status, absl::StatusCode::kUnavailable,
             {"generation 6999", "1b58"}));
  f.SyncShards();
  CHECK(f.Status().steps() == 0);
  f.Report(0, 0, {0});
  f.SyncShards();
  CHECK(f.Status().steps() == 1);
}

TEST_CASE("Coordinator: a round that a death leaves short closes without the dead") {
  CoordinatorFixture f(RoundsPolicy(2, 9));
  f.Start(2);
  f.Report(0, 0, {0});
  for (int i = 0; i < 11; ++i) {
    f.Advance(absl::Seconds(1));
    CHECK(f.Heartbeat(0).ok());
  }
  f.SyncShards();
  CHECK(f.Status().steps() == 1);
  CHECK(f.Status().samples() == 10);
}

TEST_CASE("Coordinator: who enters rounds that everyone had left finds the open one closed") {
  CoordinatorFixture f(RoundsPolicy(1, 9));
  f.Start(1);
  f.Report(0, 0, {0});
  f.SyncShards();
  f.Leave(0);
  f.SyncShards();
  const auto again = f.Join(f.JoinOf("w0", 500));
  f.SyncShards();
  REQUIRE(again->ok());
  CHECK(again->message.entry_clock() == 2);
  REQUIRE(f.snapshot().closes_size() >= 1);
  CHECK(f.snapshot().closes(f.snapshot().closes_size() - 1).round() == 1);
  CHECK(f.Status().steps() == 2);
}

// Of 100 records rank 0 has 34, the others 33: four batches of 11, and three.
TEST_CASE("Coordinator: an epoch has room for the data of a rank that left before training began") {
  v1::Policy policy = RoundsPolicy(3, 0);
  policy.mutable_stop()->set_epochs(2);
  CoordinatorFixture f(policy);
  f.SyncShards();
  const auto join = [&f](const std::string& name, std::uint64_t incarnation) {
    v1::JoinRequest request = f.JoinOf(name, incarnation);
    request.set_samples_per_step(11);
    return f.Join(request);
  };
  for (std::uint32_t id = 0; id < 3; ++id) join(absl::StrCat("w", id), 100 + id);
  REQUIRE(f.Leave(0)->ok());
  f.SyncShards();
  REQUIRE(f.coordinator.state() == v1::TRAINING);
  const auto again = join("w0", 500);
  f.SyncShards();
  REQUIRE(again->ok());
  CHECK(again->message.rank() == 0);
  CHECK(again->message.rounds_per_epoch() == 4);
}

TEST_CASE("Coordinator: a round has the pushes of those who left before their reports came, and it is the run's last") {
  CoordinatorFixture f(RoundsPolicy(2, 1), 2);
  f.Start(2);
  f.Report(0, 0, {0});
  f.Leave(0, true, 1);
  f.Leave(1, true, 1);
  f.SyncShards();
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.Report(0, 0, {0, 1});
  f.Report(1, 0, {1});
  CHECK(f.Status().steps() == 0);
  f.Report(1, 0, {0, 1});
  f.SyncShards();
  CHECK(f.Status().steps() == 1);
  CHECK(f.Status().samples() == 20);
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK(f.Status().stop_reason() == "1 rounds are closed");
}

TEST_CASE("Coordinator: who left and never gave its push holds a round for a lease, not for good") {
  CoordinatorFixture f(RoundsPolicy(2, 9));
  f.Start(2);
  f.Leave(0, false, 1000);
  f.Report(0, 0, {1});
  for (int i = 0; i < 11; ++i) {
    CHECK(f.Status().steps() == 0);
    f.Advance(absl::Seconds(0.9));
    CHECK(f.Heartbeat(1).ok());
    f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  }
  f.Advance(absl::Seconds(1));
  f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  CHECK(f.Status().steps() == 1);
  f.Report(0, 1, {1});
  CHECK(f.Status().steps() == 2);
}

TEST_CASE("Coordinator: a round waits for the report of a ps that is away, however long") {
  CoordinatorFixture f(RoundsPolicy(2, 1), 2);
  f.Start(2);
  f.Report(0, 0, {0, 1});
  f.Leave(0, true, 1);
  f.Leave(1, true, 1);
  for (int i = 0; i < 30; ++i) {
    f.Advance(absl::Seconds(1));
    f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  }
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.Report(1, 0, {0, 1});  // ps 1 is back
  f.SyncShards();
  CHECK(f.Status().samples() == 20);
  CHECK(f.coordinator.state() == v1::FINISHED);
}

TEST_CASE("Coordinator: who waits for the next round does not wait for the dead of this one") {
  CoordinatorFixture f(RoundsPolicy(2, 9));
  f.Start(2);
  f.Leave(1);
  const auto again = f.Join(f.JoinOf("w1", 500));
  f.SyncShards();
  REQUIRE(again->ok());
  CHECK(again->message.entry_clock() == 1);
  f.Leave(0);  // and nobody has pushed
  f.SyncShards();
  REQUIRE(f.snapshot().closes_size() == 1);
  CHECK(f.snapshot().closes(0).round() == 0);
}

TEST_CASE("Coordinator: a round whose pushes were reported before the restart closes after it, once") {
  CrashFiles files(1);
  std::map<std::uint32_t, v1::WatchReply> known;
  {
    CoordinatorFixture f(RoundsPolicy(2, 5), 2, &files);
    f.Start(2);
    f.Report(0, 0, {0, 1});
    f.Report(1, 0, {0, 1});
    f.SyncShards();
    f.Report(0, 1, {0, 1});
    f.Report(1, 1, {0});
    known = f.known;
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(RoundsPolicy(2, 5), 2, &files);
  f.known = known;
  f.Report(1, 1, {1});  // ps 0 has been answered, and does not report again
  f.SyncShards();
  REQUIRE(f.snapshot().closes_size() >= 1);
  CHECK(f.snapshot().closes(f.snapshot().closes_size() - 1).round() == 1);
  CHECK(f.Status().steps() == 2);
  CHECK(f.Status().samples() == 40);
}

TEST_CASE("Coordinator: a round waits for who has left before the restart, and was not reported yet") {
  CrashFiles files(1);
  std::map<std::uint32_t, v1::WatchReply> known;
  {
    CoordinatorFixture f(RoundsPolicy(2, 5), 1, &files);
    f.Start(2);
    f.Leave(0, false, 1);
    known = f.known;
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(RoundsPolicy(2, 5), 1, &files);
  f.known = known;
  f.Report(0, 0, {1});
  f.SyncShards();
  CHECK(f.Status().steps() == 0);
  f.Report(0, 0, {0, 1});
  f.SyncShards();
  CHECK(f.Status().steps() == 1);
  CHECK(f.Status().samples() == 20);
}

}  // namespace
}  // namespace leeway
