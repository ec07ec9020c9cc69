#include "server/coordinator/policy_course.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// Workers that have run ahead under the old bound are beyond the new one.
bool Tightens(const v1::Policy& before, const v1::Policy& after) {
  if (after.aggregation() == v1::ROUND || after.staleness_bound() < 0) return false;
  return before.staleness_bound() < 0 || after.staleness_bound() < before.staleness_bound();
}

}  // namespace

const v1::Policy& PolicyCourse::Of(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const {
  if (!change_.decided()) return policy_;
  if (step < change_.first_round()) return change_.previous();
  for (const v1::StepLimit& limit : change_.limits()) {
    if (limit.worker_id() != worker || limit.incarnation() != incarnation) continue;
    return step < limit.clock() ? change_.previous() : policy_;
  }
  return policy_;
}

std::string PolicyCourse::Busy() const {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (shards_[i].number == 0) return absl::StrCat("ps ", i, " has not said by which policy it works");
    if (shards_[i].number < policy_.number()) return absl::StrCat("ps ", i, " works by policy ", shards_[i].number);
    if (!shards_[i].busy.empty()) return shards_[i].busy;
  }
  return "";
}

void PolicyCourse::Begin(Instant now, std::uint64_t id, v1::Policy next) {
  next.set_number(policy_.number() + 1);
  next_ = std::move(next);
  change_.Clear();
  change_.set_id(id);
  began_ = now;
  for (ShardInfo& shard : shards_) shard.ack.reset();
}

bool PolicyCourse::Report(std::uint32_t shard, const v1::WatchRequest& request) {
  ShardInfo& info = shards_[shard];
  info.number = request.policy_number();
  info.busy = request.policy_busy();
  if (pending()) {
    const v1::PolicyAck& ack = request.policy_ack();
    if (ack.id() != change_.id() || info.ack) return false;
    if (!ack.error().empty()) {
      GiveUp(ack.error());
      return true;
    }
    info.ack = ack;
    if (std::any_of(shards_.begin(), shards_.end(), [](const ShardInfo& other) { return !other.ack; })) return false;
    Decide();
    return true;
  }
  if (!change_.decided() || !Busy().empty()) return false;
  change_.Clear();  // no step of before is open
  return true;
}

void PolicyCourse::Decide() {
  std::map<std::pair<std::uint32_t, std::uint64_t>, v1::StepLimit> limits;
  std::uint64_t farthest = 0;
  std::uint64_t first = 0;
  for (const ShardInfo& shard : shards_) {
    for (const v1::StepLimit& read : shard.ack->read()) {
      v1::StepLimit& limit = limits[{read.worker_id(), read.incarnation()}];
      limit.set_worker_id(read.worker_id());
      limit.set_incarnation(read.incarnation());
      limit.set_clock(std::max<std::uint64_t>(limit.clock(), read.clock()));
      limit.set_offset(std::max<std::uint64_t>(limit.offset(), read.offset()));
      first = std::max<std::uint64_t>(first, limit.clock());
      farthest = std::max<std::uint64_t>(farthest, limit.clock() + limit.offset());
    }
  }
  change_.set_decided(true);
  *change_.mutable_previous() = policy_;
  if (policy_.aggregation() == v1::ROUND) {
    // Nobody's push is of use without the others': all begin with the same round.
    change_.set_first_round(first);
  } else {
    for (auto& [worker, limit] : limits) {
      // From its first step under a tighter bound on, everybody counts as being where the farthest is.
      if (Tightens(policy_, next_)) limit.set_offset(farthest - limit.clock());
      *change_.add_limits() = limit;
    }
  }
  policy_ = std::move(next_);
  changed_ = true;
}

void PolicyCourse::GiveUp(const std::string& reason) {
  if (!pending()) return;
  failed_ = {change_.id(), reason};
  change_.Clear();
}

bool PolicyCourse::Expire(Instant now) {
  if (!pending() || now - began_ < kGiveUpAfter) return false;
  GiveUp(absl::StrCat(WaitsFor(), ", for ", absl::FormatDuration(kGiveUpAfter)));
  return true;
}

bool PolicyCourse::InEffect() const {
  return !pending() && std::all_of(shards_.begin(), shards_.end(),
                                   [this](const ShardInfo& shard) { return shard.number >= policy_.number(); });
}

std::string PolicyCourse::WaitsFor() const {
  if (change_.id() == 0) return "";
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (pending() && !shards_[i].ack) return absl::StrCat("ps ", i, " has not said how far its workers have come");
  }
  return Busy();
}

void PolicyCourse::Save(v1::CoordinatorState* state) const {
  if (changed_) *state->mutable_changed_policy() = policy_;
  if (change_.decided()) *state->mutable_policy_change() = change_;
}

absl::Status PolicyCourse::Restore(const v1::CoordinatorState& state) {
  if (state.has_changed_policy()) {
    if (state.changed_policy().number() <= policy_.number()) {
      return absl::DataLossError(
          absl::StrCat("policy: number ", state.changed_policy().number(), " after ", policy_.number()));
    }
    policy_ = state.changed_policy();
    changed_ = true;
  }
  if (!state.has_policy_change()) return absl::OkStatus();
  if (!state.policy_change().decided() || state.policy_change().previous().number() >= policy_.number()) {
    return absl::DataLossError(absl::StrCat("policy: a change from number ", state.policy_change().previous().number(),
                                            " to ", policy_.number()));
  }
  change_ = state.policy_change();
  return absl::OkStatus();
}

}  // namespace leeway
