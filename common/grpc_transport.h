// The Transport over gRPC: raw buffers, a deadline on every call, a few connections per server.
//
// Thread safety and ownership: as Transport's.
#pragma once

#include <memory>

#include "common/keepalive.h"
#include "common/security.h"
#include "common/transport.h"

namespace leeway {

struct GrpcTransportOptions {
  // Connections per server for the calls that carry weights, gradients and checkpoints, used in turn. Those of the
  // coordinator have a connection of their own: a heartbeat never waits behind megabytes. Three: on two cores of
  // loopback a pull was 1.1 times as fast as over one, and pulls together with pushes 1.5 times (docs/performance.md).
  int data_connections = 3;
  // tls and token. A token goes to other machines only over TLS, or with `insecure`.
  Security security = {};
  Keepalive keepalive = {};
};

std::unique_ptr<Transport> MakeGrpcTransport(const GrpcTransportOptions& options = {});

}  // namespace leeway
