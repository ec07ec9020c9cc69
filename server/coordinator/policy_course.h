// PolicyCourse: the cluster's policy, and a change of it from when it is begun until no step of before is open anywhere
// (docs/adr/0016-policy-changes.md).
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariants: one change at a time. It is decided when every shard has said how far each worker has come, with limits
// that no shard has passed, or it is as if it had not been begun. The policy's number grows with every decision.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class PolicyCourse {
 public:
  // That shards acknowledge: they do at once, and admit no further step meanwhile.
  static constexpr absl::Duration kGiveUpAfter = absl::Seconds(5);

  PolicyCourse(const v1::Policy& policy, std::uint32_t num_shards) : policy_(policy), shards_(num_shards) {}

  // The newest that is decided.
  const v1::Policy& policy() const { return policy_; }
  // That this worker's step is under.
  const v1::Policy& Of(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const;

  // What the shards are told. id 0: nothing.
  const v1::PolicyChange& change() const { return change_; }
  bool pending() const { return change_.id() != 0 && !change_.decided(); }
  // Why no change may begin, or nothing.
  std::string Busy() const;
  // Begins the change to `next`, which gets a number. Requires that nothing is pending and nobody Busy; `id` is not 0,
  // and new.
  void Begin(Instant now, std::uint64_t id, v1::Policy next);

  // What a shard says. True: change(), policy() or failed() has changed.
  bool Report(std::uint32_t shard, const v1::WatchRequest& request);
  // Gives up what is pending: `reason`, or that it takes too long.
  void GiveUp(const std::string& reason);
  bool Expire(Instant now);
  struct Failure {
    std::uint64_t id = 0;
    std::string reason;
  };
  const Failure& failed() const { return failed_; }  // the last that was given up

  // Every shard works by policy().
  bool InEffect() const;
  // Whom a change that is under way waits for, or nothing.
  std::string WaitsFor() const;

  // For a restart: what is decided, not what is pending. The policy that Restore is given is the one of before any
  // change. DATA_LOSS: no such object can have saved it.
  void Save(v1::CoordinatorState* state) const;
  absl::Status Restore(const v1::CoordinatorState& state);

 private:
  struct ShardInfo {
    std::uint64_t number = 0;  // of the policy that it works by
    std::string busy;
    std::optional<v1::PolicyAck> ack;  // of what is pending
  };
  void Decide();

  v1::Policy policy_;
  bool changed_ = false;  // it is not the one of the beginning any more
  v1::PolicyChange change_;
  v1::Policy next_;  // while it is pending
  Instant began_;
  Failure failed_;
  std::vector<ShardInfo> shards_;
};

}  // namespace leeway
