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
  // Connections per server for pulls, and as many for the other calls that carry weights, gradients and checkpoints,
  // used in turn. An answer waits for all that its connection was given before it: over a thin link, that of a push for
  // the megabytes of the pulls beside it, and meanwhile the worker, with as much under way as may be, sends nothing
  // (docs/performance.md). Calls of the coordinator have a connection of their own: a heartbeat never waits behind
  // megabytes. Three: on two cores of loopback a pull was 1.1 times as fast as over one.
  int data_connections = 3;
  // tls and token. A token goes to other machines only over TLS, or with `insecure`.
  Security security = {};
  Keepalive keepalive = {};
};

std::unique_ptr<Transport> MakeGrpcTransport(const GrpcTransportOptions& options = {});

}  // namespace leeway
