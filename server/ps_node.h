// PsNode: one `ps` process without its main(): the gRPC server, a shard, the coordinator on shard 0, and the
// threads they run on. Tests run several in one process.
//
// Thread safety: Start, Wait, Look, RequestStop, address from any thread; destruction from one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "proto/coordinator.pb.h"
#include "server/block_store.h"
#include "server/ps_options.h"

namespace leeway {

class Coordinator;
class Journal;
class RequestMetrics;
class Shard;

class PsNode {
 public:
  using Options = PsOptions;

  // Errors: as GrpcServer::Start; INVALID_ARGUMENT for an impossible policy or options; with own_storage CANCELLED
  // (told to end) and DEADLINE_EXCEEDED (shard 0 was not reached).
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
  std::atomic<bool> stop_ = false;
};

}  // namespace leeway
