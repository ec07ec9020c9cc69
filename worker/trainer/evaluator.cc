#include "worker/trainer/evaluator.h"

#include <utility>

#include "common/log.h"
#include "common/run_failure.h"
#include "common/status_macros.h"
#include "worker/client/join.h"
#include "worker/trainer/eval_session.h"

namespace leeway {

absl::Status RunEvaluator(Caller& caller, Engine& engine, const Manifest& manifest, const Dataset& test,
                          FileSystem& files, const EvaluatorOptions& options, Cancellation& cancellation) {
  EvalSession::Worker worker{caller, engine, manifest, test, files, options, cancellation, std::nullopt};
  for (;;) {
    const std::uint64_t incarnation = NewIncarnation();
    options.identity.on_ready(absl::UnavailableError("waits to join the cluster"));
    v1::JoinRequest request = JoinRequestFor(options.identity, v1::EVALUATOR, manifest, incarnation);
    request.mutable_data()->set_num_records(test.num_records());
    request.mutable_data()->set_fingerprint(test.fingerprint());
    const absl::StatusOr<v1::JoinReply> join =
        JoinCluster(caller, request, options.identity.give_up_after, cancellation);
    if (absl::IsCancelled(join.status()) && cancellation.cancelled()) return absl::OkStatus();
    if (IsOver(join.status())) {
      spdlog::warn("{}", join.status());
      continue;
    }
    RETURN_IF_ERROR(join.status());
    if (join->state() >= v1::FINISHED) {
      spdlog::info("the run is over");
      return RunFailure(join->failure());
    }
    caller.SetGiveUpAfter(options.identity.give_up_after);
    options.identity.on_ready(absl::OkStatus());
    ASSIGN_OR_RETURN(const Placement placement, PlacementOf(*join, manifest.elements()));
    spdlog::info("joined as evaluator {}: {} shards, {} test records", join->worker_id(), placement.num_shards(),
                 test.num_records());
    EvalSession session(worker, *join, incarnation, placement);
    if (options.metrics != nullptr) options.metrics->SetJoined(true);
    ASSIGN_OR_RETURN(const bool done, session.Run());
    if (options.metrics != nullptr) options.metrics->SetJoined(false);
    if (done) return absl::OkStatus();
  }
}

}  // namespace leeway
