// Whether a gRPC call may be made: by the certificate of its connection, which may have been revoked since that began,
// and by the token in its metadata.
//
// Thread safety: pure functions.
#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"
#include "common/security.h"

namespace leeway {

// `method` as in Transport::Call. As RevokedCertificates::Check and Authorizer::Check, where `security` has them.
absl::Status Authorize(const Security& security, const std::string& method, const grpc::ServerContextBase& context);

}  // namespace leeway
