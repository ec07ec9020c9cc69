// Quarantine: which workers are out for good: because their pushes were not finite, again and again, or because by
// their word a ps had lost pushes, again and again. By name: a new incarnation is the same worker, with the same data,
// device and memory.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: who is in stays in, also over a restart.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class Quarantine {
 public:
  // A machine that crashes takes the end of its journal with it (--journal=on), which happens once or twice in a run;
  // which worker says so first is chance. One that has said so this often is more likely wrong than right. It is
  // believed each time, for a push that was acknowledged must not be lost.
  static constexpr std::uint32_t kMostGoingsBack = 3;

  // After `after` pushes in a row; 0: never.
  explicit Quarantine(std::uint32_t after) : after_(after) {}

  void set_after(std::uint32_t after) { after_ = after; }

  // Some shard has counted `run` pushes of `name` in a row with a non-finite value. True: it is in quarantine from now
  // on; what a shard says later of it changes nothing.
  bool Observe(const std::string& name, std::uint64_t run);

  // The run goes back to a checkpoint, since a ps has fewer pushes of `name` than `name` says were acknowledged. True:
  // it is in quarantine from now on.
  bool ObserveGoingBack(const std::string& name);

  // Why it is in quarantine; "": it is not.
  std::string Reason(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted
  bool empty() const { return names().empty(); }

  // For a restart: Restore gives a new object all that another one saved. DATA_LOSS: no such object can have saved it.
  void Save(v1::QuarantineState* state) const;
  absl::Status Restore(const v1::QuarantineState& state);

 private:
  std::uint32_t after_;
  // At most one for each name the cluster knows.
  std::map<std::string, std::uint64_t> runs_;  // of those in quarantine
  std::map<std::string, std::uint32_t> goings_back_;
};

}  // namespace leeway
