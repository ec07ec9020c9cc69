// ShardClient: a worker's end of the data plane, without training: the worker's own Push and Pull over its own Caller
// and Transport, one after the other or both at once, each waited for.
//
// Thread safety: one thread. Ownership: gradient and weights belong to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/placement.h"
#include "common/security.h"
#include "common/transport.h"
#include "worker/client/caller.h"
#include "worker/client/cluster_view.h"

namespace leeway {

class ShardClient {
 public:
  // To a peer (cli/bench/peer.h) that knows neither membership nor clocks.
  static absl::StatusOr<std::unique_ptr<ShardClient>> ToPeer(const std::string& address, std::uint64_t elements,
                                                             const TlsFiles& tls = {});
  // To a cluster of one `ps`, which it joins as trainer `name` with a model of one tensor.
  static absl::StatusOr<std::unique_ptr<ShardClient>> Join(const std::string& coordinator, const std::string& name,
                                                           std::uint64_t elements);
  ~ShardClient();

  absl::Status Push();
  absl::Status Pull();
  absl::Status PushAndPull();

  const std::vector<float>& weights() const { return weights_; }
  // Where the cluster's `ps` is reached from this machine without the network stack; "" when it does not say.
  const std::string& local_address() const { return local_address_; }
  void UseAddress(const std::string& address) { caller_.SetShardAddresses({address}); }

 private:
  ShardClient(const std::string& address, const Placement& placement, const Security& security);
  void StartPush(std::function<void(absl::Status)> done);
  void StartPull(std::function<void(absl::Status)> done);

  const std::unique_ptr<Executor> executor_;
  std::unique_ptr<Clock> clock_;
  std::unique_ptr<Transport> transport_;
  Caller caller_;
  const Placement placement_;
  std::shared_ptr<ClusterView> view_;
  std::string local_address_;
  std::uint64_t next_clock_ = 0;
  const std::shared_ptr<const std::vector<float>> gradient_;
  std::vector<float> weights_;
};

}  // namespace leeway
