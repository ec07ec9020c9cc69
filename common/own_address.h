// Which address of this machine others reach it at, where nobody has said.
//
// Thread safety: pure functions but for the sockets they open and close, and for name resolution.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace leeway {

// This machine's address on the way to `address` (host:port): those who are there reach us at it. Nothing is sent.
// UNAVAILABLE: the host is not known, or there is no way to it.
absl::StatusOr<std::string> OwnAddressTowards(const std::string& address);

// An address of the network interface `name`, IPv4 where it has both. NOT_FOUND names those that there are.
absl::StatusOr<std::string> AddressOfInterface(const std::string& name);

}  // namespace leeway
