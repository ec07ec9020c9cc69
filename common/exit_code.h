// The exit codes of ps, worker and leeway run, one meaning each (docs/architecture.md, "Exit codes"). 0: all went well.
//
// Thread safety: constants.
#pragma once

namespace leeway {

inline constexpr int kExitBadInput = 1;  // flags, data, another model: it would end in the same way again
// A process, a disk or a GPU that is needed is gone; for leeway run: it has failed.
inline constexpr int kExitClusterLost = 2;
inline constexpr int kExitQuarantined = 3;  // of a worker: its gradients were not finite
inline constexpr int kExitRunFailed = 4;    // the run is over, and has come to nothing: its loss has diverged

}  // namespace leeway
