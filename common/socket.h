// Addresses: checks that need the system's word before gRPC gets an address.
//
// Thread safety: pure functions but for the sockets they open and close.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

// "host:port", "[v6]:port": host (without brackets) and port. INVALID_ARGUMENT names the address and what is allowed:
// an IPv6 address without brackets would leave open where its port begins.
absl::StatusOr<std::pair<std::string, int>> SplitAddress(const std::string& address);

// The opposite of SplitAddress: puts an IPv6 address into brackets.
std::string JoinAddress(const std::string& host, int port);

// Every address of the machine ("0.0.0.0", "::"): a server may listen there, but nobody can call it.
bool IsWildcard(const std::string& host);

// A loopback address or "localhost": what goes there stays on this machine. Other names are not looked up: what they
// stand for can change.
bool IsLoopbackHost(const std::string& host);
// The same of the host of "host:port".
bool IsLoopback(const std::string& address);

// OK when a server could listen on `address` now; UNAVAILABLE with the system's reason when not ("address
// already in use"), INVALID_ARGUMENT when it is no address.
absl::Status CheckListenAddress(const std::string& address);

}  // namespace leeway
