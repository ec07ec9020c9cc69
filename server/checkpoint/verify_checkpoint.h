// VerifyCheckpoint: reads every byte of a checkpoint and names what is wrong with it.
//
// Thread safety: pure functions but for the file system. Memory: 4 MiB, and one shard's state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/files.h"

namespace leeway {

struct CheckpointDamage {
  std::string file;  // in the checkpoint's directory
  std::uint64_t offset = 0;
  std::string reason;  // with path, offset and values
};

// Everything that is wrong, file by file, at most one entry per piece; empty: the checkpoint is good.
std::vector<CheckpointDamage> VerifyCheckpoint(FileSystem& files, const std::string& directory);

}  // namespace leeway
