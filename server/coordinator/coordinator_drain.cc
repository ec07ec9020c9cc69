// Coordinator: one worker or one ps that is to end in good order.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/flags.h"
#include "server/coordinator/coordinator.h"

namespace leeway {
namespace {

// A shard asks every second: who is silent for so long has ended.
constexpr absl::Duration kGone = absl::Seconds(3);

}  // namespace

void Coordinator::Drain(const v1::DrainRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    auto held = std::make_unique<Held>();
    held->kind = Held::kDrain;
    absl::Status status = CheckAsker("drain", request.run_id());
    if (status.ok()) status = FindDrained(request, held.get());
    if (!status.ok()) {
      replies.Refuse(std::move(done), status);
    } else {
      held->done = std::move(done);
      Hold(std::move(held), absl::Milliseconds(request.wait_millis()), &replies);
    }
  }
  Send(std::move(replies));
}

absl::Status Coordinator::FindDrained(const v1::DrainRequest& request, Held* held) {
  const std::string& target = request.target();
  const auto meant = [&request](std::uint64_t now) {
    return request.incarnation() == 0 || request.incarnation() == now;
  };
  if (const std::optional<std::uint32_t> id = membership_.IdOf(target)) {
    const v1::Member* member = membership_.Find(*id);
    held->drained = target;
    held->drained_worker = *id;
    held->drained_incarnation = request.incarnation();
    if (member == nullptr || !meant(member->incarnation())) return absl::OkStatus();  // it has left
    held->drained_incarnation = member->incarnation();
    if (request.only_look()) return absl::OkStatus();
    if (std::exchange(drained_workers_[*id], member->incarnation()) != member->incarnation()) {
      Event(absl::StrCat("worker '", target, "' is drained"));
    }
    return absl::OkStatus();
  }
  std::uint32_t index = 0;
  if (absl::StartsWith(target, "ps-") && absl::SimpleAtoi(absl::StripPrefix(target, "ps-"), &index) &&
      index < options_.num_shards) {
    if (options_.committer == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("drain: ", target,
                       " keeps its weights in memory only (no --checkpoint_dir): without it the run "
                       "cannot go on"));
    }
    held->drained = target;
    held->drained_shard = index;
    const std::uint64_t generation = shards_[index].generation;
    held->drained_incarnation = request.incarnation() != 0 ? request.incarnation() : generation;
    if (held->drained_incarnation == 0) {
      return absl::FailedPreconditionError(absl::StrCat("drain: ", target, " has not come to ps 0 yet"));
    }
    if (request.only_look() || generation == 0 || !meant(generation)) return absl::OkStatus();
    if (std::exchange(drained_shards_[index], generation) != generation) {
      Event(absl::StrCat("ps ", index, " is drained"));
      changed_ = true;
    }
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const auto& [id, member] : membership_.members()) names.push_back(member.name());
  for (std::uint32_t i = 0; i < options_.num_shards; ++i) names.push_back(absl::StrCat("ps-", i));
  const std::string guess = DidYouMean(target, names);
  return absl::NotFoundError(absl::StrCat("drain: there is no worker or ps \"", target, "\"",
                                          guess.empty() ? "" : absl::StrCat(", did you mean ", guess, "?")));
}

bool Coordinator::AttemptDrain(Held& held, Replies* replies) {
  v1::DrainReply reply;
  reply.set_incarnation(held.drained_incarnation);
  if (held.drained_shard) {
    const ShardInfo& shard = shards_[*held.drained_shard];
    // After an outage of this process a shard takes some seconds to find it again.
    const bool heard = shard.seen >= heard_since_;
    if (shard.generation != 0 && shard.generation != held.drained_incarnation) {
      reply.set_done(absl::StrCat(held.drained, " has ended, and another process has taken its place"));
    } else if (heard ? Silence(shard) >= kGone : IsSilent(shard)) {
      reply.set_done(absl::StrCat(held.drained, " has ended"));
    } else if (state_ == v1::FINISHED) {
      reply.set_done(absl::StrCat("the run is over, and ", held.drained, " ends with it"));
    }
  } else {
    const v1::Member* member = membership_.Find(held.drained_worker);
    if (member == nullptr) {
      reply.set_done(absl::StrCat("worker '", held.drained, "' has left"));
    } else if (member->incarnation() != held.drained_incarnation) {
      reply.set_done(absl::StrCat("worker '", held.drained, "' has left, and has come back"));
    }
  }
  if (reply.done().empty() && !held.expired) return false;
  if (reply.done().empty()) reply.mutable_not_yet()->set_reason(absl::StrCat(held.drained, " ends what is under way"));
  replies->Answer(std::move(held.done), reply);
  return true;
}

bool Coordinator::IsDrained(const v1::Stamp& stamp) const {
  const auto it = drained_workers_.find(stamp.worker_id());
  return it != drained_workers_.end() && it->second == stamp.incarnation();
}

}  // namespace leeway
