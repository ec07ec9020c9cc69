#include "server/foreign_directory.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"

namespace leeway {
namespace {

bool IsOfARun(const std::string& name) {
  return name == "coordinator" || name == "journal" || StepOfDirectoryName(name).has_value();
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

}  // namespace leeway
