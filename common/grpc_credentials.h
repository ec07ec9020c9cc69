// The credentials of TLS for gRPC. The certificates are read again when their files change: connections that begin then
// use the new ones, those that are there go on.
//
// Thread safety: pure functions; what they return, from any thread.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "common/security.h"

namespace leeway {

// In the clear where `tls` is empty. Else both ends show a certificate that the other's authorities vouch for and that
// is not `revoked`, and a client checks that the server's is made out to the name by which it calls it.
std::shared_ptr<grpc::ChannelCredentials> ChannelCredentialsOf(const Security& security);
std::shared_ptr<grpc::ServerCredentials> ServerCredentialsOf(const Security& security);

}  // namespace leeway
