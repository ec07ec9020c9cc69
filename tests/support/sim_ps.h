// SimPs: one `ps` of the simulated cluster: shard, link, and on shard 0 the coordinator, as server/ps_node.cc puts them
// together, on a simulated clock, executor, network and file system.
//
// Thread safety: none. Ownership: clock, random, network and files outlive it; destroy it after the clock has stopped,
// also when it was killed: what was under way still refers to it, though nobody hears of it any more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proto/policy.pb.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/coordinator_store.h"
#include "server/coordinator_link.h"
#include "server/recover_shard.h"
#include "server/shard.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"
#include "tests/support/sim_network.h"

namespace leeway {

class SimPs final : public RequestHandler {
 public:
  static constexpr absl::Duration kLease = absl::Seconds(3);

  // Serves "ps<index>"; the coordinator is at "ps0". With `files` it recovers what is there and keeps a journal.
  SimPs(std::uint32_t index, std::uint32_t num_shards, const v1::Policy& policy, FakeClock* clock, Random* random,
        SimNetwork* network, CrashFiles* files, bool fsync);

  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

  // Answers what is held; nothing is sent any more.
  void Stop();
  // As kill -9: nobody hears of it again, and what it had under way its callers see as a broken connection. Another
  // process of this shard may begin.
  void Kill(CrashFiles::Loss loss);

  // Why it could not begin, or OK.
  const absl::Status& started() const { return started_; }
  std::uint64_t replayed() const { return storage_.replayed; }

  Shard& shard() { return *shard_; }
  Coordinator* coordinator() { return coordinator_.get(); }  // null but on shard 0
  // How its link ended, once it has.
  const std::optional<absl::Status>& end() const { return end_; }

 private:
  SimExecutor apply_;
  SimExecutor control_;
  SimExecutor disk_;
  CrashFiles* const files_;  // null: no journal
  bool killed_ = false;
  absl::Status started_;
  ShardFiles storage_;
  VolatileCoordinatorStore store_;
  const std::unique_ptr<Transport> transport_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<CoordinatorLink> link_;
  std::optional<absl::Status> end_;
};

}  // namespace leeway
