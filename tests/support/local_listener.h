// LocalListener: something that listens on an abstract unix socket, or only holds its name.
//
// Thread safety: none. Ownership: the socket ends with it.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <random>
#include <string>

namespace leeway {

class LocalListener {
 public:
  // `backlog` -1: the name is taken, but nobody listens.
  explicit LocalListener(int backlog = 8) : name_("leeway-test-" + std::to_string(std::random_device()())) {
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un own{};
    own.sun_family = AF_UNIX;
    std::memcpy(own.sun_path + 1, name_.data(), name_.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name_.size());
    ok_ = bind(fd_, reinterpret_cast<const sockaddr*>(&own), size) == 0 && (backlog < 0 || listen(fd_, backlog) == 0);
  }
  ~LocalListener() { close(fd_); }
  LocalListener(const LocalListener&) = delete;
  LocalListener& operator=(const LocalListener&) = delete;

  bool ok() const { return ok_; }
  int fd() const { return fd_; }
  std::string address() const { return "local:" + name_; }

 private:
  const std::string name_;
  int fd_ = -1;
  bool ok_ = false;
};

}  // namespace leeway
