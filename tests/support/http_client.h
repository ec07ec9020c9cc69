// HttpClient: one plain TCP connection to an HTTP server, for tests that send what no browser would.
//
// Thread safety: none.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace leeway {

class HttpClient {
 public:
  // To loopback; `family`: AF_INET or AF_INET6.
  explicit HttpClient(int port, sa_family_t family = AF_INET) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<std::uint16_t>(port));
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = four.sin_port;
    six.sin6_addr = in6addr_loopback;
    connected_ = family == AF_INET ? connect(fd_, reinterpret_cast<sockaddr*>(&four), sizeof(four)) == 0
                                   : connect(fd_, reinterpret_cast<sockaddr*>(&six), sizeof(six)) == 0;
  }
  ~HttpClient() { close(fd_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }

  // False: the server has closed the connection.
  bool Send(const std::string& bytes) {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  bool Get(const std::string& path, const std::string& headers = "") {
    return Send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n");
  }

  // The next answer: its head and its body, "" when the connection ended first. `has_body`: not of a HEAD request.
  std::string Answer(bool has_body = true) {
    std::size_t end = std::string::npos;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!Receive()) return "";
    }
    std::size_t size = end + 4;
    const std::size_t length = buffer_.find("Content-Length: ");
    if (has_body && length < end) size += std::stoul(buffer_.substr(length + 16));
    while (buffer_.size() < size) {
      if (!Receive()) return "";
    }
    const std::string answer = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return answer;
  }

  // True when the server has ended the connection, within the time that a test has at most.
  bool Ended() {
    while (Receive()) {
    }
    return ended_;
  }

 private:
  bool Receive() {
    char bytes[4096];
    pollfd readable{fd_, POLLIN, 0};
    if (poll(&readable, 1, 20000) <= 0) return false;
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    ended_ = got <= 0;
    if (got > 0) buffer_.append(bytes, static_cast<std::size_t>(got));
    return got > 0;
  }

  const int fd_;
  bool connected_ = false;
  bool ended_ = false;
  std::string buffer_;
};

}  // namespace leeway
