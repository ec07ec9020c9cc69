#include "server/take_up_run.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/newest_good.h"
#include "server/coordinator/rollback.h"
#include "server/journal_reader.h"

namespace leeway {
namespace {

// Has this journal a record? Then a run was under way: a shard hears of it when the coordinator has saved it. Damage
// counts as one.
absl::StatusOr<bool> HoldsRecords(FileSystem& files, const std::string& directory) {
  const auto look = [&]() -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const v1::JournalHeader header, NewestJournalHeader(files, directory));
    ASSIGN_OR_RETURN(JournalReader reader,
                     JournalReader::Open(files, directory, header.shard_index(), header.num_shards(), 0));
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    return record.has_value();
  };
  const absl::StatusOr<bool> holds = look();
  if (absl::IsDataLoss(holds.status())) return true;
  return holds;
}

// The journals alone do not say who was a member and which records were trained on.
absl::Status CheckNoJournals(FileSystem& files, const std::string& checkpoint_dir,
                             const std::vector<CheckpointEntry>& checkpoints) {
  const std::string journals = checkpoint_dir + "/journal";
  if (!files.Exists(journals)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(journals));
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, "shard-")) continue;
    const std::string journal = absl::StrCat(journals, "/", name);
    ASSIGN_OR_RETURN(const bool holds, HoldsRecords(files, journal));
    if (!holds) continue;
    const auto newest = std::find_if(checkpoints.begin(), checkpoints.end(),
                                     [](const CheckpointEntry& entry) { return entry.status.ok(); });
    return absl::FailedPreconditionError(absl::StrCat(
        journal, " is of a run whose coordinator's state is missing in ", checkpoint_dir,
        "/coordinator: bring that back, or ",
        newest == checkpoints.end()
            ? "use another --checkpoint_dir for a new run"
            : absl::StrCat("remove ", journals, " (of every ps): then the run goes on from its newest checkpoint, ",
                           StepDirectoryName(newest->step))));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<FileCoordinatorStore::Saved>> TakeUpRun(FileSystem& files,
                                                                     const std::string& checkpoint_dir,
                                                                     std::uint32_t num_shards,
                                                                     std::optional<FileCoordinatorStore::Saved> saved) {
  if (saved) {
    // A run that is over is refused later, by name.
    if (saved->state.num_shards() == num_shards || saved->state.run_state() == v1::FINISHED) return saved;
  } else {
    ASSIGN_OR_RETURN(const auto entries, ListCheckpoints(files, checkpoint_dir, CheckpointCheck::kIndex));
    RETURN_IF_ERROR(CheckNoJournals(files, checkpoint_dir, entries));
    const auto begun = [](const CheckpointEntry& entry) { return absl::IsNotFound(entry.status); };
    if (std::all_of(entries.begin(), entries.end(), begun)) return saved;
  }
  absl::StatusOr<v1::CheckpointIndex> chosen =
      ChooseNewestGood(files, checkpoint_dir, std::numeric_limits<std::uint64_t>::max());
  if (absl::IsNotFound(chosen.status()) && saved) {
    return absl::Status(chosen.status().code(),
                        absl::StrCat(chosen.status().message(), ". Without one only --num_shards=",
                                     saved->state.num_shards(), ", as before, can go on, from the journals"));
  }
  ASSIGN_OR_RETURN(v1::CheckpointIndex index, std::move(chosen));
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
