// The raw program that pushes and pulls over mTLS are measured against: raw_socket's over TCP loopback, with TLS 1.3 by
// OpenSSL on top of each end, both showing a certificate.
//
// Thread safety: one thread per RawTlsClient. Ownership: the client owns its connection, and the server's threads end
// with the process.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/certificates.h"

struct ssl_st;

namespace leeway {

// Serves transfers of `bytes` in threads of its own, until the process ends. Returns "127.0.0.1:port".
absl::StatusOr<std::string> ServeRawTls(std::size_t bytes, const TlsFiles& tls);

class RawTlsClient {
 public:
  static absl::StatusOr<std::unique_ptr<RawTlsClient>> Connect(const std::string& address, std::size_t bytes,
                                                               const TlsFiles& tls);
  ~RawTlsClient();
  RawTlsClient(const RawTlsClient&) = delete;
  RawTlsClient& operator=(const RawTlsClient&) = delete;

  absl::Status Push(const void* from);  // all bytes there, one byte back
  absl::Status Pull(void* to);          // one byte there, all bytes back

 private:
  RawTlsClient(ssl_st* connection, std::size_t bytes) : connection_(connection), bytes_(bytes) {}

  ssl_st* const connection_;
  const std::size_t bytes_;
};

}  // namespace leeway
