// Checkpoints of made-up models, for tests and the benchmark: every value is a function of the model vector's element,
// so that it can be told wherever it lies.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/files.h"
#include "common/manifest.h"
#include "server/checkpoint/checkpoint_index.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_checkpoint_writer.h"

namespace leeway {

struct MadeUp {
  std::uint64_t elements = 1;
  std::uint32_t num_shards = 1;
  std::uint32_t slots = 0;
  std::uint64_t step = 1;
  std::uint64_t seed = 1;
  // The step number of every element of so many: a block's is that of its first one. 0: one number for all.
  std::uint64_t step_stretch = 0;
};

// Up to three tensors (groups, initializers and all) of so many elements together.
v1::Manifest MadeUpManifest(std::uint64_t elements);
// What the index says before the shards' files are known.
v1::CheckpointIndex MadeUpIndex(const MadeUp& made);
v1::ShardState MadeUpState(const MadeUp& made, std::uint32_t shard);

// Any bits, NaN among them. Tensor 0: weights, 1 + k: slot k.
float MadeUpValue(const MadeUp& made, std::uint32_t tensor, std::uint64_t element);
std::uint64_t MadeUpSteps(const MadeUp& made, std::uint64_t element);

// A shard's values, as a BlockStore has them.
struct MadeUpShard {
  std::vector<std::vector<float>> tensors;
  std::vector<std::uint64_t> steps;
};
MadeUpShard MakeShard(const MadeUp& made, const Placement& placement, std::uint32_t shard);

// Writes `run` of a shard's values.
absl::Status WriteRun(ShardCheckpointWriter& writer, const MadeUpShard& values, const Placement& placement,
                      const ChunkRun& run);
// Writes a shard's two files, its chunks in an order that the seed decides; adds them to the index.
absl::Status WriteShard(FileSystem& files, const std::string& path, const MadeUp& made, std::uint32_t shard,
                        v1::CheckpointIndex* index);
// The whole checkpoint, in DIRECTORY/step-...
absl::Status SaveMadeUp(FileSystem& files, const std::string& directory, const MadeUp& made);

// OK: reading every value, for `num_shards` shards, gives what was made up, bit for bit. Steps are compared if the
// blocks are the same or there is one number for all.
absl::Status CheckMadeUp(CheckpointReader& reader, const MadeUp& made, std::uint32_t num_shards);

}  // namespace leeway
