// The index of a checkpoint: checkpoint.json, which says what was saved, in which files and with which checks; and
// COMMITTED, which makes the directory a checkpoint. The names of its files.
//
// A checkpoint is a directory:
//   shard-00000-of-00002.safetensors   a shard's weights, optimizer slots and step counters (shard_file.h)
//   shard-00000-of-00002.state         the rest of its state (shard_state.h)
//   checkpoint.json                    v1::CheckpointIndex, written by the coordinator when all shards have written
//   COMMITTED                          the CRC32C of checkpoint.json in 8 hex digits, and a newline; written last
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/manifest.h"
#include "common/placement.h"
#include "proto/checkpoint.pb.h"

namespace leeway {

inline constexpr std::uint32_t kCheckpointFormat = 1;
// A .safetensors file has a CRC for each so many bytes, so that damage is found in what is read, and named.
inline constexpr std::uint64_t kPieceBytes = 4 << 20;
inline constexpr std::uint32_t kMaxSlots = 4;  // that an optimizer has

inline constexpr char kIndexFileName[] = "checkpoint.json";
inline constexpr char kCommittedFileName[] = "COMMITTED";
std::string TensorsFileName(std::uint32_t shard, std::uint32_t num_shards);
std::string StateFileName(std::uint32_t shard, std::uint32_t num_shards);

// An index that was found consistent: both files of every shard are named, in order, with the right number of checks.
struct Checkpoint {
  v1::CheckpointIndex index;
  Manifest manifest;
  Placement placement;  // of its shards

  const v1::CheckpointFile& tensors_file(std::uint32_t shard) const { return index.files(static_cast<int>(2 * shard)); }
  const v1::CheckpointFile& state_file(std::uint32_t shard) const {
    return index.files(static_cast<int>(2 * shard + 1));
  }
};

// `json` as a file called `path` (for messages). DATA_LOSS: it is no index, or contradicts itself;
// FAILED_PRECONDITION: one of another version.
absl::StatusOr<Checkpoint> ParseCheckpointIndex(const std::string& path, const std::string& json);

// Of the checkpoint in `directory`. NOT_FOUND: it is not committed; DATA_LOSS: COMMITTED or checkpoint.json is damaged;
// else as above. The shards' files are not looked at.
absl::StatusOr<Checkpoint> ReadCheckpointIndex(FileSystem& files, const std::string& directory);

// Makes `directory`, in which all files of the index lie, a checkpoint that survives the loss of power.
// INVALID_ARGUMENT: the index contradicts itself; DATA_LOSS: a file is missing or has another size (is
// --checkpoint_dir one directory for all shards?); else the file system's errors.
absl::Status CommitCheckpoint(FileSystem& files, const std::string& directory, const v1::CheckpointIndex& index);

// DATA_LOSS: a shard's file is missing or has another size than the index says.
absl::Status CheckFileSizes(FileSystem& files, const std::string& directory, const v1::CheckpointIndex& index);

}  // namespace leeway
