#include "common/http_server.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>
#include <type_traits>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/http_tls.h"
#include "common/log.h"
#include "common/log_every.h"
#include "common/socket.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

// Without descriptors accept() would fail again at once.
constexpr std::chrono::milliseconds kAcceptPause{100};

template <typename Text>
std::string ToString(const Text& text) {
  return std::string(text.data(), text.size());
}

std::string TokenOf(const std::string& authorization) {
  const std::size_t space = authorization.find(' ');
  if (space == std::string::npos) return "";
  const std::string scheme = authorization.substr(0, space);
  const std::string rest = authorization.substr(space + 1);
  if (absl::EqualsIgnoreCase(scheme, "bearer")) return rest;
  std::string user_password;
  if (!absl::EqualsIgnoreCase(scheme, "basic") || !absl::Base64Unescape(rest, &user_password)) return "";
  const std::size_t colon = user_password.find(':');
  return colon == std::string::npos ? "" : user_password.substr(colon + 1);
}

HttpResponse Text(int status, const std::string& text) {
  HttpResponse response;
  response.status = status;
  response.body = text + "\n";
  return response;
}

HttpRequest Describe(const http::request<http::string_body>& request, const std::string& peer) {
  const std::string target = ToString(request.target());
  const std::size_t question = target.find('?');
  HttpRequest described;
  described.path = target.substr(0, question);
  if (question != std::string::npos) described.query = target.substr(question + 1);
  described.token = TokenOf(ToString(request[http::field::authorization]));
  described.host = ToString(request[http::field::host]);
  described.accept = ToString(request[http::field::accept]);
  described.accept_encoding = ToString(request[http::field::accept_encoding]);
  described.peer = peer;
  return described;
}

// "localhost:8080", "127.0.0.1", "[::1]:8080": no name that somebody else decides upon. A browser always sends one.
bool IsAddressOrLocalhost(const std::string& host) {
  const std::string name =
      absl::StartsWith(host, "[") ? host.substr(1, host.find(']') - 1) : host.substr(0, host.find(':'));
  error_code error;
  asio::ip::make_address(name, error);
  return !error || name.empty() || absl::EqualsIgnoreCase(name, "localhost");
}

// A connection as the server sees it: something that can be ended.
class Closable {
 public:
  virtual ~Closable() = default;
  virtual void Close() = 0;
};

// An IPv4 address that came over a socket for both families is called by its own name.
std::string NameOf(const asio::ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address.to_string();
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
}

}  // namespace

// All but Start and the destructor runs on thread_.
class HttpServer::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)) {}

  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start() {
    ASSIGN_OR_RETURN(const auto parts, SplitAddress(options_.address));
    error_code error;
    const auto address = asio::ip::make_address(parts.first == "localhost" ? "127.0.0.1" : parts.first, error);
    if (error) {
      return absl::InvalidArgumentError(absl::StrCat("'", parts.first, "' is neither an IP address nor localhost"));
    }
    if (options_.tls) {
      tls_stamp_ = StampOfTls(*options_.tls);
      ASSIGN_OR_RETURN(tls_, LoadHttpTls(*options_.tls));
    }
    const auto port = static_cast<std::uint16_t>(parts.second);
    // 0.0.0.0 is every address, those of IPv6 too where the machine has it, as for gRPC: a pod may have no other.
    if (address.is_unspecified()) error = Listen({asio::ip::address_v6::any(), port});
    if (!address.is_unspecified() || error) error = Listen({address, port});
    if (error) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", options_.address, ": ", error.message()));
    }
    only_localhost_ = acceptor_.local_endpoint().address().is_loopback() && !options_.authorize;
    Accept();
    thread_ = std::thread([this] { io_.run(); });
    pthread_setname_np(thread_.native_handle(), "http");  // so that what it costs can be seen
    return absl::OkStatus();
  }

  tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
  bool secure() const { return options_.tls.has_value(); }
  const Options& options() const { return options_; }

  // This connection begins to wait for its peer: among those that could be ended, it is the last now.
  void Waits(Closable* connection, std::uint64_t* turn) {
    waiting_.erase(*turn);
    *turn = ++turns_;
    waiting_.emplace(*turn, connection);
  }
  void Ended(std::uint64_t turn) { waiting_.erase(turn); }

  HttpResponse Answer(const std::string& method, const HttpRequest& request) const {
    if (only_localhost_ && !IsAddressOrLocalhost(request.host)) {
      return Text(421, "this server is for this machine alone: ask for localhost, or for its address");
    }
    if (options_.authorize && options_.open_paths.count(request.path) == 0) {
      const absl::Status allowed = options_.authorize(request);
      const std::string reason(allowed.message());
      if (absl::IsUnauthenticated(allowed)) {
        HttpResponse response = Text(401, reason);
        // A browser asks for user and password then: the token is the password, whatever the user.
        response.headers = {{"WWW-Authenticate", "Basic realm=\"leeway\", charset=\"UTF-8\""},
                            {"WWW-Authenticate", "Bearer"}};
        return response;
      }
      if (!allowed.ok()) return Text(403, reason);
    }
    const auto handler = options_.handlers.find(request.path);
    if (handler == options_.handlers.end()) {
      std::string there = "there is no such page; there are";
      for (const auto& [path, other] : options_.handlers) absl::StrAppend(&there, " ", path);
      return Text(404, there);
    }
    if (method != "GET" && method != "HEAD") {
      HttpResponse response = Text(405, "only GET and HEAD");
      response.headers = {{"Allow", "GET, HEAD"}};
      return response;
    }
    try {  // of libraries that a handler uses; this thread serves others too
      return handler->second(request);
    } catch (const std::exception& error) {
      spdlog::error("http: {}: {}", request.path, error.what());
      return Text(500, "this failed; the log says why");
    }
  }

 private:
  error_code Listen(const tcp::endpoint& endpoint) {
    error_code error;
    if (acceptor_.is_open()) acceptor_.close(error);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    const bool every = endpoint.address() == asio::ip::address_v6::any();
    if (!error && every) acceptor_.set_option(asio::ip::v6_only(false), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    return error;
  }

  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (!error) {
        Admit(std::move(socket));
        return Accept();
      }
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([this](error_code) { Accept(); });
    });
  }

  void Admit(tcp::socket socket);

  void ReloadTls() {
    const std::string stamp = StampOfTls(*options_.tls);
    if (stamp == tls_stamp_) return;
    absl::StatusOr<std::shared_ptr<ssl::context>> loaded = LoadHttpTls(*options_.tls);
    if (loaded.ok()) {
      tls_ = *std::move(loaded);
      tls_stamp_ = stamp;
      spdlog::info("http: {} was read again", options_.tls->cert_file);
      return;
    }
    // The next connection tries again: it may have been this process that could not read.
    const Instant now{std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1)};
    if (unreadable_.Due(now)) spdlog::warn("http: the certificate of before stays: {}", loaded.status());
  }

  const Options options_;
  std::shared_ptr<ssl::context> tls_;
  std::string tls_stamp_;  // of what tls_ was read from
  LogEvery unreadable_{absl::Seconds(10)};
  bool only_localhost_ = false;
  std::uint64_t turns_ = 0;
  std::map<std::uint64_t, Closable*> waiting_;  // every connection, by when it began what it does
  asio::io_context io_{1};                      // after what connections refer to: they end with it
  tcp::acceptor acceptor_{io_};
  asio::steady_timer pause_{io_};
  std::thread thread_;
};

// One connection. It lives as long as an operation of it is under way.
template <typename Stream>
class HttpServer::Connection final : public Closable, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <typename... Arguments>
  Connection(Impl* server, std::string peer, Arguments&&... arguments)
      : server_(server), peer_(std::move(peer)), stream_(std::forward<Arguments>(arguments)...) {}
  ~Connection() override { server_->Ended(turn_); }

  void Begin() {
    server_->Waits(this, &turn_);
    SetDeadline(server_->options().request_time);
    if constexpr (kSecure) {
      stream_.async_handshake(ssl::stream_base::server, [self = this->shared_from_this()](error_code error) {
        if (!error) self->Read();
      });
    } else {
      Read();
    }
  }

  void Close() override {
    server_->Ended(turn_);
    beast::get_lowest_layer(stream_).close();
  }

 private:
  static constexpr bool kSecure = std::is_same_v<Stream, TlsStream>;

  // For all operations from now on together, however many bytes come meanwhile.
  void SetDeadline(absl::Duration time) {
    beast::get_lowest_layer(stream_).expires_after(absl::ToChronoNanoseconds(time));
  }

  void Read() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(kMostRequestBytes));
    parser_->body_limit(0);
    http::async_read(stream_, buffer_, *parser_,
                     [self = this->shared_from_this()](error_code error, std::size_t) { self->OnRead(error); });
  }

  void OnRead(error_code error) {
    if (error == http::error::end_of_stream) return End();
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return Refuse(Text(431, absl::StrCat("a request has at most ", kMostRequestBytes, " bytes")));
    }
    if (error == http::error::body_limit || error == http::error::unexpected_body) {
      return Refuse(Text(413, "a request has no body here"));
    }
    if (error == http::error::partial_message) return;
    if (error && error.category() == http::make_error_code(http::error::bad_method).category()) {
      return Refuse(Text(400, "this is no HTTP request"));
    }
    if (error) return;  // the time was up, or the peer is gone
    const http::request<http::string_body>& request = parser_->get();
    const std::string method = ToString(request.method_string());
    Send(server_->Answer(method, Describe(request, peer_)), method == "HEAD", request.version(), request.keep_alive());
  }

  void Refuse(HttpResponse response) { Send(std::move(response), false, 11, false); }

  void Send(HttpResponse response, bool head, unsigned version, bool keep_alive) {
    answer_ = http::response<http::string_body>();
    answer_.version(version);
    answer_.result(static_cast<unsigned>(response.status));
    answer_.set(http::field::content_type, response.content_type);
    answer_.set(http::field::cache_control, "no-store");
    answer_.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : response.headers) answer_.insert(name, value);
    answer_.keep_alive(keep_alive);
    answer_.content_length(response.body.size());
    if (!head) answer_.body() = std::move(response.body);
    server_->Waits(this, &turn_);
    SetDeadline(server_->options().write_time);
    http::async_write(stream_, answer_, [self = this->shared_from_this()](error_code error, std::size_t) {
      if (error) return;
      if (!self->answer_.keep_alive()) return self->End();
      self->server_->Waits(self.get(), &self->turn_);
      self->SetDeadline(self->server_->options().idle_time);
      self->Read();
    });
  }

  void End() {
    if constexpr (kSecure) {
      SetDeadline(server_->options().write_time);
      stream_.async_shutdown([self = this->shared_from_this()](error_code) {});
    } else {
      error_code ignored;
      stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    }
  }

  Impl* const server_;
  const std::string peer_;
  std::uint64_t turn_ = 0;
  Stream stream_;
  beast::flat_buffer buffer_{kMostRequestBytes};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> answer_;
};

void HttpServer::Impl::Admit(tcp::socket socket) {
  if (waiting_.size() >= options_.max_connections) waiting_.begin()->second->Close();
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;  // gone already
  const std::string name = NameOf(peer.address());
  if (options_.tls) {
    ReloadTls();
    std::make_shared<Connection<TlsStream>>(this, name, std::move(socket), *tls_)->Begin();
  } else {
    std::make_shared<Connection<PlainStream>>(this, name, std::move(socket))->Begin();
  }
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  const tcp::endpoint endpoint = impl_->endpoint();
  port_ = endpoint.port();
  address_ = JoinAddress(endpoint.address().to_string(), port_);
  url_ = absl::StrCat(impl_->secure() ? "https" : "http", "://", address_, "/");
}

HttpServer::~HttpServer() = default;

}  // namespace leeway
