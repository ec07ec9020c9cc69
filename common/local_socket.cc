#include "common/local_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::size_t kPrefix = sizeof(kLocalScheme) - 1;
// Connections that wait to be accepted, which takes microseconds: all the workers of a machine at once.
constexpr int kBacklog = 128;

struct Address {
  sockaddr_un name{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

absl::StatusOr<Address> ToSystem(const std::string& address) {
  Address out;
  // An abstract name begins with a zero byte and is as long as the address says, without a zero at its end.
  const std::size_t length = address.size() < kPrefix ? 0 : address.size() - kPrefix;
  if (!IsLocalAddress(address) || length == 0 || length + 1 > sizeof(out.name.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("'", address, "' is no ", kLocalScheme, "NAME of at most ",
                                                   sizeof(out.name.sun_path) - 1, " bytes"));
  }
  out.name.sun_family = AF_UNIX;
  std::memcpy(out.name.sun_path + 1, address.data() + kPrefix, length);
  out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return out;
}

absl::Status SystemError(const std::string& address) {
  return absl::UnavailableError(absl::StrCat(address, ": ", std::strerror(errno)));
}

absl::Status CloseWithError(int fd, const std::string& address) {
  absl::Status status = SystemError(address);
  close(fd);
  return status;
}

}  // namespace

bool IsLocalAddress(const std::string& address) { return absl::StartsWith(address, kLocalScheme); }

absl::StatusOr<int> ListenLocal(const std::string& address) {
  ASSIGN_OR_RETURN(const Address own, ToSystem(address));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return SystemError(address);
  if (bind(fd, own.get(), own.size) != 0 || listen(fd, kBacklog) != 0) return CloseWithError(fd, address);
  return fd;
}

absl::StatusOr<int> ConnectLocal(const std::string& address) {
  ASSIGN_OR_RETURN(const Address peer, ToSystem(address));
  // Not blocking: a server whose queue is full is not accepting now.
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return SystemError(address);
  if (connect(fd, peer.get(), peer.size) != 0 || fcntl(fd, F_SETFL, 0) != 0) return CloseWithError(fd, address);
  return fd;
}

absl::Status ProbeLocalSocket(const std::string& address) {
  ASSIGN_OR_RETURN(const int fd, ConnectLocal(address));
  close(fd);
  return absl::OkStatus();
}

absl::Status CheckPeer(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return absl::PermissionDeniedError(absl::StrCat("no word about the other end's user: ", std::strerror(errno)));
  }
  if (peer.uid == geteuid() || peer.uid == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("process ", peer.pid, " belongs to user ", peer.uid, ", this one to user ", geteuid()));
}

}  // namespace leeway
