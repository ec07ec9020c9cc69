// FileCoordinatorStore, and a coordinator on it: nothing is told before it is saved, a full disk, damaged and foreign
// files, and runs that are not this one.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "common/message_size.h"
#include "common/record_log.h"
#include "server/coordinator/file_coordinator_store.h"
#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

constexpr char kFirst[] = "dir/coordinator/00000001.log";
constexpr char kSecond[] = "dir/coordinator/00000002.log";
constexpr char kManifest[] = "dir/coordinator/manifest";

// `sequence`: of the snapshot that the saved state was told last; 0: there is none.
absl::Status Open(CrashFiles& files, std::uint64_t* sequence = nullptr) {
  FakeClock clock;
  PumpedExecutor executor;
  const auto store = FileCoordinatorStore::Open("dir", &files, &clock, &executor);
  if (store.ok() && sequence != nullptr) {
    const auto saved = (*store)->TakeSaved();
    *sequence = saved ? saved->state.sequence() : 0;
  }
  return store.status();
}

// What a coordinator with these options says to what is saved in `files`.
absl::Status Restore(CrashFiles& files, const Coordinator::Options& options) {
  FakeClock clock;
  PumpedExecutor executor;
  const auto store = *FileCoordinatorStore::Open("dir", &files, &clock, &executor);
  const auto saved = store->TakeSaved();
  if (!saved) return absl::NotFoundError("nothing is saved");
  Coordinator coordinator(options, &clock, &executor, store.get());
  return coordinator.Restore(saved->state, saved->manifest);
}

Coordinator::Options OptionsOf(const v1::Policy& policy, std::uint32_t shards) {
  Coordinator::Options options;
  options.policy = policy;
  options.num_shards = shards;
  options.run_id = CoordinatorFixture::kRun;
  return options;
}

TEST_CASE("Coordinator: nobody hears of a change before it is saved, and one write saves many") {
  CrashFiles files(1);
  CoordinatorFixture f(LeasedPolicy(2), 1, &files);
  f.Start(2);
  const std::uint64_t before = f.store->writes();
  f.disk_idle = true;
  const auto first = f.Acquire(0, 1, 10);
  const auto heartbeat = f.Call<v1::HeartbeatReply>("Heartbeat", [&f] {
    v1::HeartbeatRequest request;
    *request.mutable_stamp() = f.StampOf(1);
    return request;
  }());
  const auto second = f.Acquire(1, 1, 10);
  const auto left = f.Leave(1);
  const auto watch = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  CHECK_FALSE(first->done());
  CHECK_FALSE(heartbeat->done());  // it may speak of the change
  CHECK_FALSE(second->done());
  CHECK_FALSE(left->done());
  CHECK_FALSE(watch->done());
  CHECK(f.Status().state() == v1::TRAINING);  // but the status is seen
  f.disk.RunOne();
  CHECK(first->ok());
  CHECK(heartbeat->ok());
  CHECK(second->ok());
  CHECK(left->ok());
  CHECK(watch->ok());
  CHECK(f.store->writes() == before + 1);
  // What changes nothing does not wait.
  f.disk_idle = true;
  CHECK(f.Heartbeat(0).ok());
}

TEST_CASE("Coordinator: while the disk is full what was asked waits, what is asked is refused, and nobody expires") {
  CrashFiles files(1);
  CoordinatorFixture f(LeasedPolicy(1), 1, &files);
  f.Start(1);
  files.FailAppends(absl::ResourceExhaustedError("write state.tmp: No space left on device"));
  const auto waits = f.Acquire(0, 1, 10);
  CHECK_FALSE(waits->done());
  CHECK(Says(f.Acquire(0, 2, 10)->status, Code::kUnavailable, {"state", "No space left"}));
  CHECK(Says(f.Heartbeat(0), Code::kUnavailable, {"No space left"}));
  f.Advance(absl::Seconds(25));  // two leases
  CHECK_FALSE(waits->done());
  CHECK(f.Status().workers(0).state() == "live");
  files.FailAppends(absl::OkStatus());
  f.Advance(absl::Seconds(1));
  REQUIRE(waits->ok());
  CHECK(waits->message.range().end() == 10);
  CHECK(f.Heartbeat(0).ok());
  CHECK(f.Commit(0, 0, {waits->message.range()})->ok());
}

TEST_CASE("Coordinator: stopped while the disk is full, it says so to who waits") {
  CrashFiles files(1);
  CoordinatorFixture f(LeasedPolicy(1), 1, &files);
  f.Start(1);
  files.FailAppends(absl::ResourceExhaustedError("No space left on device"));
  const auto waits = f.Acquire(0, 1, 10);
  f.store->Stop();
  CHECK(Says(waits->status, Code::kUnavailable, {"not saved", "No space left"}));
}

TEST_CASE("FileCoordinatorStore: the model is written once") {
  CrashFiles files(1);
  CoordinatorFixture f(LeasedPolicy(1), 1, &files);
  f.Start(1);
  REQUIRE(files.Remove(kManifest).ok());
  REQUIRE(f.Acquire(0, 1, 10)->ok());
  CHECK_FALSE(files.Exists(kManifest));
}

TEST_CASE("FileCoordinatorStore: one process at a time") {
  CrashFiles files(1);
  const CoordinatorFixture f(LeasedPolicy(1), 1, &files);
  CHECK(Says(Open(files), Code::kUnavailable, {"dir/coordinator/lock"}));
}

TEST_CASE("FileCoordinatorStore: a damaged file is refused by name, or ends with a record that was written") {
  CrashFiles files(1);
  { CoordinatorFixture(LeasedPolicy(1), 1, &files).Start(1); }
  const std::string good = files.Bytes(kFirst);
  std::uint64_t newest = 0;
  REQUIRE(Open(files, &newest).ok());
  REQUIRE(newest > 3);
  int refused = 0;
  int shorter = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string flipped = good;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    for (const std::string& bytes : {flipped, good.substr(0, i)}) {
      files.Bytes(kFirst) = bytes;
      std::uint64_t found = 0;
      const absl::Status status = Open(files, &found);
      INFO("byte " << i << ": " << status.ToString());
      REQUIRE((status.ok() ? found < newest : Says(status, Code::kDataLoss, {kFirst})));
      ++(status.ok() ? shorter : refused);
    }
  }
  CHECK(refused > 0);
  CHECK(shorter > 0);
  files.Bytes(kFirst) = "something else";
  CHECK(Says(Open(files), Code::kDataLoss, {kFirst}));
  files.Bytes(kFirst) = files.Bytes(kManifest);
  CHECK(Says(Open(files), Code::kDataLoss, {kFirst, "manifest"}));
}

TEST_CASE("FileCoordinatorStore: the model is there whole, or the run is refused") {
  CrashFiles files(1);
  { CoordinatorFixture(LeasedPolicy(1), 1, &files).Start(1); }
  const std::string good = files.Bytes(kManifest);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string flipped = good;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    for (const std::string& bytes : {flipped, good.substr(0, i)}) {
      files.Bytes(kManifest) = bytes;
      INFO("byte " << i);
      REQUIRE(Says(Open(files), Code::kDataLoss, {kManifest}));
    }
  }
  files.Bytes(kManifest) = files.Bytes(kFirst);
  CHECK(Says(Open(files), Code::kDataLoss, {kManifest, "state"}));
  REQUIRE(files.Remove(kManifest).ok());
  CHECK(Says(Open(files), Code::kDataLoss,
             {kManifest, "missing", "without dir/coordinator and dir/journal", "goes on from its newest checkpoint"}));
}

TEST_CASE("FileCoordinatorStore: each process begins a file, full ones are followed by another, and older ones go") {
  CrashFiles files(1);
  { CoordinatorFixture(LeasedPolicy(1), 1, &files).Start(1); }
  files.Restart(CrashFiles::Loss::kProcess);
  {
    CoordinatorFixture f(LeasedPolicy(1), 1, &files);
    f.SyncShards();
    CHECK(files.Exists(kSecond));
    CHECK_FALSE(files.Exists(kFirst));
    for (std::uint64_t i = 1; files.Exists(kSecond); ++i) REQUIRE(f.Acquire(0, i, 1)->done());
    CHECK(files.List("dir/coordinator")->front() == "00000003.log");
  }
  files.Restart(CrashFiles::Loss::kPower);
  std::uint64_t found = 0;
  REQUIRE(Open(files, &found).ok());
  CHECK(found > 3);
  // Its only record is damaged: that is no run that has just begun.
  CoordinatorFixture(LeasedPolicy(1), 1, &files).SyncShards();
  std::string& last = files.Bytes("dir/coordinator/00000004.log");
  last.resize(20);
  CHECK(Says(Open(files), Code::kDataLoss, {"dir/coordinator", "whole record"}));
}

TEST_CASE("FileCoordinatorStore: a state larger than any message is read again") {
  CrashFiles files(1);
  {
    FakeClock clock;
    PumpedExecutor executor;
    const auto store = *FileCoordinatorStore::Open("dir", &files, &clock, &executor);
    store->SetSource([] {
      v1::CoordinatorState state;
      state.set_sequence(7);
      state.set_stop_reason(std::string(kMaxMessageBytes, 'x'));
      return state;
    });
    store->Changed();
    executor.RunAll();
  }
  files.Restart(CrashFiles::Loss::kProcess);
  std::uint64_t found = 0;
  CHECK(Open(files, &found).ok());
  CHECK(found == 7);
}

TEST_CASE("FileCoordinatorStore: a hole in the last record is a write that was cut short, and in another is damage") {
  CrashFiles files(1);
  { CoordinatorFixture(LeasedPolicy(1), 1, &files).Start(1); }
  std::string& bytes = files.Bytes(kFirst);
  const std::string whole = bytes;
  std::vector<std::ptrdiff_t> heads = {8};
  RecordReader reader = *RecordReader::Parse(kFirst, whole);
  for (auto record = *reader.Next(); record; record = *reader.Next()) {
    heads.push_back(heads.back() + 12 + static_cast<std::ptrdiff_t>(record->size()));
  }
  heads.pop_back();  // where the next one would be
  REQUIRE(heads.size() >= 2);
  std::fill_n(bytes.begin() + heads.back(), 16, '\0');
  std::uint64_t found = 0;
  CHECK(Open(files, &found).ok());
  CHECK(found > 0);
  bytes = whole;
  std::fill_n(bytes.begin() + heads[heads.size() - 2], 16, '\0');
  CHECK(Says(Open(files), Code::kDataLoss, {kFirst, "damaged"}));
}

TEST_CASE("FileCoordinatorStore: a first file that was cut short is no run yet") {
  CrashFiles files(1);
  { CoordinatorFixture(LeasedPolicy(1), 1, &files).SyncShards(); }
  for (int i = 0; i < 3; ++i) {
    files.Restart(CrashFiles::Loss::kProcess);
    files.Bytes(kFirst).resize(20);
    std::uint64_t found = 0;
    REQUIRE(Open(files, &found).ok());
    CHECK(found == 0);
    CoordinatorFixture(LeasedPolicy(1), 1, &files).SyncShards();
    CHECK_FALSE(files.Exists(kSecond));
  }
}

TEST_CASE("Coordinator: another policy, num_shards or run id than what is saved") {
  CrashFiles files(1);
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(4);
  policy.mutable_schedule()->set_rate(0.5);
  policy.mutable_optimizer()->set_kind(v1::OptimizerConfig::ADAM);
  { CoordinatorFixture(policy, 2, &files).Start(1); }
  CHECK(Restore(files, OptionsOf(policy, 2)).ok());
  CHECK(Says(Restore(files, OptionsOf(policy, 3)), Code::kFailedPrecondition, {"num_shards=2", "num_shards=3"}));
  v1::Policy other = policy;
  other.set_staleness_bound(1);
  other.mutable_stop()->set_epochs(5);
  other.mutable_schedule()->set_rate(0.25);
  other.mutable_optimizer()->set_kind(v1::OptimizerConfig::ADAMW);
  const absl::Status refused = Restore(files, OptionsOf(other, 2));
  CHECK(Says(refused, Code::kFailedPrecondition,
             {"staleness_bound: 8 -> 1", " epochs: 4 -> 5", "learning_rate: 0.5 -> 0.25", "optimizer: ADAM -> ADAMW",
              "allowed: the run's"}));
  CHECK(refused.message().find('\n') == refused.message().npos);
  Coordinator::Options stranger = OptionsOf(policy, 2);
  stranger.run_id = 5;
  CHECK(Says(Restore(files, stranger), Code::kDataLoss, {"abc"}));
}

TEST_CASE("Coordinator: a finished run is refused once every ps knows its end, and is ended until then") {
  CrashFiles files(1);
  const v1::Policy policy = RoundsPolicy(1, 1);
  {
    CoordinatorFixture f(policy, 2, &files);
    f.Start(1);
    f.Report(0, 0, {0});
    f.Report(1, 0, {0});
    f.Leave(0, true);
    REQUIRE(f.coordinator.state() == v1::FINISHED);
    // Only one of them hears of it before the process dies.
    f.known[0] = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0))->message;
    REQUIRE(f.known[0].state() == v1::FINISHED);
    f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  }
  files.Restart(CrashFiles::Loss::kPower);
  {
    CoordinatorFixture f(policy, 2, &files);
    CHECK(f.coordinator.state() == v1::FINISHED);
    CHECK_FALSE(f.coordinator.Over());
    f.SyncShards();
    CHECK(f.snapshot().state() == v1::FINISHED);
    CHECK(f.coordinator.Over());
  }
  files.Restart(CrashFiles::Loss::kPower);
  for (const std::uint32_t num_shards : {2u, 3u}) {  // other flags would help nobody
    CHECK(Says(Restore(files, OptionsOf(policy, num_shards)), Code::kFailedPrecondition,
               {"finished", "--checkpoint_dir"}));
  }
}

}  // namespace
}  // namespace leeway
