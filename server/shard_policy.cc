// Shard: the policy, and what is done while it changes (docs/adr/0016-policy-changes.md).
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/shard.h"

namespace leeway {

std::uint64_t Shard::FarthestOf(const MemberInfo& member) { return std::max(member.pulled, member.window.highest()); }

std::string Shard::PolicyBusy() const {
  if (aggregation() == v1::ROUND && book_.change().decided() && open_round_ < book_.change().first_round()) {
    return absl::StrCat("round ", open_round_, " is under policy ", book_.change().previous().number());
  }
  for (const auto& [id, member] : members_) {
    if (member.proto.state() == v1::OBSERVER) continue;
    const std::uint64_t clock = member.window.clock();
    if (aggregation() == v1::EACH && book_.Before(id, member.proto.incarnation(), clock)) {
      return absl::StrCat("worker '", member.proto.name(), "' has not ended step ", clock, ", which is under policy ",
                          book_.change().previous().number());
    }
    if (clock < member.may_have_pulled) {
      return absl::StrCat("ps ", options_.index, " was started again, and what it had let worker '",
                          member.proto.name(), "' read before is open until that has ended step ",
                          member.may_have_pulled - 1);
    }
  }
  return "";
}

void Shard::FollowPolicy(const v1::WatchReply& snapshot) {
  const v1::PolicyChange& change = snapshot.policy_change();
  std::vector<v1::StepLimit> read;
  std::string error;
  if (book_.Begins(change)) {
    error = replaying_ ? absl::StrCat("ps ", options_.index, " was started again meanwhile") : PolicyBusy();
    for (const auto& [id, member] : members_) {
      if (member.proto.state() == v1::OBSERVER) continue;
      v1::StepLimit& limit = read.emplace_back();
      limit.set_worker_id(id);
      limit.set_incarnation(member.proto.incarnation());
      limit.set_clock(FarthestOf(member));
      limit.set_offset(member.offset);
    }
  }
  const bool decides = book_.Decides(change);
  book_.Follow(snapshot.policy(), change, read, error);
  if (!decides) return;
  for (const v1::StepLimit& limit : change.limits()) {
    const auto it = members_.find(limit.worker_id());
    if (it == members_.end() || it->second.proto.incarnation() != limit.incarnation()) continue;
    MemberInfo& member = it->second;
    member.previous_offset = member.offset;
    member.offset = limit.offset();
    clocks_.Advance(limit.worker_id(), member.window.clock() + member.offset);
  }
}

ClockTable Shard::ClocksBefore() const {
  ClockTable clocks;
  for (const v1::StepLimit& limit : book_.change().limits()) {
    const auto it = members_.find(limit.worker_id());
    if (it == members_.end() || it->second.proto.incarnation() != limit.incarnation()) continue;
    const MemberInfo& member = it->second;
    clocks.Install(limit.worker_id(), member.window.clock() + member.previous_offset, member.proto.state() == v1::LIVE);
  }
  return clocks;
}

}  // namespace leeway
