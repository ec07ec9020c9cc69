#include "cli/bench/raw_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/socket.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr char kAbstract[] = "unix-abstract:";
constexpr char kPush = 'p';
constexpr char kPull = 'g';

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

absl::Status SystemError(const std::string& what) {
  return absl::UnavailableError(absl::StrCat("raw socket: ", what, ": ", strerror(errno)));
}

absl::StatusOr<Address> ToSystem(const std::string& text) {
  Address address;
  absl::string_view name = text;
  if (absl::ConsumePrefix(&name, kAbstract)) {
    auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
    if (name.size() + 1 > sizeof(local->sun_path)) return absl::InvalidArgumentError(text + ": too long a name");
    local->sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), local->sun_path + 1);
    address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return address;
  }
  ASSIGN_OR_RETURN(const auto parts, SplitAddress(text));
  auto* tcp = reinterpret_cast<sockaddr_in*>(&address.storage);
  tcp->sin_family = AF_INET;
  tcp->sin_port = htons(static_cast<std::uint16_t>(parts.second));
  tcp->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.size = sizeof(*tcp);
  return address;
}

bool SendAll(int socket, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = send(socket, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool ReceiveAll(int socket, void* data, std::size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = recv(socket, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void ServeConnection(int socket, std::size_t bytes) {
  SendAtOnce(socket);
  std::vector<char> memory(bytes, 1);
  char kind = 0;
  while (ReceiveAll(socket, &kind, 1)) {
    const bool done = kind == kPush ? ReceiveAll(socket, memory.data(), bytes) && SendAll(socket, &kind, 1)
                                    : SendAll(socket, memory.data(), bytes);
    if (!done) break;
  }
  close(socket);
}

// The threads are never joined by the peer process, which ends by a signal.
void Accept(int listener, std::size_t bytes) {
  std::vector<std::thread> connections;
  for (;;) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket >= 0) connections.emplace_back(ServeConnection, socket, bytes);
  }
}

absl::StatusOr<int> Listen(const std::string& text) {
  ASSIGN_OR_RETURN(Address address, ToSystem(text));
  const int listener = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return SystemError("socket");
  if (bind(listener, address.get(), address.size) != 0 || listen(listener, 8) != 0) {
    const absl::Status status = SystemError("listening on " + text);
    close(listener);
    return status;
  }
  return listener;
}

}  // namespace

// The socket may be a Unix one, which has no such option: nothing is lost.
void SendAtOnce(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

absl::StatusOr<int> ListenTcp(std::string* address) {
  ASSIGN_OR_RETURN(const int listener, Listen("127.0.0.1:0"));
  Address bound;
  bound.size = sizeof(bound.storage);
  if (getsockname(listener, bound.get(), &bound.size) != 0) return SystemError("getsockname");
  *address = absl::StrCat("127.0.0.1:", ntohs(reinterpret_cast<sockaddr_in*>(bound.get())->sin_port));
  return listener;
}

absl::StatusOr<int> ConnectRaw(const std::string& address) {
  ASSIGN_OR_RETURN(Address server, ToSystem(address));
  const int connection = socket(server.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) return SystemError("socket");
  if (connect(connection, server.get(), server.size) != 0) {
    const absl::Status status = SystemError("connecting to " + address);
    close(connection);
    return status;
  }
  SendAtOnce(connection);
  return connection;
}

absl::StatusOr<RawAddresses> ServeRaw(std::size_t bytes) {
  RawAddresses addresses;
  ASSIGN_OR_RETURN(const int tcp, ListenTcp(&addresses.tcp));
  addresses.local = absl::StrCat(kAbstract, "leeway-bench-raw-", getpid());
  ASSIGN_OR_RETURN(const int local, Listen(addresses.local));
  static auto* threads = new std::vector<std::thread>();
  for (const int listener : {tcp, local}) threads->emplace_back(Accept, listener, bytes);
  return addresses;
}

absl::StatusOr<std::unique_ptr<RawClient>> RawClient::Connect(const std::string& address, std::size_t bytes) {
  ASSIGN_OR_RETURN(const int connection, ConnectRaw(address));
  return std::unique_ptr<RawClient>(new RawClient(connection, bytes));
}

RawClient::~RawClient() { close(socket_); }

absl::Status RawClient::Push(const void* from) {
  char answer = 0;
  if (SendAll(socket_, &kPush, 1) && SendAll(socket_, from, bytes_) && ReceiveAll(socket_, &answer, 1)) {
    return absl::OkStatus();
  }
  return SystemError("push");
}

absl::Status RawClient::Pull(void* to) {
  if (SendAll(socket_, &kPull, 1) && ReceiveAll(socket_, to, bytes_)) return absl::OkStatus();
  return SystemError("pull");
}

}  // namespace leeway
