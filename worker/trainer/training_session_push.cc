// TrainingSession: the pushes, from their making to their verdicts.
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "worker/client/chunk_memory.h"
#include "worker/trainer/training_session.h"

namespace leeway {

std::optional<Push::Encoded> TrainingSession::EncodedGradient(int slot) const {
  if (const std::shared_ptr<DeviceEncoder>& encoder = worker_.device_encoder; encoder != nullptr) {
    return Push::Encoded{encoder->encoding(), [encoder, slot](ChunkId id) { return encoder->Bytes(slot, id); },
                         [encoder](ChunkId id, const Buffer& bytes) { encoder->Return(id, bytes); }};
  }
  const std::uint16_t* const halves = worker_.engine.half_gradient(slot);
  if (halves == nullptr) return std::nullopt;
  return Push::Encoded{v1::BF16,
                       [placement = placement_, halves](ChunkId id) {
                         return WrapRun(placement, placement.Chunk(id.shard, id.chunk), nullptr, halves);
                       },
                       nullptr};
}

std::shared_ptr<Push> TrainingSession::NewPush(const StepPipeline::Compute& step, const PullResult& read, int holds) {
  Push::Request request;
  request.clock = step.clock;
  request.samples = static_cast<std::uint32_t>(pushes_.at(step.clock).work.batch.records.size());
  request.reads = read.reads;
  request.encoded = EncodedGradient(step.gradient_slot);
  // The gradient's memory is the engine's, which outlives every call: there is no owner to keep alive.
  return std::make_shared<Push>(
      worker_.caller, view_, placement_, std::move(request), holds, nullptr,
      worker_.engine.gradient(step.gradient_slot), worker_.encoder,
      [this, mailbox = mailbox_, clock = step.clock](PushResult result) {
        mailbox->Post([this, clock, result = std::move(result)]() mutable { OnPush(clock, std::move(result)); });
      });
}

std::shared_ptr<RoundWatch> TrainingSession::WatchRound(const v1::Policy& policy, std::uint64_t clock,
                                                        const std::shared_ptr<Push>& push) {
  const bool may_close = policy.round_quorum() > 0 && policy.round_quorum() < policy.num_workers();
  if (policy.aggregation() != v1::ROUND || !may_close) return nullptr;
  // Over the shards by rank, so that none has all of them.
  const auto watch =
      std::make_shared<RoundWatch>(worker_.caller, view_, rank_ % placement_.num_shards(), clock,
                                   [mailbox = mailbox_, weak = std::weak_ptr<Push>(push)](std::uint64_t open_round) {
                                     const std::shared_ptr<Push> push = weak.lock();
                                     if (push != nullptr && push->GiveUp(open_round)) mailbox->Wake();
                                   });
  watch->Start();
  return watch;
}

std::function<void()> TrainingSession::TicketOpener(const StepPipeline::Compute& step, std::uint64_t read_serial,
                                                    const std::shared_ptr<Push>& push) {
  const auto samples = static_cast<std::uint32_t>(pushes_.at(step.clock).work.batch.records.size());
  const auto decided = [this, mailbox = mailbox_, push](absl::Status status, const v1::Ticket& ticket) {
    if (status.ok()) {
      push->SetTicket(ticket);
    } else if (absl::IsAborted(status)) {
      push->MakeNull(v1::REFUSED, std::string(status.message()));
    } else {
      mailbox->Post([this, status] { Fail(status); });
      push->Abandon();
    }
    push->Release();
  };
  return [coordinator = coordinator_, clock = step.clock, read_serial, samples, decided,
          asked = std::make_shared<std::atomic<bool>>(false)] {
    if (!asked->exchange(true)) coordinator->OpenPush(clock, read_serial, samples, decided);
  };
}

void TrainingSession::OnPush(std::uint64_t clock, PushResult result) {
  const auto it = pushes_.find(clock);
  if (it == pushes_.end()) return;
  const Work work = std::move(it->second.work);
  const std::shared_ptr<Push> push = std::move(it->second.push);
  if (it->second.watch != nullptr) it->second.watch->Stop();
  pushes_.erase(it);
  ended_push_ = {clock, result.last_shard, result.journal, worker_.caller.Now()};
  pipeline_.PushEnded(clock, result.verdict, result.open_round);
  *settled_ = pipeline_.settled();
  if (!result.status.ok()) {
    first_abandoned_ = std::min(first_abandoned_, clock);
    if (!absl::IsCancelled(result.status)) Fail(result.status);
    return;
  }
  if (result.held) {
    held_push_ = {push, result};
  } else if (!work.batch.records.empty()) {
    ledger_.PushEnded(result);
  }
  if (!result.refusal.empty() && say_refused_.Due(worker_.caller.Now())) {
    spdlog::warn("push of step {} was {}: {} ({} more refusals since the last such line)", clock,
                 result.partial ? "partly refused" : "refused", result.refusal, say_refused_.skipped());
  }
  v1::CommitDataRequest commit = source_.Settle(work, clock, result.verdict == v1::APPLIED, result.partial);
  for (v1::Journaled& journaled : result.journaled) *commit.add_journaled() = std::move(journaled);
  Commit(std::move(commit));
}

// Rounds have depth 0: the weights that arrive first after a push are those of the step after it.
void TrainingSession::SettleHeld(v1::Verdict verdict) {
  if (!held_push_) return;
  HeldPush held = *std::exchange(held_push_, std::nullopt);
  if (verdict == v1::DROPPED) {
    held.push->LeftOut();
    held.result.verdict = v1::DROPPED;
  }
  ledger_.PushEnded(held.result);
}

v1::Verdict TrainingSession::AskOfHeldPush() {
  auto told = std::make_shared<std::optional<v1::Verdict>>();
  if (!held_push_) return v1::VERDICT_NONE;
  held_push_->push->AskOfRound(
      [mailbox = mailbox_, told](v1::Verdict verdict) { mailbox->Post([told, verdict] { *told = verdict; }); });
  mailbox_->RunUntil([&] { return told->has_value() || !failure_.ok() || worker_.cancellation.cancelled(); });
  return told->value_or(v1::VERDICT_NONE);
}

void TrainingSession::Commit(v1::CommitDataRequest commit) {
  const std::uint64_t clock = commit.clock();
  commits_.insert(clock);
  coordinator_->CommitData(std::move(commit), [this, mailbox = mailbox_, clock](absl::Status status) {
    mailbox->Post([this, status, clock] {
      commits_.erase(clock);
      if (!status.ok()) Fail(status);
    });
  });
}

}  // namespace leeway
