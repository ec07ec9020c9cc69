// The flags of one worker (Abseil flags, parsed by common/flags.h), and WorkerOptions: their values, checked.
// Policy flags of the cluster live on the coordinator shard.
//
// `leeway run` links this too, to refuse bad values before it starts anything.
//
// Thread safety: reads of flags; any thread after parsing.
#pragma once

#include <cstdint>
#include <string>

#include "absl/flags/declare.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/client/encodings.h"
#include "worker/trainer/pacer.h"

ABSL_DECLARE_FLAG(std::string, coordinator);
ABSL_DECLARE_FLAG(std::string, name);
ABSL_DECLARE_FLAG(std::string, role);
ABSL_DECLARE_FLAG(std::string, model);
ABSL_DECLARE_FLAG(std::string, data);

namespace leeway {

struct WorkerOptions {
  std::string coordinator;
  std::string name;  // never empty
  std::int32_t rank = -1;
  bool evaluator = false;
  std::string model;
  std::string data;
  int batch = 64;
  int accumulate = 1;
  std::string device;
  int threads = 1;
  bool tf32 = false;
  int pipeline_depth = 1;
  PushEncoding push_encoding;
  v1::Encoding pull_encoding = v1::F32;
  std::string init_from;
  Pacer::Options pace;  // without its seed
  absl::Duration start_timeout;
  absl::Duration give_up_after;
  bool local_sockets = true;
  double eval_every_epochs = 1;
  absl::Duration eval_every_seconds;
  std::string best_weights;
  std::string final_weights;
  std::string tensorboard_dir;
  std::uint32_t num_shards = 0;
  std::uint64_t max_steps = 0;
  int preempted_exit_code = 0;
};

// INVALID_ARGUMENT: one line with the flag, its value and what is allowed. `need_coordinator`: a worker cannot do
// without the flags that `leeway run` fills in.
absl::StatusOr<WorkerOptions> WorkerOptionsFromFlags(bool need_coordinator);

// As above, where a file that a trainer reads at its start, or an evaluator writes when it has evaluated, cannot be.
absl::Status CheckFiles(const WorkerOptions& options, bool evaluator);

}  // namespace leeway
