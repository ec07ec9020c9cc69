#include "worker/client/shard_address.h"

#include "common/log.h"
#include "common/local_socket.h"

namespace leeway {

std::vector<ShardAddress> ChooseAddresses(const std::vector<std::string>& tcp,
                                          const std::vector<v1::LocalEndpoint>& local, const std::string& host) {
  std::vector<ShardAddress> chosen;
  std::size_t over_unix = 0;
  for (std::size_t i = 0; i < tcp.size(); ++i) {
    chosen.push_back({tcp[i], ""});
    if (host.empty() || i >= local.size() || local[i].host() != host) continue;
    if (absl::Status open = ProbeLocalSocket(local[i].address()); !open.ok()) {
      spdlog::info("shard {} at {} is on this machine, but not over its unix socket: {}", i, tcp[i], open);
      continue;
    }
    chosen.back().local = local[i].address();
    ++over_unix;
  }
  if (!tcp.empty()) {
    spdlog::info("of {} shards, {} are called over unix sockets, {} over TCP", tcp.size(), over_unix,
                 tcp.size() - over_unix);
  }
  return chosen;
}

}  // namespace leeway
