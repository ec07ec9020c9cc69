// The one place where gRPC statuses become absl::Status and back, the retry delay included.
//
// Thread safety: pure functions.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace leeway {

// The message is cut at 2,000 bytes.
grpc::Status ToGrpc(const absl::Status& status);

// UNKNOWN, which nothing of ours answers, becomes UNAVAILABLE when the connection broke ("Stream
// removed"), else INTERNAL.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace leeway
