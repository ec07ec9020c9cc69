// OwnStorage: what a `ps` with --checkpoint_storage=own has instead of shard 0's folder: its checkpoints are read from
// shard 0, and brought there, over the network. Its journal is in its own --checkpoint_dir.
//
// Thread safety: Started and Stop from any thread; place() is a value. Ownership: `files`, `transport` and `waiter`
// outlive it. Destroy it when nobody uses its place any more.
#pragma once

#include <atomic>
#include <memory>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/transport.h"
#include "server/checkpoint_calls.h"
#include "server/checkpoint_place.h"
#include "server/checkpoint_upload.h"
#include "server/ps_options.h"
#include "server/remote_checkpoints.h"
#include "server/waiter.h"

namespace leeway {

class OwnStorage {
 public:
  // Waits for shard 0, and asks it whether it keeps checkpoints; removes what an earlier process has left on its way
  // there. Until Started(): waits as long as start_timeout, and ends when it is told to. Errors: as
  // CheckpointCalls::Call; the file system's.
  static absl::StatusOr<std::unique_ptr<OwnStorage>> Open(const PsOptions& options, FileSystem* files,
                                                          Transport* transport, Waiter* waiter = Waiter::Real());

  CheckpointPlace place() { return {&checkpoints_, checkpoints_.root(), &upload_}; }

  // The shard serves: shard 0 is waited for until Stop. (The link to the coordinator knows when that is too long.)
  void Started() { started_ = true; }
  // Whoever waits for shard 0 gives up.
  void Stop() { stopped_ = true; }

 private:
  OwnStorage(const PsOptions& options, FileSystem* files, Transport* transport, Waiter* waiter);

  const PsOptions options_;
  std::atomic<bool> started_ = false;
  std::atomic<bool> stopped_ = false;
  const CheckpointCalls calls_;
  RemoteCheckpoints checkpoints_;
  const CheckpointUpload upload_;
};

}  // namespace leeway
