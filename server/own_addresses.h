// OwnAddresses: by which addresses a `ps` that listens is reached.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace leeway {

struct OwnAddresses {
  std::string others;  // by workers and other shards: what --advertise says, or where it listens
  std::string self;    // by this process
};

// `listen`, `advertise` (may be ""): host:port as the flags say; `port`: the one that it got. INVALID_ARGUMENT:
// `listen` is no address.
absl::StatusOr<OwnAddresses> OwnAddressesOf(const std::string& listen, const std::string& advertise, int port);

}  // namespace leeway
