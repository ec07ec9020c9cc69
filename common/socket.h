// Addresses: checks that need the system's word before gRPC gets an address.
//
// Thread safety: pure functions but for the sockets they open and close.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

// "host:port", "[v6]:port": host and port. INVALID_ARGUMENT names the address and what is allowed.
absl::StatusOr<std::pair<std::string, int>> SplitAddress(const std::string& address);

// The other way round.
std::string JoinAddress(const std::string& host, int port);

// OK when a server could listen on `address` now; UNAVAILABLE with the system's reason when not ("address
// already in use"), INVALID_ARGUMENT when it is no address.
absl::Status CheckListenAddress(const std::string& address);

}  // namespace leeway
