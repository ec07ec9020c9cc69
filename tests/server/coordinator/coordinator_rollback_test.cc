// Coordinator through Handle(): the run goes back to a checkpoint.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/coordinator/quarantine.h"
#include "tests/catch.h"
#include "tests/server/coordinator/rollback_run.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Run = RollbackRun;

TEST_CASE("Coordinator: a ps that has lost its weights takes the run back, everybody comes again, together") {
  Run run;
  run.f->Start(2);
  const v1::DataRange first = run.f->Acquire(0, 1, 10)->message.range();
  CHECK(run.f->Commit(0, 0, {first})->ok());
  run.f->Acquire(1, 1, 20);
  run.NoteCheckpoint();
  // A process later.
  run.Begin();
  run.f->SyncShards();
  const v1::DataRange second = run.f->Acquire(0, 2, 10)->message.range();
  CHECK(run.f->Commit(0, 1, {second})->ok());
  CHECK(run.f->Status().samples() == 20);
  const std::uint64_t epoch = run.f->Status().membership_epoch();

  // Its predecessor may be alive, so it is to ask again.
  CHECK(Says(run.f->Call<v1::WatchReply>("WatchMembership", run.RestartedWatch(1))->status, Code::kUnavailable,
             {"serves this shard"}));
  CHECK(run.committer.asked.empty());
  v1::WatchRequest lost = run.RestartedWatch(1);
  lost.set_lost("its journal is damaged");
  CHECK(Says(run.f->Call<v1::WatchReply>("WatchMembership", lost)->status, Code::kUnavailable,
             {"ps 1 cannot go on: its journal is damaged; the run goes back to a checkpoint"}));
  CHECK(run.committer.asked == std::vector<std::uint64_t>{std::numeric_limits<std::uint64_t>::max()});
  REQUIRE(run.gone_back.size() == 1);
  CHECK(run.gone_back[0] == std::pair<std::uint64_t, std::string>(1, "step-00000001"));
  CHECK(Says(run.f->Heartbeat(0), Code::kUnavailable, {"goes back to step-00000001"}));

  run.Begin();
  CoordinatorFixture& f = *run.f;
  CHECK(f.Status().samples() == 10);
  CHECK(f.Status().membership_epoch() > epoch);
  // Shards of the era before are told what to go back to, and count only in the new one.
  for (std::uint32_t shard = 0; shard < 2; ++shard) {
    const auto told = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(shard));
    REQUIRE(told->ok());
    CHECK(told->message.era() == 1);
    CHECK(told->message.base_checkpoint() == "step-00000001");
  }
  f.era = 1;
  f.SyncShards();
  CHECK(Says(f.Heartbeat(0), Code::kFailedPrecondition, {""}));
  // One alone does not go on before the others had the time of a lease.
  const auto early = f.Join(f.JoinOf("w0", 200));
  f.SyncShards();
  f.Advance(absl::Seconds(1));
  f.SyncShards();
  CHECK(f.snapshot().members(0).state() == v1::JOINING);
  SECTION("the other comes") {
    const auto late = f.Join(f.JoinOf("w1", 201));
    f.SyncShards();
    f.SyncShards();
    CHECK(f.snapshot().members_size() == 2);
    for (const v1::Member& member : f.snapshot().members()) CHECK(member.state() == v1::LIVE);
  }
  SECTION("the other is gone for good") {
    for (int second = 0; second < 11; ++second) {
      f.Advance(absl::Seconds(1));
      f.Join(f.JoinOf("w0", 200));
      f.SyncShards();
    }
    CHECK(f.snapshot().members_size() == 1);
    CHECK(f.snapshot().members(0).state() == v1::LIVE);
  }
  // What had been leased or trained on since is handed out again.
  std::uint64_t records = 0;
  for (std::uint64_t number = 1; records < 90; ++number) {
    const auto range = f.Acquire(0, number, 10)->message.range();
    REQUIRE(range.end() > range.begin());
    records += range.end() - range.begin();
    CHECK(f.Commit(0, number, {range})->ok());
  }
  CHECK(f.Status().samples() == 100);
}

TEST_CASE("Coordinator: a worker by whose word a ps has lost pushes, time after time, is quarantined") {
  Run run;
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  const auto join = [&](std::uint64_t era) {
    CoordinatorFixture& f = *run.f;
    f.era = era;
    f.SyncShards();
    const auto w0 = f.Join(f.JoinOf("w0", 100 + 10 * era));
    const auto w1 = f.Join(f.JoinOf("w1", 101 + 10 * era));
    f.SyncShards();
    f.SyncShards();
    return w1->status;
  };
  for (std::uint64_t era = 1; era <= Quarantine::kMostGoingsBack; ++era) {
    CHECK(run.f->Status().workers(1).state() != "quarantined");
    v1::WatchRequest lost = run.f->WatchOf(0);
    lost.set_lost("worker 'w1' has had answers to 7 pushes");
    lost.set_lost_said_by("w1");
    // Both shards say so before it has gone back: that is one going back.
    v1::WatchRequest second = run.f->WatchOf(1);
    second.set_lost(lost.lost());
    second.set_lost_said_by("w1");
    const auto told = std::make_shared<Answer<v1::WatchReply>>();
    const auto told_too = std::make_shared<Answer<v1::WatchReply>>();
    run.f->coordinator.Handle("WatchMembership", EncodeMessage(lost), FillIn(told));
    run.f->coordinator.Handle("WatchMembership", EncodeMessage(second), FillIn(told_too));
    run.f->RunAll();
    CHECK(Says(told->status, Code::kUnavailable, {"the run goes back"}));
    CHECK(Says(told_too->status, Code::kUnavailable, {"goes back"}));
    REQUIRE(run.gone_back.size() == era);
    run.Begin();
    const absl::Status joined = join(era);
    if (era < Quarantine::kMostGoingsBack) {
      CHECK(joined.ok());
    } else {
      CHECK(Says(joined, Code::kFailedPrecondition, {"'w1' is quarantined: by its word a ps had lost pushes"}));
    }
  }
  // The other one is not waited for, and trains on.
  CHECK(run.f->Status().workers(1).state() == "quarantined");
  REQUIRE(run.f->snapshot().members_size() == 1);
  CHECK(run.f->snapshot().members(0).state() == v1::LIVE);
}

TEST_CASE("Coordinator: with nothing to go back to the ps is refused, and the others train on") {
  Run run;
  run.f->Start(2);
  v1::WatchRequest lost = run.RestartedWatch(1);
  lost.set_lost("its journal is damaged");
  CHECK(Says(run.f->Call<v1::WatchReply>("WatchMembership", lost)->status, Code::kUnavailable, {""}));
  CHECK(Says(run.f->Call<v1::WatchReply>("WatchMembership", lost)->status, Code::kFailedPrecondition,
             {"nothing to go back to: dir holds no good checkpoint"}));
  CHECK(run.gone_back.empty());
  CHECK(run.f->Heartbeat(0).ok());
}

TEST_CASE("Coordinator: what cannot be read just now is tried again, and counts once against who has said it") {
  Run run;
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  run.f->SyncShards();
  run.committer.unreadable = absl::UnavailableError("read dir/step-00000000: Input/output error");
  v1::WatchRequest lost = run.f->WatchOf(0);
  lost.set_lost("worker 'w1' has had answers to 7 pushes");
  lost.set_lost_said_by("w1");
  constexpr std::size_t kTries = Quarantine::kMostGoingsBack + 1;
  for (std::size_t tried = 1; tried <= kTries; ++tried) {
    for (int i = 0; i < 2; ++i) {  // the ps comes again all the while
      const absl::Status told = run.f->Call<v1::WatchReply>("WatchMembership", lost)->status;
      CHECK(Says(told, Code::kUnavailable, {"goes back"}));
      if (tried > 1) CHECK(Says(told, Code::kUnavailable, {"dir/step-00000000"}));
      CHECK(absl::StrContains(run.f->Status().waiting_for(), "dir/step-00000000: Input/output error"));
    }
    CHECK(run.committer.asked.size() == tried);
    run.f->Advance(absl::Seconds(10));
  }
  CHECK(run.f->Status().workers(1).state() != "quarantined");
  CHECK(run.gone_back.empty());
  run.committer.unreadable = absl::OkStatus();
  run.f->Call<v1::WatchReply>("WatchMembership", lost);
  CHECK(run.gone_back.size() == 1);
}

TEST_CASE("Coordinator: a checkpoint that cannot be read is waited for as long as somebody asks for it") {
  Run run;
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  CoordinatorFixture& f = *run.f;
  f.SyncShards();
  run.committer.unreadable = absl::UnavailableError("read dir/step-00000000: Input/output error");
  v1::WatchRequest lost = f.WatchOf(0);
  const auto lose = [&](const char* what) {
    lost.set_lost(what);
    CHECK_FALSE(f.Call<v1::WatchReply>("WatchMembership", lost)->ok());
    const std::string said = absl::StrCat("the run goes back to a checkpoint: ps 0 cannot go on: ", what);
    const v1::GetStatusReply status = f.Status();
    CHECK(std::any_of(status.events().begin(), status.events().end(),
                      [&said](const std::string& event) { return absl::EndsWith(event, said); }));
    CHECK(absl::StrContains(status.waiting_for(), "dir/step-00000000"));
  };
  lose("its disk is away");
  for (int second = 0; second < 75; ++second) {  // and is there again
    f.AdvanceServed(absl::Seconds(1));
    for (const std::uint32_t worker : {0, 1}) CHECK(f.Heartbeat(worker).ok());
  }
  CHECK(f.Status().waiting_for().empty());
  lose("its disk is broken");
}

TEST_CASE("Coordinator: a loss that has diverged is no end of the run while no checkpoint can be read") {
  Run run(2);
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  run.f->SyncShards();
  run.committer.unreadable = absl::UnavailableError("read dir/step-00000000: Input/output error");
  v1::ReportProgressRequest report;
  *report.mutable_stamp() = run.f->StampOf(0);
  report.mutable_evaluation()->set_loss(std::numeric_limits<double>::infinity());
  CHECK(run.f->Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
  run.f->Advance(absl::Seconds(9));
  CHECK(run.committer.asked.size() == 1);
  CHECK(run.f->Status().state() == v1::TRAINING);
  run.committer.unreadable = absl::OkStatus();
  run.f->Advance(absl::Seconds(2));
  CHECK(run.gone_back.size() == 1);
}

TEST_CASE("Coordinator: a run that has ended while a checkpoint was chosen does not go back to it") {
  GivenCheckpoint committer;
  committer.checkpoint.emplace().mutable_coordinator_state()->set_run_id(CoordinatorFixture::kRun);
  std::size_t gone_back = 0;
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_steps(1);
  CoordinatorFixture f(policy, 1, nullptr, [&](Coordinator::Options* options) {
    options->committer = &committer;
    options->last_checkpoint_timeout = absl::Seconds(1);
    options->on_go_back = [&gone_back](auto, const auto&) { ++gone_back; };
  });
  f.journals = true;
  f.Start(1);
  v1::JoinRequest join = f.JoinOf("e", 101);
  join.set_role(v1::EVALUATOR);
  f.Join(join);
  f.SyncShards();
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  f.Leave(0);
  f.AdvanceServed(absl::Seconds(3));  // no last checkpoint can be taken
  REQUIRE(f.coordinator.state() == v1::EVALUATING);
  v1::WatchRequest lost = f.WatchOf(0);
  lost.set_lost("gone");
  const auto told = std::make_shared<Answer<v1::WatchReply>>();
  f.coordinator.Handle("WatchMembership", EncodeMessage(lost), FillIn(told));
  REQUIRE(committer.asked.size() == 1);
  v1::LeaveRequest leave;
  *leave.mutable_stamp() = f.StampOf(1);
  const auto left = std::make_shared<Answer<v1::LeaveReply>>();
  f.coordinator.Handle("Leave", EncodeMessage(leave), FillIn(left));
  f.RunAll();
  CHECK(f.coordinator.state() == v1::FINISHED);
  CHECK(gone_back == 0);
  f.SyncShards();
  CHECK(f.coordinator.Over());
}

TEST_CASE("Coordinator: a shard of an era before that has been in this one is lost, one of a later era is refused") {
  Run run;
  run.f->Start(2);
  run.NoteCheckpoint();
  run.committer.checkpoint->mutable_coordinator_state()->set_era(2);
  run.Begin();
  v1::WatchRequest later = run.f->WatchOf(0);
  later.set_era(1);
  CHECK(Says(run.f->Call<v1::WatchReply>("WatchMembership", later)->status, Code::kFailedPrecondition,
             {"ps 0 is in era 1; this coordinator in era 0"}));
  v1::WatchRequest lost = run.RestartedWatch(1);
  lost.set_lost("gone");
  run.f->Call<v1::WatchReply>("WatchMembership", lost);
  REQUIRE(run.gone_back.size() == 1);
  run.Begin();
  run.f->era = 1;
  // One that dies when it has come, before it has heard anything, has lost nothing.
  run.f->Call<v1::WatchReply>("WatchMembership", run.f->WatchOf(0));
  v1::WatchRequest died = run.RestartedWatch(0);
  died.set_era(0);
  died.set_generation(8010);
  died.set_lost("its journal is of 3 ps");
  const auto told = run.f->Call<v1::WatchReply>("WatchMembership", died);
  REQUIRE(told->ok());
  CHECK(told->message.era() == 1);
  CHECK(run.gone_back.size() == 1);
  run.f->SyncShards();
  v1::WatchRequest earlier = run.RestartedWatch(0);
  earlier.set_era(0);
  earlier.set_keeps_journal(true);
  CHECK(Says(run.f->Call<v1::WatchReply>("WatchMembership", earlier)->status, Code::kUnavailable,
             {"ps 0 cannot go on: it has nothing of era 1"}));
  CHECK(run.gone_back.size() == 2);
}

TEST_CASE("Coordinator: a loss that diverges takes the run back to what was good, three times at most") {
  Run run(2);
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  std::uint64_t incarnation = 100;
  for (std::uint32_t time = 1; time <= Coordinator::kMostDivergences + 1; ++time) {
    CoordinatorFixture& f = *run.f;
    v1::ReportProgressRequest report;
    report.mutable_stamp()->set_run_id(CoordinatorFixture::kRun);
    f.SyncShards();
    if (time > 1) {
      incarnation += 100;
      f.Join(f.JoinOf("w0", incarnation));
      f.Join(f.JoinOf("w1", incarnation + 1));
      f.SyncShards();
      f.SyncShards();
    }
    *report.mutable_stamp() = f.StampOf(0);
    report.mutable_evaluation()->set_loss(time == 1 ? 1.0 : 1.5);
    CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
    report.mutable_evaluation()->set_loss(2.5);
    CHECK(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
    f.Advance(absl::Milliseconds(200));
    if (time > Coordinator::kMostDivergences) break;
    REQUIRE(run.gone_back.size() == time);
    CHECK(run.committer.asked.back() == f.Status().steps());
    run.Begin();
    run.f->era = time;
  }
  CHECK(run.gone_back.size() == Coordinator::kMostDivergences);
  CHECK(run.f->Status().state() == v1::FINISHING);
  const std::string why = run.f->Status().stop_reason();
  CHECK(absl::StrContains(why, "after going back 3 times the loss has diverged again"));
  const int begun = run.committer.begun;
  // All are told that this is no good end, also by the next process.
  for (const bool again : {false, true}) {
    if (again) run.Begin();
    run.f->era = Coordinator::kMostDivergences;
    CHECK(run.f->Status().failure() == why);
    run.f->SyncShards();
    CHECK(run.f->snapshot().failure() == why);
    CHECK(run.f->Join(run.f->JoinOf("late", 900))->message.failure() == why);
    const auto left = run.f->Leave(again ? 1 : 0);
    REQUIRE(left->ok());
    CHECK(left->message.failure() == why);
  }
  run.f->Advance(absl::Milliseconds(300));
  CHECK(run.f->coordinator.state() == v1::FINISHED);
  CHECK(run.committer.begun == begun);  // these weights are worth no checkpoint
}

}  // namespace
}  // namespace leeway
