// The TLS of an HttpServer: its certificate, key and authority, from their files.
//
// Thread safety: pure but for the files.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace boost::asio::ssl {
class context;
}

namespace leeway {

// PEM files.
struct HttpTls {
  std::string cert_file;  // with its chain
  std::string key_file;
  std::string ca_file;  // not empty: only clients with a certificate of this authority
};

// Any difference to an earlier one means that the files must be read again.
std::string StampOfTls(const HttpTls& tls);

// INVALID_ARGUMENT: a file cannot be used, and why.
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> LoadHttpTls(const HttpTls& tls);

}  // namespace leeway
