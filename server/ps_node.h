// PsNode: one `ps` process without its main(): the gRPC server, a shard, the coordinator on shard 0, and the
// threads they run on. Tests run several in one process.
//
// Thread safety: Start, Wait, RequestStop, address from any thread; destruction from one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/protocol_version.h"
#include "proto/policy.pb.h"
#include "server/block_store.h"

namespace leeway {

class PsNode {
 public:
  struct Options {
    std::uint32_t shard_index = 0;
    std::uint32_t num_shards = 1;
    std::string listen = "127.0.0.1:0";
    std::string advertise;      // host:port for workers; "": the listening address
    std::string coordinator;    // of shards other than 0
    bool local_sockets = true;  // serve workers of this machine on an abstract unix socket too
    v1::Policy policy;          // of shard 0
    // The folder for what must not be lost, the cluster's or one of this `ps` alone; "": none.
    std::string checkpoint_dir;
    // Checkpoints, with checkpoint_dir; when is shard 0's to say.
    std::uint64_t checkpoint_steps = 0;
    absl::Duration checkpoint_interval = absl::InfiniteDuration();
    std::size_t checkpoint_keep = 3;
    enum class JournalMode { kOff, kOn, kFsync } journal = JournalMode::kOff;  // others than kOff need checkpoint_dir
    // Of shard 0, with checkpoint_dir: go back to a checkpoint when the loss is above so many times the first; 0:
    // never.
    double rollback_on_divergence = 0;
    absl::Duration lease = absl::Seconds(10);
    std::uint32_t num_evaluators = 0;  // that the start waits for, beside the policy's num_workers
    absl::Duration start_timeout = absl::Minutes(1);
    absl::Duration give_up_after = absl::Minutes(10);
    absl::Duration abandon_timeout = absl::Minutes(1);
    absl::Duration linger = absl::Seconds(2);  // after the end, so that the last status can be read
    std::size_t threads = 2;                   // that apply gradients
    std::uint64_t max_held_bytes = std::uint64_t{4} << 30;
    bool keep_journal = false;            // also what no checkpoint needs
    std::uint64_t journal_max_bytes = 0;  // a journal that has grown by more asks for a checkpoint; 0: it does not
    absl::Duration drain_timeout = absl::Seconds(30);
    std::uint32_t protocol_version = kProtocolVersion;  // that it says it speaks: others for tests of upgrades
  };

  // Errors: as GrpcServer::Start; INVALID_ARGUMENT for an impossible policy or options.
  static absl::StatusOr<std::unique_ptr<PsNode>> Start(const Options& options);
  ~PsNode();

  // Where workers reach this `ps`.
  const std::string& address() const;

  // Blocks until the run is over (OK), the coordinator refused this `ps` or was lost, or RequestStop (OK). When the run
  // goes back to a checkpoint, everything here is made anew from that, at the same address.
  absl::Status Wait();
  // May be called from a thread that handles signals: Wait returns soon.
  void RequestStop(const std::string& reason);
  // As RequestStop, but with a checkpoint_dir Wait first has a checkpoint taken if one is possible, then refuses new
  // steps, completes what is under way and writes the journal: all within drain_timeout.
  void RequestDrain(const std::string& reason);

  std::shared_ptr<BlockStore> store();  // for tests

 private:
  class Impl;
  explicit PsNode(std::unique_ptr<Impl> impl);

  const std::string address_;
  Mutex mu_;
  std::unique_ptr<Impl> impl_ LEEWAY_GUARDED_BY(mu_);  // replaced by Wait alone
  bool stop_ LEEWAY_GUARDED_BY(mu_) = false;
};

}  // namespace leeway
