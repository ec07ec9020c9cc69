#include "server/coordinator/membership.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace leeway {

const v1::Member* Membership::Find(std::uint32_t worker) const {
  const auto it = members_.find(worker);
  return it == members_.end() ? nullptr : &it->second;
}

absl::Duration Membership::Silence(Instant now, std::uint32_t worker) const {
  const auto end = lease_end_.find(worker);
  return end == lease_end_.end() ? absl::ZeroDuration() : now + config_.lease - end->second;
}

std::optional<std::uint32_t> Membership::IdOf(const std::string& name) const {
  const auto it = ids_.find(name);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::string> Membership::NameOf(std::uint32_t worker) const {
  const auto it =
      std::find_if(ids_.begin(), ids_.end(), [worker](const auto& entry) { return entry.second == worker; });
  return it == ids_.end() ? std::nullopt : std::optional(it->first);
}

std::optional<std::uint32_t> Membership::RankOf(const std::string& name) const {
  const auto it = ranks_.find(name);
  return it == ranks_.end() ? std::nullopt : std::optional(it->second);
}

std::size_t Membership::observers() const {
  return static_cast<std::size_t>(
      std::count_if(members_.begin(), members_.end(), [](const auto& m) { return m.second.state() == v1::OBSERVER; }));
}

std::size_t Membership::trainers() const { return members_.size() - observers(); }

double Membership::MeanSamples() const {
  double sum = 0;
  double count = 0;
  for (const auto& [id, member] : members_) {
    if (member.state() != v1::LIVE) continue;
    sum += member.samples_per_step();
    ++count;
  }
  return count > 0 ? sum / count : 0;
}

std::string Membership::StartWaitsFor() const {
  if (started_) return "";
  std::vector<std::string> names;
  for (const auto& [name, candidate] : waiting_room_) names.push_back(name);
  const std::string evaluators =
      observers() < config_.num_evaluators
          ? absl::StrCat("; ", observers(), " of ", config_.num_evaluators, " evaluators have come")
          : "";
  return absl::StrCat(names.size(), " of ", config_.num_workers, " workers have come", names.empty() ? "" : ": ",
                      absl::StrJoin(names, ", "), evaluators);
}

absl::StatusOr<Membership::JoinAnswer> Membership::Join(Instant now, const Joiner& joiner) {
  const std::optional<std::uint32_t> id = IdOf(joiner.name);
  if (const auto ended = id ? ended_.find(*id) : ended_.end();
      ended != ended_.end() && ended->second == joiner.incarnation) {
    return absl::FailedPreconditionError(absl::StrCat("join: incarnation ", absl::Hex(joiner.incarnation),
                                                      " of worker '", joiner.name,
                                                      "' has left or expired; join again under a new one"));
  }
  if (const v1::Member* member = id ? Find(*id) : nullptr) {
    if (member->incarnation() == joiner.incarnation) {
      lease_end_[*id] = now + config_.lease;
      if (member->state() != v1::JOINING) return JoinAnswer{true, *id, ""};
      return JoinAnswer{false, *id, absl::StrCat("the shards install worker '", joiner.name, "'")};
    }
    return JoinAnswer{
        false, 0,
        absl::StrCat("the name '", joiner.name, "' belongs to incarnation ", absl::Hex(member->incarnation()),
                     ", whose lease ends in ",
                     absl::FormatDuration(absl::Trunc(lease_end_.at(*id) - now, absl::Milliseconds(100))))};
  }
  if (members_.size() + waiting_room_.size() >= config_.max_members) {
    return absl::ResourceExhaustedError(absl::StrCat("join: the cluster has ", members_.size(), " members; at most ",
                                                     config_.max_members, " are allowed"));
  }
  if (joiner.role == v1::EVALUATOR) {
    RETURN_IF_ERROR(Admit(now, joiner));
    return JoinAnswer{true, ids_.at(joiner.name), ""};
  }
  RETURN_IF_ERROR(CheckRank(joiner));
  if (started_) {
    RETURN_IF_ERROR(Admit(now, joiner));
    return JoinAnswer{false, 0, absl::StrCat("the shards install worker '", joiner.name, "'")};
  }
  waiting_room_[joiner.name] = {joiner, now};
  if (waiting_room_.size() < config_.num_workers || observers() < config_.num_evaluators) {
    return JoinAnswer{false, 0, StartWaitsFor()};
  }
  AdmitAll(now);
  return JoinAnswer{false, 0, "the shards install the first workers"};
}

absl::Status Membership::CheckRank(const Joiner& joiner) const {
  if (joiner.rank >= 0 && config_.fixed_ranks && joiner.rank >= static_cast<std::int32_t>(config_.num_workers)) {
    return absl::FailedPreconditionError(absl::StrCat("join: worker '", joiner.name, "' asks for rank ", joiner.rank,
                                                      "; this run has the ranks 0 to ", config_.num_workers - 1));
  }
  for (const auto& [name, candidate] : waiting_room_) {
    if (joiner.rank >= 0 && name != joiner.name && candidate.joiner.rank == joiner.rank) {
      return absl::FailedPreconditionError(absl::StrCat("join: worker '", joiner.name, "' asks for rank ", joiner.rank,
                                                        ", which worker '", name, "' has asked for"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::uint32_t> Membership::FreeRank(const Joiner& joiner) const {
  if (joiner.rank >= 0) {
    const auto it = holders_.find(static_cast<std::uint32_t>(joiner.rank));
    if (it == holders_.end()) return static_cast<std::uint32_t>(joiner.rank);
    return absl::FailedPreconditionError(absl::StrCat("join: worker '", joiner.name, "' asks for rank ", joiner.rank,
                                                      ", which worker '", members_.at(it->second).name(), "' has"));
  }
  // Back under its old name: the old rank, and with it the rest of that rank's data.
  if (const auto it = ranks_.find(joiner.name); it != ranks_.end() && holders_.count(it->second) == 0)
    return it->second;
  // Before the start, ranks that others ask for by flag are kept for them.
  std::set<std::uint32_t> asked;
  for (const auto& [name, candidate] : waiting_room_) {
    if (candidate.joiner.rank >= 0) asked.insert(static_cast<std::uint32_t>(candidate.joiner.rank));
  }
  std::uint32_t rank = 0;
  while (holders_.count(rank) > 0 || asked.count(rank) > 0) ++rank;
  if (!config_.fixed_ranks || rank < config_.num_workers) return rank;
  return absl::FailedPreconditionError(absl::StrCat("join: no rank is left for worker '", joiner.name, "': all ",
                                                    config_.num_workers, " have their worker (--num_workers)"));
}

absl::Status Membership::Admit(Instant now, const Joiner& joiner) {
  v1::Member member;
  auto id = static_cast<std::uint32_t>(ids_.size());
  std::optional<std::string> forget;
  if (const std::optional<std::uint32_t> known = IdOf(joiner.name)) {
    id = *known;
  } else if (ids_.size() >= 2 * config_.max_members) {
    forget = NameToForget();
    if (!forget) {
      return absl::ResourceExhaustedError(absl::StrCat("join: the cluster knows ", ids_.size(),
                                                       " names of workers, and may forget none for '", joiner.name,
                                                       "'; at most ", 2 * config_.max_members, " are allowed"));
    }
    id = ids_.at(*forget);
  }
  if (joiner.role == v1::TRAINER) {
    ASSIGN_OR_RETURN(const std::uint32_t rank, FreeRank(joiner));
    member.set_rank(rank);
    ranks_[joiner.name] = rank;
  }
  if (forget) {
    ids_.erase(*forget);
    ranks_.erase(*forget);
  }
  ids_[joiner.name] = id;
  member.set_worker_id(id);
  member.set_incarnation(joiner.incarnation);
  member.set_name(joiner.name);
  member.set_state(joiner.role == v1::TRAINER ? v1::JOINING : v1::OBSERVER);
  member.set_samples_per_step(joiner.samples_per_step);
  member.set_pipeline_depth(joiner.pipeline_depth);
  members_[id] = member;
  if (joiner.role == v1::TRAINER) holders_[member.rank()] = id;
  lease_end_[id] = now + config_.lease;
  installed_.erase(id);
  waiting_room_.erase(joiner.name);
  ++epoch_;
  return absl::OkStatus();
}

std::optional<std::string> Membership::NameToForget() const {
  std::optional<std::string> oldest;
  std::uint64_t ended_at = 0;
  for (const auto& [name, id] : ids_) {
    if (Find(id) != nullptr || kept_.count(name) > 0) continue;
    const auto ended = ended_at_.find(id);
    const std::uint64_t at = ended == ended_at_.end() ? 0 : ended->second;
    if (oldest && ended_at <= at) continue;
    oldest = name;
    ended_at = at;
  }
  return oldest;
}

void Membership::AdmitAll(Instant now) {
  // By name, whatever the order of arrival: ranks are reproducible. More may have come than there are ranks, while an
  // evaluator was waited for: who gets none is told so when it asks again.
  const std::map<std::string, Candidate> room = waiting_room_;
  for (const auto& [name, candidate] : room) Admit(now, candidate.joiner).IgnoreError();
  waiting_room_.clear();
  started_ = true;
}

void Membership::Acknowledge(std::uint32_t shard, std::uint32_t worker, std::uint64_t incarnation,
                             std::uint64_t clock) {
  const v1::Member* member = Find(worker);
  if (member == nullptr || member->incarnation() != incarnation || member->state() != v1::JOINING) return;
  installed_[worker][shard] = clock;
}

bool Membership::Installed() const {
  bool any = false;
  for (const auto& [id, member] : members_) {
    if (member.state() != v1::JOINING) continue;
    const auto it = installed_.find(id);
    if (it == installed_.end() || it->second.size() < config_.num_shards) return false;
    any = true;
  }
  return any;
}

bool Membership::Promote(std::optional<std::uint64_t> round_entry) {
  if (!Installed()) return false;
  std::vector<v1::Member*> joiners;
  std::uint64_t entry = 0;
  for (auto& [id, member] : members_) {
    if (member.state() != v1::JOINING) continue;
    for (const auto& [shard, clock] : installed_.at(id)) entry = std::max(entry, clock);
    joiners.push_back(&member);
  }
  for (v1::Member* member : joiners) {
    member->set_state(v1::LIVE);
    member->set_was_live(true);
    member->set_entry_clock(round_entry.value_or(entry));
    installed_.erase(member->worker_id());
  }
  ++epoch_;
  return true;
}

absl::Status Membership::Renew(Instant now, std::uint32_t worker, std::uint64_t incarnation) {
  const v1::Member* member = Find(worker);
  if (member != nullptr && member->incarnation() == incarnation) {
    lease_end_[worker] = now + config_.lease;
    return absl::OkStatus();
  }
  const std::string live = member == nullptr ? "none" : absl::StrCat(absl::Hex(member->incarnation()));
  return absl::FailedPreconditionError(absl::StrCat("incarnation ", absl::Hex(incarnation), " of worker ", worker,
                                                    " is no member at membership epoch ", epoch_,
                                                    " (live incarnation: ", live, "); join again"));
}

absl::Status Membership::Leave(std::uint32_t worker, std::uint64_t incarnation) {
  const v1::Member* member = Find(worker);
  if (member == nullptr || member->incarnation() != incarnation) return absl::OkStatus();  // gone already
  End(worker);
  return absl::OkStatus();
}

void Membership::End(std::uint32_t worker) {
  const v1::Member& member = members_.at(worker);
  ended_[worker] = member.incarnation();
  ended_at_[worker] = epoch_;
  if (member.state() != v1::OBSERVER) holders_.erase(member.rank());
  members_.erase(worker);
  lease_end_.erase(worker);
  installed_.erase(worker);
  ++epoch_;
}

void Membership::Park(std::uint32_t worker) {
  const auto it = members_.find(worker);
  if (it == members_.end() || it->second.state() != v1::LIVE) return;
  it->second.set_state(v1::PARKED);
  ++epoch_;
}

void Membership::Unpark(std::uint32_t worker) {
  const auto it = members_.find(worker);
  if (it == members_.end() || it->second.state() != v1::PARKED) return;
  it->second.set_state(v1::JOINING);
  ++epoch_;
}

std::vector<Membership::Lost> Membership::Expire(Instant now) {
  std::vector<Lost> lost;
  for (const auto& [id, end] : lease_end_) {
    if (end >= now) continue;
    const v1::Member& member = members_.at(id);
    const v1::Role role = member.state() == v1::OBSERVER ? v1::EVALUATOR : v1::TRAINER;
    lost.push_back({id, member.incarnation(), member.name(), role, member.rank(), now - end});
  }
  for (const Lost& gone : lost) End(gone.worker);
  for (auto it = waiting_room_.begin(); it != waiting_room_.end();) {
    it = it->second.seen + config_.lease < now ? waiting_room_.erase(it) : std::next(it);
  }
  return lost;
}

void Membership::RenewAll(Instant now) {
  for (auto& [id, end] : lease_end_) end = now + config_.lease;
}

}  // namespace leeway
