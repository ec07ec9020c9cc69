#include "server/coordinator/rollback.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// Every name keeps its worker id and rank; no incarnation of before may come back.
v1::MembershipState NobodyIsMember(const v1::MembershipState& now, const v1::MembershipState& then) {
  v1::MembershipState state;
  state.set_epoch(std::max(now.epoch(), then.epoch()) + 1);
  state.set_started(true);
  const v1::MembershipState& last = now.ids().empty() ? then : now;
  *state.mutable_ids() = last.ids();
  *state.mutable_ranks() = last.ranks();
  *state.mutable_ended() = last.ended();
  *state.mutable_ended_at() = last.ended_at();
  for (const v1::Member& member : last.members()) (*state.mutable_ended())[member.worker_id()] = member.incarnation();
  return state;
}

v1::DataLeasesState HandedOutAgain(v1::DataLeasesState state) {
  for (const v1::DataLease& lease : state.leases()) {
    for (const v1::LeasedPiece& piece : lease.out()) *state.add_returned() = piece;
  }
  state.clear_leases();
  return state;
}

}  // namespace

absl::StatusOr<v1::CoordinatorState> RollBack(const v1::CoordinatorState& now, const v1::CheckpointIndex& checkpoint,
                                              const std::string& name, std::uint32_t num_shards) {
  const v1::CoordinatorState& then = checkpoint.coordinator_state();
  if (then.run_id() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " holds no coordinator's state: a run cannot go back to it"));
  }
  if (now.run_id() != 0 && now.run_id() != then.run_id()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is of run ", absl::Hex(then.run_id()), ", this is run ", absl::Hex(now.run_id())));
  }
  const bool known = now.run_id() != 0;
  v1::CoordinatorState state = then;
  state.set_num_shards(num_shards);
  state.set_sequence(std::max(now.sequence(), then.sequence()) + 1);
  *state.mutable_membership() = NobodyIsMember(now.membership(), then.membership());
  state.mutable_rounds()->clear_reports();
  state.mutable_rounds()->clear_left();
  state.mutable_tickets()->clear_decisions();
  if (then.has_leases()) *state.mutable_leases() = HandedOutAgain(then.leases());
  if (known) {
    state.set_samples_lost(now.samples_lost() + now.samples() - std::min(now.samples(), then.samples()));
    *state.mutable_board() = now.board();
    *state.mutable_test_data() = now.test_data();  // of the evaluations, which are in the board
    *state.mutable_quarantine() = now.quarantine();
    // What people have set stays set; its number never falls.
    state.clear_changed_policy();
    if (now.has_changed_policy()) *state.mutable_changed_policy() = now.changed_policy();
  }
  for (v1::StatusRow& row : *state.mutable_board()->mutable_rows()) {
    v1::WorkerStatus& status = *row.mutable_status();
    status.clear_clock();
    if (status.state() == "left" || status.state() == "expired" || status.state() == "quarantined") continue;
    status.set_state("expired");
    status.set_reason("the run went back to a checkpoint");
  }
  state.clear_shards();
  for (std::uint32_t i = 0; i < num_shards; ++i) state.add_shards();
  state.set_address_book_version(std::max(now.address_book_version(), then.address_book_version()) + 1);
  state.clear_joining();
  state.clear_member_data();
  state.clear_closes();
  state.clear_void_tickets();
  state.clear_policy_change();  // no step of before is open
  // Time goes on: a limit in minutes is of people's time.
  state.set_trained_nanos(std::max(now.trained_nanos(), then.trained_nanos()));
  state.set_trained_nanos_at_checkpoint(state.trained_nanos());
  state.set_era(std::max(now.era(), checkpoint.era()) + 1);
  state.set_base_checkpoint(name);
  state.clear_committed_checkpoint();
  state.set_divergences(now.divergences());
  state.clear_owed_going_back();
  // Who has not come back since the run last did is still to come.
  std::set<std::string> trainers(now.regrouping().begin(), now.regrouping().end());
  for (const v1::Member& member : (known ? now : then).membership().members()) {
    if (member.state() != v1::OBSERVER) trainers.insert(member.name());
  }
  state.clear_regrouping();
  for (const std::string& trainer : trainers) state.add_regrouping(trainer);
  return state;
}

}  // namespace leeway
