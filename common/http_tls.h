// The TLS of an HttpServer: its certificate, key and authority, from their files.
//
// Thread safety: pure but for the files.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/http_server.h"

namespace leeway {

// Any difference to an earlier one means that the files must be read again.
std::string StampOfTls(const HttpServer::Tls& tls);

// INVALID_ARGUMENT: a file cannot be used, and why.
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> LoadHttpTls(const HttpServer::Tls& tls);

}  // namespace leeway
