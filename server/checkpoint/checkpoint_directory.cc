#include "server/checkpoint/checkpoint_directory.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/verify_checkpoint.h"

namespace leeway {
namespace {

// The steps that have a directory, and its path, newest first.
absl::StatusOr<std::vector<std::pair<std::uint64_t, std::string>>> Steps(FileSystem& files,
                                                                         const std::string& directory) {
  std::vector<std::pair<std::uint64_t, std::string>> steps;
  if (!files.Exists(directory)) return steps;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  for (const std::string& name : names) {
    const std::optional<std::uint64_t> step = StepOfDirectoryName(name);
    if (step) steps.emplace_back(*step, absl::StrCat(directory, "/", name));
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

// Of a directory of the step `step`: a good one that says another step was put there by hand.
CheckpointEntry LookAtStep(FileSystem& files, const std::string& path, std::uint64_t step, CheckpointCheck check) {
  CheckpointEntry entry = LookAtCheckpoint(files, path, check);
  if (entry.status.ok() && entry.step != step) {
    entry.status = absl::DataLossError(
        absl::StrCat(path, "/", kIndexFileName, ": it is of step ", entry.step, ", and lies where ", step, " belongs"));
  }
  entry.step = step;
  return entry;
}

}  // namespace

bool IsWorthless(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
}

std::string StepDirectoryName(std::uint64_t step) { return absl::StrFormat("step-%08d", step); }

std::optional<std::uint64_t> StepOfDirectoryName(const std::string& name) {
  std::uint64_t step = 0;
  if (!absl::SimpleAtoi(absl::StripPrefix(name, "step-"), &step) || name != StepDirectoryName(step)) {
    return std::nullopt;
  }
  return step;
}

CheckpointEntry LookAtCheckpoint(FileSystem& files, const std::string& path, CheckpointCheck check) {
  CheckpointEntry entry;
  entry.path = path;
  const absl::StatusOr<Checkpoint> checkpoint = ReadCheckpointIndex(files, path);
  entry.status = checkpoint.status();
  if (!checkpoint.ok()) return entry;
  const v1::CheckpointIndex& index = checkpoint->index;
  entry.step = index.step();
  entry.time = index.time();
  entry.run_id = index.run_id();
  entry.model = checkpoint->manifest.model();
  entry.num_shards = index.num_shards();
  entry.era = index.era();
  for (const v1::CheckpointFile& file : index.files()) entry.bytes += file.bytes();
  entry.status = CheckFileSizes(files, path, index);
  if (!entry.status.ok() || check == CheckpointCheck::kIndex) return entry;
  const std::vector<CheckpointDamage> damages = VerifyCheckpoint(files, path);
  if (damages.empty()) return entry;
  // What is damaged stays so, whatever else cannot be read just now.
  const auto damaged = std::find_if(damages.begin(), damages.end(), [](const CheckpointDamage& damage) {
    return IsWorthless(absl::Status(damage.code, damage.reason));
  });
  const CheckpointDamage& told = damaged == damages.end() ? damages.front() : *damaged;
  entry.status = absl::Status(told.code, told.reason);
  return entry;
}

absl::StatusOr<std::vector<CheckpointEntry>> ListCheckpoints(FileSystem& files, const std::string& directory,
                                                             CheckpointCheck check) {
  ASSIGN_OR_RETURN(const auto steps, Steps(files, directory));
  std::vector<CheckpointEntry> entries;
  for (const auto& [step, path] : steps) entries.push_back(LookAtStep(files, path, step, check));
  return entries;
}

absl::StatusOr<CheckpointEntry> NewestGoodCheckpoint(FileSystem& files, const std::string& directory,
                                                     CheckpointCheck check, std::vector<CheckpointEntry>* skipped) {
  ASSIGN_OR_RETURN(const auto steps, Steps(files, directory));
  for (const auto& [step, path] : steps) {
    CheckpointEntry entry = LookAtStep(files, path, step, check);
    if (entry.status.ok()) return entry;
    if (skipped != nullptr) skipped->push_back(std::move(entry));
  }
  return absl::NotFoundError(absl::StrCat(directory, " holds no good checkpoint"));
}

absl::StatusOr<std::string> BeginCheckpoint(FileSystem& files, const std::string& directory, std::uint64_t step) {
  const std::string path = absl::StrCat(directory, "/", StepDirectoryName(step));
  if (files.Exists(path)) {
    const absl::Status status = LookAtStep(files, path, step, CheckpointCheck::kIndex).status;
    if (status.ok()) return absl::AlreadyExistsError(absl::StrCat(path, " holds a good checkpoint"));
    if (!IsWorthless(status)) return status;
    RETURN_IF_ERROR(RemoveCheckpoint(files, path));
  }
  RETURN_IF_ERROR(MakeDurableDirectories(files, path));
  return path;
}

absl::Status RevokeCheckpoint(FileSystem& files, const std::string& path) {
  const absl::Status removed = files.Remove(absl::StrCat(path, "/", kCommittedFileName));
  if (absl::IsNotFound(removed)) return absl::OkStatus();
  RETURN_IF_ERROR(removed);
  return files.SyncDirectory(path);
}

absl::Status RemoveCheckpoint(FileSystem& files, const std::string& path) {
  RETURN_IF_ERROR(RevokeCheckpoint(files, path));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(path));
  for (const std::string& name : names) {
    // Who was writing it, and was told that it is given up, may be removing it too.
    const absl::Status gone = files.Remove(absl::StrCat(path, "/", name));
    if (!gone.ok() && !absl::IsNotFound(gone)) return gone;
  }
  const absl::Status removed = files.Remove(path);
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return files.SyncDirectory(parent.empty() ? "." : parent);
}

absl::Status KeepNewestCheckpoints(FileSystem& files, const std::string& directory, std::size_t keep,
                                   std::uint64_t trusted) {
  ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> entries,
                   ListCheckpoints(files, directory, CheckpointCheck::kIndex));
  absl::Status status;
  std::size_t good = 0;
  bool have_trusted = false;
  for (const CheckpointEntry& entry : entries) {
    bool stays = good == 0 || !IsWorthless(entry.status);
    if (entry.status.ok()) {
      const bool newest_trusted = !have_trusted && entry.step <= trusted;
      have_trusted = have_trusted || newest_trusted;
      stays = ++good <= std::max<std::size_t>(keep, 1) || newest_trusted;
    }
    if (!stays) status.Update(RemoveCheckpoint(files, entry.path));
  }
  return status;
}

}  // namespace leeway
