#include "worker/client/push.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "worker/client/chunk_memory.h"

namespace leeway {
namespace {

// A refusal concerns one chunk, for good; every other error ends the push.
bool IsRefusal(const absl::Status& status) {
  return absl::IsAborted(status) ||
         (absl::IsInvalidArgument(status) && absl::StrContains(status.message(), "non-finite"));
}

// Whether a chunk's bytes, by the last answer to it, may be in the weights. A chunk that is held for its round is
// settled with its push; a server that asks to come again (the push failed meanwhile) has done nothing.
bool MayBeApplied(const absl::Status& status, const v1::PushReply& reply) {
  if (status.ok()) return reply.verdict() == v1::APPLIED;
  return !IsRefusal(status) && !absl::IsFailedPrecondition(status);
}

}  // namespace

Push::Push(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement, Request request, int holds,
           std::shared_ptr<const void> owner, const float* gradient, std::shared_ptr<Encoder> encoder,
           std::function<void(PushResult)> done)
    : caller_(caller),
      view_(std::move(view)),
      placement_(placement),
      request_(std::move(request)),
      owner_(std::move(owner)),
      gradient_(gradient),
      encoder_(std::move(encoder)),
      done_(std::move(done)),
      holds_(holds),
      sent_(placement.num_shards()) {
  for (std::uint32_t shard = 0; shard < placement_.num_shards(); ++shard) {
    to_answer_ += placement_.ShardChunks(shard);
    // A shard without blocks gets its one, empty chunk too: its clock must move.
    if (placement_.ShardBlocks(shard) == 0) {
      ready_.push_back({shard, 0});
    } else if (IsEncoded()) {
      to_encode_ += placement_.ShardChunks(shard);
    }
  }
  not_taken_ = to_answer_;
}

void Push::Ready(ChunkId chunk) {
  {
    MutexLock lock(mu_);
    if (IsEncoded()) {
      if (no_more_chunks_) return;
      ++encoding_;
    } else {
      if (null_verdict_ != v1::VERDICT_NONE || given_up_) return;
      ready_.push_back(chunk);
    }
  }
  if (request_.encoded) return Took(chunk, request_.encoded->bytes(chunk));
  if (encoder_ == nullptr) return SendSome();
  encoder_->strands.Post(encoder_->feedback.chunks()[chunk],
                         [self = shared_from_this(), chunk] { self->Encode(chunk); });
}

void Push::Encode(ChunkId id) {
  bool send = false;
  {
    MutexLock lock(mu_);
    send = null_verdict_ == v1::VERDICT_NONE && failure_.ok() && !given_up_;
  }
  std::optional<Buffer> bytes;
  if (send) {
    bytes = encoder_->feedback.Encode(id, gradient_);
  } else {
    encoder_->feedback.Absorb(id, gradient_);
  }
  Took(id, std::move(bytes));
}

// A chunk is encoded; without bytes the error feedback keeps all of it, or it cannot be encoded and goes as it is.
void Push::Took(ChunkId id, std::optional<Buffer> bytes) {
  bool over = false;
  {
    MutexLock lock(mu_);
    --encoding_;
    --to_encode_;
    if (bytes) encoded_.emplace(id, *std::move(bytes));
    // (It may have become a null push meanwhile. One that failed sends nothing more.)
    if (null_verdict_ == v1::VERDICT_NONE && !given_up_) ready_.push_back(id);
    over = IsOver();
  }
  SendSome();
  if (over) caller_.executor().Post([self = shared_from_this()] { self->EndIfOver(); });
}

void Push::NoMoreChunks() {
  {
    MutexLock lock(mu_);
    no_more_chunks_ = true;
    to_encode_ = encoding_;
  }
  caller_.executor().Post([self = shared_from_this()] { self->EndIfOver(); });
}

void Push::SetTicket(const v1::Ticket& ticket) {
  MutexLock lock(mu_);
  ticket_ = ticket;
}

void Push::Release() {
  {
    MutexLock lock(mu_);
    --holds_;
  }
  SendSome();
}

void Push::MakeNull(v1::Verdict verdict, std::string refusal) {
  MutexLock lock(mu_);
  if (given_up_) return;
  refusal_ = std::move(refusal);
  null_verdict_ = verdict;
  ready_.clear();
  for (std::uint32_t shard = 0; shard < placement_.num_shards(); ++shard) ready_.push_back({shard, 0});
  to_answer_ = placement_.num_shards();
}

bool Push::GiveUp(std::uint64_t open_round) {
  {
    MutexLock lock(mu_);
    // What has not left no shard has: it cannot be one of the pushes that closed the round.
    const bool all_left = to_answer_ == in_flight_;
    if (all_left || null_verdict_ != v1::VERDICT_NONE || !failure_.ok()) return given_up_;
    given_up_ = true;
    open_round_ = std::max(open_round_, open_round);
    ready_.clear();
  }
  caller_.executor().Post([self = shared_from_this()] { self->EndIfOver(); });
  return true;
}

bool Push::given_up() const {
  MutexLock lock(mu_);
  return given_up_;
}

std::vector<MissingAnswer> Push::MissingAnswers() const {
  std::vector<MissingAnswer> missing;
  MutexLock lock(mu_);
  for (std::uint32_t shard = 0; shard < sent_.size(); ++shard) {
    if (sent_[shard].chunks == 0) continue;
    missing.push_back(sent_[shard].newest);
    missing.back().shard = shard;
  }
  return missing;
}

bool Push::held_back() const {
  MutexLock lock(mu_);
  return holds_ > 0;
}

void Push::Abandon() {
  {
    MutexLock lock(mu_);
    if (failure_.ok()) failure_ = absl::CancelledError("the push was abandoned");
    abandoned_ = true;
  }
  caller_.executor().Post([self = shared_from_this()] { self->EndIfOver(); });
}

void Push::SendSome() {
  std::vector<ChunkId> now;
  {
    MutexLock lock(mu_);
    if (holds_ > 0 || !failure_.ok() || given_up_) return;
    while (in_flight_ < Window(placement_.num_shards()) && !ready_.empty() && !waits_for_room_) {
      waits_for_room_ = !caller_.MayStart(Caller::Load::kUp, [self = shared_from_this()] { self->HasRoom(); });
      if (waits_for_room_) break;
      now.push_back(ready_.front());
      ready_.pop_front();
      ++in_flight_;
      ++sent_[now.back().shard].chunks;
    }
    if (!now.empty() && !started_) {
      started_ = true;
      start_ = caller_.Now();
    }
  }
  for (const ChunkId id : now) Send(id);
}

void Push::HasRoom() {
  {
    MutexLock lock(mu_);
    waits_for_room_ = false;
  }
  SendSome();
}

v1::PushRequest Push::RequestFor(ChunkId id, Buffer* payload) {
  v1::PushRequest request;
  *request.mutable_stamp() = view_->stamp();
  request.set_clock(request_.clock);
  request.set_chunk(id.chunk);
  request.set_samples(request_.samples);
  if (id.shard < request_.reads.size()) {
    request.set_read_version(request_.reads[id.shard].version);
    request.set_read_generation(request_.reads[id.shard].generation);
  }
  {
    MutexLock lock(mu_);
    if (ticket_.serial() > 0) *request.mutable_ticket() = ticket_;
    if (null_verdict_ != v1::VERDICT_NONE) {
      request.set_chunk_count(1);
      request.set_null_verdict(null_verdict_);
    }
  }
  if (request.null_verdict() == v1::VERDICT_NONE) {
    const ChunkRun run = placement_.Chunk(id.shard, id.chunk);
    request.set_chunk_count(placement_.ShardChunks(id.shard));
    if (run.num_blocks == 0) {
      request.set_null_verdict(v1::APPLIED);
    } else {
      *request.mutable_run() = RunToProto(run);
      MutexLock lock(mu_);
      if (const auto encoded = encoded_.find(id); encoded != encoded_.end()) {
        request.set_encoding(request_.encoded ? request_.encoded->encoding : encoder_->feedback.encoding());
        *payload = encoded->second;
      } else {
        *payload = WrapRun(placement_, run, owner_, gradient_);
      }
    }
  }
  return request;
}

void Push::Send(ChunkId id) {
  Buffer payload;
  const v1::PushRequest request = RequestFor(id, &payload);
  caller_.Call<v1::PushReply>(
      static_cast<Target>(id.shard), "ParameterServer/Push", request, payload,
      [self = shared_from_this(), id](absl::Status status, Decoded<v1::PushReply> reply) {
        self->Answered(id, std::move(status), reply.message);
      },
      {.wanted = [self = shared_from_this(),
                  end = std::make_shared<std::optional<Instant>>()] { return self->Wanted(end.get()); },
       .load = Caller::Load::kUp});
}

void Push::SendAgain(ChunkId id) {
  if (caller_.MayStart(Caller::Load::kUp, [self = shared_from_this(), id] { self->SendAgain(id); })) Send(id);
}

bool Push::Wanted(std::optional<Instant>* end) {
  MutexLock lock(mu_);
  if (failure_.ok()) return true;
  if (!*end) *end = caller_.Now() + kLastAnswers;
  return caller_.Now() < std::max(**end, caller_.LastAnswerUp() + kLastAnswers);
}

void Push::Count(ChunkId id, const absl::Status& status, const v1::PushReply& reply) {
  --to_answer_;
  if (IsRefusal(status) || reply.verdict() == v1::REFUSED) {
    ++refused_;
    if (refusal_.empty() && !status.ok()) refusal_ = std::string(status.message());
  } else if (reply.verdict() == v1::DROPPED) {
    ++dropped_;
    open_round_ = std::max<std::uint64_t>(open_round_, reply.open_round());
  } else if (null_verdict_ != v1::VERDICT_NONE || placement_.ShardBlocks(id.shard) > 0) {
    ++applied_;  // (an empty chunk says nothing of a gradient)
    if (null_verdict_ == v1::VERDICT_NONE && reply.verdict() == v1::HELD) held_ = id;
    in_weights_ = in_weights_ || (null_verdict_ == v1::VERDICT_NONE && reply.verdict() == v1::APPLIED);
  }
}

void Push::Answered(ChunkId id, absl::Status status, const v1::PushReply& reply) {
  if (absl::IsFailedPrecondition(status)) view_->MarkExpired(status);
  bool again = false;
  {
    MutexLock lock(mu_);
    again = status.ok() && reply.has_not_yet() && failure_.ok();
    if (status.ok()) sent_[id.shard].newest = {.reason = reply.not_yet().reason(), .heard = caller_.Now()};
    if (!again) {
      --in_flight_;
      --sent_[id.shard].chunks;
      last_shard_ = id.shard;
      last_journal_micros_ = reply.journal_micros();
      if (reply.journaled() > 0) {
        std::uint64_t& records = journaled_[{id.shard, reply.generation()}];
        records = std::max<std::uint64_t>(records, reply.journaled());
      }
      if (status.ok() && !reply.has_not_yet() && reply.verdict() == v1::VERDICT_NONE) {
        status = absl::InternalError(
            absl::StrCat(caller_.Describe(static_cast<Target>(id.shard)), " answered a push without a verdict"));
      }
      if (status.ok() && spdlog::should_log(spdlog::level::debug)) LogVerdict(id, reply);
      if (null_verdict_ == v1::VERDICT_NONE) {  // (a null push carries no chunk)
        const bool may_be_applied = MayBeApplied(status, reply);
        if (may_be_applied) encoded_.erase(id);
        // (Of an empty chunk a shard may not know any more that it has come.)
        const bool empty = placement_.ShardBlocks(id.shard) == 0;
        if (may_be_applied || reply.verdict() == v1::HELD || empty) --not_taken_;
      }
      if (status.ok() || IsRefusal(status)) {
        if (!reply.has_not_yet()) Count(id, status, reply);
      } else if (failure_.ok()) {
        failure_ = std::move(status);
      }
    }
  }
  if (again) {
    caller_.After(kAskAgain, [self = shared_from_this(), id] { self->SendAgain(id); });
  } else {
    SendSome();
    EndIfOver();
  }
}

// Chaos tests compare these lines with the shards' journals (tests/chaos/proof.py).
void Push::LogVerdict(ChunkId id, const v1::PushReply& reply) {
  if (reply.verdict() == v1::VERDICT_NONE || null_verdict_ != v1::VERDICT_NONE ||
      placement_.ShardBlocks(id.shard) == 0) {
    return;
  }
  spdlog::debug("acknowledged: {} incarnation {:x} step {} shard {} chunk {}", v1::Verdict_Name(reply.verdict()),
                view_->stamp().incarnation(), request_.clock, id.shard, id.chunk);
}

}  // namespace leeway
