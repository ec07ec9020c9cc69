// ShardCheckpointWriter: writes one shard's two files of a checkpoint, in chunks that may come in any order, while
// training goes on. Memory: nothing of the values is copied.
//
// Thread safety: WriteChunk from any threads at once; Finish, once, when they are back. Both block on the disk: they
// are called from the executor, never from an RPC's callback.
// Ownership: `files` outlives it. A writer that is destroyed before Finish removes what it has written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/files.h"
#include "proto/checkpoint.pb.h"
#include "server/checkpoint/piece_crcs.h"
#include "server/checkpoint/shard_file.h"

namespace leeway {

class ShardCheckpointWriter {
 public:
  // Into `directory`, which is made if need be (StepDirectory, checkpoint_directory.h). ALREADY_EXISTS: it holds a
  // committed checkpoint; RESOURCE_EXHAUSTED: the disk has no room; else the file system's errors.
  static absl::StatusOr<std::unique_ptr<ShardCheckpointWriter>> Create(FileSystem& files, const std::string& directory,
                                                                       ShardFile shard_file);
  ~ShardCheckpointWriter();

  // The blocks of `run`, which belong to the shard: `weights` and each of `slots` lie as in a BlockStore, one block
  // after another, and `steps` has one number for each block. What they point at stays as it is until this returns.
  // INVALID_ARGUMENT: not this shard's run, not its slots, or a block that had come; else the file system's errors,
  // after which there is no checkpoint to be had from this writer.
  absl::Status WriteChunk(const ChunkRun& run, const float* weights, absl::Span<const float* const> slots,
                          absl::Span<const std::uint64_t> steps);

  // Makes both files survive the loss of power, and tells what CommitCheckpoint's index says of them, in its order.
  // `state` names this shard. FAILED_PRECONDITION: a block has not come. Not `durable`: they are only to be read soon.
  absl::StatusOr<std::vector<v1::CheckpointFile>> Finish(const v1::ShardState& state, bool durable = true);

 private:
  ShardCheckpointWriter(FileSystem& files, std::string directory, std::string aside, ShardFile shard_file,
                        SafetensorsPlan plan, std::unique_ptr<RandomWriteFile> file);
  absl::Status Write(std::uint64_t offset, const void* data, std::size_t size);

  FileSystem& files_;
  const std::string directory_;
  const ShardFile shard_file_;
  const SafetensorsPlan plan_;  // its tensors: steps, weights, slots
  const std::string path_;
  const std::string aside_;
  std::unique_ptr<RandomWriteFile> file_;  // null: finished
  PieceCrcs crcs_;
  std::vector<std::int64_t> steps_;  // each run writes its own
};

}  // namespace leeway
