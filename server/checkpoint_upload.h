// CheckpointUpload: brings a shard's files of a checkpoint to shard 0, piece by piece, one after the other: while one
// is on its way, the shard holds the 4 MiB of that piece and nothing more. Each piece may be repeated.
//
// Thread safety: any thread; it blocks. Ownership: `files` and `calls` outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/files.h"
#include "proto/checkpoint_store.pb.h"
#include "proto/coordinator.pb.h"
#include "server/checkpoint_calls.h"

namespace leeway {

class CheckpointUpload {
 public:
  CheckpointUpload(FileSystem* files, const CheckpointCalls* calls) : files_(files), calls_(calls) {}

  // The two files of shard `shard` in `directory`, as ShardCheckpointWriter::Finish has told of them (tensors, state).
  // OK: shard 0 has both, and they survive the loss of its power. Errors: the file system's; WriteCheckpointRequest's
  // and CheckpointCalls'.
  absl::Status Bring(std::uint64_t cut, std::uint32_t shard, const std::string& directory,
                     const std::vector<v1::CheckpointFile>& written, const std::function<bool()>& go_on) const;

 private:
  absl::Status BringFile(v1::WriteCheckpointRequest piece, const std::string& path, const v1::CheckpointFile& info,
                         const std::function<bool()>& go_on) const;

  FileSystem* const files_;
  const CheckpointCalls* const calls_;
};

}  // namespace leeway
