#include "server/checkpoint/newest_good.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {

absl::StatusOr<v1::CheckpointIndex> ChooseNewestGood(FileSystem& files, const std::string& directory,
                                                     std::uint64_t at_most) {
  ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> all, ListCheckpoints(files, directory, CheckpointCheck::kIndex));
  std::vector<std::string> skipped;
  std::string why;
  for (const CheckpointEntry& entry : all) {
    // (One that is too new need not be readable.)
    absl::Status status = entry.status;
    if (entry.step > at_most) {
      status = absl::FailedPreconditionError(absl::StrCat(entry.path, ": it is newer than step ", at_most));
    }
    if (status.ok()) status = LookAtCheckpoint(files, entry.path, CheckpointCheck::kContents).status;
    // Its turn may come when it can be read: an older one instead of it would make it worthless for good.
    if (!status.ok() && !IsWorthless(status)) return status;
    if (!status.ok()) {
      skipped.push_back(entry.path);
      absl::StrAppend(&why, "; ", std::string(status.message()));
      continue;
    }
    ASSIGN_OR_RETURN(Checkpoint checkpoint, ReadCheckpointIndex(files, entry.path));
    for (const std::string& path : skipped) RETURN_IF_ERROR(RevokeCheckpoint(files, path));
    if (!why.empty()) spdlog::warn("the checkpoint to go back to is {}{}", entry.path, why);
    return std::move(checkpoint.index);
  }
  return absl::NotFoundError(absl::StrCat(directory, " holds no good checkpoint", why));
}

}  // namespace leeway
