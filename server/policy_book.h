// PolicyBook: which policy each step of each worker is under, as one shard knows it (docs/adr/0016-policy-changes.md).
// It follows the snapshots; all shards that follow the same ones say the same of a step, or do not say it yet.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: a step that was admitted under one policy is under no other one later, on any shard. While a change is
// not decided, Of names none for a step at or above what this shard has told the coordinator.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

class PolicyBook {
 public:
  PolicyBook() = default;
  explicit PolicyBook(const v1::Policy& policy) : policy_(policy) {}

  // What a snapshot says. With a change that is new here and not decided, `read` is how far each worker has come, or
  // `error` why this shard cannot say so; then no further step of anybody has a policy until there is a decision.
  void Follow(const v1::Policy& policy, const v1::PolicyChange& change, const std::vector<v1::StepLimit>& read,
              const std::string& error);
  // Would that change be new here?
  bool Begins(const v1::PolicyChange& change) const;
  bool Decides(const v1::PolicyChange& change) const;

  // The newest that is decided.
  const v1::Policy& now() const { return policy_; }
  const v1::PolicyChange& change() const { return change_; }
  const v1::PolicyAck& ack() const { return ack_; }  // while it is not decided

  // Null: it is not decided yet.
  const v1::Policy* Of(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const;
  // Of a step that some shard has admitted, and of the round that all pushes of one clock make.
  const v1::Policy& OfAdmitted(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const;
  const v1::Policy& OfRound(std::uint64_t round) const;
  // Is the step under the policy before the newest?
  bool Before(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const {
    return change_.decided() && step < Limit(worker, incarnation);
  }
  // The first step of this worker that is under the newest policy; of one that is not decided, the first that waits.
  std::uint64_t Limit(std::uint32_t worker, std::uint64_t incarnation) const;

 private:
  v1::Policy policy_;
  v1::PolicyChange change_;
  v1::PolicyAck ack_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> limits_;  // of change_, by worker and incarnation
};

}  // namespace leeway
