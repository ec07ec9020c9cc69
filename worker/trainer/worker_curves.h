// WorkerCurves: what a worker writes for TensorBoard, from one look at its metrics to the next.
//
// Thread safety: as an int: one thread's. Time is a parameter.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "common/event_file.h"
#include "common/tensorboard_log.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {

class WorkerCurves {
 public:
  // Means and rates are over the time since the call before. Nothing: no step and no evaluation has ended since.
  std::optional<Scalars> Next(absl::Time now, const WorkerMetrics::Totals& totals);

 private:
  WorkerMetrics::Totals before_;
  std::optional<absl::Time> before_at_;
};

// Writes them into DIRECTORY/NAME until it is destroyed, before `metrics` is. Null: `directory` is empty.
std::unique_ptr<TensorBoardLog> WriteCurves(const std::string& directory, const std::string& name,
                                            const WorkerMetrics* metrics);

}  // namespace leeway
