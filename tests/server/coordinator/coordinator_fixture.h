// CoordinatorFixture: a coordinator behind Handle(), with a fake clock, an executor that the test pumps, and shards
// that carry out its snapshots as real ones do.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/manifest.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/file_coordinator_store.h"
#include "tests/support/answer.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"

namespace leeway {

class CoordinatorFixture {
 public:
  static constexpr std::uint64_t kRun = 0xabc;

  // With `files` its coordinator takes up what an earlier one has saved there, and saves its own state there. Without,
  // it keeps nothing.
  // `change`: of the options, before it begins.
  explicit CoordinatorFixture(const v1::Policy& policy, std::uint32_t shards = 1, CrashFiles* files = nullptr,
                              const std::function<void(Coordinator::Options*)>& change = {});
  ~CoordinatorFixture();

  template <typename Reply, typename Request>
  std::shared_ptr<Answer<Reply>> Call(const std::string& method, const Request& request) {
    auto answer = std::make_shared<Answer<Reply>>();
    coordinator.Handle(method, EncodeMessage(request), FillIn(answer));
    RunAll();
    return answer;
  }
  void RunAll();

  // Time passes in small steps, as it does for a process that is not starved.
  void Advance(absl::Duration duration);
  // The same, and the shards ask all the while: none of them is silent.
  void AdvanceServed(absl::Duration duration);

  // As shard `shard` would ask now.
  v1::WatchRequest WatchOf(std::uint32_t shard);
  // Every shard asks until it knows the newest snapshot and the coordinator knows that it does.
  void SyncShards();
  const v1::WatchReply& snapshot() const { return known.at(0); }

  v1::JoinRequest JoinOf(const std::string& name, std::uint64_t incarnation) const;
  std::shared_ptr<Answer<v1::JoinReply>> Join(const v1::JoinRequest& request);
  // Workers w0, w1, ... with the incarnations 100, 101, ... join, and the run begins.
  void Start(std::uint32_t workers);

  v1::Stamp StampOf(std::uint32_t worker) const;  // of the newest snapshot's member, or incarnation 100 + worker
  std::shared_ptr<Answer<v1::AcquireDataReply>> Acquire(std::uint32_t worker, std::uint64_t number,
                                                        std::uint64_t records);
  std::shared_ptr<Answer<v1::CommitDataReply>> Commit(std::uint32_t worker, std::uint64_t clock,
                                                      const std::vector<v1::DataRange>& ranges, bool applied = true);
  std::shared_ptr<Answer<v1::LeaveReply>> Leave(std::uint32_t worker, bool finished = false, std::uint64_t pushed = 0);
  absl::Status Heartbeat(std::uint32_t worker);
  // Shard `shard` has whole pushes of these ranks.
  v1::ReportRoundRequest ReportOf(std::uint32_t shard, std::uint64_t round, const std::vector<std::uint32_t>& ranks);
  void Report(std::uint32_t shard, std::uint64_t round, const std::vector<std::uint32_t>& ranks);
  v1::GetStatusReply Status();

  const std::uint32_t num_shards;
  const Manifest manifest;
  FakeClock clock;
  PumpedExecutor executor;
  PumpedExecutor disk;     // writes the state
  bool disk_idle = false;  // then it does not
  bool journals = false;   // its shards keep one
  std::uint64_t era = 0;   // that its shards are in
  VolatileCoordinatorStore nothing;
  const std::unique_ptr<FileCoordinatorStore> store;  // null: `nothing` is used
  Coordinator coordinator;
  std::map<std::uint32_t, v1::WatchReply> known;         // by shard: the snapshot that it has carried out
  std::map<std::uint32_t, std::uint64_t> minimum_clock;  // by shard: where it installs joiners
  // What its shards say of a change of the policy: how far each worker has come, by id; or why there can be none.
  std::map<std::uint32_t, std::uint64_t> farthest;
  std::map<std::uint32_t, std::string> policy_error;  // by shard
  std::string policy_busy;
};

// LEASED, bound 8, this many workers, no limit.
v1::Policy LeasedPolicy(std::uint32_t workers);
// STATIC rounds.
v1::Policy RoundsPolicy(std::uint32_t workers, std::uint64_t steps);

}  // namespace leeway
