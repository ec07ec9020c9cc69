// ShardCheckpoints: writes a shard's cuts into --checkpoint_dir, on an executor of its own, has them brought to shard 0
// if they do not belong there, and removes the journal's files that no checkpoint needs any more.
//
// Thread safety: Begin and Committed as CutSink says; Stop from one thread. Ownership: `files`, `executor` (which runs
// one function at a time), `shard` and `journal` (may be null) outlive it. Destroy it after the executor has run out.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/executor.h"
#include "common/files.h"
#include "server/checkpoint_place.h"
#include "server/era.h"
#include "server/journal.h"
#include "server/shard.h"
#include "server/store_cut.h"

namespace leeway {

// CHECKPOINT_DIR/outgoing/shard-00001: what is on its way to shard 0. Shards that share a folder do not meet there.
std::string OutgoingDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index);

// Removes what an earlier process of this shard was bringing: nobody asks for it any more.
absl::Status RemoveOutgoing(FileSystem& files, const std::string& checkpoint_dir, std::uint32_t shard_index);

class ShardCheckpoints final : public CutSink {
 public:
  struct Options {
    std::string directory;  // --checkpoint_dir
    std::uint32_t index = 0;
    std::uint32_t num_shards = 1;
    Era era = {};               // of the shard
    bool keep_journal = false;  // also what no checkpoint needs
    CheckpointPlace checkpoints = {};
  };
  ShardCheckpoints(const Options& options, FileSystem* files, Executor* executor, Shard* shard, Journal* journal)
      : options_(options), files_(files), executor_(executor), shard_(shard), journal_(journal) {}

  std::shared_ptr<StoreCut> Begin(std::uint64_t id, const std::string& name, const v1::ShardState& state,
                                  std::shared_ptr<BlockStore> store) override;
  void Committed(const std::string& name) override;

  // What is being written is given up, as the process ends.
  void Stop() { stopped_ = true; }

 private:
  class Job;
  void RemoveOldJournal();

  const Options options_;
  FileSystem* const files_;
  Executor* const executor_;
  Shard* const shard_;
  Journal* const journal_;
  std::atomic<bool> stopped_ = false;
  std::weak_ptr<Job> last_;  // of Begin, which the shard's lock lets in one at a time
};

}  // namespace leeway
