// Local sockets: abstract unix stream sockets, for processes of one machine and one user. Addresses are "local:NAME".
//
// Thread safety: pure functions but for the sockets they open. Ownership: a socket returned is the caller's to close.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

inline constexpr char kLocalScheme[] = "local:";

bool IsLocalAddress(const std::string& address);

// INVALID_ARGUMENT: no local address; UNAVAILABLE with the system's reason: the name is taken.
absl::StatusOr<int> ListenLocal(const std::string& address);

// Connects now or not at all: never waits. INVALID_ARGUMENT: no local address; UNAVAILABLE with the system's reason:
// nobody accepts there.
absl::StatusOr<int> ConnectLocal(const std::string& address);

// OK when a server accepts connections at `address` now; else as ConnectLocal.
absl::Status ProbeLocalSocket(const std::string& address);

// OK when the other end belongs to this process's user or to root: an abstract name has no file permissions, anybody on
// the machine may take it or connect to it. PERMISSION_DENIED names both users.
absl::Status CheckPeer(int socket);

}  // namespace leeway
