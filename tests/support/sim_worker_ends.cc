// SimWorker: a push whose round has ended, or its worker's life.
#include <algorithm>
#include <utility>

#include "tests/support/sim_worker.h"

namespace leeway {

bool SimWorker::MayMissRound() const {
  return policy_.aggregation() == v1::ROUND && policy_.round_quorum() > 0 &&
         policy_.round_quorum() < policy_.num_workers();
}

void SimWorker::WatchRound() {
  v1::WatchRoundRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_round(step_);
  request.set_wait_millis(static_cast<std::uint32_t>(random_->Below(2000)));
  const auto again = [this, step = step_](absl::Duration delay) {
    Later(delay, [this, step] {
      if (step_ == step && !unsent_.empty()) WatchRound();
    });
  };
  transport_->Call(shards_[life_->rank % placement_->num_shards()], "ParameterServer/WatchRound",
                   EncodeMessage(request), kTimeout,
                   [this, life = life_, step = step_, again](const absl::Status& status, const Buffer& bytes) {
                     if (life_ != life || step_ != step) return;
                     if (IsRetryable(status)) return again(kAgain);
                     v1::WatchRoundReply reply;
                     if (!status.ok() || !DecodeMessage(bytes, &reply).ok()) return;  // the step is completed
                     if (reply.open_round() > step) return GiveUp(reply.open_round());
                     if (!reply.finishing()) again(absl::Milliseconds(1));
                   });
}

void SimWorker::GiveUp(std::uint64_t open_round) {
  if (unsent_.empty()) return;  // all of it has left: the verdicts say what becomes of it
  ++life_->given_up;
  open_round_ = std::max(open_round_, open_round);
  for (const std::uint32_t shard : unsent_) life_->pushes[step_].verdicts[shard] = v1::DROPPED;
  // Before anything of it has left it waits for no answer.
  waiting_for_ -= std::min(waiting_for_, static_cast<std::uint32_t>(unsent_.size()));
  unsent_.clear();
  if (waiting_for_ == 0) Commit();
}

void SimWorker::Resolve(SimLife* life, std::uint64_t step, std::uint32_t shard, const Buffer& bytes) {
  const auto later = [this, life, step, shard, bytes] {
    clock_->RunAt(clock_->Now() + kAgain, [this, life, step, shard, bytes] { Resolve(life, step, shard, bytes); });
  };
  transport_->Call(shards_[shard], "ParameterServer/Push", bytes, kTimeout,
                   [life, step, shard, later](const absl::Status& status, const Buffer& reply) {
                     v1::PushReply push;
                     if (IsRetryable(status)) return later();
                     if (absl::IsFailedPrecondition(status)) {  // it never came, and now never will
                       life->pushes[step].verdicts[shard] = v1::REFUSED;
                     } else if (status.ok() && DecodeMessage(reply, &push).ok()) {
                       if (push.has_not_yet()) return later();
                       life->pushes[step].verdicts[shard] = push.verdict();
                       ++life->resolved;
                     }
                   });
}

}  // namespace leeway
