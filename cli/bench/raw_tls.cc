#include "cli/bench/raw_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/bench/raw_socket.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr char kPush = 'p';
constexpr char kPull = 'g';
// Several records by one call of the system: with OpenSSL's own 16 KiB, two calls per record, the program is slower.
constexpr std::size_t kReadAhead = 256 << 10;
constexpr std::size_t kMostAtOnce = 1 << 30;  // OpenSSL counts in ints

absl::Status TlsError(const std::string& what) {
  char reason[256] = "the connection has ended";
  if (const unsigned long error = ERR_get_error(); error != 0) ERR_error_string_n(error, reason, sizeof(reason));
  return absl::UnavailableError(absl::StrCat("raw TLS: ", what, ": ", reason));
}

// For the life of the process.
absl::StatusOr<SSL_CTX*> MakeContext(const SSL_METHOD* method, const TlsFiles& tls) {
  SSL_CTX* context = SSL_CTX_new(method);
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_use_certificate_chain_file(context, tls.cert.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, tls.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_load_verify_locations(context, tls.ca.c_str(), nullptr) != 1) {
    SSL_CTX_free(context);
    return TlsError("certificates");
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, kReadAhead);
  return context;
}

bool SendAll(SSL* connection, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const int sent = SSL_write(connection, at, static_cast<int>(std::min(size, kMostAtOnce)));
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool ReceiveAll(SSL* connection, void* data, std::size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const int got = SSL_read(connection, at, static_cast<int>(std::min(size, kMostAtOnce)));
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void End(SSL* connection) {
  close(SSL_get_fd(connection));
  SSL_free(connection);
}

void ServeConnection(SSL_CTX* context, int socket, std::size_t bytes) {
  SSL* connection = SSL_new(context);
  SSL_set_fd(connection, socket);
  std::vector<char> memory(bytes, 1);
  char kind = 0;
  bool good = SSL_accept(connection) == 1;
  while (good && ReceiveAll(connection, &kind, 1)) {
    good = kind == kPush ? ReceiveAll(connection, memory.data(), bytes) && SendAll(connection, &kind, 1)
                         : SendAll(connection, memory.data(), bytes);
  }
  End(connection);
}

// The threads are never joined by the peer process, which ends by a signal.
void Accept(SSL_CTX* context, int listener, std::size_t bytes) {
  std::vector<std::thread> connections;
  for (;;) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    SendAtOnce(socket);
    connections.emplace_back(ServeConnection, context, socket, bytes);
  }
}

}  // namespace

absl::StatusOr<std::string> ServeRawTls(std::size_t bytes, const TlsFiles& tls) {
  ASSIGN_OR_RETURN(SSL_CTX * context, MakeContext(TLS_server_method(), tls));
  std::string address;
  ASSIGN_OR_RETURN(const int listener, ListenTcp(&address));
  static auto* threads = new std::vector<std::thread>();
  threads->emplace_back(Accept, context, listener, bytes);
  return address;
}

absl::StatusOr<std::unique_ptr<RawTlsClient>> RawTlsClient::Connect(const std::string& address, std::size_t bytes,
                                                                    const TlsFiles& tls) {
  ASSIGN_OR_RETURN(SSL_CTX * context, MakeContext(TLS_client_method(), tls));
  ASSIGN_OR_RETURN(const int socket, ConnectRaw(address));
  SSL* connection = SSL_new(context);
  SSL_CTX_free(context);  // the connection holds it
  SSL_set_fd(connection, socket);
  std::unique_ptr<RawTlsClient> client(new RawTlsClient(connection, bytes));
  if (SSL_connect(connection) != 1) return TlsError("connecting to " + address);
  return client;
}

RawTlsClient::~RawTlsClient() { End(connection_); }

absl::Status RawTlsClient::Push(const void* from) {
  char answer = 0;
  if (SendAll(connection_, &kPush, 1) && SendAll(connection_, from, bytes_) && ReceiveAll(connection_, &answer, 1)) {
    return absl::OkStatus();
  }
  return TlsError("push");
}

absl::Status RawTlsClient::Pull(void* to) {
  if (SendAll(connection_, &kPull, 1) && ReceiveAll(connection_, to, bytes_)) return absl::OkStatus();
  return TlsError("pull");
}

}  // namespace leeway
