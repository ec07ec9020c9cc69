// TicketOffice: one decision per push, by its delay (protocol-rules.md 12; Ringmaster ASGD, Maranjyan et al.
// 2025, for max_delay and its sqrt; staleness-aware rates, Zhang et al. 2015, for SCALE).
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: serials are 1, 2, ... without gaps, over accepted pushes only; they go on after a restart, and from a
// checkpoint's when the run goes back to it. A decision once given for (worker, incarnation, clock) is given again when
// asked again; no second one is made.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class TicketOffice {
 public:
  // ABORTED: delay >= max_delay (DelayLimit); names delay, bound, and the serials; or the step was decided on so long
  // ago that the decision is forgotten. INVALID_ARGUMENT: read_serial is above the last serial given.
  absl::StatusOr<v1::Ticket> Open(const v1::Policy& policy, const v1::OpenPushRequest& request);

  // Tickets are given from now on, and the cluster has trained on so many samples: schedules go on from there.
  void GoOnFrom(std::uint64_t samples) { samples_ = std::max(samples_, samples); }

  // The push of this clock has its verdict on all shards.
  void Settle(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t clock);

  // The worker is gone: the serials that a shard may not have counted are void. Settled ones are among them: a shard
  // counts pushes in the order of their steps, and one before them may be missing there for good.
  std::vector<std::uint64_t> Void(std::uint32_t worker, std::uint64_t incarnation);

  // For a restart: Restore gives a new object all that another one saved. DATA_LOSS: no such object can have saved it;
  // then this one must not be used.
  void Save(v1::TicketOfficeState* state) const;
  absl::Status Restore(const v1::TicketOfficeState& state);

  std::uint64_t last_serial() const { return last_serial_; }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t scaled() const { return scaled_; }  // accepted at a lower rate, since this object was made

 private:
  struct Decision {
    absl::Status status;
    v1::Ticket ticket;
    bool settled = false;
    std::uint32_t samples = 0;
  };
  using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>;  // worker, incarnation, clock

  // A worker has at most its pipeline's depth + 2 pushes open; 32 decisions cover every repetition.
  static constexpr std::size_t kRemembered = 32;
  void Forget(std::uint32_t worker, std::uint64_t incarnation);

  std::uint64_t last_serial_ = 0;
  std::uint64_t samples_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t scaled_ = 0;
  std::map<Key, Decision> decisions_;
};

}  // namespace leeway
