#include "worker/client/pull.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/client/chunk_memory.h"

namespace leeway {
namespace {

constexpr auto kUnknown = std::numeric_limits<std::uint64_t>::max();  // above every version

}  // namespace

Pull::Pull(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement, const Request& request,
           float* vector, std::function<void(PullResult)> done)
    : caller_(caller),
      view_(std::move(view)),
      placement_(placement),
      request_(request),
      policy_(view_->policy()),
      vector_(vector),
      done_(std::move(done)) {
  result_.reads.assign(placement.num_shards(), {kUnknown, 0});
  result_.ticket_watermark = result_.min_version = kUnknown;
  result_.policy = policy_;
  asked_.resize(placement.num_shards());
  // Piece by piece over all shards, so that every shard is busy from the start.
  std::vector<std::deque<Piece>> pieces;
  for (std::uint32_t shard = 0; shard < placement.num_shards(); ++shard) pieces.push_back(PiecesOf(shard));
  for (bool found = true; found;) {
    found = false;
    for (std::deque<Piece>& of_shard : pieces) {
      if (of_shard.empty()) continue;
      to_send_.push_back(of_shard.front());
      of_shard.pop_front();
      found = true;
    }
  }
  std::reverse(to_send_.begin(), to_send_.end());
  unanswered_ = to_send_.size();
}

std::deque<Pull::Piece> Pull::PiecesOf(std::uint32_t shard) const {
  std::deque<Piece> pieces;
  for (std::uint32_t chunk = 0; chunk < placement_.ShardChunks(shard); ++chunk) {
    const ChunkRun run = placement_.Chunk(shard, chunk);
    // Differences are kept by chunk, on both sides.
    const std::uint64_t blocks = request_.seen != nullptr
                                     ? run.num_blocks
                                     : std::max<std::uint64_t>(kPieceElements / placement_.block_elements(), 1);
    const auto most = static_cast<std::uint32_t>(blocks);
    for (std::uint32_t at = 0; at < run.num_blocks; at += most) {
      const std::uint64_t first = run.first_block + std::uint64_t{at} * placement_.num_shards();
      pieces.push_back({{shard, chunk}, {first, std::min(most, run.num_blocks - at)}});
    }
  }
  return pieces;
}

void Pull::Start() {
  {
    MutexLock lock(mu_);
    started_ = caller_.Now();
  }
  for (std::size_t i = 0; i < Window(placement_.num_shards()); ++i) Next(absl::OkStatus());
}

void Pull::Abandon() {
  MutexLock lock(mu_);
  ended_ = true;
  while (copying_ > 0) copied_.Wait(mu_);
}

std::vector<MissingAnswer> Pull::MissingAnswers() const {
  std::vector<MissingAnswer> missing;
  MutexLock lock(mu_);
  for (std::uint32_t shard = 0; shard < asked_.size() && !ended_; ++shard) {
    if (asked_[shard].pieces == 0) continue;
    missing.push_back(asked_[shard].newest);
    missing.back().shard = shard;
  }
  return missing;
}

void Pull::Send(const Piece& piece) {
  if (!caller_.MayStart(Caller::Load::kDown, [self = shared_from_this(), piece] { self->SendAgain(piece); })) return;
  v1::PullRequest request;
  *request.mutable_stamp() = view_->stamp();
  request.mutable_stamp()->set_policy_number(policy_.number());
  request.set_clock(request_.clock);
  request.set_own_clock(request_.own_clock);
  request.set_answered(request_.answered);
  request.set_attempt(request_.attempt);
  *request.mutable_run() = RunToProto(piece.run);
  request.set_wait_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(Caller::kGateWait)));
  request.set_copy(request_.copy);
  request.set_min_version(request_.min_version);
  request.set_encoding(request_.encoding);
  const std::uint64_t base = request_.seen == nullptr ? 0 : request_.seen->Base(piece.chunk);
  request.set_base(base);
  const Instant sent = caller_.Now();
  caller_.Call<v1::PullReply>(
      static_cast<Target>(piece.chunk.shard), "ParameterServer/Pull", request, {},
      [self = shared_from_this(), piece, sent, base](absl::Status status, Decoded<v1::PullReply> reply) {
        self->Answered(piece, sent, base, std::move(status), std::move(reply));
      },
      {.delivery = Caller::Delivery::kInLine,
       .wanted = [self = shared_from_this()] { return self->Wanted(); },
       .load = Caller::Load::kDown});
}

void Pull::SendAgain(const Piece& piece) {
  if (Wanted()) Send(piece);
}

bool Pull::Wanted() {
  MutexLock lock(mu_);
  return !ended_;
}

void Pull::NoteGate(std::uint32_t shard, Instant sent, const v1::PullReply& reply) {
  const auto& waited = reply.has_not_yet() ? reply.not_yet().on() : reply.waited_for();
  for (const v1::Waiting& waiting : waited) waited_for_.insert(waiting.worker_id());
  if (reply.has_not_yet()) {
    result_.gated = true;
    result_.gate_open = std::max(result_.gate_open, caller_.Now());
    result_.gate_shard = shard;
    asked_[shard].newest = {shard, {waited.begin(), waited.end()}, reply.not_yet().reason(), caller_.Now()};
  } else if (reply.gate_wait_micros() > 0) {
    result_.gated = true;
    const absl::Duration held = absl::Microseconds(static_cast<std::int64_t>(reply.gate_wait_micros()));
    const Instant open = std::min(caller_.Now(), sent + held);
    if (open >= result_.gate_open) result_.gate_shard = shard;
    result_.gate_open = std::max(result_.gate_open, open);
  }
}

// Decodes an answer to where the piece lies in the vector; false: it has to be asked for again.
absl::StatusOr<bool> Pull::Take(const Piece& piece, std::uint64_t base, const Decoded<v1::PullReply>& reply) {
  const ChunkRun& run = piece.run;
  const v1::PullReply& header = reply.message;
  const v1::Encoding expected = request_.encoding == v1::INT8 && !header.delta() ? v1::F32 : request_.encoding;
  if (header.encoding() != expected || header.run().first_block() != run.first_block ||
      header.run().num_blocks() != run.num_blocks) {
    return absl::InternalError(absl::StrCat(
        caller_.Describe(static_cast<Target>(piece.chunk.shard)), " answered a pull of blocks ", run.first_block, " (",
        run.num_blocks, ") in encoding ", request_.encoding, " with {", header.ShortDebugString(), "}"));
  }
  if (request_.seen != nullptr) return request_.seen->Take(piece.chunk, base, header, reply.payload, vector_);
  if (request_.halves != nullptr) {
    RETURN_IF_ERROR(UnpackHalves(placement_, run, reply.payload, request_.halves));
  } else {
    RETURN_IF_ERROR(UnpackRun(placement_, run, request_.encoding, reply.payload, vector_));
  }
  return true;
}

void Pull::Answered(const Piece& piece, Instant sent, std::uint64_t base, absl::Status status,
                    Decoded<v1::PullReply> reply) {
  const v1::PullReply& header = reply.message;
  if (absl::IsFailedPrecondition(status)) view_->MarkExpired(status);
  {
    MutexLock lock(mu_);
    if (ended_) return;
    if (status.ok()) NoteGate(piece.chunk.shard, sent, header);
    if (status.ok() && !header.has_not_yet()) ++copying_;
  }
  if (!status.ok()) return Next(std::move(status));
  if (header.has_not_yet()) {
    if (header.finishing()) view_->SetState(v1::FINISHING);
    // The stamp is renewed with every asking: a newer membership epoch may be what the shard waits for.
    const bool held = caller_.Now() - sent >= Caller::kShortHold;
    caller_.After(held ? absl::ZeroDuration() : Caller::kShortHold,
                  [self = shared_from_this(), piece] { self->SendAgain(piece); });
    return;
  }
  const absl::StatusOr<bool> taken = Take(piece, base, reply);
  {
    MutexLock lock(mu_);
    --copying_;
    copied_.NotifyAll();
    if (ended_) return;
    if (taken.ok() && *taken) {
      if (header.has_policy()) result_.policy = header.policy();
      if (header.last_push() != v1::VERDICT_NONE) result_.last_push = header.last_push();
      --unanswered_;
      --asked_[piece.chunk.shard].pieces;
      asked_[piece.chunk.shard].newest = {.heard = caller_.Now()};
      result_.last_shard = piece.chunk.shard;
      ShardRead& read = result_.reads[piece.chunk.shard];
      read.version = std::min<std::uint64_t>(read.version, header.version());
      read.generation = header.generation();
      result_.ticket_watermark = std::min<std::uint64_t>(result_.ticket_watermark, header.ticket_watermark());
      result_.min_version = std::min<std::uint64_t>(result_.min_version, header.version());
      result_.max_version = std::max<std::uint64_t>(result_.max_version, header.version());
    }
  }
  if (header.has_policy()) view_->SetPolicy(header.policy());
  if (taken.ok() && !*taken) return Send(piece);
  Next(taken.status());
}

void Pull::Next(absl::Status status) {
  Piece next;
  {
    MutexLock lock(mu_);
    if (ended_) return;
    if (!status.ok() || unanswered_ == 0) {
      ended_ = true;
      result_.status = std::move(status);
      caller_.executor().Post([self = shared_from_this()] { self->Finish(); });
      return;
    }
    if (to_send_.empty()) return;
    next = to_send_.back();
    to_send_.pop_back();
    ++asked_[next.chunk.shard].pieces;
  }
  Send(next);
}

void Pull::Finish() {
  PullResult result;
  {
    MutexLock lock(mu_);
    // After a failure another piece may still be on its way into the vector.
    while (copying_ > 0) copied_.Wait(mu_);
    for (ShardRead& read : result_.reads) {
      if (read.version == kUnknown) read = {};  // a shard without blocks
    }
    const Instant now = caller_.Now();
    result_.ended = now;
    result_.transfer = now - (result_.gated ? std::clamp(result_.gate_open, started_, now) : started_);
    result_.waited_for.assign(waited_for_.begin(), waited_for_.end());
    result = std::move(result_);
  }
  done_(std::move(result));
}

}  // namespace leeway
