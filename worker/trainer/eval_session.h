// EvalSession: one incarnation of an evaluator.
//
// Thread safety: Run from one thread, once; as TrainingSession, what happens elsewhere comes through its mailbox.
// Ownership: what the constructor names outlives the session.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/manifest.h"
#include "common/placement.h"
#include "proto/coordinator.pb.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"
#include "worker/client/cluster_view.h"
#include "worker/client/coordinator_client.h"
#include "worker/client/identity.h"
#include "worker/data/dataset.h"
#include "worker/trainer/engine.h"
#include "worker/trainer/eval_schedule.h"
#include "worker/trainer/mailbox.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {

struct EvaluatorOptions {
  Identity identity;
  double every_epochs = 1;
  absl::Duration every_seconds;
  std::string best_weights;  // files; "": not kept
  std::string final_weights;
  WorkerMetrics* metrics = nullptr;  // null: nobody wants to know; outlives the run
};

class EvalSession {
 public:
  struct Worker {
    Caller& caller;
    Engine& engine;
    const Manifest& manifest;
    const Dataset& test;
    FileSystem& files;
    const EvaluatorOptions& options;
    Cancellation& cancellation;
    std::optional<v1::Evaluation> best;  // over all incarnations, and of the run's earlier evaluators that kept it
  };

  EvalSession(Worker& worker, const v1::JoinReply& join, std::uint64_t incarnation, const Placement& placement);
  ~EvalSession();

  // True: the run has ended, or it was preempted. False: the lease ran out, join again. A RunFailure: it has ended, and
  // failed.
  absl::StatusOr<bool> Run();

 private:
  bool Interrupted() const;
  // The weights, pulled into the engine's slot 0, and their version; nothing when it was interrupted, or when the
  // run's end came while it waited for a round (and `final` is false).
  absl::StatusOr<std::optional<std::uint64_t>> PullWeights(bool final);
  void TellWaits(std::vector<v1::WaitUnderWay> waits);
  absl::StatusOr<bool> EvaluateOnce(bool final);  // false: there were no weights, as PullWeights says
  absl::Status SaveBest();
  absl::Status SaveFinal();
  // Runs one call of the coordinator's to its end; after an interruption for kLastWords at most.
  absl::Status Await(const std::function<void(std::function<void(absl::Status)>)>& call);

  Worker& worker_;
  const std::uint64_t run_id_;
  const Placement placement_;
  const bool rounds_;
  const std::shared_ptr<Mailbox> mailbox_;
  const Cancellation::Listener wakes_mailbox_;
  const std::shared_ptr<ClusterView> view_;
  const std::shared_ptr<CoordinatorClient> coordinator_;
  const absl::Duration lease_;
  const Instant start_;
  EvalSchedule schedule_;
  std::uint64_t last_version_ = 0;
};

}  // namespace leeway
