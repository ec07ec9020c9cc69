// Membership: saved and restored.
#include <set>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/coordinator/membership.h"

namespace leeway {

void Membership::Save(v1::MembershipState* state) const {
  state->set_epoch(epoch_);
  state->set_started(started_);
  for (const auto& [id, member] : members_) *state->add_members() = member;
  state->mutable_ids()->insert(ids_.begin(), ids_.end());
  state->mutable_ended()->insert(ended_.begin(), ended_.end());
  state->mutable_ended_at()->insert(ended_at_.begin(), ended_at_.end());
  state->mutable_ranks()->insert(ranks_.begin(), ranks_.end());
  for (const auto& [name, candidate] : waiting_room_) {
    v1::JoinRequest& saved = *state->add_waiting_room();
    saved.set_name(name);
    saved.set_incarnation(candidate.joiner.incarnation);
    saved.set_role(candidate.joiner.role);
    saved.set_rank(candidate.joiner.rank);
    saved.set_samples_per_step(candidate.joiner.samples_per_step);
    saved.set_pipeline_depth(candidate.joiner.pipeline_depth);
  }
  for (const auto& [id, clocks] : installed_) {
    v1::InstalledJoiner& saved = *state->add_installed();
    saved.set_worker_id(id);
    saved.mutable_clocks()->insert(clocks.begin(), clocks.end());
  }
}

absl::Status Membership::RestoreMember(Instant now, const v1::Member& member) {
  const std::optional<std::uint32_t> id = IdOf(member.name());
  if (!id || *id != member.worker_id() || member.incarnation() == 0 || !v1::MemberState_IsValid(member.state()) ||
      !members_.emplace(*id, member).second) {
    return absl::DataLossError(absl::StrCat("membership: member ", member.worker_id(), " ('", member.name(), "')",
                                            " is there twice, or is not called so"));
  }
  lease_end_[*id] = now + config_.lease;
  if (member.state() == v1::OBSERVER) return absl::OkStatus();
  const auto [holder, free] = holders_.emplace(member.rank(), *id);
  if (free) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("membership: both '", member.name(), "' and '",
                                          members_.at(holder->second).name(), "' have rank ", member.rank()));
}

absl::Status Membership::Restore(Instant now, const v1::MembershipState& state) {
  epoch_ = state.epoch();
  started_ = state.started();
  std::set<std::uint32_t> taken;
  for (const auto& [name, id] : state.ids()) {
    if (name.empty() || id >= state.ids().size() || !taken.insert(id).second) {
      return absl::DataLossError(absl::StrCat("membership: the name '", name, "' has worker id ", id, " of ",
                                              state.ids().size(), ", or another has it"));
    }
    ids_.emplace(name, id);
  }
  ended_.insert(state.ended().begin(), state.ended().end());
  ended_at_.insert(state.ended_at().begin(), state.ended_at().end());
  ranks_.insert(state.ranks().begin(), state.ranks().end());
  for (const v1::Member& member : state.members()) RETURN_IF_ERROR(RestoreMember(now, member));
  for (const v1::JoinRequest& saved : state.waiting_room()) {
    waiting_room_[saved.name()] = {{saved.name(), saved.incarnation(), saved.role(), saved.rank(),
                                    saved.samples_per_step(), saved.pipeline_depth()},
                                   now};
  }
  for (const v1::InstalledJoiner& saved : state.installed()) {
    const v1::Member* member = Find(saved.worker_id());
    for (const auto& [shard, clock] : saved.clocks()) {
      if (member == nullptr || member->state() != v1::JOINING || shard >= config_.num_shards) {
        return absl::DataLossError(absl::StrCat("membership: ps ", shard, " of ", config_.num_shards,
                                                " has installed worker ", saved.worker_id(), ", who is not joining"));
      }
      installed_[saved.worker_id()][shard] = clock;
    }
  }
  const std::size_t people = members_.size() + waiting_room_.size();
  if (epoch_ == 0 || people > kMaxMembers || ids_.size() > kMostIds) {
    return absl::DataLossError(absl::StrCat("membership: epoch ", epoch_, " with ", people, " members and ",
                                            ids_.size(), " names; at most ", kMaxMembers, " members are allowed"));
  }
  return absl::OkStatus();
}

}  // namespace leeway
