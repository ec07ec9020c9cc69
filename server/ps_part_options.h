// What the options of a `ps` mean for its parts.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "server/checkpoint_place.h"
#include "server/coordinator/coordinator.h"
#include "server/era.h"
#include "server/ps_options.h"
#include "server/recover_shard.h"
#include "server/shard.h"
#include "server/shard_checkpoints.h"

namespace leeway {

// With a new random generation.
Shard::Options ShardOptionsOf(const PsOptions& options);

// Without what only the process has: a committer, and what happens when the run goes back.
Coordinator::Options CoordinatorOptionsOf(const PsOptions& options, std::uint64_t run_id);

// Of the checkpoints of a shard in `era`.
ShardCheckpoints::Options ShardCheckpointsOptionsOf(const PsOptions& options, const Era& era,
                                                    const CheckpointPlace& checkpoints);

// `go_back`: into this era, instead of what the journal says.
RecoverOptions RecoverOptionsOf(const PsOptions& options, const std::optional<Era>& go_back,
                                const CheckpointPlace& checkpoints);

}  // namespace leeway
