#include "common/own_address.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/socket.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

std::string Numeric(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST] = "";
  return getnameinfo(address, size, host, sizeof(host), nullptr, 0, NI_NUMERICHOST) == 0 ? host : "";
}

}  // namespace

absl::StatusOr<std::string> OwnAddressTowards(const std::string& address) {
  ASSIGN_OR_RETURN(const auto parts, SplitAddress(address));
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(parts.first.c_str(), absl::StrCat(parts.second).c_str(), &hints, &found)) {
    return absl::UnavailableError(absl::StrCat("no way to ", address, ": ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  // Connecting a datagram socket chooses a route and sends nothing.
  const int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  const bool ok = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                  getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!ok) return absl::UnavailableError(absl::StrCat("no way to ", address, ": ", std::strerror(error)));
  return Numeric(reinterpret_cast<sockaddr*>(&own), size);
}

absl::StatusOr<std::string> AddressOfInterface(const std::string& name) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) {
    return absl::UnavailableError(absl::StrCat("the system does not name its interfaces: ", std::strerror(errno)));
  }
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(list, freeifaddrs);
  std::set<std::string> names;
  std::string v6;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    names.insert(entry->ifa_name);
    if (entry->ifa_addr == nullptr || name != entry->ifa_name) continue;
    if (entry->ifa_addr->sa_family == AF_INET) return Numeric(entry->ifa_addr, sizeof(sockaddr_in));
    if (entry->ifa_addr->sa_family == AF_INET6 && v6.empty()) v6 = Numeric(entry->ifa_addr, sizeof(sockaddr_in6));
  }
  if (!v6.empty()) return v6;
  return absl::NotFoundError(
      absl::StrCat("no address of the network interface '", name, "'; there are ", absl::StrJoin(names, ", ")));
}

}  // namespace leeway
