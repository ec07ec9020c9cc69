// Shard: its part of the model, and initial weights from a worker's --init_from.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/machine.h"
#include "common/status_macros.h"
#include "server/delay_policy.h"
#include "server/memory_cap.h"
#include "server/payload.h"
#include "server/shard.h"

namespace leeway {

absl::Status Shard::InstallModel(const v1::WatchReply& snapshot, bool fill) {
  ASSIGN_OR_RETURN(const Manifest manifest, Manifest::FromProto(snapshot.manifest()));
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(manifest.elements(), options_.num_shards));
  if (manifest.fingerprint() != snapshot.model_fingerprint() ||
      placement.block_elements() != snapshot.block_elements()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator computes model fingerprint ", absl::Hex(snapshot.model_fingerprint()),
                     " and blocks of ", snapshot.block_elements(), " elements; this shard ",
                     absl::Hex(manifest.fingerprint()), " and ", placement.block_elements(), ": the binaries differ"));
  }
  const std::uint64_t gradient = placement.ShardElements(options_.index) * sizeof(float);
  const std::uint64_t round =
      snapshot.policy().aggregation() == v1::ROUND ? gradient * snapshot.policy().num_workers() : 0;
  if (round > options_.max_held_bytes) {
    return absl::InvalidArgumentError(  // as FlagError
        absl::StrCat("--max_held_bytes=", options_.max_held_bytes, ": allowed: ", round, " and above: a round of ",
                     snapshot.policy().num_workers(), " workers holds that much on shard ", options_.index));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<BlockStore> store,
                   BlockStore::Make(manifest, placement, options_.index, snapshot.policy()));
  const std::uint64_t held =
      std::min(options_.max_held_bytes, std::max(round, 2 * gradient * snapshot.policy().num_workers()));
  const std::uint64_t cap = MemoryCap(store->memory_bytes(), options_.max_held_bytes, snapshot.policy().num_workers());
  spdlog::info(
      "shard {}: weights and optimizer slots take {}, gradients under way up to about {}; at most {} in all with {} "
      "workers; this machine has {}",
      options_.index, FormatBytes(store->memory_bytes()), FormatBytes(held), FormatBytes(cap),
      snapshot.policy().num_workers(), FormatBytes(TotalMemoryBytes()));
  if (store->memory_bytes() + held > TotalMemoryBytes()) {
    spdlog::warn("shard {}: that is more than this machine has; more `ps`, or a smaller --max_held_bytes",
                 options_.index);
  }
  // Of each worker, at --pipeline_depth=1, the weights of two steps.
  const std::uint64_t given = 2 * gradient * snapshot.policy().num_workers();
  if (CorrectsDelay(snapshot.policy()) && given > options_.max_held_bytes / 2) {
    spdlog::warn(
        "shard {}: --delay_policy=dc keeps {} of weights for {} workers, and half of --max_held_bytes is {}: what has "
        "no room is applied as it comes; a larger --max_held_bytes, or more `ps`",
        options_.index, FormatBytes(given), snapshot.policy().num_workers(), FormatBytes(options_.max_held_bytes / 2));
  }
  if (fill && !snapshot.await_weights()) store->FillInitialValues(snapshot.policy().seed(), manifest);
  MutexLock lock(mu_);
  fingerprint_ = manifest.fingerprint();
  model_ = manifest.model();
  placement_ = placement;
  store_ = std::move(store);
  weights_ready_ = !snapshot.await_weights() || store_->num_blocks() == 0;
  if (!weights_ready_) {
    for (std::uint64_t b = options_.index; b < placement.num_blocks(); b += options_.num_shards) {
      missing_blocks_.insert(b);
    }
  }
  return absl::OkStatus();
}

void Shard::PutWeights(const Buffer& request, ReplyCallback done) {
  auto held = std::make_unique<Held>();
  held->kind = Held::kPutWeights;
  held->weights = std::make_shared<Decoded<v1::PutWeightsRequest>>();
  v1::PutWeightsRequest& message = held->weights->message;
  if (absl::Status status = DecodeMessage(request, &message, &held->weights->payload, kMaxRequestHeaderBytes);
      !status.ok()) {
    return done(status, {});
  }
  held->done = std::move(done);
  Actions actions;
  {
    MutexLock lock(mu_);
    Hold(std::move(held), kMaxHold, &actions);
  }
  Run(actions);
}

bool Shard::AttemptPutWeights(Held& held, Actions* actions) {
  const v1::BlockRun run = held.weights->message.run();
  const absl::StatusOr<StampCheck> stamp = CheckStamp(held.weights->message.stamp());
  absl::Status status = stamp.status();
  if (stamp.ok() && (*stamp == StampCheck::kAhead || store_ == nullptr)) {
    const bool waits = !held.expired && IsMember(held.weights->message.stamp());
    if (waits) status = ChargePayload(held, held.weights->message.stamp(), held.weights->payload, false);
    if (waits && status.ok()) return false;
    if (status.ok())
      status = absl::UnavailableError(absl::StrCat("shard ", options_.index, " is behind in membership epochs"));
  }
  if (status.ok() && !weights_ready_) {
    status = CheckRun(run);
    if (status.ok()) status = CheckPayload(*placement_, run, v1::F32, held.weights->payload, "weights");
    if (status.ok()) status = ChargePayload(held, held.weights->message.stamp(), held.weights->payload, false);
  }
  if (!status.ok() || weights_ready_) {
    actions->push_back([done = std::move(held.done), status] {
      v1::PutWeightsReply reply;
      reply.set_complete(true);
      if (status.ok()) return Reply(done, reply);
      done(status, {});
    });
    return true;
  }
  actions->push_back([this, weights = held.weights, done = std::move(held.done), store = store_, run] {
    executor_->Post([this, weights, done, store, run] {
      const std::size_t bad = FirstNonFiniteIn(store->placement(), run, v1::F32, weights->payload);
      if (bad < weights->payload.size() / sizeof(float)) {
        return done(absl::InvalidArgumentError(absl::StrCat("initial weights: non-finite value at element ", bad,
                                                            " of the blocks from block ", run.first_block())),
                    {});
      }
      Actions after;
      v1::PutWeightsReply reply;
      std::uint64_t record = 0;
      {
        // Under the lock, so that a repetition does not overwrite what was trained meanwhile.
        MutexLock lock(mu_);
        if (!weights_ready_) {
          record = JournalWeights(weights->message, weights->payload);
          InstallWeights(run, weights->payload, &after);
        }
        reply.set_complete(weights_ready_);
      }
      AfterRecord(record, done, [done, reply] { Reply(done, reply); });
      Run(after);
    });
  });
  return true;
}

void Shard::InstallWeights(const v1::BlockRun& run, const Buffer& payload, Actions* actions) {
  store_->Write({run.first_block(), run.num_blocks()}, payload);
  for (std::uint32_t i = 0; i < run.num_blocks(); ++i) {
    missing_blocks_.erase(run.first_block() + std::uint64_t{i} * options_.num_shards);
  }
  weights_ready_ = missing_blocks_.empty();
  if (weights_ready_) Pump(actions);
}

}  // namespace leeway
