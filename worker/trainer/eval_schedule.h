// EvalSchedule: when an evaluator evaluates, and which result is the best.
//
// Thread safety: as an int. Time is a parameter.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class EvalSchedule {
 public:
  struct Options {
    double every_epochs = 1;       // of the cluster's samples; 0: not by epochs
    absl::Duration every_seconds;  // 0: not by time
    std::uint64_t num_records = 0;
  };

  EvalSchedule(const Options& options, Instant start) : options_(options), last_time_(start) {}

  // True when an evaluation should start, with `samples` trained on by the cluster. The next is due one period after
  // the last, however long it took: evaluations do not pile up.
  bool Due(Instant now, std::uint64_t samples);

 private:
  const Options options_;
  Instant last_time_;
  std::uint64_t periods_ = 0;  // whole periods of samples that have been evaluated
};

// False where loss or accuracy is NaN: such weights are no best ones.
bool HasFigures(const v1::Evaluation& evaluation);

// True when `candidate` is better than `best`: by accuracy, then by loss; one that has no figures is worse than any
// other.
bool Better(const v1::Evaluation& candidate, const v1::Evaluation& best);

}  // namespace leeway
