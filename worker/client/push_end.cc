// Push: how it ends, and what returns to the error feedback.
#include <utility>

#include "worker/client/push.h"

namespace leeway {

bool Push::IsOver() const {
  const bool settled = to_answer_ == 0 || !failure_.ok() || (given_up_ && no_more_chunks_);
  return !ended_ && in_flight_ == 0 && to_encode_ == 0 && settled;
}

void Push::EndIfOver() {
  PushResult result;
  std::map<ChunkId, Buffer> returned;
  bool ask = false;
  {
    MutexLock lock(mu_);
    if (!IsOver()) return;
    // Where every shard has its part, its round may count it, though its worker is no member any more.
    const bool cut_short = abandoned_ || absl::IsFailedPrecondition(failure_);
    ask = cut_short && held_ && not_taken_ == 0 && !in_weights_ && !asked_;
    if (ask) asked_ = true, ++in_flight_;
  }
  if (ask) {
    return AskOfRound([self = shared_from_this()](v1::Verdict verdict) {
      {
        MutexLock lock(self->mu_);
        --self->in_flight_;
        self->left_out_ = verdict == v1::DROPPED;
      }
      self->EndIfOver();
    });
  }
  {
    MutexLock lock(mu_);
    if (!IsOver()) return;
    ended_ = true;
    result = Result();
    // What is left here is held for its round, which counts it if every shard has its part. Else nothing of this
    // counts.
    if (not_taken_ > 0 || left_out_) returned.swap(encoded_);
  }
  for (const auto& [id, bytes] : returned) GiveBack(id, bytes);
  done_(std::move(result));
}

void Push::LeftOut() {
  std::map<ChunkId, Buffer> returned;
  {
    MutexLock lock(mu_);
    returned.swap(encoded_);
  }
  for (const auto& [id, bytes] : returned) GiveBack(id, bytes);
}

void Push::AskOfRound(std::function<void(v1::Verdict)> told, std::optional<Instant> end) {
  const Instant until = end.value_or(caller_.Now() + kLastAnswers);
  ChunkId id;
  bool kept = false;
  {
    MutexLock lock(mu_);
    id = *held_;
    kept = encoded_.count(id) > 0;
  }
  if (!kept) return caller_.executor().Post([told] { told(v1::VERDICT_NONE); });
  Buffer payload;
  const v1::PushRequest request = RequestFor(id, &payload);
  caller_.Call<v1::PushReply>(
      static_cast<Target>(id.shard), "ParameterServer/Push", request, payload,
      [self = shared_from_this(), told, until](const absl::Status& status, const Decoded<v1::PushReply>& reply) {
        const bool open = status.ok() && (reply.message.has_not_yet() || reply.message.verdict() == v1::HELD);
        if (open && self->caller_.Now() < until) {
          return self->caller_.After(kAskAgain, [self, told, until] { self->AskOfRound(told, until); });
        }
        const bool unknown = open || (!status.ok() && !absl::IsFailedPrecondition(status));
        told(unknown ? v1::VERDICT_NONE : reply.message.verdict() == v1::APPLIED ? v1::APPLIED : v1::DROPPED);
      },
      {.wanted = [self = shared_from_this(), until] { return self->caller_.Now() < until; }});
}

void Push::GiveBack(ChunkId id, const Buffer& bytes) {
  if (!request_.encoded) return encoder_->feedback.Return(id, bytes);
  if (request_.encoded->give_back) request_.encoded->give_back(id, bytes);
}

PushResult Push::Result() {
  PushResult result;
  result.status = failure_;
  result.ended = caller_.Now();
  if (started_) result.transfer = result.ended - start_;
  result.last_shard = last_shard_;
  result.journal = absl::Microseconds(static_cast<std::int64_t>(last_journal_micros_));
  if (!failure_.ok()) return result;
  const bool null_refused = null_verdict_ == v1::REFUSED;
  result.verdict = dropped_ > 0 || given_up_         ? v1::DROPPED
                   : (applied_ > 0 && !null_refused) ? v1::APPLIED
                                                     : v1::REFUSED;
  result.partial = result.verdict == v1::APPLIED && refused_ > 0;
  result.held = result.verdict == v1::APPLIED && held_.has_value();
  result.open_round = open_round_;
  result.refusal = refusal_;
  for (const auto& [process, records] : journaled_) {
    v1::Journaled& journaled = result.journaled.emplace_back();
    journaled.set_shard_index(process.first);
    journaled.set_generation(process.second);
    journaled.set_records(records);
  }
  return result;
}

}  // namespace leeway
