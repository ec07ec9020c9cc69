// CheckpointRecord: how the checkpoints of this process went, for /metrics.
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
#pragma once

#include <cstdint>
#include <optional>

#include "common/atomic_histogram.h"
#include "common/clock.h"
#include "common/metrics.h"

namespace leeway {

class CheckpointRecord {
 public:
  void Committed(Instant began, Instant now) {
    seconds_.Observe(absl::ToDoubleSeconds(now - began));
    ++committed_;
    last_ = now;
  }
  void Failed() { ++failed_; }

  void AddTo(Instant now, MetricsPage* page) const {
    page->Histogram("ps_checkpoint_duration_seconds", "committed checkpoints, from their beginning to their commit",
                    seconds_.Counts());
    page->Counter("ps_checkpoints_total", "checkpoints by what became of them", static_cast<double>(committed_),
                  {{"result", "committed"}});
    page->Counter("ps_checkpoints_total", "checkpoints by what became of them", static_cast<double>(failed_),
                  {{"result", "failed"}});
    if (!last_) return;
    page->Timestamp("ps_checkpoint_last_success_timestamp_seconds",
                    "when this process has committed its last checkpoint; absent until it has", now - *last_);
  }

 private:
  // Up to half an hour, when one is given up.
  AtomicHistogram seconds_{{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}};
  std::uint64_t committed_ = 0;
  std::uint64_t failed_ = 0;
  std::optional<Instant> last_;
};

}  // namespace leeway
