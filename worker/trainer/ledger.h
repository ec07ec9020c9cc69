// Ledger: where a worker's time went and what its pushes came to; the totals that ReportProgress carries.
//
// Thread safety: as an int: the training thread's. Time is a parameter.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {

class Ledger {
 public:
  // `metrics`: null, or told of every step and push; it outlives the ledger.
  explicit Ledger(std::string device, WorkerMetrics* metrics = nullptr) : metrics_(metrics) {
    totals_.set_device(std::move(device));
  }

  // When the gate opened, for who waited for `pull` in [from, to).
  static Instant GateOpened(Instant from, Instant to, const PullResult& pull);

  // The training thread waited for `pull` in [from, to): at the gate until it opened, for the transfer after. What it
  // waits for transfers is exposed communication; the rest of each transfer's time is hidden.
  void WaitedForPull(Instant from, Instant to, const PullResult& pull);
  void WaitedForData(absl::Duration time);
  void WaitedForPush(Instant from, Instant to);
  void Computed(absl::Duration compute, absl::Duration data, std::uint64_t samples, double loss_sum, double correct,
                std::uint64_t epoch);
  void Paced(absl::Duration time);
  // A step was given up after this time: it counts for nothing but that.
  void GaveUp(absl::Duration compute, absl::Duration data);
  void PushEnded(const PushResult& push);

  v1::Progress Totals(std::uint64_t retries) const;

 private:
  struct Interval {
    Instant begin, end;
  };
  void Exposed(Instant from, Instant to);
  void CountHidden();
  // Tells the metrics of the step that was just counted.
  void TellStep(std::uint64_t samples, double loss_sum, std::uint64_t epoch);

  WorkerMetrics* const metrics_;
  v1::PhaseSeconds at_last_step_;  // of totals_
  v1::Progress totals_;
  double correct_ = 0;  // in samples: a sequence of tokens may be right by a part
  std::map<std::uint32_t, double> blocked_on_;
  // Transfers whose waits may not all be known yet: a verdict comes before the wait for it is over.
  std::vector<Interval> transfers_;
  // The newest waits for transfers, disjoint and in order. A transfer that overlaps more than these is counted as
  // hidden in the older ones; it does not happen with a pipeline of 15 steps.
  static constexpr std::size_t kWaits = 64;
  std::deque<Interval> waits_;
};

}  // namespace leeway
