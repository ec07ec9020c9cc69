// PsNode: one `ps` process without its main(): the gRPC server, a shard, the coordinator on shard 0, and the
// threads they run on. Tests run several in one process.
//
// Thread safety: Start, Wait, Look, RequestStop, address from any thread; destruction from one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/protocol_version.h"
#include "common/security.h"
#include "proto/coordinator.pb.h"
#include "proto/policy.pb.h"
#include "server/block_store.h"

namespace leeway {

class Coordinator;
class Journal;
class RequestMetrics;
class Shard;

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
    // Of shard 0 after the end, so that the last status can be read. Infinite: every `ps` stays, also one that begins
    // after the end, until RequestStop.
    absl::Duration linger = absl::Seconds(2);
    bool stays() const { return linger == absl::InfiniteDuration(); }
    std::size_t threads = 2;  // that apply gradients
    std::uint64_t max_held_bytes = std::uint64_t{4} << 30;
    bool keep_journal = false;            // also what no checkpoint needs
    std::uint64_t journal_max_bytes = 0;  // a journal that has grown by more asks for a checkpoint; 0: it does not
    absl::Duration drain_timeout = absl::Seconds(30);
    Security security = {};
    std::uint32_t protocol_version = kProtocolVersion;  // that it says it speaks: others for tests of upgrades
  };

  // Errors: as GrpcServer::Start; INVALID_ARGUMENT for an impossible policy or options.
  static absl::StatusOr<std::unique_ptr<PsNode>> Start(const Options& options);
  ~PsNode();

  // Where workers reach this `ps`.
  const std::string& address() const;

  // Blocks until the run is over (OK, or a RunFailure), the coordinator refused this `ps` or was lost, or RequestStop
  // (OK). When the run goes back to a checkpoint, everything here is made anew from that, at the same address.
  absl::Status Wait();
  // May be called from a thread that handles signals: Wait returns soon.
  void RequestStop(const std::string& reason);
  // As RequestStop, but with a checkpoint_dir Wait first has a checkpoint taken if one is possible, then refuses new
  // steps, completes what is under way and writes the journal: all within drain_timeout.
  void RequestDrain(const std::string& reason);

  // What runs here, for metrics and status pages. Null: there is none here.
  struct Parts {
    Shard* shard;
    Journal* journal;
    Coordinator* coordinator;
    RequestMetrics* requests;
  };
  // Calls `at`, in line and while nothing of it can end; not while the run goes back to a checkpoint.
  void Look(const std::function<void(const Parts&)>& at);
  // OK while it serves; UNAVAILABLE says what it waits for, or that it ends.
  absl::Status Ready();

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
