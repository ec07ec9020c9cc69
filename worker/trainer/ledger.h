// Ledger: where a worker's time went and what its pushes came to; the totals that ReportProgress carries.
//
// Thread safety: as an int: the training thread's. Time is a parameter.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"

namespace leeway {

class Ledger {
 public:
  explicit Ledger(std::string device) { totals_.set_device(std::move(device)); }

  // The training thread waited for `pull` in [from, to): at the gate until it opened, for the transfer after.
  // Of the whole transfer, what it did not wait for was hidden.
  void WaitedForPull(Instant from, Instant to, const PullResult& pull);
  void WaitedForData(absl::Duration time);
  void WaitedForPush(absl::Duration time);
  void Computed(absl::Duration compute, absl::Duration data, std::uint64_t samples, double loss_sum,
                std::uint64_t correct, std::uint64_t epoch);
  void Paced(absl::Duration time);
  void PushEnded(const PushResult& push);

  v1::Progress Totals(std::uint64_t retries) const;

 private:
  v1::Progress totals_;
  std::map<std::uint32_t, double> blocked_on_;
  double unhidden_push_ = 0;  // waited for pushes since the last one ended
};

}  // namespace leeway
