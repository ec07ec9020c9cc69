// Shard: pushes. Control state changes under the lock; floats are touched on the executor.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/retry.h"
#include "common/status_macros.h"
#include "kernels/schedule.h"
#include "server/check_policy.h"
#include "server/payload.h"
#include "server/shard.h"

namespace leeway {
namespace {

bool IsNull(const v1::PushRequest& push) { return push.null_verdict() != v1::VERDICT_NONE; }

}  // namespace

void Shard::Push(const Buffer& request, ReplyCallback done) {
  auto push = std::make_shared<Decoded<v1::PushRequest>>();
  if (absl::Status status = DecodeMessage(request, &push->message, &push->payload, kMaxRequestHeaderBytes);
      !status.ok()) {
    return done(status, {});
  }
  StartPush(std::move(push), std::move(done));
}

void Shard::StartPush(std::shared_ptr<Decoded<v1::PushRequest>> push, ReplyCallback done) {
  auto held = std::make_unique<Held>();
  held->kind = Held::kPush;
  held->push = std::move(push);
  held->done = std::move(done);
  Actions actions;
  {
    MutexLock lock(mu_);
    Hold(std::move(held), kMaxHold / 10, &actions);
  }
  Run(actions);
}

absl::Status Shard::CheckTicket(const v1::PushRequest& header) const {
  const v1::Policy& policy = PolicyOf(header);
  if (!NeedsTicket(policy) || header.ticket().serial() != 0 || IsNull(header)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("push of step ", header.clock(), " without a ticket; policy ", policy.number(), " needs one"));
}

absl::Status Shard::CheckPush(const Decoded<v1::PushRequest>& push) const {
  const v1::PushRequest& header = push.message;
  if (header.ticket().serial() != 0 && !(header.ticket().rate_scale() > 0 && header.ticket().rate_scale() <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("push with a ticket whose rate_scale is ",
                                                   header.ticket().rate_scale(), "; allowed are values in (0, 1]"));
  }
  if (IsNull(header)) {
    if (!v1::Verdict_IsValid(header.null_verdict()) || header.null_verdict() == v1::HELD || !push.payload.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("null push with verdict ", header.null_verdict(), " and ",
                                                     push.payload.size(), " bytes of payload"));
    }
    return absl::OkStatus();
  }
  if (store_->num_blocks() == 0) {
    return absl::InvalidArgumentError(absl::StrCat("push of chunk ", header.chunk(), " to shard ", options_.index,
                                                   ", which owns no blocks: only a null push may come here"));
  }
  if (!v1::Encoding_IsValid(header.encoding())) {
    return absl::InvalidArgumentError(absl::StrCat("push in encoding ", header.encoding(),
                                                   "; this shard understands 0 (F32), 1 (BF16), 2 (INT8), 3 (TOP_K)"));
  }
  RETURN_IF_ERROR(CheckChunk(header));
  return CheckPayload(*placement_, header.run(), header.encoding(), push.payload, "gradient");
}

absl::Status Shard::CheckChunk(const v1::PushRequest& header) const {
  const std::uint32_t chunks = placement_->ShardChunks(options_.index);
  const ChunkRun run = placement_->Chunk(options_.index, header.chunk());
  if (header.chunk_count() != chunks || header.chunk() >= chunks || header.run().first_block() != run.first_block ||
      header.run().num_blocks() != run.num_blocks) {
    return absl::InvalidArgumentError(
        absl::StrCat("push of chunk ", header.chunk(), " of ", header.chunk_count(), ": ", header.run().num_blocks(),
                     " blocks from block ", header.run().first_block(), "; shard ", options_.index, " has ", chunks,
                     " chunks, this one ", run.num_blocks, " blocks from block ", run.first_block));
  }
  return absl::OkStatus();
}

bool Shard::AttemptPush(Held& held, Actions* actions) {
  const v1::PushRequest& header = held.push->message;
  const absl::StatusOr<StampCheck> stamp = CheckStamp(header.stamp());
  absl::Status status = stamp.status();
  if (!stamp.ok() && AnswerDeparted(held, actions)) return true;
  if (stamp.ok()) {
    if (*stamp == StampCheck::kAhead || !weights_ready_) {
      // What waits counts, so a stranger's payload does not wait.
      const bool waits = !held.expired && (IsNull(header) || IsMember(header.stamp()));
      if (waits) status = ChargePayload(held, header.stamp(), held.push->payload, false);
      if (waits && status.ok()) return false;
      if (!status.ok()) {
        actions->push_back([done = std::move(held.done), status] { done(status, {}); });
        return true;
      }
      v1::PushReply reply = PushReplyFor(header, v1::VERDICT_NONE, false);
      reply.mutable_not_yet()->set_reason(
          absl::StrCat("shard ", options_.index,
                       weights_ready_ ? " is behind in membership epochs or policies" : " has no weights yet"));
      actions->push_back([done = std::move(held.done), reply = std::move(reply)] { Reply(done, reply); });
      return true;
    }
    MemberInfo& member = members_.at(header.stamp().worker_id());
    // What has come before is answered as it was then, and what is behind its worker's clock was begun then, whatever
    // the policy says now.
    const bool fresh = header.clock() >= member.window.clock() &&
                       member.window.Look(header.clock(), header.chunk()).state == PushWindow::Seen::kFresh;
    if (fresh) status = CheckTicket(header);
    if (status.ok()) status = CheckPush(*held.push);
    if (status.ok() && member.proto.state() == v1::OBSERVER) {
      status = absl::FailedPreconditionError("push from an evaluator; it only reads");
    }
    if (status.ok() && aggregation() == v1::ROUND && header.clock() > open_round_ + 1) {
      const std::string ahead = absl::StrCat("push for round ", header.clock(), "; shard ", options_.index,
                                             " has round ", open_round_, " open");
      // One that was restarted hears of the closes again that its journal has not.
      status = member.recovered ? absl::UnavailableError(ahead) : absl::OutOfRangeError(ahead);
    }
    if (status.ok() && member.recovered && aggregation() == v1::EACH &&
        header.clock() >= member.window.clock() + PushWindow::kAhead) {
      NoteLost(member, header.clock());
    }
    // Its worker is told to come again, and then that it is no member any more.
    if (status.ok() && !lost_.empty()) {
      status = absl::UnavailableError(absl::StrCat("shard ", options_.index, " cannot go on: ", lost_));
    }
    if (status.ok() && fresh && unconfirmed_) {
      status = absl::UnavailableError(
          absl::StrCat("shard ", options_.index, " waits for ps 0's word on what its journal has brought back"));
    }
    // A cut that is waited for says itself which steps it needs.
    const bool cut_decides = cut_phase_ == CutPhase::kHolding;
    if (status.ok() && draining_ && !cut_decides && header.clock() >= member.window.highest()) {
      status = absl::UnavailableError(
          absl::StrCat("shard ", options_.index, " is draining: it ends, and takes no new step"));
    }
    if (status.ok() && journal_ != nullptr) status = journal_->Ready();
    if (status.ok() && WaitsForCut(header)) {
      if (!held.expired) {
        status = ChargePayload(held, header.stamp(), held.push->payload, false);
        if (status.ok()) return false;
      } else {
        v1::PushReply reply = PushReplyFor(header, v1::VERDICT_NONE, false);
        reply.mutable_not_yet()->set_reason(absl::StrCat("shard ", options_.index, " begins checkpoint ", cut_.name()));
        actions->push_back([done = std::move(held.done), reply = std::move(reply)] { Reply(done, reply); });
        return true;
      }
    }
    if (status.ok()) {
      if (IsNull(header)) {
        AcceptNullPush(held, member, actions);
      } else {
        AcceptPush(held, member, actions);
      }
      return true;
    }
  }
  actions->push_back([done = std::move(held.done), status] { done(status, {}); });
  return true;
}

v1::PushReply Shard::PushReplyFor(const v1::PushRequest& push, v1::Verdict verdict, bool duplicate) const {
  v1::PushReply reply;
  reply.set_verdict(verdict);
  reply.set_version(version_);
  reply.set_generation(options_.generation);
  if (const PushWindow* window = WindowOf(push.stamp()); window != nullptr) reply.set_own_clock(window->clock());
  reply.set_open_round(open_round_ + (closing_ ? 1 : 0));
  reply.set_duplicate(duplicate);
  if (journal_ != nullptr) reply.set_journaled(journal_->written());
  return reply;
}

double Shard::RateFor(const v1::PushRequest& push) const {
  const bool ticket = push.ticket().serial() != 0;
  const double rate = RateAt(PolicyOf(push).schedule(), ticket ? push.ticket().samples_before() : samples_);
  // Batches may differ: a push weighs by its samples, 1 for the live workers' mean.
  const double weight = mean_samples_ > 0 ? push.samples() / mean_samples_ : 1.0;
  return rate * weight * (ticket ? push.ticket().rate_scale() : 1.0);
}

void Shard::AcceptPush(Held& held, MemberInfo& member, Actions* actions) {
  const v1::PushRequest& header = held.push->message;
  // The open round waits for it, and has room for one push of each rank (InstallModel).
  const bool anyway = aggregation() == v1::ROUND && header.clock() <= open_round_ + (closing_ ? 1 : 0);
  if (absl::Status status = ChargePayload(held, header.stamp(), held.push->payload, anyway); !status.ok()) {
    actions->push_back([done = std::move(held.done), status] { done(status, {}); });
    return;
  }
  const absl::StatusOr<PushWindow::Seen> seen =
      member.window.Begin(header.clock(), header.chunk(), header.chunk_count());
  if (!seen.ok()) {
    actions->push_back([done = std::move(held.done), status = seen.status()] { done(status, {}); });
    return;
  }
  if (seen->state == PushWindow::Seen::kApplying) {
    stats_.set_chunks_duplicate(stats_.chunks_duplicate() + 1);
    duplicates_[{header.stamp().incarnation(), header.clock(), header.chunk()}].push_back(std::move(held.done));
    return;
  }
  if (seen->state == PushWindow::Seen::kDone) {
    // Of a step that was jumped over this shard may not have known the ticket.
    if (!member.window.Open(header.clock()) && tickets_.Settle(header.ticket().serial())) JournalNullPush(header);
    const bool late = seen->verdict == v1::DROPPED;  // a closed round: news, not a repetition
    stats_.set_chunks_duplicate(stats_.chunks_duplicate() + (late ? 0 : 1));
    if (late) CountLeftOut(member.proto.rank(), header.clock());
    actions->push_back(
        [done = std::move(held.done), reply = PushReplyFor(header, seen->verdict, !late)] { Reply(done, reply); });
    return;
  }
  stats_.set_push_bytes(stats_.push_bytes() + held.push->payload.size());
  open_pushes_.try_emplace({header.stamp().worker_id(), header.clock()}, header);
  ++chunks_under_way_;
  ChunkJob job{std::move(held.push), std::move(held.done), store_, RateFor(header), store_cut_};
  FindGiven(&job);
  actions->push_back([this, job = std::move(job)] { Post([this, job] { RunChunk(job); }); });
}

void Shard::AcceptNullPush(Held& held, MemberInfo& member, Actions* actions) {
  const v1::PushRequest& header = held.push->message;
  const bool open = member.window.Open(header.clock());
  const PushWindow::Seen seen = member.window.Look(header.clock(), header.chunk());
  if (absl::Status status = member.window.Settle(header.clock(), header.null_verdict()); !status.ok()) {
    actions->push_back([done = std::move(held.done), status] { done(status, {}); });
    return;
  }
  const std::uint64_t record = JournalNullPush(header);
  v1::Verdict verdict = header.null_verdict();
  if (aggregation() == v1::ROUND) {
    const bool late = header.clock() < open_round_ || (closing_ && header.clock() == open_round_);
    // To a shard without blocks it is the whole push, if it has one to the others.
    const bool empty = store_->num_blocks() == 0 && verdict == v1::APPLIED && header.samples() > 0;
    bool whole = false;
    if (late) {
      verdict = seen.state == PushWindow::Seen::kDone ? seen.verdict : v1::DROPPED;
      if (verdict == v1::DROPPED && header.samples() > 0) CountLeftOut(member.proto.rank(), header.clock());
    } else if (empty) {
      whole = rounds_.AddEmpty(header.clock(), member.proto.rank(), header.samples());
    } else {
      whole = rounds_.Settle(header.clock(), member.proto.rank(), verdict == v1::REFUSED);
    }
    if (whole && on_round_) actions->push_back(on_round_);
  } else if (open) {
    open_pushes_.try_emplace({header.stamp().worker_id(), header.clock()}, header);
    AdvanceClock(header.stamp().worker_id(), member, actions);
  } else {
    tickets_.Settle(header.ticket().serial());
  }
  actions->push_back([this, record, push = held.push, done = std::move(held.done), verdict] {
    AfterRecord(record, done, [this, push, done, verdict] {
      v1::PushReply reply;
      {
        MutexLock lock(mu_);
        reply = PushReplyFor(push->message, verdict, false);
      }
      Reply(done, reply);
    });
  });
}

void Shard::RunChunk(const ChunkJob& job) {
  const v1::PushRequest& header = job.push->message;
  const ChunkRun run{header.run().first_block(), header.run().num_blocks()};
  const Buffer& payload = job.push->payload;
  const Placement& placement = job.store->placement();
  v1::Verdict verdict = v1::APPLIED;
  absl::Status status;
  if (const std::size_t bad = FirstNonFiniteIn(placement, header.run(), header.encoding(), payload);
      bad < placement.RunElements(run)) {
    verdict = v1::REFUSED;
    status = absl::InvalidArgumentError(absl::StrCat("non-finite value at element ", bad, " of chunk ", header.chunk(),
                                                     " in the push of step ", header.clock(), " by worker ",
                                                     header.stamp().worker_id(), ": the chunk is refused"));
  } else {
    MutexLock lock(mu_);
    if (aggregation() == v1::ROUND) verdict = v1::HELD;
  }
  const std::uint64_t record = verdict == v1::APPLIED ? ApplyChunk(job) : JournalChunk(job, verdict);
  const auto failed = [this, job](const absl::Status& reason, const Buffer&) {
    std::vector<ReplyCallback> waiting;
    {
      MutexLock lock(mu_);
      --chunks_under_way_;
      waiting = TakeDuplicates(job.push->message);
    }
    job.done(reason, {});
    for (const ReplyCallback& done : waiting) done(reason, {});
  };
  ChunkJob recorded = job;
  if (record != 0) recorded.recorded = clock_->Now();
  AfterRecord(record, failed, [this, recorded, verdict, status] { FinishChunk(recorded, verdict, status); });
}

std::vector<ReplyCallback> Shard::TakeDuplicates(const v1::PushRequest& header) {
  auto found = duplicates_.extract({header.stamp().incarnation(), header.clock(), header.chunk()});
  return found.empty() ? std::vector<ReplyCallback>() : std::move(found.mapped());
}

void Shard::FinishChunk(const ChunkJob& job, v1::Verdict verdict, const absl::Status& status) {
  const v1::PushRequest& header = job.push->message;
  const WorkerId worker = header.stamp().worker_id();
  // Its memory, and its charge, end before the worker hears of it, unless a round keeps it.
  Buffer payload = std::move(job.push->payload);
  if (verdict != v1::HELD) payload = {};
  Actions actions;
  {
    MutexLock lock(mu_);
    std::vector<ReplyCallback> waiting = TakeDuplicates(header);
    if (!replaying_) --chunks_under_way_;
    if (verdict == v1::REFUSED) stats_.set_chunks_nonfinite(stats_.chunks_nonfinite() + 1);
    MemberInfo* const member = IsMember(header.stamp()) ? &members_.at(worker) : nullptr;
    // Departed meanwhile: what was applied stays applied, and what a round holds it holds. Whether its record stands
    // before the departure in the journal, or behind it, a restart comes to the same.
    PushWindow* const window = member != nullptr ? &member->window : departed_.Find(header.stamp().incarnation());
    if (aggregation() == v1::ROUND) {
      const std::optional<std::uint32_t> rank =
          member != nullptr ? member->proto.rank() : departed_.RankOf(header.stamp().incarnation());
      const bool late = header.clock() < open_round_ || (closing_ && header.clock() == open_round_);
      bool whole = false;
      if (late || !rank) {
        verdict = v1::DROPPED;
        if (rank) CountLeftOut(*rank, header.clock());
      } else if (verdict == v1::REFUSED) {
        whole = rounds_.AddRefused(header.clock(), *rank, header.chunk(), header.chunk_count());
      } else {
        whole = rounds_.Add(header.clock(), *rank, header.samples(), header.chunk(), header.chunk_count(),
                            {header.encoding(), std::move(payload)});
      }
      if (whole && on_round_) actions.push_back(on_round_);
    }
    if (window != nullptr) window->Finish(header.clock(), header.chunk(), verdict);
    if (member != nullptr && aggregation() == v1::EACH) AdvanceClock(worker, *member, &actions);
    const auto answer = [&actions, &status](ReplyCallback done, const v1::PushReply& reply) {
      actions.push_back([done = std::move(done), reply, status] {
        if (status.ok()) return Reply(done, reply);
        done(status, {});
      });
    };
    v1::PushReply reply = PushReplyFor(header, verdict, false);
    if (job.recorded.nanos != 0) {
      const absl::Duration waited = clock_->Now() - job.recorded;
      reply.set_journal_micros(static_cast<std::uint64_t>(absl::ToInt64Microseconds(waited)));
    }
    answer(job.done, reply);
    for (ReplyCallback& done : waiting) answer(std::move(done), PushReplyFor(header, verdict, true));
    TryCut();
  }
  Run(actions);
}

// Every push that has become whole is counted here, and so once. Returns whether there was one.
bool Shard::CountWhole(WorkerId worker, MemberInfo& member) {
  const std::vector<PushWindow::Step> whole = member.window.TakeWhole();
  for (const PushWindow::Step& step : whole) {
    given_.Drop(member.proto.incarnation(), step.step);
    const auto header = open_pushes_.find({worker, step.step});
    if (header == open_pushes_.end()) continue;
    const v1::PushRequest& push = header->second;
    if (step.any_applied) {
      // Versions count within one generation: of a read of an earlier one (its push may be replayed) no delay is known.
      const bool comparable = push.read_generation() == options_.generation && push.read_version() <= version_;
      if (push.ticket().serial() != 0) {
        delay_.Add(push.ticket().delay());
      } else if (comparable) {
        delay_.Add(version_ - push.read_version());
      }
      ++version_;
      samples_ += push.samples();
      stats_.set_pushes_applied(stats_.pushes_applied() + 1);
    } else if (step.verdict == v1::REFUSED) {
      stats_.set_pushes_refused(stats_.pushes_refused() + 1);
    }
    if (step.partial) stats_.set_pushes_partial(stats_.pushes_partial() + 1);
    // A push that was refused by its delay has got no ticket; else what is refused here is not finite, whether this
    // shard has seen that or the worker itself (which then sends a null push).
    const bool by_delay = NeedsTicket(PolicyOf(push)) && push.ticket().serial() == 0;
    if (step.any_refused ? !by_delay : step.any_applied) nonfinite_runs_.Add(worker, step.any_refused);
    if (push.ticket().serial() != 0) tickets_.Settle(push.ticket().serial());
    open_pushes_.erase(header);
  }
  return !whole.empty();
}

void Shard::AdvanceClock(WorkerId worker, MemberInfo& member, Actions* actions) {
  if (!CountWhole(worker, member)) return;
  clocks_.Advance(worker, member.gate_clock());
  Pump(actions);
}

}  // namespace leeway
