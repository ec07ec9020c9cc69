// Coordinator: data leases, commits, tickets, rounds.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/coordinator/coordinator.h"

namespace leeway {
namespace {

// A worker has fewer steps than this between its newest commit and its oldest unanswered one.
constexpr std::size_t kCommitsRemembered = 64;

}  // namespace

// --- Data ------------------------------------------------------------------------------------------------

void Coordinator::AcquireData(const v1::AcquireDataRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    absl::Status status = CheckStamp(request.stamp());
    if (status.ok() && !leases_) {
      status = absl::FailedPreconditionError("data: this run shares its data statically (--data_sharing=static)");
    }
    if (!status.ok()) {
      replies.Refuse(done, status);
    } else {
      auto held = std::make_unique<Held>();
      held->kind = Held::kAcquire;
      held->acquire = request;
      held->done = std::move(done);
      Hold(std::move(held), kMaxHold, &replies);
    }
  }
  Send(std::move(replies));
}

bool Coordinator::AttemptAcquire(Held& held, Replies* replies) {
  const v1::AcquireDataRequest& request = held.acquire;
  const std::uint32_t worker = request.stamp().worker_id();
  const DataLeases::Holder holder{worker, request.stamp().incarnation()};
  v1::AcquireDataReply reply;
  reply.set_state(state_);
  const auto answer = [&, epoch = membership_.epoch()] {
    reply.set_membership_epoch(epoch);
    replies->Answer(std::move(held.done), reply);
    return true;
  };
  const v1::Member* member = membership_.Find(worker);
  if (member == nullptr || member->incarnation() != holder.incarnation) {
    const absl::Status gone = membership_.Renew(clock_->Now(), worker, holder.incarnation);
    replies->Refuse(std::move(held.done), gone);
    return true;
  }
  DataState& data = data_states_[worker];
  if (data.incarnation != holder.incarnation) data = DataState{holder.incarnation};
  if (request.request() != 0 && request.request() == data.last_request) {
    reply = data.last_reply;
    reply.set_state(state_);
    return answer();
  }
  // Overtaken by the asker's next request: nobody listens, and a lease given now would never come back.
  if (request.request() != 0 && request.request() < data.last_request) return answer();
  if (state_ >= v1::FINISHING) return answer();
  std::optional<v1::DataRange> range = std::exchange(data.waiting, std::nullopt);
  if (!range) range = leases_->Acquire(holder, std::min<std::uint64_t>(request.records(), data_.num_records()));
  if (!range && request.ahead()) return answer();
  if (!range) {
    // Out of the minimum while it has nothing to do; the request stays, for when ranges come back.
    membership_.Park(worker);
    if (!held.expired) return false;
    reply.set_parked(true);
    return answer();
  }
  if (member->state() != v1::LIVE) {
    data.waiting = std::move(range);
    if (!policies_.pending()) {  // else soon: nobody joins while the shards say how far everybody has come
      data.reentering = true;
      membership_.Unpark(worker);
    }
    if (!held.expired) return false;
    reply.set_parked(true);
    return answer();
  }
  *reply.mutable_range() = *std::move(range);
  if (std::exchange(data.reentering, false)) {
    reply.set_reentered(true);
    reply.set_entry_clock(member->entry_clock());
  }
  data.last_request = request.request();
  data.last_reply = reply;
  store_->Changed();
  return answer();
}

void Coordinator::CommitData(const v1::CommitDataRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    const absl::Status status = CheckStamp(request.stamp());
    replies.Give(std::move(done), status, v1::CommitDataReply());
    if (status.ok()) {
      const std::uint32_t worker = request.stamp().worker_id();
      const DataLeases::Holder holder{worker, request.stamp().incarnation()};
      DataState& data = data_states_[worker];
      if (data.incarnation != holder.incarnation) data = DataState{holder.incarnation};
      // One that is older than all of many that are remembered comes again; or, of leased records, for the first time:
      // then they are still out.
      const bool forgotten = data.committed.size() >= kCommitsRemembered && request.clock() < *data.committed.begin();
      const bool first = !forgotten && data.committed.insert(request.clock()).second;
      if (data.committed.size() > kCommitsRemembered) data.committed.erase(data.committed.begin());
      if (first || (forgotten && leases_)) {
        const bool applied = request.applied() && !request.partial();
        std::uint64_t records = 0;
        const std::uint64_t skipped = leases_ ? leases_->skipped() : 0;
        for (const v1::DataRange& range : request.ranges()) {
          if (leases_) records += leases_->Commit(holder, range, applied);
        }
        if (leases_ && leases_->skipped() > skipped) {
          Event(absl::StrCat(leases_->skipped() - skipped,
                             " records are given up, as their pushes were refused too often; ", leases_->skipped(),
                             " in all"));
        }
        const bool counts = first || records > 0;
        if (policies_.policy().aggregation() == v1::EACH && request.applied() && counts) {
          samples_ += leases_ ? records : request.samples();
          ++steps_;
        }
        if (const v1::Member* member = membership_.Find(worker); member != nullptr) {
          if (!leases_) {
            std::uint64_t& cursor = data_cursor_[member->rank()];
            cursor = std::max(cursor, request.data_step());
          }
          if (at_cut_ && counts) at_cut_->Commit(request, member->rank());
        }
        for (const v1::Journaled& journaled : request.journaled()) {
          HearOfJournal(journaled, membership_.NameOf(worker).value_or(""));
        }
        tickets_.Settle(worker, holder.incarnation, request.clock());
        board_.SetClock(worker, request.clock() + 1);
        store_->Changed();
      }
      Settle(&replies);
    }
  }
  Send(std::move(replies));
}

void Coordinator::OpenPush(const v1::OpenPushRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) {
      replies.Refuse(std::move(done), status);
    } else {
      const absl::StatusOr<v1::Ticket> ticket = tickets_.Open(
          policies_.Of(request.stamp().worker_id(), request.stamp().incarnation(), request.clock()), request);
      store_->Changed();
      replies.Give(std::move(done), ticket.status(), ticket.ok() ? *ticket : v1::Ticket());
    }
  }
  Send(std::move(replies));
}

// --- Rounds ----------------------------------------------------------------------------------------------

std::set<std::uint32_t> Coordinator::ExpectedRanks() const {
  std::set<std::uint32_t> ranks;
  for (const auto& [id, member] : membership_.members()) {
    if (member.state() == v1::LIVE && member.entry_clock() <= rounds_.open_round()) ranks.insert(member.rank());
  }
  ranks.merge(rounds_.Owed(HeardOfAllShards()));
  return ranks;
}

Instant Coordinator::HeardOfAllShards() const {
  Instant heard = clock_->Now();
  for (const ShardInfo& shard : shards_) heard = std::min(heard, shard.seen);
  return heard;
}

bool Coordinator::LaterRoundsHaveMembers() const {
  const std::uint64_t open = rounds_.open_round();
  return std::any_of(membership_.members().begin(), membership_.members().end(), [open](const auto& entry) {
    return entry.second.state() == v1::LIVE && entry.second.entry_clock() > open;
  });
}

std::uint64_t Coordinator::RoundLimit() const {
  std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();
  const v1::StopConfig& stop = policies_.policy().stop();
  if (stop.steps() > 0) limit = stop.steps();
  if (stop.epochs() > 0 && rounds_per_epoch_ > 0 && stop.epochs() <= limit / rounds_per_epoch_) {
    limit = stop.epochs() * rounds_per_epoch_;
  }
  return limit;
}

void Coordinator::ReportRound(const v1::ReportRoundRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    absl::Status status;
    if (request.run_id() != options_.run_id || request.shard_index() >= options_.num_shards) {
      status = absl::FailedPreconditionError(
          absl::StrCat("round report of ps ", request.shard_index(), " in run ", absl::Hex(request.run_id()),
                       "; this is run ", absl::Hex(options_.run_id), " with ", options_.num_shards, " ps"));
    } else {
      v1::Journaled journaled;
      journaled.set_shard_index(request.shard_index());
      journaled.set_generation(request.generation());
      journaled.set_records(request.journaled());
      HearOfJournal(journaled, "");
      const std::uint64_t serves = shards_[request.shard_index()].generation;
      // What another process had is lost where the run has gone back, and else is reported by its successor. (One of
      // the version before does not say which it is.)
      if (request.generation() != 0 && request.generation() != serves) {
        status = absl::UnavailableError(absl::StrCat("round report of ps ", request.shard_index(), ", generation ",
                                                     absl::Hex(request.generation()), "; the shard is served by ",
                                                     absl::Hex(serves)));
      } else {
        rounds_.Report(request.shard_index(), request);
        store_->Changed();
      }
    }
    replies.Give(std::move(done), status, v1::ReportRoundReply());
    Settle(&replies);
  }
  Send(std::move(replies));
}

void Coordinator::AddClose(const v1::RoundClose& close) {
  samples_ += close.samples();
  ++steps_;
  closes_.push_back(close);
  changed_ = true;
  CaptureProgress();
}

void Coordinator::CloseRounds() {
  if (policies_.policy().aggregation() != v1::ROUND || state_ != v1::TRAINING) return;
  while (rounds_.open_round() < RoundLimit()) {
    const std::set<std::uint32_t> expected = ExpectedRanks();
    std::optional<v1::RoundClose> close = rounds_.TryClose(expected);
    // All who took part are gone, and those who came since wait for the next one, or a checkpoint does.
    const bool waited_for = LaterRoundsHaveMembers() || course_.cut().round() > rounds_.open_round();
    // A shard that heard of it before it has made its cut would be a round ahead of the others' in the checkpoint.
    const v1::Cut& cut = course_.cut();
    const bool in_cut = cut.limited() && cut.round() <= rounds_.open_round() && !course_.written();
    if (expected.empty() && waited_for && !in_cut) close = rounds_.Abandon();
    if (!close) return;
    AddClose(*close);
    // A limit in steps or time holds exactly here, not some rounds later.
    if (ReasonToFinish()) return;
  }
}

}  // namespace leeway
