#include "server/take_up_run.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/newest_good.h"
#include "server/coordinator/rollback.h"

namespace leeway {

absl::StatusOr<std::optional<FileCoordinatorStore::Saved>> TakeUpRun(FileSystem& files,
                                                                     const std::string& checkpoint_dir,
                                                                     std::uint32_t num_shards,
                                                                     std::optional<FileCoordinatorStore::Saved> saved) {
  if (saved) {
    // A run that is over is refused later, by name.
    if (saved->state.num_shards() == num_shards || saved->state.run_state() == v1::FINISHED) return saved;
  } else {
    ASSIGN_OR_RETURN(const auto entries, ListCheckpoints(files, checkpoint_dir, CheckpointCheck::kIndex));
    const auto begun = [](const CheckpointEntry& entry) { return absl::IsNotFound(entry.status); };
    if (std::all_of(entries.begin(), entries.end(), begun)) return saved;
  }
  ASSIGN_OR_RETURN(v1::CheckpointIndex index,
                   ChooseNewestGood(files, checkpoint_dir, std::numeric_limits<std::uint64_t>::max()));
  const std::string name = StepDirectoryName(index.step());
  const v1::CoordinatorState now = saved ? saved->state : v1::CoordinatorState();
  ASSIGN_OR_RETURN(v1::CoordinatorState state, RollBack(now, index, name, num_shards));
  const std::uint64_t lost = now.steps() - std::min(now.steps(), state.steps());
  spdlog::warn("the run goes on from {}/{}, of {} ps and {} steps, with {} ps{}", checkpoint_dir, name,
               index.num_shards(), state.steps(), num_shards,
               saved ? absl::StrCat("; steps done before: ", now.steps(), ", of which are lost: ", lost) : "");
  saved.emplace();
  saved->state = std::move(state);
  saved->manifest = std::move(*index.mutable_manifest());
  return saved;
}

}  // namespace leeway
