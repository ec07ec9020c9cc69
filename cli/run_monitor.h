// RunMonitor: follows a running cluster by its status replies, and decides what the display compares them with
// and when training has ended.
//
// Thread safety: one thread. Time is a parameter.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "absl/time/time.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class RunMonitor {
 public:
  void Observe(v1::GetStatusReply status, absl::Time now);

  // False until the first Observe; `now` and `before` are empty until then.
  bool observed() const { return !history_.empty(); }
  std::uint64_t observations() const { return observations_; }
  const v1::GetStatusReply& now() const;
  // The status of some seconds before, or an empty one: what is shown is then of the whole run.
  const v1::GetStatusReply& before() const;
  absl::Time last_observed() const { return history_.empty() ? absl::InfinitePast() : history_.back().first; }

  // The farthest state seen: what a ps that goes away now leaves behind.
  v1::RunState farthest() const { return farthest_; }
  // True from FINISHING on: workers that end now do so by themselves.
  bool ending() const { return farthest_ >= v1::FINISHING; }
  // True when there is nothing more to learn: FINISHED, for long enough that the last figures of all shards
  // have come in.
  bool complete(absl::Time now) const;

 private:
  std::deque<std::pair<absl::Time, v1::GetStatusReply>> history_;
  std::uint64_t observations_ = 0;
  v1::RunState farthest_ = v1::STARTING;
  absl::Time finished_at_ = absl::InfiniteFuture();
};

}  // namespace leeway
