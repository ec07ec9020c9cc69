// The flags of a worker that another system's launcher has started: what TF_CONFIG or DMLC_* say (common/launcher.h)
// sets the flags that say who this process is and where its cluster is, unless they are given.
//
// Thread safety: before threads start, after ParseFlags.
#pragma once

#include "absl/status/status.h"

namespace leeway {

// Does nothing when --coordinator is given. INVALID_ARGUMENT: nonsense in the environment, or the process it describes
// is a ps.
absl::Status SetWorkerFlagsFromLauncher();

}  // namespace leeway
