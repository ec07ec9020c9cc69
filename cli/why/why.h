// `leeway why`: whom each worker has waited for, of a running cluster or of a run's directory.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"

namespace leeway {

// What `leeway run` leaves in its directory for it: a GetStatusReply with the newest waits.
inline constexpr char kWaitsFile[] = "waits.pb";

// `words`: the run's directory, or nothing with --coordinator. Returns the exit code.
int RunWhy(const std::vector<std::string>& words, int argc, char** argv);

}  // namespace leeway
