// CheckpointStore: the service of that name on shard 0 (proto/checkpoint_store.proto): takes the files of the
// checkpoint under way from shards that have no way to its folder, and lets them read the checkpoints in it.
//
// Thread safety: every method, from any thread; none blocks: the work on files is done on the executor, which has one
// thread, so that a piece comes after the news of the cut that it belongs to. Ownership: `files` and `executor` outlive
// it. Destroy it after the executor has run out.
// Memory: kMostCalls pieces of 4 MiB; a piece that was read counts until it is sent.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "common/executor.h"
#include "common/files.h"
#include "common/placement.h"
#include "common/transport.h"
#include "proto/checkpoint_store.pb.h"
#include "proto/coordinator.pb.h"
#include "server/checkpoint/checkpoint_receiver.h"

namespace leeway {

class CheckpointStore {
 public:
  // At once; more are told to come again. Each shard has one under way, and one disk serves them all: as many as keep
  // it busy.
  static constexpr int kMostCalls = 16;

  // Of the checkpoints in `directory`, which is shard 0's --checkpoint_dir.
  CheckpointStore(std::string directory, FileSystem* files, Executor* executor);

  // As CheckpointCommitter::UnderWay.
  void UnderWay(const v1::Cut& cut, const Placement& placement);

  // One of the service's methods by its bare name ("Write"). UNIMPLEMENTED for any other.
  void Handle(const std::string& method, Buffer request, ReplyCallback done);

 private:
  using Slot = std::shared_ptr<const void>;
  Slot Enter();
  void Write(const Buffer& request, const ReplyCallback& done);
  void Read(const Buffer& request, const Slot& slot, const ReplyCallback& done);
  void List(const Buffer& request, const ReplyCallback& done);

  const std::string directory_;
  FileSystem* const files_;
  Executor* const executor_;
  const std::shared_ptr<std::atomic<int>> calls_ = std::make_shared<std::atomic<int>>(0);
  CheckpointReceiver receiver_;  // on the executor
};

}  // namespace leeway
