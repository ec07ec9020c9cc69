#include "worker/trainer/trainer.h"

#include <optional>
#include <utility>

#include "common/log.h"
#include "common/run_failure.h"
#include "common/status_macros.h"
#include "worker/client/join.h"
#include "worker/trainer/training_session.h"

namespace leeway {
namespace {

// What the encodings remember belongs to one run of the cluster, and outlives an incarnation: the next one sends what
// the last one kept back.
absl::Status MakeEncodings(const TrainerOptions& options, const Placement& placement, TrainingSession::Worker* worker) {
  worker->encoder.reset();
  worker->device_encoder.reset();
  worker->seen.reset();
  const Engine::Gradients gradients = worker->engine.gradients();
  if (gradients == Engine::Gradients::kEncoded) {
    ASSIGN_OR_RETURN(worker->device_encoder, worker->engine.NewEncoder(placement, options.push_encoding));
  } else if (gradients == Engine::Gradients::kFloats && options.push_encoding.encoding != v1::F32) {
    worker->encoder = std::make_shared<Push::Encoder>(placement, options.push_encoding, worker->caller.executor());
  }
  if (options.pull_encoding == v1::INT8) worker->seen = std::make_shared<SeenWeights>(placement);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTrainer(Caller& caller, Engine& engine, const Manifest& manifest, const Dataset& data,
                        const TrainerOptions& options, Cancellation& cancellation) {
  std::uint64_t steps_done = 0;
  TrainingSession::Worker worker{caller,
                                 engine,
                                 data,
                                 cancellation,
                                 options.pace,
                                 options.depth,
                                 options.max_steps,
                                 &steps_done,
                                 options.init_weights,
                                 options.device,
                                 options.pull_encoding,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 options.metrics};
  std::optional<std::pair<std::uint64_t, std::uint32_t>> run;  // its id and number of shards
  for (;;) {
    const std::uint64_t incarnation = NewIncarnation();
    options.identity.on_ready(absl::UnavailableError("waits to join the cluster"));
    v1::JoinRequest request = JoinRequestFor(options.identity, v1::TRAINER, manifest, incarnation);
    request.mutable_data()->set_num_records(data.num_records());
    request.mutable_data()->set_fingerprint(data.fingerprint());
    request.set_samples_per_step(static_cast<std::uint32_t>(options.samples_per_step));
    request.set_pipeline_depth(static_cast<std::uint32_t>(options.depth));
    request.set_init_fingerprint(options.init_fingerprint);
    request.set_push_encoding(options.push_encoding.encoding);
    request.set_momentum_correction(options.push_encoding.momentum > 0);
    request.set_pull_encoding(options.pull_encoding);
    absl::StatusOr<v1::JoinReply> join = JoinCluster(caller, request, options.identity.give_up_after, cancellation);
    if (absl::IsCancelled(join.status()) && cancellation.cancelled()) return absl::OkStatus();
    if (IsOver(join.status())) {
      spdlog::warn("{}", join.status());
      continue;
    }
    RETURN_IF_ERROR(join.status());
    if (join->state() >= v1::FINISHING) {
      spdlog::info("the run is over");
      return RunFailure(join->failure());
    }
    caller.SetGiveUpAfter(options.identity.give_up_after);
    options.identity.on_ready(absl::OkStatus());
    ASSIGN_OR_RETURN(const Placement placement, PlacementOf(*join, manifest.elements()));
    if (const std::pair joined(join->run_id(), placement.num_shards()); run != joined) {
      run = joined;
      RETURN_IF_ERROR(MakeEncodings(options, placement, &worker));
    } else if (worker.seen != nullptr) {
      worker.seen->Forget();
    }
    WorkSource::Options shares;
    shares.policy = join->policy();
    shares.rank = join->rank();
    shares.num_records = data.num_records();
    shares.samples_per_step = options.samples_per_step;
    shares.data_cursor = join->data_cursor();
    shares.rounds_per_epoch = join->rounds_per_epoch();
    ASSIGN_OR_RETURN(WorkSource source, WorkSource::Make(shares));
    spdlog::info("joined as worker {} (rank {}) at clock {}: {} shards, staleness bound {}, depth {}",
                 join->worker_id(), join->rank(), join->entry_clock(), placement.num_shards(),
                 join->policy().staleness_bound(), options.depth);
    const std::uint64_t lease = join->policy().lease_records();
    if (join->policy().data_sharing() == v1::LEASED && lease > 0 && lease < options.samples_per_step) {
      spdlog::warn(
          "--lease_records={} is less than a step's {} records: each step takes several calls of the coordinator",
          lease, options.samples_per_step);
    }
    TrainingSession session(worker, *join, incarnation, placement, std::move(source));
    if (options.metrics != nullptr) options.metrics->SetJoined(true);
    ASSIGN_OR_RETURN(const TrainingSession::End end, session.Run());
    if (options.metrics != nullptr) options.metrics->SetJoined(false);
    if (end != TrainingSession::End::kExpired) {
      spdlog::info("{} after {} steps", end == TrainingSession::End::kPreempted ? "preempted" : "done", steps_done);
      return absl::OkStatus();
    }
  }
}

}  // namespace leeway
