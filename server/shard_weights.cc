// Shard: initial weights, from a worker's --init_from.
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/payload.h"
#include "server/shard.h"

namespace leeway {

void Shard::PutWeights(const Buffer& request, ReplyCallback done) {
  auto held = std::make_unique<Held>();
  held->kind = Held::kPutWeights;
  held->weights = std::make_shared<Decoded<v1::PutWeightsRequest>>();
  if (absl::Status status = DecodeMessage(request, &held->weights->message, &held->weights->payload); !status.ok()) {
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
