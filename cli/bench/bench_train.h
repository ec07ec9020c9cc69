// bench train: what the parameter server costs: one worker with one `ps`, against the same arithmetic in a
// plain loop in one process. Both compute on one core of the CPU.
//
// Thread safety: one thread.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/bench/bench_row.h"
#include "cli/run_options.h"

namespace leeway {

struct BenchTrainOptions {
  std::string model = "mlp";
  std::string data = "synthetic:20000";
  int batch = 128;
  int pairs = 5;                              // each: the plain loop, then the cluster
  absl::Duration measure = absl::Seconds(5);  // each half of a pair
  RunOptions binaries;                        // ps_binary, worker_binary and directory are used
  std::function<bool(absl::Duration)> wait;   // sleeps; false: the bench is to end
};

// Rows train.plain_loop and train.one_worker_one_ps in samples/s: medians, the ratio the median of the pairs'.
absl::StatusOr<std::vector<BenchRow>> BenchTrain(const BenchTrainOptions& options);

}  // namespace leeway
