// RollBack: what a coordinator knows after its run has gone back to a checkpoint
// (docs/adr/0015-going-back-together.md).
//
// Thread safety: a pure function.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

// `now`: what the coordinator knows before (an empty message: it knows nothing, as only the checkpoint is there);
// `checkpoint` is of directory `name`, and is to be gone on from with `num_shards` ps.
//
// Progress (samples, clocks of rounds, data, schedule, stop rule) is the checkpoint's; who has ever been a member, the
// numbers of decisions and the history that people read go on from `now`. Nobody is a member: who was is to come again
// under a new incarnation, and the records that were leased are handed out again.
//
// FAILED_PRECONDITION: the checkpoint is of another run, or holds no coordinator's state.
absl::StatusOr<v1::CoordinatorState> RollBack(const v1::CoordinatorState& now, const v1::CheckpointIndex& checkpoint,
                                              const std::string& name, std::uint32_t num_shards);

}  // namespace leeway
