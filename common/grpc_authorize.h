// Whether a gRPC call may be made, by the token in its metadata.
//
// Thread safety: pure functions.
#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"
#include "common/authorizer.h"

namespace leeway {

// `method` as in Transport::Call. OK when `authorizer` is null; else as Authorizer::Check.
absl::Status Authorize(Authorizer* authorizer, const std::string& method, const grpc::ServerContextBase& context);

}  // namespace leeway
