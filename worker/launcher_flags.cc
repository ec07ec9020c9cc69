#include "worker/launcher_flags.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/launcher.h"
#include "common/status_macros.h"

namespace leeway {
absl::Status SetWorkerFlagsFromLauncher() {
  if (FlagGiven("coordinator")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<LauncherTask> task, LauncherTaskOfThisProcess());
  if (!task) return absl::OkStatus();
  if (task->role == LauncherRole::kPs) {
    return absl::InvalidArgumentError(absl::StrCat(task->source, ": this process is ", task->task,
                                                   ", which is a job for the program ps; this is worker"));
  }
  RETURN_IF_ERROR(SetFlagUnlessGiven("coordinator", task->coordinator));
  RETURN_IF_ERROR(SetFlagUnlessGiven("num_shards", absl::StrCat(task->num_shards)));
  RETURN_IF_ERROR(SetFlagUnlessGiven("role", task->role == LauncherRole::kEvaluator ? "eval" : "train"));
  if (!task->name.empty()) RETURN_IF_ERROR(SetFlagUnlessGiven("name", task->name));
  if (task->index) RETURN_IF_ERROR(SetFlagUnlessGiven("rank", absl::StrCat(*task->index)));
  return absl::OkStatus();
}

}  // namespace leeway
