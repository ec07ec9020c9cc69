#include "cli/checkpoint/checkpoint_path.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {

bool IsCheckpointPath(FileSystem& files, const std::string& path) {
  const std::filesystem::path plain = std::filesystem::path(path) / "";  // with or without a slash at its end
  return StepOfDirectoryName(plain.parent_path().filename().string()).has_value() ||
         files.Exists(absl::StrCat(path, "/", kCommittedFileName)) ||
         files.Exists(absl::StrCat(path, "/", kIndexFileName));
}

absl::StatusOr<std::string> ResolveCheckpoint(FileSystem& files, const std::string& path,
                                              std::vector<CheckpointEntry>* skipped) {
  if (!files.Exists(path)) return absl::NotFoundError(absl::StrCat(path, ": no such directory"));
  if (IsCheckpointPath(files, path)) return path;
  ASSIGN_OR_RETURN(const CheckpointEntry entry, NewestGoodCheckpoint(files, path, CheckpointCheck::kContents, skipped));
  return entry.path;
}

}  // namespace leeway
