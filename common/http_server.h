// HttpServer: short answers over HTTP/1.1 to browsers, probes and scrapers. It only tells: GET and HEAD of exact paths.
//
// Everything that comes in is hostile, so everything is bounded: the connections (kMostConnections; one more takes the
// place of the one that has kept this server waiting longest), the size of a request, and the time for each
// step of a connection. Whoever sends nonsense, slowly, or does not read the answer, loses the connection and disturbs
// nobody.
//
// A server for this machine alone that asks for no token answers only requests for localhost or for an address. Else
// any site could read it through its visitors' browsers, by having its own name lead to 127.0.0.1.
//
// Thread safety: Start and destruction from one thread; address() and port() from any. Handlers and the authorizer run
// on the server's one thread, one at a time: they must not block.
// Ownership: the destructor ends the thread; what handlers refer to must live until then.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/http_tls.h"

namespace leeway {

struct HttpRequest {
  std::string path;   // of the target, as sent, up to '?'
  std::string query;  // after '?'
  std::string token;  // of "Authorization: Bearer TOKEN", or the password of "Basic"; "": none
  std::string host;   // these three as sent
  std::string accept;
  std::string accept_encoding;
  std::string peer;  // address of the other end, without its port
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};  // further ones
};

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

class HttpServer {
 public:
  using Tls = HttpTls;  // read again when the files change: connections that begin then get the new ones

  // Ten browsers with the six connections each that they may open, and some for probes and scrapers. Each costs at most
  // 16 KiB of buffer and one answer.
  static constexpr std::size_t kMostConnections = 64;
  static constexpr std::size_t kMostRequestBytes = 16 << 10;

  struct Options {
    std::string address = "127.0.0.1:0";               // IP address or localhost, and port; 0: a free one
    std::map<std::string, HttpHandler> handlers = {};  // by path
    std::optional<Tls> tls = std::nullopt;             // nothing: in the clear
    // Asked before anything is answered, but for `open_paths`. UNAUTHENTICATED is answered with 401,
    // anything else that is not OK with 403. Empty: everybody may ask.
    std::function<absl::Status(const HttpRequest&)> authorize = {};
    std::set<std::string> open_paths = {"/healthz", "/readyz"};
    std::size_t max_connections = kMostConnections;
    absl::Duration request_time =
        absl::Seconds(10);                          // from accept until the first request is here, with TLS's handshake
    absl::Duration idle_time = absl::Seconds(75);   // from an answer until the next request is here
    absl::Duration write_time = absl::Seconds(20);  // for an answer to be taken
  };

  // INVALID_ARGUMENT: the address, or a TLS file (which, and why); UNAVAILABLE: cannot listen there.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);
  ~HttpServer();

  const std::string& address() const { return address_; }  // host:port, as it is bound
  int port() const { return port_; }
  std::string url() const { return url_; }  // "http://host:port/", or https

 private:
  class Impl;
  template <typename Stream>
  class Connection;
  explicit HttpServer(std::unique_ptr<Impl> impl);

  std::string address_;
  std::string url_;
  int port_ = 0;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace leeway
