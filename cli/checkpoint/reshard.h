// ReshardCheckpoint: the same checkpoint for another number of shards.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/files.h"

namespace leeway {

// Writes the checkpoint in `source` for `num_shards` shards to DIRECTORY/step-..., and returns that path. Weights and
// slots keep their bits; steps as CheckpointReader says, the rest of the state as ReshardedState.
// ALREADY_EXISTS: that step is there; INVALID_ARGUMENT: an impossible num_shards; else CheckpointReader's errors and
// the file system's, after which nothing is left there.
absl::StatusOr<std::string> ReshardCheckpoint(FileSystem& files, const std::string& source, std::uint32_t num_shards,
                                              const std::string& directory);

}  // namespace leeway
