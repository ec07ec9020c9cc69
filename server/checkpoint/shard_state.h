// A .state file: a shard's state beside its tensors, one v1::ShardState in a frame: 8 bytes of magic, 8 bytes size, 4
// bytes CRC32C of the body, 4 bytes CRC32C of these 20, all little-endian, then the body and nothing more.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/placement.h"
#include "proto/checkpoint.pb.h"

namespace leeway {

std::string EncodeShardState(const v1::ShardState& state);

// `bytes` as a file called `path` (for messages). DATA_LOSS: it is no such file.
absl::StatusOr<v1::ShardState> ParseShardState(const std::string& path, const std::string& bytes);

// Reads the state of shard `shard` of `index` from `directory`. DATA_LOSS, with the path: it is missing or damaged, or
// of another shard or checkpoint; else the file system's errors.
absl::StatusOr<v1::ShardState> ReadShardState(FileSystem& files, const std::string& directory,
                                              const v1::CheckpointIndex& index, std::uint32_t shard);

// The state of shard `shard` when the checkpoint whose shards had `from` (at least one) is cut anew by `placement`:
// counters go on at the largest, the snapshot is the newest, and no windows are carried, so that every worker rejoins.
// Statistics begin anew, and the journals of the old shards do not belong to it.
v1::ShardState ReshardedState(const std::vector<v1::ShardState>& from, std::uint32_t shard, const Placement& placement);

}  // namespace leeway
