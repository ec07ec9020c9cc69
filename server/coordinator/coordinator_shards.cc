// Coordinator: the shards' handshake and their subscription.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "server/coordinator/coordinator.h"

namespace leeway {
namespace {

constexpr char kOutOfDate[] =
    ": what it has saved is out of date; without coordinator/ and journal/ (of every ps) in --checkpoint_dir the run "
    "goes on from its newest checkpoint";
constexpr absl::Duration kRefusalEvery = absl::Seconds(10);

// Who is refused and may come again does so every second or so. `shard`: that it wants to be; null: there is none of
// that number.
void LogRefusal(const absl::Status& status, Instant now, ShardInfo* shard) {
  if (shard != nullptr) {
    if (shard->refused == status.message() && now - shard->refused_said < kRefusalEvery) return;
    shard->refused = std::string(status.message());
    shard->refused_said = now;
  }
  spdlog::warn("coordinator: a ps was refused: {}", std::string(status.message()));
}

}  // namespace

absl::Status Coordinator::CheckShard(const v1::WatchRequest& request) {
  RETURN_IF_ERROR(CheckProtocolVersions(absl::StrCat("ps ", request.shard_index(), " at ", request.address()),
                                        request.protocol_version(), "this coordinator", options_.protocol_version));
  if (request.num_shards() != options_.num_shards || request.shard_index() >= options_.num_shards) {
    return absl::FailedPreconditionError(absl::StrCat("handshake: ps ", request.shard_index(), " of ",
                                                      request.num_shards(), "; this cluster has num_shards ",
                                                      options_.num_shards));
  }
  if (request.run_id() != 0 && request.run_id() != options_.run_id) {
    return absl::FailedPreconditionError(absl::StrCat("handshake: ps ", request.shard_index(), " belongs to run ",
                                                      absl::Hex(request.run_id()), ", this is run ",
                                                      absl::Hex(options_.run_id)));
  }
  if (request.generation() == 0) return absl::InvalidArgumentError("handshake: the generation is 0");
  if (request.shard_index() == 0 && options_.own_generation != 0 && request.generation() != options_.own_generation) {
    return absl::FailedPreconditionError(absl::StrCat("handshake: ps 0 at ", request.address(), " has generation ",
                                                      absl::Hex(request.generation()), ", that of this coordinator ",
                                                      absl::Hex(options_.own_generation)));
  }
  if (request.era() > era_) {
    return absl::FailedPreconditionError(absl::StrCat("handshake: ps ", request.shard_index(), " is in era ",
                                                      request.era(), "; this coordinator in era ", era_, kOutOfDate));
  }
  if (request.known_sequence() > snapshot_.sequence()) {
    return absl::FailedPreconditionError(absl::StrCat("handshake: ps ", request.shard_index(), " knows decision ",
                                                      request.known_sequence(), "; this coordinator's last is ",
                                                      snapshot_.sequence(), kOutOfDate));
  }
  const ShardInfo& known = shards_[request.shard_index()];
  if (known.generation == 0 || known.generation == request.generation()) return absl::OkStatus();
  const std::string who = absl::StrCat("handshake: ps ", request.shard_index(), " at ", request.address(),
                                       " has generation ", absl::Hex(request.generation()));
  if (std::count(known.replaced.begin(), known.replaced.end(), request.generation()) > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(who, ", which generation ", absl::Hex(known.generation), " at ", known.address, " has replaced"));
  }
  // Without a journal, whose lock only one process at a time can have, the other one may be alive.
  if (!request.keeps_journal() && request.lost().empty() && MayBeThere(known)) {
    return absl::UnavailableError(
        absl::StrCat(who, ", but generation ", absl::Hex(known.generation), " at ", known.address,
                     " serves this shard, or did within --lease=", absl::FormatDuration(options_.lease)));
  }
  return absl::OkStatus();
}

void Coordinator::ClaimShard(const v1::ClaimShardRequest& request, ReplyCallback done) {
  absl::Status status =
      CheckProtocolVersions("a ps", request.protocol_version(), "this coordinator", options_.protocol_version);
  if (status.ok() && request.num_shards() != options_.num_shards) {
    status = absl::FailedPreconditionError(absl::StrCat("handshake: a ps of ", request.num_shards(),
                                                        "; this cluster has num_shards ", options_.num_shards));
  }
  v1::ClaimShardReply reply;
  if (status.ok()) {
    MutexLock lock(mu_);
    const Instant now = clock_->Now();
    std::vector<bool> served;
    for (const ShardInfo& shard : shards_) served.push_back(MayBeThere(shard));
    const std::optional<std::uint32_t> index = claims_.Claim(now, request.claim(), served);
    if (index) {
      reply.set_shard_index(*index);
    } else {
      status = absl::UnavailableError(
          absl::StrCat("handshake: each of the ", options_.num_shards, " shards has its ps, or it is on its way"));
    }
  }
  // What is given away need not outlive this process: a ps that has come is known by its number.
  done(status, status.ok() ? EncodeMessage(reply) : Buffer());
}

std::uint64_t Coordinator::MustProve(const v1::WatchRequest& request) const {
  const std::uint64_t served = shards_[request.shard_index()].generation;
  if (served == 0 || served == request.generation() || !request.can_prove()) return 0;
  // Of this process, and of this change of generations: an answer to what was asked before is none.
  const std::uint64_t proof = HashCombine(HashCombine(options_.own_generation, served), request.generation()) | 1;
  return request.proof() == proof ? 0 : proof;
}

void Coordinator::Watch(const v1::WatchRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    absl::Status status = CheckShard(request);
    const std::uint64_t prove = status.ok() ? MustProve(request) : 0;
    const Loss lost = status.ok() && prove == 0 ? WhyLost(request) : Loss();
    // None of its processes has carried out anything of this era: nothing of it can be lost.
    const bool newcomer = status.ok() && request.era() < era_ && shards_[request.shard_index()].acknowledged == 0;
    if (!lost.reason.empty() && !newcomer) status = AnswerLost(request.shard_index(), lost);
    if (!status.ok()) {
      LogRefusal(status, clock_->Now(),
                 request.shard_index() < shards_.size() ? &shards_[request.shard_index()] : nullptr);
      replies.Refuse(done, status);
    } else if (prove != 0) {
      v1::WatchReply reply;
      reply.set_prove(prove);
      replies.Answer(done, reply);
    } else if (!lost.reason.empty()) {
      // It has not come since the run went back: it is told to what, and comes again.
      replies.Answer(done, snapshot_);
    } else {
      ShardInfo& shard = shards_[request.shard_index()];
      if (shard.generation == 0) {
        Event(
            absl::StrCat("ps ", request.shard_index(), " of ", options_.num_shards, " has come: ", request.address()));
      }
      if (shard.generation != 0 && shard.generation != request.generation()) {
        Event(absl::StrCat("ps ", request.shard_index(), " is back: ", request.address()));
      } else if (shard.silent) {
        Event(absl::StrCat("ps ", request.shard_index(), " answers again"));
      }
      shard.silent = false;
      if (shard.address != request.address() || shard.generation != request.generation()) {
        shard.address = request.address();
        shard.local_endpoint = request.local_endpoint();
        ++address_book_version_;
        changed_ = true;
      }
      NoteJournal(request);
      // One that was under way for long says nothing new, and takes nothing back.
      const bool late = shard.generation == request.generation() && request.known_sequence() < shard.acknowledged;
      shard.generation = request.generation();
      shard.protocol_version = request.protocol_version();
      shard.seen = clock_->Now();
      shard.pushes_wait = request.pushes_wait();
      // Whether all know the end decides what a restart finds left to do.
      if (state_ == v1::FINISHED && shard.acknowledged < request.known_sequence()) store_->Changed();
      if (!late) {
        shard.acknowledged = request.known_sequence();
        shard.closed_round = request.closed_round();
        shard.weights_ready = request.weights_ready();
        shard.stats = request.stats();
      }
      shard.push_bytes.Observe(shard.seen, request.stats().push_bytes());
      shard.pull_bytes.Observe(shard.seen, request.stats().pull_bytes());
      for (const v1::MemberClock& installed : request.installed()) {
        const auto joining = joining_since_.find(installed.worker_id());
        if (joining == joining_since_.end() || request.known_sequence() < joining->second.second) continue;
        membership_.Acknowledge(request.shard_index(), installed.worker_id(), installed.incarnation(),
                                installed.clock());
      }
      // What it said before it heard of the newest checkpoint is old news.
      if (request.wants_checkpoint() && !course_.under_way() && request.known_sequence() >= committed_sequence_) {
        journal_full_ = true;
      }
      HearOfNonFinite(request);
      HearOfPolicy(request);
      if (request.has_cut() && course_.Report(request.shard_index(), request.cut())) {
        changed_ = true;
        if (request.cut().not_finite()) HearOfBadWeights(request.cut().error());
        CaptureProgress();
        DriveCheckpoint();
      }
      // What every shard has carried out need not be told again.
      std::uint64_t closed = shard.closed_round;
      std::uint64_t acknowledged = shard.acknowledged;
      for (const ShardInfo& other : shards_) {
        closed = std::min(closed, other.closed_round);
        acknowledged = std::min(acknowledged, other.acknowledged);
      }
      while (!closes_.empty() && closes_.front().round() < closed) closes_.pop_front();
      for (auto it = void_tickets_.begin(); it != void_tickets_.end();) {
        it = it->second != 0 && it->second <= acknowledged ? void_tickets_.erase(it) : std::next(it);
      }
      auto held = std::make_unique<Held>();
      held->kind = Held::kWatch;
      held->watch.set_known_sequence(request.known_sequence());
      held->done = std::move(done);
      Hold(std::move(held), absl::Milliseconds(request.wait_millis()), &replies);
    }
  }
  Send(std::move(replies));
}

bool Coordinator::AttemptWatch(Held& held, Replies* replies) {
  if (held.watch.known_sequence() >= snapshot_.sequence() && !held.expired) return false;
  replies->Answer(std::move(held.done), snapshot_);
  return true;
}

}  // namespace leeway
