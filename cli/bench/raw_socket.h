// The raw program that the data plane is measured against: bytes over one stream socket (TCP loopback or a Unix
// socket), one thread per end, into and out of memory that is warm. Nothing can be faster over the same sockets.
//
// Thread safety: one thread per RawClient. Ownership: the client owns its connection, and the server's threads end
// with the process.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

// Serves transfers of `bytes` in threads of its own, until the process ends. Returns the addresses:
// "127.0.0.1:port" and "unix-abstract:name".
struct RawAddresses {
  std::string tcp, local;
};
absl::StatusOr<RawAddresses> ServeRaw(std::size_t bytes);

// What it is made of, for a program that adds something: sockets, which are the caller's to close.
absl::StatusOr<int> ListenTcp(std::string* address);         // at a free port of loopback, which `address` gets
absl::StatusOr<int> ConnectRaw(const std::string& address);  // one of RawAddresses
void SendAtOnce(int socket);                                 // short messages do not wait for more

class RawClient {
 public:
  static absl::StatusOr<std::unique_ptr<RawClient>> Connect(const std::string& address, std::size_t bytes);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  absl::Status Push(const void* from);  // all bytes there, one byte back
  absl::Status Pull(void* to);          // one byte there, all bytes back

 private:
  RawClient(int socket, std::size_t bytes) : socket_(socket), bytes_(bytes) {}

  const int socket_;
  const std::size_t bytes_;
};

}  // namespace leeway
