// SetKeepalive: tells gRPC what common/keepalive.h says, on either end.
//
// Thread safety: pure functions.
#pragma once

#include <grpcpp/grpcpp.h>

#include "common/keepalive.h"

namespace leeway {

void SetKeepalive(const Keepalive& keepalive, grpc::ChannelArguments* client);
void SetKeepalive(const Keepalive& keepalive, grpc::ServerBuilder* server);

}  // namespace leeway
