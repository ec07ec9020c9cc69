// GrpcServer: serves a RequestHandler under both services of the protocol, with grpc.health.v1 and server
// reflection. Every method is a raw-buffer one, so payloads are never copied.
//
// Thread safety: Start and Shutdown from one thread. Ownership: `handler` outlives the server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/transport.h"

namespace leeway {

class GrpcServer {
 public:
  // `listen`: host:port; port 0 takes a free one. UNAVAILABLE: the address cannot be listened on; the message has the
  // system's reason.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& listen, RequestHandler* handler);

  ~GrpcServer();  // Shutdown()

  int port() const;

  // What grpc.health.v1 answers for the whole server.
  void SetServing(bool serving);

  // Refuses new calls and waits for those under way; the handler must have answered what it holds.
  void Shutdown();

 private:
  class Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeway
