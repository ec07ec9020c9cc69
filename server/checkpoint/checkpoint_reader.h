// CheckpointReader: reads a checkpoint's tensors for any placement, each piece's CRC checked before it is given out.
//
// Where the reader's blocks are cut otherwise than those that were saved, each element keeps its weight and slots, and
// a block takes the largest step number of the saved blocks that it overlaps (after whole pushes they are all the
// same).
//
// Thread safety: none; several readers may read the same checkpoint.
// Memory: 4 MiB per saved shard that is read from; whole shards go straight to the caller's memory. Read one tensor
// after the other, runs ascending: then each piece is read once. Ownership: `files` outlives it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/files.h"
#include "server/checkpoint/checked_file.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/shard_file.h"

namespace leeway {

class CheckpointReader {
 public:
  // Of the committed checkpoint in `directory`; the errors of ReadCheckpointIndex. Shards' files are opened when they
  // are needed: every method below may say DATA_LOSS, with file and reason, or give the file system's error.
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> Open(FileSystem& files, const std::string& directory);

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const std::string& directory() const { return directory_; }
  std::uint32_t tensors() const { return 1 + checkpoint_.index.slots(); }  // weights, slots

  // The model vector's elements [first, first + out.size()) of tensor `tensor` (0: weights, 1 + k: slot k). Requires
  // that there are such.
  absl::Status Read(std::uint32_t tensor, std::uint64_t first, absl::Span<float> out);

  // The blocks of `run`, one after another. INVALID_ARGUMENT: a placement of another model.
  absl::Status ReadRun(std::uint32_t tensor, const Placement& placement, const ChunkRun& run, float* out);
  // One number for each block of `run`.
  absl::Status ReadSteps(const Placement& placement, const ChunkRun& run, std::uint64_t* out);

  // Of saved shard `shard`.
  absl::StatusOr<v1::ShardState> ReadState(std::uint32_t shard);

 private:
  struct Source {
    std::unique_ptr<CheckedFile> file;  // null: not open yet
    SafetensorsHeader header;
  };
  CheckpointReader(FileSystem& files, std::string directory, Checkpoint checkpoint);
  absl::StatusOr<const Source*> Open(std::uint32_t shard);
  absl::Status ReadWithin(std::uint32_t shard, std::uint32_t tensor, std::uint64_t first, absl::Span<float> out);
  absl::Status LoadSteps();

  FileSystem& files_;
  const std::string directory_;
  const Checkpoint checkpoint_;
  std::vector<Source> sources_;       // by shard
  std::vector<std::uint64_t> steps_;  // by saved block, once they are read
};

// Opens shard `shard`'s tensors and checks that they are what the checkpoint says. DATA_LOSS, with path and reason.
absl::StatusOr<SafetensorsHeader> ReadShardHeader(CheckedFile& file, const Checkpoint& checkpoint, std::uint32_t shard);

}  // namespace leeway
