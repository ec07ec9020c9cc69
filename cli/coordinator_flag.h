// CoordinatorFlag: where the cluster's ps 0 is that a verb is to ask (--coordinator of worker/worker_flags.cc).
//
// Thread safety: after the flags are parsed, any thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

// INVALID_ARGUMENT: it is not given, or no host:port.
absl::StatusOr<std::string> CoordinatorFlag();

// An error of a call to it, with what it may have been called wrongly for: gRPC says of a server that wants TLS only
// that it has closed the socket.
absl::Status WithHint(const absl::Status& error);

}  // namespace leeway
