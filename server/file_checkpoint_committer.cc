#include "server/file_checkpoint_committer.h"

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/newest_good.h"

namespace leeway {

void FileCheckpointCommitter::Begin(std::uint64_t step, Done done) {
  executor_->Post([this, step, done = std::move(done)] { done(BeginCheckpoint(*files_, directory_, step).status()); });
}

void FileCheckpointCommitter::UnderWay(const v1::Cut& cut, const Placement& placement) {
  if (store_ != nullptr) store_->UnderWay(cut, placement);
}

void FileCheckpointCommitter::Commit(v1::CheckpointIndex index, std::uint64_t trusted, Done done) {
  executor_->Post([this, index = std::move(index), trusted, done = std::move(done)]() mutable {
    index.set_format(kCheckpointFormat);
    index.set_time(absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()));
    const std::string path = absl::StrCat(directory_, "/", StepDirectoryName(index.step()));
    const absl::Status status = CommitCheckpoint(*files_, path, index);
    if (status.ok()) {
      if (absl::Status kept = KeepNewestCheckpoints(*files_, directory_, keep_, trusted); !kept.ok()) {
        spdlog::warn("an old checkpoint stays: {}", kept);
      }
    }
    done(status);
  });
}

void FileCheckpointCommitter::ChooseNewestGood(std::uint64_t at_most, Chosen done) {
  executor_->Post(
      [this, at_most, done = std::move(done)] { done(leeway::ChooseNewestGood(*files_, directory_, at_most)); });
}

}  // namespace leeway
