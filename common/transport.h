// Transport: the seam for the network. One unary call: a method name, bytes there, bytes back, a deadline.
// The daemons run it over gRPC and local sockets (common/any_transport.h); tests and the simulator in one process.
//
// Everything above it (handlers, clients, retries, membership) sees absl::Status and Buffer only, so no
// gRPC type leaks and the same code runs under every transport.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/buffer.h"

namespace leeway {

// Called exactly once, from any thread; it must not block.
using ReplyCallback = std::function<void(absl::Status, Buffer)>;

// The calling side.
//
// Thread safety: any thread. Ownership: outlives every call under way (the destructor cancels them and
// waits for their callbacks).
class Transport {
 public:
  virtual ~Transport() = default;

  // Calls `method` ("ParameterServer/Push") of the server at `address`. `done` gets the server's status,
  // or UNAVAILABLE (no connection), DEADLINE_EXCEEDED (no answer within `timeout`: it may still have been
  // carried out), CANCELLED (this side is shutting down).
  virtual void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
                    ReplyCallback done) = 0;
};

// The serving side.
//
// Thread safety: Handle is called from many threads at once and must not block.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;

  // `method` is one of proto/*.proto's, as in Transport::Call. `done` may be called in line.
  virtual void Handle(const std::string& method, Buffer request, ReplyCallback done) = 0;
};

}  // namespace leeway
