// ShardAddress: where a shard is called. Over its unix socket where it runs on this machine and lets us in: no network
// stack is in the way then. Else over TCP.
//
// Thread safety: ChooseAddresses is a pure function but for the sockets it opens and closes.
#pragma once

#include <string>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

struct ShardAddress {
  std::string tcp;    // host:port; also what messages name
  std::string local;  // "local:..."; "": not used

  const std::string& dialed() const { return local.empty() ? tcp : local; }
};

// From the address book: `local` in the order of `tcp`, or empty. A unix socket is taken when its host is `host`
// (HostId() of this process; "": never) and it can be connected to. Logs what was taken.
std::vector<ShardAddress> ChooseAddresses(const std::vector<std::string>& tcp,
                                          const std::vector<v1::LocalEndpoint>& local, const std::string& host);

}  // namespace leeway
