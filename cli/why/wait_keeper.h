// WaitKeeper: collects the single waits of a run from the coordinator's answers, which each have a part of them.
//
// Thread safety: none. Invariant: at most kMost waits, the newest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "proto/coordinator.pb.h"

namespace leeway {

class WaitKeeper {
 public:
  static constexpr std::size_t kMost = 200'000;  // some 10 MB

  // Moves the waits out of `status`.
  void Take(v1::GetStatusReply* status);

  // Puts them into a status, in time order, with the number of those that are not there.
  void Give(v1::GetStatusReply* status) const;

 private:
  std::deque<v1::WorkerWait> waits_;
  std::uint64_t lost_ = 0;
};

}  // namespace leeway
