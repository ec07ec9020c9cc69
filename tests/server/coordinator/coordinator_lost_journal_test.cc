// Coordinator through Handle(): a machine has taken the end of a journal with it (ADR 0015).
#include <cstdint>
#include <memory>

#include "tests/catch.h"
#include "tests/server/coordinator/rollback_run.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Run = RollbackRun;

// Shard 1 comes again, as another process that has found so many records in its journal.
std::shared_ptr<Answer<v1::WatchReply>> ComesAgain(Run& run, std::uint64_t found, std::uint64_t generation = 8001) {
  v1::WatchRequest request = run.f->WatchOf(1);
  request.set_generation(generation);
  request.mutable_journal()->set_found(found);
  request.mutable_journal()->set_written(found);
  return run.f->Call<v1::WatchReply>("WatchMembership", request);
}

v1::CommitDataRequest CommitOf(Run& run, std::uint64_t step, std::uint64_t generation, std::uint64_t records) {
  v1::CommitDataRequest commit;
  *commit.mutable_stamp() = run.f->StampOf(0);
  commit.set_clock(step);
  commit.set_applied(true);
  v1::Journaled& journaled = *commit.add_journaled();
  journaled.set_shard_index(1);
  journaled.set_generation(generation);
  journaled.set_records(records);
  return commit;
}

TEST_CASE("Coordinator: a ps whose journal lacks what was committed, reported or told takes the run back") {
  // By a commit, by a report of rounds, or by its own word; also if the coordinator was lost with it.
  for (const int by : {0, 1, 2}) {
    for (const bool both : {false, true}) {
      for (const std::uint64_t found : {6, 7}) {
        CAPTURE(by, both, found);
        Run run;
        run.f->Start(2);
        run.NoteCheckpoint();
        run.Begin();
        run.f->SyncShards();
        if (by == 0) {
          CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 7001, 7))->ok());
        } else if (by == 1) {
          v1::ReportRoundRequest report;
          report.set_shard_index(1);
          report.set_run_id(CoordinatorFixture::kRun);
          report.set_generation(7001);
          report.set_journaled(7);
          CHECK(run.f->Call<v1::ReportRoundReply>("ReportRound", report)->ok());
        } else {
          v1::WatchRequest request = run.f->WatchOf(1);
          request.mutable_journal()->set_written(7);
          run.f->Call<v1::WatchReply>("WatchMembership", request);
          CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 7001, 5))->ok());
        }
        const auto known = run.f->known;
        if (both) {
          run.f->store->Stop();
          run.files.Restart(CrashFiles::Loss::kPower);
          run.Begin();
          run.f->known = known;
        }
        const auto told = ComesAgain(run, found);
        if (found == 7) {
          CHECK(run.gone_back.empty());
          CHECK(run.f->Heartbeat(0).ok());
        } else {
          CHECK(Says(told->status, Code::kUnavailable,
                     {"ps 1 cannot go on: the end of the journal is lost: it ends at record 6", "at record 7"}));
          CHECK(run.gone_back.size() == 1);
        }
      }
    }
  }
}

TEST_CASE("Coordinator: what a ps has acknowledged stands, though an older request of it arrives late") {
  Run run;
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  run.f->SyncShards();
  v1::WatchRequest late = run.f->WatchOf(1);
  late.set_known_sequence(0);
  late.set_closed_round(0);
  late.set_weights_ready(false);
  CHECK(run.f->Call<v1::WatchReply>("WatchMembership", late)->ok());
  CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 7001, 7))->ok());
  ComesAgain(run, 6);
  CHECK(run.gone_back.size() == 1);
}

TEST_CASE("Coordinator: that a journal has lost its end may come out after its ps is back") {
  // Also when records of the same numbers have been written since, and found.
  const bool again = GENERATE(false, true);
  for (const std::uint64_t records : {6, 7}) {
    Run run;
    run.f->Start(2);
    run.NoteCheckpoint();
    run.Begin();
    run.f->SyncShards();
    ComesAgain(run, 6);
    // Answers of the process that is there, and of one that has not come yet, say nothing of those before.
    CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 8001, 9))->ok());
    if (again) ComesAgain(run, 9, 8002);
    CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 1, 9999, 99))->ok());
    CHECK(run.gone_back.empty());
    run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 2, 7001, records));
    CHECK(run.gone_back.size() == (records == 7 ? 1 : 0));
  }
}

// Shard 1 has come again without the last record that its predecessor had answered, which nobody has said yet.
void LoseTheEnd(Run& run) {
  run.f->Start(2);
  run.NoteCheckpoint();
  run.Begin();
  run.f->SyncShards();
  ComesAgain(run, 6);
}

TEST_CASE("Coordinator: a loss that one commit has named is not forgotten while no checkpoint can be chosen") {
  const absl::Status unreadable = absl::UnavailableError("read dir/step-00000000: Input/output error");
  Run run;
  LoseTheEnd(run);
  SECTION("that is so when the commit comes") {}
  SECTION("that is so since another ps has lost what it had") {
    run.committer.unreadable = unreadable;
    v1::WatchRequest lost = run.f->WatchOf(0);
    lost.set_lost("gone");
    run.f->Call<v1::WatchReply>("WatchMembership", lost);
    REQUIRE(run.committer.asked.size() == 1);
  }
  run.committer.unreadable = unreadable;
  CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 7001, 7))->ok());
  CHECK(run.committer.asked.size() == 1);
  run.f->Advance(absl::Seconds(1));
  CHECK(run.committer.begun == 0);  // a checkpoint of now would have the loss
  run.committer.unreadable = absl::OkStatus();
  run.f->Advance(absl::Seconds(10));
  CHECK(run.committer.asked.size() == 2);
  CHECK(run.gone_back.size() == 1);
}

TEST_CASE("Coordinator: a loss that one commit has named is not forgotten when the coordinator is lost") {
  Run run;
  LoseTheEnd(run);
  run.committer.holds = true;
  CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 7001, 7))->ok());
  REQUIRE(run.committer.held.size() == 1);
  run.f->store->Stop();
  run.files.Restart(CrashFiles::Loss::kPower);
  run.Begin();
  run.committer.holds = false;
  run.f->Advance(absl::Seconds(1));
  CHECK(run.gone_back.size() == 1);
  run.Begin();
  run.f->Advance(absl::Seconds(1));
  CHECK(run.gone_back.size() == 1);
}

TEST_CASE("Coordinator: with nothing to go back to, training goes on after a loss that a commit has named") {
  Run run;
  LoseTheEnd(run);
  run.committer.checkpoint.reset();
  CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 7001, 7))->ok());
  run.f->Advance(absl::Seconds(1));
  CHECK(run.committer.asked.size() == 1);
  CHECK(run.committer.begun == 1);  // it tries to take one
  CHECK(run.f->Heartbeat(0).ok());
}

TEST_CASE("Coordinator: what a process had answered that died before it was heard of must be there as well") {
  for (const std::uint64_t found : {98, 99}) {
    for (const bool comes : {false, true}) {
      CAPTURE(found, comes);
      Run run;
      run.f->Start(2);
      run.NoteCheckpoint();
      run.Begin();
      run.f->SyncShards();
      CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, comes ? 8001 : 9999, 99))->ok());
      CHECK(run.gone_back.empty());
      ComesAgain(run, found);  // as 8001: of what it has answered itself it need not have found anything
      CHECK(run.gone_back.size() == (found == 98 && !comes ? 1 : 0));
    }
  }
}

TEST_CASE("Coordinator: what a process had answered that died unheard of, and of which workers speak late") {
  // Shard 1 was a process nobody heard of between 7001 and 8001, which lives.
  for (const std::uint64_t found : {98, 99}) {
    for (const bool again : {false, true}) {
      CAPTURE(found, again);
      Run run;
      run.f->Start(2);
      run.NoteCheckpoint();
      run.Begin();
      run.f->SyncShards();
      run.f->known[1] = ComesAgain(run, found)->message;
      CHECK(run.f->Call<v1::CommitDataReply>("CommitData", CommitOf(run, 0, 9999, 99))->ok());
      if (again) {  // the coordinator is lost in between
        run.f->store->Stop();
        run.files.Restart(CrashFiles::Loss::kPower);
        const auto known = run.f->known;
        run.Begin();
        run.f->known = known;
      }
      // A request from before says nothing of who was first.
      const auto told = ComesAgain(run, found);
      CHECK(run.gone_back.empty());
      REQUIRE(told->message.sequence() > run.f->known[1].sequence());
      run.f->known[1] = told->message;
      ComesAgain(run, found);
      CHECK(run.gone_back.size() == (found == 98 ? 1 : 0));
    }
  }
}

TEST_CASE("Coordinator: a ps that has lost everything when the run is over is told that it is") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(1);
  CoordinatorFixture f(policy, 2);
  f.Start(1);
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 100)->message.range()})->ok());
  f.Leave(0);
  REQUIRE(f.coordinator.state() == v1::FINISHED);
  f.known.erase(1);
  v1::WatchRequest request = f.WatchOf(1);
  request.set_generation(8001);
  request.set_lost("its journal is damaged");
  const auto told = f.Call<v1::WatchReply>("WatchMembership", request);
  REQUIRE(told->ok());
  CHECK(told->message.state() == v1::FINISHED);
  CHECK_FALSE(f.coordinator.Over());
  request.set_known_sequence(told->message.sequence());
  f.Call<v1::WatchReply>("WatchMembership", request);
  f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  f.SyncShards();
  CHECK(f.coordinator.Over());
}

}  // namespace
}  // namespace leeway
