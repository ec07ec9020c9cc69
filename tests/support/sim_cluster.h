// SimCluster: real shards, a real coordinator and real links over a simulated network, scripted workers, deaths, cuts
// and preemptions, all in one thread and in virtual time. A seed decides everything and reproduces the run exactly.
//
// After every event the checkers look for what may never happen:
//   - a pull that lacks an update which the SSP read rule promises, or one of its asker's own pushes;
//   - a version that falls; a request that a server does not answer; an answer that no worker should get;
// and at the end: each life's acknowledged pushes are in the weights exactly once (`each`), or the weights are the
// replay of the closed rounds, bit for bit, the same on all shards (`round`); every record was committed.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/policy.pb.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"
#include "tests/support/sim_network.h"
#include "tests/support/sim_ps.h"
#include "tests/support/sim_worker.h"

namespace leeway {

class SimCluster {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::uint32_t shards = 2;
    std::uint32_t workers = 3;
    v1::Policy policy;  // its rate is 1, its optimizer SGD, num_workers = workers
    std::uint64_t num_records = 200;
    double null_chance = 0;
    SimNetwork::Faults faults;
    int deaths = 0;           // kill -9 of a worker, which comes back as a new incarnation
    int cuts = 0;             // of a worker's network, for longer than its lease
    int preemptions = 0;      // SIGTERM: it leaves, and comes back
    int ps_deaths = 0;        // kill -9 of a `ps` other than ps0, at any moment or any operation on its files
    bool journal = false;     // needed by ps_deaths
    bool power_loss = false;  // a `ps` dies with its machine: fsync, and what was not synced is lost
    absl::Duration time_limit = absl::Minutes(30);  // virtual
  };

  explicit SimCluster(const Options& options);
  ~SimCluster();

  // Runs to the end. What went wrong, or nothing.
  std::optional<std::string> Run();

  // What the run was like: the same for the same seed.
  std::uint64_t Fingerprint();
  std::uint64_t events() const { return events_; }
  std::uint64_t lives() const { return lives_.size(); }
  std::uint64_t pulls_held();
  std::uint64_t applied() const { return applied_; }
  std::uint64_t resolved() const;  // pushes whose verdict was learned after their life's end
  std::uint64_t deltas() const;    // pulls that were answered with a difference
  std::uint64_t ps_restarts() const { return killed_.size(); }

 private:
  static constexpr std::uint64_t kElements = 4096 + 600;  // two blocks: a third shard has none
  static constexpr std::size_t kSlots = 600;

  void Script();
  void BringBack(SimWorker* worker);
  void StartPs(std::uint32_t index);
  void KillPs(std::uint32_t index);
  bool Over() const;
  void OnReply(const std::string& address, const std::string& method, const Buffer& request, const absl::Status& status,
               const Buffer& reply);
  void CheckPull(const SimLife& life, std::uint32_t shard, const v1::PullRequest& request, const v1::PullReply& reply,
                 const std::vector<float>& weights);
  void CheckEnd();
  void CheckEach(std::uint32_t shard, const std::vector<std::vector<float>>& blocks);
  void CheckRounds(std::uint32_t shard, const std::vector<std::vector<float>>& blocks);
  void Complain(const std::string& what);

  const Options options_;
  const Manifest manifest_;
  const Placement placement_;
  Random random_;
  FakeClock clock_;
  SimNetwork network_;
  std::vector<std::unique_ptr<CrashFiles>> files_;  // by shard
  std::vector<std::unique_ptr<SimPs>> ps_;          // null: it is down
  std::vector<std::unique_ptr<SimPs>> killed_;
  SimWorker::Lives lives_;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  std::optional<std::string> complaint_;
  std::uint64_t events_ = 0;
  std::uint64_t applied_ = 0;
  v1::WatchReply snapshot_;  // the newest that the coordinator has told anyone
  std::map<std::uint64_t, v1::RoundClose> closes_;
  std::map<std::string, std::uint64_t> version_;  // by address
};

}  // namespace leeway
