#include "worker/client/round_watch.h"

#include <utility>

#include "absl/time/time.h"

namespace leeway {

RoundWatch::RoundWatch(Caller& caller, std::shared_ptr<ClusterView> view, std::uint32_t shard, std::uint64_t round,
                       std::function<void(std::uint64_t)> closed)
    : caller_(caller), view_(std::move(view)), shard_(shard), round_(round), closed_(std::move(closed)) {}

void RoundWatch::Start() {
  if (stopped_) return;
  v1::WatchRoundRequest request;
  *request.mutable_stamp() = view_->stamp();
  request.set_round(round_);
  request.set_wait_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(Caller::kGateWait)));
  caller_.Call<v1::WatchRoundReply>(static_cast<Target>(shard_), "ParameterServer/WatchRound", request, {},
                                    [self = shared_from_this(), sent = caller_.Now()](
                                        const absl::Status& status, const Decoded<v1::WatchRoundReply>& reply) {
                                      self->Answered(sent, status, reply.message);
                                    },
                                    {.wanted = [self = shared_from_this()] { return !self->stopped_; }});
}

void RoundWatch::Answered(Instant sent, const absl::Status& status, const v1::WatchRoundReply& reply) {
  if (absl::IsFailedPrecondition(status)) view_->MarkExpired(status);
  if (!status.ok() || stopped_) return;
  if (reply.open_round() > round_) return closed_(reply.open_round());
  if (reply.finishing()) return view_->SetState(v1::FINISHING);
  const bool held = caller_.Now() - sent >= Caller::kShortHold;
  caller_.After(held ? absl::ZeroDuration() : Caller::kShortHold, [self = shared_from_this()] { self->Start(); });
}

}  // namespace leeway
