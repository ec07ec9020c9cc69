// RunTrainer: a worker that trains: joins, trains in sessions, rejoins under a new incarnation when its lease ran
// out, until the run ends or it is preempted.
//
// Thread safety: blocks the calling thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/manifest.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"
#include "worker/client/encodings.h"
#include "worker/client/identity.h"
#include "worker/data/dataset.h"
#include "worker/trainer/engine.h"
#include "worker/trainer/pacer.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {

struct TrainerOptions {
  Identity identity;
  int depth = 1;
  std::uint64_t samples_per_step = 0;
  std::uint64_t max_steps = 0;
  Pacer::Options pace;
  PushEncoding push_encoding;
  v1::Encoding pull_encoding = v1::F32;                    // INT8: deltas
  std::string device;                                      // for people
  std::shared_ptr<const std::vector<float>> init_weights;  // null: none
  std::uint64_t init_fingerprint = 0;
  WorkerMetrics* metrics = nullptr;  // null: nobody wants to know; outlives the run
};

// OK: the run has ended, this worker's part of it, or it was preempted. A RunFailure: the run has ended, and failed.
// FAILED_PRECONDITION, INVALID_ARGUMENT: it does not fit the cluster; UNAVAILABLE, DEADLINE_EXCEEDED: the cluster was
// lost.
absl::Status RunTrainer(Caller& caller, Engine& engine, const Manifest& manifest, const Dataset& data,
                        const TrainerOptions& options, Cancellation& cancellation);

}  // namespace leeway
