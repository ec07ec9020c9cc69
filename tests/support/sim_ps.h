// SimPs: one `ps` of the simulated cluster: shard, link, checkpoints, and on shard 0 the coordinator, as
// server/ps_node.cc puts them together, on a simulated clock, executor, network and file system. When the run goes back
// to a checkpoint it is over, and another begins in the next era, as PsNode makes its parts anew.
//
// With `waiter` its files are its own, and checkpoints go by way of shard 0 (--checkpoint_storage=own): then Start, and
// what it does on its checkpoints' executor, lets others go on while it waits.
//
// Thread safety: none. Ownership: clock, random, network, files and waiter outlive it; destroy it after the clock has
// stopped, also when it was killed: what was under way still refers to it, though nobody hears of it any more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proto/policy.pb.h"
#include "server/checkpoint_place.h"
#include "server/checkpoint_store.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/coordinator_store.h"
#include "server/coordinator/file_coordinator_store.h"
#include "server/coordinator_link.h"
#include "server/era.h"
#include "server/file_checkpoint_committer.h"
#include "server/own_storage.h"
#include "server/recover_shard.h"
#include "server/shard.h"
#include "server/shard_checkpoints.h"
#include "server/waiter.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"
#include "tests/support/sim_network.h"

namespace leeway {

class SimPs final : public RequestHandler {
 public:
  static constexpr absl::Duration kLease = absl::Seconds(3);
  static constexpr char kDirectory[] = "checkpoints";

  struct Options {
    std::uint32_t index = 0;
    std::uint32_t num_shards = 1;
    v1::Policy policy;
    bool journal = true;                 // with files
    bool fsync = false;                  // the journal's
    std::optional<Era> go_back;          // into this era
    std::uint64_t checkpoint_steps = 0;  // 0: none are taken
    std::size_t checkpoint_keep = 1;
    absl::Duration abandon_timeout = absl::Minutes(1);
  };

  // With `files` it takes up what is there and keeps its own there. The coordinator is at "ps0".
  SimPs(const Options& options, FakeClock* clock, Random* random, SimNetwork* network, CrashFiles* files,
        Waiter* waiter = nullptr);

  // Serves "ps<index>" from then on.
  void Start();

  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

  // What waits for shard 0 gives up.
  void EndWaits();
  // Answers what is held; nothing is sent any more.
  void Stop();
  // As kill -9: nobody hears of it again, and what it had under way its callers see as a broken connection. Another
  // process of this shard may begin.
  void Kill(CrashFiles::Loss loss);

  // Why it could not begin, or OK.
  const absl::Status& started() const { return started_; }

  Shard& shard() { return *shard_; }
  Coordinator* coordinator() { return coordinator_.get(); }  // null but on shard 0
  // How its link ended, once it has.
  const std::optional<absl::Status>& end() const { return end_; }
  // The run goes back: what this process is to begin anew in.
  const std::optional<Era>& next_era() const { return next_era_; }
  bool lost() const { return !lost_.empty(); }     // its shard had nothing to go on from
  const Era& era() const { return storage_.era; }  // that its shard is in

 private:
  absl::Status MakeParts();
  absl::Status MakeShard(const Shard::Options& shard);
  absl::Status MakeCoordinator(std::uint64_t generation);

  const Options options_;
  FakeClock* const clock_;
  Random* const random_;
  SimNetwork* const network_;
  SimExecutor apply_;
  SimExecutor control_;
  SimExecutor disk_;
  SimExecutor state_disk_;
  SimExecutor checkpoint_disk_;
  SimExecutor store_disk_;
  CrashFiles* const files_;                    // null: it keeps nothing
  Waiter* const waiter_;                       // null: its files are shard 0's
  const std::unique_ptr<FileSystem> process_;  // its own view of them
  bool waits_end_ = false;
  bool killed_ = false;
  absl::Status started_;
  ShardFiles storage_;
  std::string lost_;  // not empty: the shard has nothing to go on from, and why
  VolatileCoordinatorStore no_store_;
  const std::unique_ptr<Transport> transport_;
  std::unique_ptr<OwnStorage> own_;
  CheckpointPlace checkpoints_at_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<ShardCheckpoints> checkpoints_;
  std::unique_ptr<CheckpointStore> checkpoint_store_;  // of shard 0
  std::unique_ptr<FileCheckpointCommitter> committer_;
  std::unique_ptr<FileCoordinatorStore> store_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<CoordinatorLink> link_;
  std::optional<absl::Status> end_;
  std::optional<Era> next_era_;
};

}  // namespace leeway
