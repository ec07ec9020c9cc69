// RunCurves: what shard 0 writes for TensorBoard, from one sample of the run after the other.
//
// Thread safety: as an int: one thread's. Time is a parameter.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "common/event_file.h"
#include "server/coordinator/run_sample.h"

namespace leeway {

class RunCurves {
 public:
  // Rates, and percentiles of delay and gap, are over the time since the call before. Nothing: nothing has happened
  // since. Values that are not known yet have no tag.
  std::optional<Scalars> Next(absl::Time now, const RunSample& sample);

 private:
  std::optional<RunSample> before_;
  absl::Time before_at_;
};

}  // namespace leeway
