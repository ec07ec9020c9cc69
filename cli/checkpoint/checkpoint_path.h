// Which checkpoint a person means by PATH: a checkpoint's own directory, or --checkpoint_dir, where the newest good one
// counts.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "server/checkpoint/checkpoint_directory.h"

namespace leeway {

// Is `path` a checkpoint's directory (good or not), rather than one that holds checkpoints?
bool IsCheckpointPath(FileSystem& files, const std::string& path);

// The directory of the checkpoint; of --checkpoint_dir the newest whose every byte is right. Adds to `skipped` those
// that are newer and are not. NOT_FOUND: there is none.
absl::StatusOr<std::string> ResolveCheckpoint(FileSystem& files, const std::string& path,
                                              std::vector<CheckpointEntry>* skipped);

}  // namespace leeway
