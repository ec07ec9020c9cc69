// FileCheckpointCommitter: commits checkpoints in --checkpoint_dir, on an executor.
//
// Thread safety: any thread. Ownership: `files` and `executor` outlive it; destroy it after the executor has run out.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "common/executor.h"
#include "common/files.h"
#include "server/checkpoint_store.h"
#include "server/coordinator/checkpoint_committer.h"

namespace leeway {

class FileCheckpointCommitter final : public CheckpointCommitter {
 public:
  // `keep`: how many checkpoints stay, at least 1.
  // `store` (may be null) hears of the checkpoint that is under way, and outlives it.
  FileCheckpointCommitter(std::string directory, std::size_t keep, FileSystem* files, Executor* executor,
                          CheckpointStore* store = nullptr)
      : directory_(std::move(directory)), keep_(keep), files_(files), executor_(executor), store_(store) {}

  void Begin(std::uint64_t step, Done done) override;
  void UnderWay(const v1::Cut& cut, const Placement& placement) override;
  void Commit(v1::CheckpointIndex index, std::uint64_t trusted, Done done) override;
  void ChooseNewestGood(std::uint64_t at_most, Chosen done) override;

 private:
  const std::string directory_;
  const std::size_t keep_;
  FileSystem* const files_;
  Executor* const executor_;
  CheckpointStore* const store_;
};

}  // namespace leeway
