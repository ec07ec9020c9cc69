// WatchCluster: a running cluster on a terminal, redrawn every second, until it has ended or somebody has seen enough.
//
// Thread safety: one thread, which it blocks.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/transport.h"

namespace leeway {

// Returns 0 when the run has ended, or 128 + the signal. UNAVAILABLE: the coordinator has not answered for 10 s.
absl::StatusOr<int> WatchCluster(Transport* transport, const std::string& coordinator);

}  // namespace leeway
