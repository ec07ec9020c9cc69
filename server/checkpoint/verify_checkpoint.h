// VerifyCheckpoint: reads every byte of a checkpoint and names what is wrong with it.
//
// Thread safety: pure functions but for the file system. Memory: 4 MiB, and one shard's state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/files.h"

namespace leeway {

struct CheckpointDamage {
  std::string file;  // in the checkpoint's directory
  std::uint64_t offset = 0;
  std::string reason;  // with path, offset and values
  // DATA_LOSS (NOT_FOUND of COMMITTED): it is wrong. Else the file system's error: it cannot be read just now.
  absl::StatusCode code = absl::StatusCode::kDataLoss;
};

// Everything that is wrong or cannot be read, file by file, at most one entry per piece; empty: the checkpoint is good.
std::vector<CheckpointDamage> VerifyCheckpoint(FileSystem& files, const std::string& directory);

}  // namespace leeway
