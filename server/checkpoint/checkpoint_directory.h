// --checkpoint_dir: the checkpoints in it, by step; which of them is the newest good one, and which may go.
//
// Thread safety: pure functions but for the file system; one process (the coordinator) begins, commits and removes.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"

namespace leeway {

// Whether a checkpoint of which this was found is known to be of no use. A file that cannot be read just now (no
// descriptor is left, a server does not answer) says nothing of its checkpoint.
bool IsWorthless(const absl::Status& status);

// "step-00001234"
std::string StepDirectoryName(std::uint64_t step);
std::optional<std::uint64_t> StepOfDirectoryName(const std::string& name);

// How closely a checkpoint is looked at: is it committed, with all its files in their sizes; or is every byte right.
enum class CheckpointCheck { kIndex, kContents };

struct CheckpointEntry {
  std::string path;
  std::uint64_t step = 0;
  absl::Status status;  // OK: good. NOT_FOUND: not committed; else what is wrong with it, with file and reason
  // Of its index, where that can be read.
  std::string time;
  std::uint64_t run_id = 0;
  std::string model;
  std::uint32_t num_shards = 0;
  std::uint64_t era = 0;
  std::uint64_t bytes = 0;
};

// The checkpoint in `path`, whose name may be any.
CheckpointEntry LookAtCheckpoint(FileSystem& files, const std::string& path, CheckpointCheck check);

// Newest (highest step) first; what is no step's directory is not listed. A directory that is not there is an empty
// one. Else the file system's errors.
absl::StatusOr<std::vector<CheckpointEntry>> ListCheckpoints(FileSystem& files, const std::string& directory,
                                                             CheckpointCheck check);

// The newest good one; older ones are not looked at. Adds to `skipped` (may be null) what is newer. NOT_FOUND: there is
// none.
absl::StatusOr<CheckpointEntry> NewestGoodCheckpoint(FileSystem& files, const std::string& directory,
                                                     CheckpointCheck check, std::vector<CheckpointEntry>* skipped);

// Makes room for the checkpoint of `step`: its directory, empty, also when an earlier attempt left something there.
// Returns its path. ALREADY_EXISTS: that step has a good checkpoint (kIndex); else the file system's errors.
absl::StatusOr<std::string> BeginCheckpoint(FileSystem& files, const std::string& directory, std::uint64_t step);

// Takes COMMITTED away, so that `path` is no checkpoint any more, for good: what kContents has found damaged must not
// count as the newest good one later, when it is looked at with kIndex. Nothing to do without the mark.
absl::Status RevokeCheckpoint(FileSystem& files, const std::string& path);

// Removes the checkpoint in `path`. COMMITTED goes first, so that a half removed one is none.
absl::Status RemoveCheckpoint(FileSystem& files, const std::string& path);

// Removes all but the newest `keep` (at least 1) good checkpoints and the newest good one of at most `trusted` steps
// (of later ones the loss may have diverged), and what is older than the newest good one and not good (kIndex). Newer
// ones that are not good may be under way, and stay. Without a good one nothing is removed. What cannot be removed does
// not keep the rest; the first reason is returned.
absl::Status KeepNewestCheckpoints(FileSystem& files, const std::string& directory, std::size_t keep,
                                   std::uint64_t trusted = std::numeric_limits<std::uint64_t>::max());

}  // namespace leeway
