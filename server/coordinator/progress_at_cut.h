// ProgressAtCut: what the coordinator is at a checkpoint's cut (docs/adr/0013-cut-of-a-checkpoint.md): what it counts
// as trained on are the steps below the cut's limits, which are those that the weights contain, and no others.
//
// It begins as a copy of the state from when the limits are known. No step at or above them can be committed yet, as
// every shard holds its push. Commits of steps below them may still come, and are counted here too, as in the run;
// commits of later steps are not.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariant: a step is counted once, and only if it is below its worker's limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"
#include "server/coordinator/data_leases.h"

namespace leeway {

class ProgressAtCut {
 public:
  // `state` and `leases` (absent: STATIC): the coordinator's. In rounds no commit counts, so nothing is awaited.
  ProgressAtCut(v1::CoordinatorState state, std::optional<DataLeases> leases, const v1::Cut& cut);

  // The coordinator has counted this commit, of a member of rank `rank`.
  void Commit(const v1::CommitDataRequest& request, std::uint32_t rank);
  // This incarnation is gone: what it has not committed it will not commit.
  void Forget(std::uint32_t worker, std::uint64_t incarnation);

  // Steps below the limits whose commits have not come.
  std::size_t awaited() const;

  v1::CoordinatorState State() const;

 private:
  using Worker = std::pair<std::uint32_t, std::uint64_t>;  // id, incarnation

  void LeaveOutTickets();
  bool Holds(const Worker& worker, std::uint64_t step) const;  // do the weights, of this step?

  v1::CoordinatorState state_;
  std::optional<DataLeases> leases_;
  std::map<Worker, v1::MemberClock> limits_;
  std::map<Worker, std::set<std::uint64_t>> committed_;
  std::map<Worker, std::set<std::uint64_t>> awaited_;
  // STATIC: the most that a member's cursor may say. A commit that was overtaken by later steps speaks of them too.
  std::map<Worker, std::uint64_t> most_;
};

}  // namespace leeway
