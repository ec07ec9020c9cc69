// The flags of a `ps` that another system's launcher has started: what TF_CONFIG or DMLC_* say (common/launcher.h) sets
// the flags that say who and where this process is, unless they are given.
//
// Thread safety: main's thread, after ParseFlags, with SIGTERM and SIGINT blocked.
#pragma once

#include "absl/status/status.h"

namespace leeway {

// Does nothing when --shard_index, --num_shards or --coordinator is given: then a person or a script has said who this
// process is. INVALID_ARGUMENT: nonsense in the environment, or the process it describes is no ps. For a server without
// a number it asks the coordinator, at most --start_timeout long, which shard it is to be: UNAVAILABLE,
// FAILED_PRECONDITION; CANCELLED: one of those signals has come.
absl::Status SetPsFlagsFromLauncher();

}  // namespace leeway
