#include "server/foreign_directory.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"

namespace leeway {
namespace {

constexpr char kCoordinatorDirectory[] = "coordinator";

bool IsOfARun(const std::string& name) {
  return name == kCoordinatorDirectory || name == "journal" || name == "outgoing" ||
         StepOfDirectoryName(name).has_value();
}

}  // namespace

absl::Status CheckNotForeign(FileSystem& files, const std::string& checkpoint_dir) {
  if (!files.Exists(checkpoint_dir)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(checkpoint_dir));
  std::string foreign;
  for (const std::string& name : names) {
    if (IsOfARun(name)) return absl::OkStatus();
    if (absl::StartsWith(name, ".") || name == "lost+found") continue;
    if (foreign.empty()) foreign = name;
  }
  if (foreign.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "it holds '", foreign, "' and nothing of a run: allowed: a directory that is new, empty, or of an earlier run"));
}

absl::Status CheckShared(FileSystem& files, const std::string& checkpoint_dir) {
  if (checkpoint_dir.empty()) return absl::OkStatus();
  // Listed, not asked for by its name: over NFS the answer that it is not there may be kept for a minute.
  const absl::StatusOr<std::vector<std::string>> names = files.List(checkpoint_dir);
  if (names.ok() && std::find(names->begin(), names->end(), kCoordinatorDirectory) != names->end()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("--checkpoint_dir=", checkpoint_dir,
                   ": ps 0 has nothing in it: allowed: one folder that all ps share, or "
                   "--checkpoint_storage=own"));
}

}  // namespace leeway
