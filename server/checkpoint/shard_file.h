// The layout of a shard's .safetensors file: an I64 tensor "steps" (one per block), then F32 tensors "weights",
// "slot.0", "slot.1", ...: the shard's blocks one after another, ascending, as a BlockStore has them in memory.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/placement.h"
#include "common/safetensors_header.h"
#include "proto/policy.pb.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {

// Whose file it is.
struct ShardFile {
  std::string model;
  std::uint64_t model_fingerprint = 0;
  Placement placement;
  std::uint32_t shard = 0;
  std::uint32_t slots = 0;
  std::string optimizer;  // for people: "adam"
};

std::string OptimizerName(const v1::OptimizerConfig& optimizer);

// What `index` says of shard `shard`.
ShardFile ShardFileOf(const Checkpoint& checkpoint, std::uint32_t shard);

// "weights" is tensor 0, and "slot.k" tensor 1 + k.
std::string TensorName(std::uint32_t tensor);

// `path`: for messages. INVALID_ARGUMENT: a name is not UTF-8, or more slots than kMaxSlots.
absl::StatusOr<SafetensorsPlan> PlanShardFile(const std::string& path, const ShardFile& shard_file);

// DATA_LOSS, naming path, tensor or metadata and both values: `header` is another file's.
absl::Status CheckShardFile(const std::string& path, const SafetensorsHeader& header, const ShardFile& shard_file);

}  // namespace leeway
