// ExitCodeOf: with which code a worker ends (common/exit_code.h), by the status that it ended with. A GPU that fails
// while it computes (INTERNAL), or that cannot be used (UNAVAILABLE), is gone as a server is gone: another start may
// find it again.
//
// Thread safety: pure function.
#pragma once

#include "absl/status/status.h"

namespace leeway {

int ExitCodeOf(const absl::Status& status);

}  // namespace leeway
