// RoundWatch: hears, while a worker computes its step of a round, that the round has closed (--round_quorum). One small
// request, which a shard holds until then; asked again when it was held for long enough. Where that fails (a shard of
// an earlier version does not know the method) nothing is heard, and the step is completed.
//
// Thread safety: any thread. `closed` runs on the caller's executor, at most once.
// Ownership: shared, because the call under way keeps it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "common/clock.h"
#include "proto/parameter_server.pb.h"
#include "worker/client/caller.h"
#include "worker/client/cluster_view.h"

namespace leeway {

class RoundWatch : public std::enable_shared_from_this<RoundWatch> {
 public:
  // `closed` gets the round that is open.
  RoundWatch(Caller& caller, std::shared_ptr<ClusterView> view, std::uint32_t shard, std::uint64_t round,
             std::function<void(std::uint64_t open_round)> closed);

  void Start();
  // Nothing more is asked; `closed` may still be running.
  void Stop() { stopped_ = true; }

 private:
  void Answered(Instant sent, const absl::Status& status, const v1::WatchRoundReply& reply);

  Caller& caller_;
  const std::shared_ptr<ClusterView> view_;
  const std::uint32_t shard_;
  const std::uint64_t round_;
  const std::function<void(std::uint64_t)> closed_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace leeway
