// RunEvaluator: a worker that only reads: it pulls weights now and then, evaluates them on the test split, reports,
// and keeps the best and the final ones as files.
//
// It pulls copies (each block whole, made under its lock). In round aggregation all its chunks are of one round.
//
// Thread safety: blocks the calling thread.
#pragma once

#include "absl/status/status.h"
#include "common/files.h"
#include "common/manifest.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"
#include "worker/data/dataset.h"
#include "worker/trainer/engine.h"
#include "worker/trainer/eval_session.h"

namespace leeway {

// OK: the run has ended and its final weights are evaluated and kept, or it was preempted. Errors as RunTrainer's,
// and the file system's.
absl::Status RunEvaluator(Caller& caller, Engine& engine, const Manifest& manifest, const Dataset& test,
                          FileSystem& files, const EvaluatorOptions& options, Cancellation& cancellation);

}  // namespace leeway
