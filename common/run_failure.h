// RunFailure: how a process of a run ends that is over and has failed, as its coordinator says: not for what this
// process has done, and not to be tried again.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace leeway {

// "the run has failed: " and why. OK when `why` is empty: the run has not failed.
absl::Status RunFailure(const std::string& why);

bool IsRunFailure(const absl::Status& status);

// How the run has ended, well or not: OK or a RunFailure. Any other status is this process's own.
bool IsRunOver(const absl::Status& status);
std::string HowRunEnded(const absl::Status& status);  // such a status, for people

}  // namespace leeway
