// LocalServer: serves a RequestHandler over local sockets, to processes of the same user (or root) on this machine;
// where there is an authorizer, to those of them that have a token.
//
// Thread safety: Start and Shutdown from one thread. Ownership: `handler` outlives the server.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/authorizer.h"
#include "common/transport.h"

namespace leeway {

class LocalServer {
 public:
  // Two threads each. A worker has two: enough for the workers of a large machine, and a bound for who floods. Others
  // are closed at once; their workers call over TCP.
  static constexpr std::size_t kMaxConnections = 256;
  // Of one connection, that the handler has not answered. Above, calls are refused with RESOURCE_EXHAUSTED: they must
  // not wait, for what is held may wait for them. A worker has a few dozen.
  static constexpr std::size_t kMaxCalls = 1024;
  // Of answers that wait to be written on one connection; above, no more requests are read from it. A window of pulls.
  static constexpr std::size_t kPauseAbove = 8 << 20;

  // Of messages that are being read, over all connections; other messages wait their turn, in the order in which they
  // came. As much as over TCP (ReadTurns::kReading chunks of 4 MiB).
  static constexpr std::size_t kReadingBytes = 256 << 20;
  // With what the connections have beside: 64 KiB of a message that waits for its turn, and as much of a short one.
  static constexpr std::size_t kMostBytes = kReadingBytes + kMaxConnections * (std::size_t{128} << 10);
  // Within this a message must come once it is announced, and again once it has its turn; else its connection is
  // closed. A caller waits as long for its answer (worker/client/caller.h), so what comes later comes for nobody.
  static constexpr std::chrono::seconds kMessageLimit{20};

  // `address`: "local:NAME". `authorizer`: null, or asked before each call. UNAVAILABLE: the address is taken;
  // INVALID_ARGUMENT: it is none.
  static absl::StatusOr<std::unique_ptr<LocalServer>> Start(const std::string& address, RequestHandler* handler,
                                                            std::shared_ptr<Authorizer> authorizer = nullptr);

  ~LocalServer();  // Shutdown()

  // Refuses new calls and waits for those under way; the handler must have answered what it holds.
  void Shutdown();

 private:
  class Impl;
  explicit LocalServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace leeway
