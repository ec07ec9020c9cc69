#include "server/ps_part_options.h"

#include "common/random_id.h"

namespace leeway {

Shard::Options ShardOptionsOf(const PsOptions& options) {
  Shard::Options shard;
  shard.index = options.shard_index;
  shard.num_shards = options.num_shards;
  shard.generation = RandomId();
  shard.max_held_bytes = options.max_held_bytes;
  shard.journal_max_bytes = options.journal_max_bytes;
  shard.protocol_version = options.protocol_version;
  return shard;
}

Coordinator::Options CoordinatorOptionsOf(const PsOptions& options, std::uint64_t run_id) {
  Coordinator::Options coordinator;
  coordinator.policy = options.policy;
  coordinator.num_shards = options.num_shards;
  coordinator.run_id = run_id;
  coordinator.lease = options.lease;
  coordinator.num_evaluators = options.num_evaluators;
  coordinator.abandon_timeout = options.abandon_timeout;
  coordinator.protocol_version = options.protocol_version;
  coordinator.rollback_on_divergence = options.rollback_on_divergence;
  if (options.checkpoint_dir.empty()) return coordinator;
  coordinator.checkpoint_dir = options.checkpoint_dir;
  coordinator.checkpoint_steps = options.checkpoint_steps;
  coordinator.checkpoint_interval = options.checkpoint_interval;
  return coordinator;
}

ShardCheckpoints::Options ShardCheckpointsOptionsOf(const PsOptions& options, const Era& era,
                                                    const CheckpointPlace& checkpoints) {
  return {options.checkpoint_dir, options.shard_index, options.num_shards, era, options.keep_journal, checkpoints};
}

RecoverOptions RecoverOptionsOf(const PsOptions& options, const std::optional<Era>& go_back,
                                const CheckpointPlace& checkpoints) {
  RecoverOptions recover;
  recover.checkpoint_dir = options.checkpoint_dir;
  recover.journal = options.journal != PsOptions::JournalMode::kOff;
  recover.fsync = options.journal == PsOptions::JournalMode::kFsync;
  recover.go_back = go_back;
  recover.checkpoints = checkpoints;
  return recover;
}

}  // namespace leeway
