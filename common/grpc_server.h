// GrpcServer: serves a RequestHandler under all services of the protocol, with grpc.health.v1 and server
// reflection. Every method is a raw-buffer one, so payloads are never copied. Requests with payloads are read one by
// one (common/grpc_payload_service.h), so that their memory is bounded; a larger message than kMaxMessageBytes is
// answered RESOURCE_EXHAUSTED, unread; a packed one, UNIMPLEMENTED. Every method of the protocol asks for a token where
// there is an authorizer; health and reflection, which tell nothing of a run, do not.
//
// Thread safety: Start and Shutdown from one thread. Ownership: `handler` outlives the server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/keepalive.h"
#include "common/read_turns.h"
#include "common/security.h"
#include "common/transport.h"

namespace leeway {

class GrpcServer {
 public:
  struct Options {
    Security security = {};  // tls and authorizer
    absl::Duration longest_turn = ReadTurns::kLongestTurn;
    // From accept until TLS and HTTP/2 have begun: who only connects is not kept longer.
    absl::Duration handshake_time = absl::Seconds(10);
    Keepalive keepalive = {};
  };

  // `listen`: host:port; port 0 takes a free one. UNAVAILABLE: the address cannot be listened on; the message has the
  // system's reason.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& listen, RequestHandler* handler,
                                                           const Options& options);
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& listen, RequestHandler* handler) {
    return Start(listen, handler, Options());
  }

  ~GrpcServer();  // Shutdown()

  int port() const;

  // Requests with payloads that are being read.
  std::size_t reading() const;

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
