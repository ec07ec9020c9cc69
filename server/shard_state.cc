// Shard: what it is at one moment, saved and restored.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/shard.h"

namespace leeway {

std::string Shard::failure() {
  MutexLock lock(mu_);
  return failure_;
}

v1::ShardState Shard::SaveState() {
  MutexLock lock(mu_);
  return SaveStateLocked();
}

// (In rounds that of the clocks depends, once nobody is left, on whether the last one went before a close or after it.)
std::uint64_t Shard::LastMinimum() const { return aggregation() == v1::ROUND ? open_round_ : clocks_.Min(); }

v1::ShardState Shard::SaveStateLocked() const {
  v1::ShardState state;
  state.set_journal_sequence(journal_ == nullptr ? 0 : journal_->last_sequence());
  v1::WatchReply& snapshot = *state.mutable_snapshot();
  snapshot.set_run_id(run_id_);
  snapshot.set_sequence(sequence_);
  snapshot.set_membership_epoch(membership_epoch_);
  *snapshot.mutable_policy() = book_.now();
  if (book_.change().id() != 0) *snapshot.mutable_policy_change() = book_.change();
  snapshot.set_state(state_);
  snapshot.set_mean_samples(mean_samples_);
  snapshot.set_model_fingerprint(fingerprint_);
  snapshot.mutable_manifest()->set_model(model_);
  snapshot.set_block_elements(placement_ ? placement_->block_elements() : 0);
  for (const auto& [id, info] : members_) {
    v1::MemberAtCut& member = *state.add_members();
    *member.mutable_member() = info.proto;
    member.set_entered(info.entered);
    *member.mutable_window() = info.window.Save();
    member.set_gate_clock(clocks_.Get(id));
    member.set_gate_offset(info.offset);
    member.set_previous_gate_offset(info.previous_offset);
  }
  departed_.Save(state.mutable_departed());
  state.set_version(version_);
  state.set_samples(samples_);
  state.set_open_round(open_round_);
  state.set_ticket_watermark(tickets_.value());
  for (const std::uint64_t serial : tickets_.settled()) state.add_settled_tickets(serial);
  *state.mutable_stats() = stats_;
  *state.mutable_stats()->mutable_gap() = gap_.ToProto();
  *state.mutable_stats()->mutable_delay() = delay_.ToProto();
  state.set_min_clock(LastMinimum());
  nonfinite_runs_.Save(state.mutable_nonfinite_runs());
  return state;
}

absl::Status Shard::RestoreState(const v1::ShardState& state, const v1::Manifest& manifest) {
  v1::WatchReply snapshot = state.snapshot();
  *snapshot.mutable_manifest() = manifest;
  RETURN_IF_ERROR(InstallModel(snapshot, false));
  MutexLock lock(mu_);
  members_.clear();
  departed_ = {};
  weights_ready_ = true;
  missing_blocks_.clear();
  Adopt(snapshot);
  book_ = PolicyBook(snapshot.policy());
  book_.Follow(snapshot.policy(), snapshot.policy_change(), {},
               absl::StrCat("ps ", options_.index, " was started again meanwhile"));
  clocks_ = ClockTable(state.min_clock());
  for (const v1::MemberAtCut& saved : state.members()) {
    ASSIGN_OR_RETURN(PushWindow window, PushWindow::Restore(saved.window()));
    const v1::Member& member = saved.member();
    MemberInfo info{member, std::move(window), saved.entered()};
    info.offset = saved.gate_offset();
    info.previous_offset = saved.previous_gate_offset();
    if (!members_.emplace(member.worker_id(), std::move(info)).second) {
      return absl::DataLossError(absl::StrCat("worker ", member.worker_id(), " stands twice in a shard's state"));
    }
    if (member.state() != v1::OBSERVER) {
      clocks_.Install(member.worker_id(), saved.gate_clock(), member.state() != v1::PARKED);
    }
  }
  for (const v1::WindowState& saved : state.departed()) {
    ASSIGN_OR_RETURN(PushWindow window, PushWindow::Restore(saved));
    departed_.Add(saved.incarnation(), saved.rank(), std::move(window));
  }
  version_ = state.version();
  samples_ = state.samples();
  open_round_ = state.open_round();
  tickets_ = TicketWatermark(state.ticket_watermark());
  for (const std::uint64_t serial : state.settled_tickets()) tickets_.Settle(serial);
  stats_ = state.stats();
  gap_ = LinearHistogram::FromProto(state.stats().gap());
  delay_ = LinearHistogram::FromProto(state.stats().delay());
  nonfinite_runs_ = NonFiniteRuns(state.nonfinite_runs());
  return absl::OkStatus();
}

}  // namespace leeway
