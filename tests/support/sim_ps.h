// SimPs: one `ps` of the simulated cluster: shard, link, and on shard 0 the coordinator, as server/ps_node.cc puts them
// together, on a simulated clock, executor and network.
//
// Thread safety: none. Ownership: clock, random and network outlive it; destroy it after the clock has stopped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proto/policy.pb.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/coordinator_store.h"
#include "server/coordinator_link.h"
#include "server/shard.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"
#include "tests/support/sim_network.h"

namespace leeway {

class SimPs final : public RequestHandler {
 public:
  static constexpr absl::Duration kLease = absl::Seconds(3);

  // Serves "ps<index>"; the coordinator is at "ps0".
  SimPs(std::uint32_t index, std::uint32_t num_shards, const v1::Policy& policy, FakeClock* clock, Random* random,
        SimNetwork* network);

  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

  // Answers what is held; nothing is sent any more.
  void Stop();

  Shard& shard() { return *shard_; }
  Coordinator* coordinator() { return coordinator_.get(); }  // null but on shard 0
  // How its link ended, once it has.
  const std::optional<absl::Status>& end() const { return end_; }

 private:
  SimExecutor apply_;
  SimExecutor control_;
  VolatileCoordinatorStore store_;
  const std::unique_ptr<Transport> transport_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<CoordinatorLink> link_;
  std::optional<absl::Status> end_;
};

}  // namespace leeway
