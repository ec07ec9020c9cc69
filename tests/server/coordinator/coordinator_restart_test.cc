// A coordinator that dies between any two file operations and comes back: what it has answered stays true, whatever its
// workers do meanwhile, and each record of each epoch is committed once.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

constexpr std::uint64_t kEpochs = 3;
constexpr std::uint64_t kRecords = 100;  // the fixture's
constexpr std::uint32_t kShards = 2;
constexpr std::size_t kWorkers = 3;

v1::Policy TicketsPolicy() {
  v1::Policy policy = LeasedPolicy(2);
  policy.set_max_delay(3);
  policy.mutable_stop()->set_epochs(kEpochs);
  return policy;
}

// Workers that acquire, open, commit, leave and die at random, each repeating a request until it is answered, against a
// coordinator whose process dies at random.
class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : random_(seed), files_(seed), workers_(kWorkers) {
    for (std::size_t i = 0; i < kWorkers; ++i) workers_[i].name = absl::StrCat("w", i);
    Begin({});
  }

  // Until training is over.
  void Play() {
    for (int step = 0; step < 20000 && !over_; ++step) {
      if (files_.crashed()) Restart();
      f_->Advance(absl::Milliseconds(50));
      for (std::uint32_t shard = 0; shard < kShards; ++shard) Watch(shard);
      for (Worker& worker : workers_) Beat(worker);
      Move(workers_[random_.Below(kWorkers)]);
    }
    REQUIRE(over_);
  }

  int lives() const { return lives_; }

  void CheckTotals() {
    if (files_.crashed()) Restart();
    for (Worker& worker : workers_) Forget(worker);  // with what it still waits for
    const v1::GetStatusReply status = f_->Status();
    REQUIRE(status.samples() == kEpochs * kRecords);
    REQUIRE(status.steps() >= applied_);
    REQUIRE(status.steps() <= applied_ + perhaps_applied_);
    for (std::uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
      for (std::uint64_t record = 0; record < kRecords; ++record) {
        const auto key = std::pair(epoch, record);
        INFO("epoch " << epoch << " record " << record);
        REQUIRE(committed_.count(key) + perhaps_committed_.count(key) >= 1);
      }
    }
    // Without gaps: whatever is missing was asked for by someone who died before the answer.
    const std::uint64_t last = serials_.empty() ? 0 : serials_.rbegin()->first;
    REQUIRE(last - serials_.size() <= unanswered_tickets_);
  }

 private:
  struct Worker {
    std::string name;
    std::uint64_t incarnation = 0;   // 0: is not there
    std::optional<v1::Stamp> stamp;  // a member
    std::uint64_t request = 0;       // of data
    std::optional<v1::DataRange> range;
    std::uint64_t clock = 0;
    std::uint64_t serial = 0;  // of the ticket of this clock
    bool opened = false;       // it has been asked for
    bool refused = false;
    bool committing = false;  // it has been asked for
    bool leaving = false;
  };

  void Begin(std::map<std::uint32_t, v1::WatchReply> known) {
    ++lives_;
    // Opening takes a few operations itself.
    f_ = std::make_unique<CoordinatorFixture>(TicketsPolicy(), kShards, &files_);
    f_->known = std::move(known);
    files_.CrashAt(files_.operations() + random_.Between(1, 150));
  }

  void Restart() {
    auto known = std::move(f_->known);
    f_.reset();
    files_.Restart(random_.Chance(0.5) ? CrashFiles::Loss::kProcess : CrashFiles::Loss::kPower);
    Begin(std::move(known));
  }

  void Watch(std::uint32_t shard) {
    const auto answer = f_->Call<v1::WatchReply>("WatchMembership", f_->WatchOf(shard));
    f_->clock.Advance(absl::ZeroDuration());
    f_->RunAll();
    if (!answer->ok()) {
      REQUIRE((!answer->done() || absl::IsUnavailable(answer->status)));
      return;
    }
    const v1::WatchReply& snapshot = answer->message;
    const auto before = f_->known.find(shard);
    if (before != f_->known.end()) {
      REQUIRE(snapshot.run_id() == before->second.run_id());
      REQUIRE(snapshot.sequence() >= before->second.sequence());
      REQUIRE(snapshot.membership_epoch() >= before->second.membership_epoch());
      REQUIRE(snapshot.state() >= before->second.state());
    }
    // A number means one thing, whoever hears it and when.
    const auto [it, added] = told_.try_emplace(snapshot.sequence(), snapshot.SerializeAsString());
    REQUIRE(it->second == snapshot.SerializeAsString());
    f_->known[shard] = snapshot;
    over_ = over_ || snapshot.state() >= v1::FINISHING;
  }

  void Beat(Worker& worker) {
    if (!worker.stamp || worker.leaving) return;
    v1::HeartbeatRequest request;
    *request.mutable_stamp() = *worker.stamp;
    NoteLoss(worker, f_->Call<v1::HeartbeatReply>("Heartbeat", request)->status);
  }

  // FAILED_PRECONDITION: this incarnation is no member any more. None of these expires.
  void NoteLoss(const Worker& worker, const absl::Status& status) {
    INFO(worker.name << ": " << status.ToString());
    REQUIRE_FALSE(absl::IsFailedPrecondition(status));
  }

  void Move(Worker& worker) {
    if (worker.incarnation == 0) worker.incarnation = random_.Bits() | 1;
    if (!worker.stamp) return Join(worker);
    if (worker.leaving) return Leave(worker);
    const std::uint64_t dice = random_.Below(100);
    if (dice < 2) return Forget(worker);  // its process dies; another comes when its lease has run out
    if (dice < 4) return Leave(worker);
    if (!worker.range) return Acquire(worker);
    if (worker.serial == 0 && !worker.refused) return OpenPush(worker);
    if (dice < 14) OpenPush(worker);  // again
    Commit(worker);
  }

  void Join(Worker& worker) {
    const auto answer = f_->Join(f_->JoinOf(worker.name, worker.incarnation));
    if (!answer->ok() || answer->message.run_id() == 0) return;
    worker.stamp.emplace();
    worker.stamp->set_run_id(answer->message.run_id());
    worker.stamp->set_worker_id(answer->message.worker_id());
    worker.stamp->set_incarnation(worker.incarnation);
    worker.clock = answer->message.entry_clock();
    const auto [it, added] = ids_.try_emplace(worker.name, answer->message.worker_id());
    REQUIRE(it->second == answer->message.worker_id());
  }

  void Acquire(Worker& worker) {
    v1::AcquireDataRequest request;
    *request.mutable_stamp() = *worker.stamp;
    request.set_request(worker.request + 1);
    request.set_records(20);
    const auto answer = f_->Call<v1::AcquireDataReply>("AcquireData", request);
    NoteLoss(worker, answer->status);
    if (!answer->ok() || !answer->message.has_range()) return;
    ++worker.request;
    worker.range = answer->message.range();
    if (answer->message.reentered()) worker.clock = std::max(worker.clock, answer->message.entry_clock());
    if (!random_.Chance(0.2)) return;
    // Asked again, perhaps of another life, it is the same range.
    if (files_.crashed() || random_.Chance(0.5)) Restart();
    const auto again = f_->Call<v1::AcquireDataReply>("AcquireData", request);
    if (again->ok()) REQUIRE(again->message.range().SerializeAsString() == worker.range->SerializeAsString());
  }

  void OpenPush(Worker& worker) {
    v1::OpenPushRequest request;
    *request.mutable_stamp() = *worker.stamp;
    request.set_clock(worker.clock);
    request.set_samples(10);
    const std::uint64_t last = serials_.empty() ? 0 : serials_.rbegin()->first;
    request.set_read_serial(last - std::min<std::uint64_t>(last, random_.Below(2)));
    worker.opened = true;
    const auto answer = f_->Call<v1::Ticket>("OpenPush", request);
    NoteLoss(worker, answer->status);
    if (absl::IsAborted(answer->status)) {
      REQUIRE(worker.serial == 0);
      worker.refused = true;
    }
    if (!answer->ok()) return;
    REQUIRE_FALSE(worker.refused);
    const std::uint64_t serial = answer->message.serial();
    REQUIRE((worker.serial == 0 || worker.serial == serial));
    worker.serial = serial;
    const std::string ticket = absl::StrCat(worker.incarnation, " ", worker.clock, answer->message.ShortDebugString());
    const auto [it, added] = serials_.try_emplace(serial, ticket);
    REQUIRE(it->second == ticket);
  }

  void Commit(Worker& worker) {
    v1::CommitDataRequest request;
    *request.mutable_stamp() = *worker.stamp;
    request.set_clock(worker.clock);
    request.set_applied(!worker.refused);
    *request.add_ranges() = *worker.range;
    worker.committing = true;
    const auto answer = f_->Call<v1::CommitDataReply>("CommitData", request);
    NoteLoss(worker, answer->status);
    if (!answer->ok()) return;
    if (random_.Chance(0.2)) {
      // Sent again, perhaps to another life, it is answered, and does not count twice.
      if (files_.crashed() || random_.Chance(0.5)) Restart();
      NoteLoss(worker, f_->Call<v1::CommitDataReply>("CommitData", request)->status);
    }
    if (!worker.refused) {
      ++applied_;
      for (std::uint64_t record = worker.range->begin(); record < worker.range->end(); ++record) {
        INFO("epoch " << worker.range->epoch() << " record " << record);
        REQUIRE(committed_.insert({worker.range->epoch(), record}).second);
      }
    }
    worker.range.reset();
    worker.serial = 0;
    worker.opened = worker.refused = worker.committing = false;
    ++worker.clock;
  }

  void Leave(Worker& worker) {
    worker.leaving = true;
    v1::LeaveRequest request;
    *request.mutable_stamp() = *worker.stamp;
    const auto answer = f_->Call<v1::LeaveReply>("Leave", request);
    if (answer->ok()) Forget(worker);
  }

  void Forget(Worker& worker) {
    if (worker.committing && !worker.refused) {
      ++perhaps_applied_;
      for (std::uint64_t record = worker.range->begin(); record < worker.range->end(); ++record) {
        perhaps_committed_.insert({worker.range->epoch(), record});
      }
    }
    if (worker.opened && worker.serial == 0 && !worker.refused) ++unanswered_tickets_;
    const std::string name = worker.name;
    (worker = Worker()).name = name;
  }

  Random random_;
  CrashFiles files_;
  std::unique_ptr<CoordinatorFixture> f_;
  std::vector<Worker> workers_;
  int lives_ = 0;
  bool over_ = false;
  std::map<std::uint64_t, std::string> told_;                    // snapshots by sequence
  std::map<std::string, std::uint32_t> ids_;                     // by name
  std::map<std::uint64_t, std::string> serials_;                 // whose ticket
  std::uint64_t unanswered_tickets_ = 0;                         // at most one each
  std::set<std::pair<std::uint64_t, std::uint64_t>> committed_;  // epoch, record
  std::set<std::pair<std::uint64_t, std::uint64_t>> perhaps_committed_;
  std::uint64_t applied_ = 0;  // pushes
  std::uint64_t perhaps_applied_ = 0;
};

TEST_CASE("Coordinator: whenever it dies, what it has answered stays true and every record is committed once") {
  Random random(TestSeed());
  int lives = 0;
  // Of some five lives each.
  for (int run = 0; lives < 200; ++run) {
    REQUIRE(run < 150);
    RandomRun cluster(random.Bits());
    cluster.Play();
    cluster.CheckTotals();
    lives += cluster.lives();
  }
}

TEST_CASE("Coordinator: a ps that was not restarted is welcome, one that has lost its weights is not") {
  CrashFiles files(1);
  std::map<std::uint32_t, v1::WatchReply> known;
  {
    CoordinatorFixture f(LeasedPolicy(1), 2, &files);
    f.Start(1);
    known = f.known;
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(LeasedPolicy(1), 2, &files);
  f.known = known;
  // Its journal was off: it knows nothing.
  v1::WatchRequest lost = f.WatchOf(0);
  lost.set_generation(99);
  lost.set_run_id(0);
  lost.set_known_sequence(0);
  CHECK(Says(f.Call<v1::WatchReply>("WatchMembership", lost)->status, Code::kFailedPrecondition,
             {"ps 0", "1b58", "lost"}));
  // Its journal has brought it back, at another address.
  v1::WatchRequest back = f.WatchOf(0);
  back.set_generation(98);
  back.set_address("shard0:2");
  back.set_keeps_journal(true);
  const auto answer = f.Call<v1::WatchReply>("WatchMembership", back);
  REQUIRE(answer->ok());
  CHECK(answer->message.shard_addresses(0) == "shard0:2");
  CHECK(answer->message.sequence() > known[0].sequence());
  CHECK(f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(1))->ok());
  // One that knows more than was saved says that this is an old copy.
  v1::WatchRequest ahead = f.WatchOf(1);
  ahead.set_known_sequence(1000);
  CHECK(Says(f.Call<v1::WatchReply>("WatchMembership", ahead)->status, Code::kFailedPrecondition,
             {"1000", "out of date"}));
}

TEST_CASE("Coordinator: nobody expires in the outage, and who is silent afterwards expires after a full lease") {
  CrashFiles files(1);
  {
    CoordinatorFixture f(LeasedPolicy(2), 1, &files);
    f.Start(2);
    f.Advance(absl::Seconds(9));
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(LeasedPolicy(2), 1, &files);
  f.SyncShards();
  f.Advance(absl::Milliseconds(9900));
  CHECK(f.Heartbeat(0).ok());
  f.Advance(absl::Milliseconds(300));
  CHECK(f.Heartbeat(0).ok());
  CHECK(absl::IsFailedPrecondition(f.Heartbeat(1)));
}

TEST_CASE("Coordinator: the report's history, the limits in time and the stop rule go on") {
  CrashFiles files(1);
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_minutes(1);
  {
    CoordinatorFixture f(policy, 1, &files);
    f.Start(1);
    for (int i = 0; i < 40; ++i) {
      f.Advance(absl::Seconds(1));
      REQUIRE(f.Heartbeat(0).ok());
    }
    v1::ReportProgressRequest report;
    *report.mutable_stamp() = f.StampOf(0);
    report.mutable_evaluation()->set_loss(0.25);
    REQUIRE(f.Call<v1::ReportProgressReply>("ReportProgress", report)->ok());
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(policy, 1, &files);
  f.SyncShards();
  REQUIRE(f.Status().evaluations_size() == 1);
  CHECK(f.Status().evaluations(0).loss() == 0.25);
  CHECK(f.Status().seconds() == Approx(40).epsilon(0.01));
  const auto event = f.Status().events(f.Status().events_size() - 1);
  CHECK(event.find("is back") != event.npos);
  for (int i = 0; i < 18; ++i) {
    f.Advance(absl::Seconds(1));
    REQUIRE(f.Heartbeat(0).ok());
  }
  CHECK(f.coordinator.state() == v1::TRAINING);
  f.Advance(absl::Seconds(3));
  CHECK(f.coordinator.state() == v1::FINISHING);
}

}  // namespace
}  // namespace leeway
