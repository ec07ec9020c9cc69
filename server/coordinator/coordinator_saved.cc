// Coordinator: its state for the store, and a run that is taken up again.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/coordinator/coordinator.h"

namespace leeway {
namespace {

constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();
constexpr absl::Duration kLongestRun = absl::Hours(24 * 365 * 100);

// By the names of the flags: "staleness_bound: 8 -> 1; epochs: 4 -> 5", or nothing.
std::string Differences(const v1::Policy& before, const v1::Policy& after) {
  std::string report;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&report);
  if (differencer.Compare(before, after)) return "";
  return absl::StrReplaceAll(absl::StripSuffix(report, "\n"), {{"modified: ", ""},
                                                               {"\n", "; "},
                                                               {"optimizer.kind", "optimizer"},
                                                               {"optimizer.", ""},
                                                               {"schedule.kind", "schedule"},
                                                               {"schedule.rate", "learning_rate"},
                                                               {"schedule.final_rate", "final_learning_rate"},
                                                               {"schedule.warmup_samples", "warmup_samples"},
                                                               {"schedule.", "schedule_"},
                                                               {"stop.", ""}});
}

}  // namespace

v1::CoordinatorState Coordinator::Describe() {
  MutexLock lock(mu_);
  return rolled_back_ ? *rolled_back_ : DescribeLocked();
}

v1::CoordinatorState Coordinator::DescribeLocked() const {
  v1::CoordinatorState state;
  state.set_run_id(options_.run_id);
  state.set_num_shards(options_.num_shards);
  *state.mutable_policy() = options_.policy;
  state.set_sequence(snapshot_.sequence());
  state.set_run_state(state_);
  state.set_stop_reason(stop_reason_);
  state.set_failed(failed_);
  state.set_diverged(diverged_);
  membership_.Save(state.mutable_membership());
  rounds_.Save(state.mutable_rounds());
  tickets_.Save(state.mutable_tickets());
  if (leases_) leases_->Save(state.mutable_leases());
  stop_.Save(state.mutable_stop());
  board_.Save(state.mutable_board());
  for (const ShardInfo& shard : shards_) {
    v1::KnownShard& saved = *state.add_shards();
    saved.set_address(shard.address);
    *saved.mutable_local_endpoint() = shard.local_endpoint;
    saved.set_generation(shard.generation);
    saved.set_acknowledged(shard.acknowledged);
    saved.set_closed_round(shard.closed_round);
    saved.set_weights_ready(shard.weights_ready);
    saved.mutable_replaced()->Add(shard.replaced.begin(), shard.replaced.end());
    saved.mutable_found_since()->Add(shard.found_since.begin(), shard.found_since.end());
    *saved.mutable_journal() = shard.journal;
    saved.set_answered(shard.answered);
    saved.set_answered_said_by(shard.answered_said_by);
    saved.set_next_generation(shard.next_generation);
    saved.set_next_answered(shard.next_answered);
    saved.set_next_since(shard.next_since);
  }
  state.set_address_book_version(address_book_version_);
  state.set_model_fingerprint(manifest_ ? manifest_->fingerprint() : 0);
  state.set_init_fingerprint(init_fingerprint_);
  *state.mutable_data() = data_;
  *state.mutable_test_data() = test_data_;
  for (const auto& [worker, since] : joining_since_) {
    v1::Joining& saved = *state.add_joining();
    saved.set_worker_id(worker);
    saved.set_incarnation(since.first);
    saved.set_since_sequence(since.second);
  }
  for (const auto& [worker, data] : data_states_) {
    v1::MemberData& saved = *state.add_member_data();
    saved.set_worker_id(worker);
    saved.set_incarnation(data.incarnation);
    saved.set_last_request(data.last_request);
    *saved.mutable_last_reply() = data.last_reply;
    saved.set_reentering(data.reentering);
    if (data.waiting) *saved.mutable_waiting() = *data.waiting;
    saved.mutable_committed()->Add(data.committed.begin(), data.committed.end());
    *saved.mutable_evaluation() = data.evaluation;
  }
  state.mutable_data_cursor()->insert(data_cursor_.begin(), data_cursor_.end());
  state.mutable_rank_samples()->insert(rank_samples_.begin(), rank_samples_.end());
  state.mutable_finished_ranks()->Add(finished_ranks_.begin(), finished_ranks_.end());
  state.set_rounds_per_epoch(rounds_per_epoch_);
  state.set_samples(samples_);
  state.set_samples_lost(samples_lost_);
  state.set_steps(steps_);
  if (state_ != v1::STARTING) {
    state.set_trained_nanos(absl::ToInt64Nanoseconds(clock_->Now() - started_));
    state.set_trained_nanos_at_checkpoint(absl::ToInt64Nanoseconds(course_.last() - started_));
  }
  if (ended_) state.set_trained_nanos_at_end(absl::ToInt64Nanoseconds(*ended_ - started_));
  for (const v1::RoundClose& close : closes_) *state.add_closes() = close;
  state.mutable_void_tickets()->insert(void_tickets_.begin(), void_tickets_.end());
  state.set_era(era_);
  state.set_base_checkpoint(base_checkpoint_);
  state.set_committed_checkpoint(committed_checkpoint_);
  state.mutable_regrouping()->Add(regrouping_.begin(), regrouping_.end());
  state.set_divergences(divergences_);
  state.set_owed_going_back(owed_going_back_);
  quarantine_.Save(state.mutable_quarantine());
  policies_.Save(&state);
  return state;
}

absl::Status Coordinator::Restore(const v1::CoordinatorState& state, const v1::Manifest& manifest) {
  const Instant now = clock_->Now();
  MutexLock lock(mu_);
  RETURN_IF_ERROR(CheckRun(state));
  RETURN_IF_ERROR(RestoreModel(state, manifest));
  RETURN_IF_ERROR(RestoreShards(now, state));
  RETURN_IF_ERROR(membership_.Restore(now, state.membership()));
  RETURN_IF_ERROR(rounds_.Restore(state.rounds(), now + options_.lease));
  RETURN_IF_ERROR(tickets_.Restore(state.tickets()));
  RETURN_IF_ERROR(stop_.Restore(state.stop()));
  RETURN_IF_ERROR(board_.Restore(state.board()));
  RETURN_IF_ERROR(quarantine_.Restore(state.quarantine()));
  for (const std::string& name : quarantine_.names()) membership_.Keep(name);
  RETURN_IF_ERROR(policies_.Restore(state));
  AdoptPolicy();
  RETURN_IF_ERROR(RestoreProgress(now, state));
  Event(absl::StrCat("the coordinator is back: run ", absl::Hex(options_.run_id), ", ", v1::RunState_Name(state_), ", ",
                     membership_.members().size(), " members, ", samples_, " samples"));
  return absl::OkStatus();
}

absl::Status Coordinator::CheckRun(const v1::CoordinatorState& state) const {
  if (state.run_id() == 0 || state.run_id() != options_.run_id || !v1::RunState_IsValid(state.run_state())) {
    return absl::DataLossError(
        absl::StrCat("coordinator: run ", absl::Hex(state.run_id()), " in state ", state.run_state()));
  }
  const bool all_told = state.run_state() == v1::FINISHED &&
                        std::all_of(state.shards().begin(), state.shards().end(), [&](const v1::KnownShard& shard) {
                          return shard.acknowledged() >= state.sequence();
                        });
  if (all_told) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the run is finished", state.failed() ? absl::StrCat(", and has failed: ", state.stop_reason()) : "",
        "; use another --checkpoint_dir"));
  }
  if (state.num_shards() != options_.num_shards) {
    return absl::FailedPreconditionError(absl::StrCat("the run was begun with --num_shards=", state.num_shards(),
                                                      "; this ps has --num_shards=", options_.num_shards));
  }
  if (const std::string differences = Differences(state.policy(), options_.policy); !differences.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the run was begun with another policy than this ps's flags say (its value -> the flag's): ", differences,
        ": allowed: the run's, or another --checkpoint_dir"));
  }
  if (state.shards_size() != static_cast<int>(options_.num_shards)) {
    return absl::DataLossError(absl::StrCat("coordinator: ", state.shards_size(), " of ", options_.num_shards, " ps"));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::RestoreModel(const v1::CoordinatorState& state, const v1::Manifest& saved) {
  data_ = state.data();
  test_data_ = state.test_data();
  init_fingerprint_ = state.init_fingerprint();
  if (state.model_fingerprint() == 0) {
    if (state.run_state() == v1::STARTING) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("coordinator: no model, in state ", v1::RunState_Name(state.run_state())));
  }
  ASSIGN_OR_RETURN(Manifest manifest, Manifest::FromProto(saved));
  if (manifest.fingerprint() != state.model_fingerprint() || data_.num_records() == 0) {
    return absl::DataLossError(absl::StrCat(
        "coordinator: the manifest has fingerprint ", absl::Hex(manifest.fingerprint()), ", the state says ",
        absl::Hex(state.model_fingerprint()), " and ", data_.num_records(), " records"));
  }
  ASSIGN_OR_RETURN(placement_, Placement::Make(manifest.elements(), options_.num_shards));
  manifest_ = std::move(manifest);
  MakeLeases();
  return leases_ ? leases_->Restore(state.leases()) : absl::OkStatus();
}

absl::Status Coordinator::RestoreShards(Instant now, const v1::CoordinatorState& state) {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const v1::KnownShard& saved = state.shards(static_cast<int>(i));
    ShardInfo& shard = shards_[i];
    if (saved.acknowledged() > state.sequence()) {
      return absl::DataLossError(
          absl::StrCat("coordinator: ps ", i, " knows decision ", saved.acknowledged(), " of ", state.sequence()));
    }
    shard.address = saved.address();
    shard.local_endpoint = saved.local_endpoint();
    shard.generation = saved.generation();
    shard.seen = now - options_.lease;  // not by this process: nothing says that it is alive
    shard.acknowledged = saved.acknowledged();
    shard.closed_round = saved.closed_round();
    shard.weights_ready = saved.weights_ready();
    shard.replaced.assign(saved.replaced().begin(), saved.replaced().end());
    shard.found_since.assign(saved.found_since().begin(), saved.found_since().end());
    shard.found_since.resize(shard.replaced.size(), kUnknown);  // the version before has none
    shard.journal = saved.journal();
    shard.answered = saved.answered();
    shard.answered_said_by = saved.answered_said_by();
    shard.next_generation = saved.next_generation();
    shard.next_answered = saved.next_answered();
    shard.next_since = saved.next_since();
  }
  address_book_version_ = state.address_book_version();
  return absl::OkStatus();
}

absl::Status Coordinator::RestoreProgress(Instant now, const v1::CoordinatorState& state) {
  snapshot_.set_sequence(state.sequence());
  state_ = state.run_state();
  stop_reason_ = state.stop_reason();
  failed_ = state.failed();
  diverged_ = last_over_ = state.diverged();
  for (const v1::Joining& saved : state.joining()) {
    joining_since_[saved.worker_id()] = {saved.incarnation(), saved.since_sequence()};
  }
  for (const v1::MemberData& saved : state.member_data()) {
    DataState& data = data_states_[saved.worker_id()];
    data.incarnation = saved.incarnation();
    data.last_request = saved.last_request();
    data.last_reply = saved.last_reply();
    data.reentering = saved.reentering();
    if (saved.has_waiting()) data.waiting = saved.waiting();
    data.committed.insert(saved.committed().begin(), saved.committed().end());
    data.evaluation = saved.evaluation();
  }
  data_cursor_.insert(state.data_cursor().begin(), state.data_cursor().end());
  rank_samples_.insert(state.rank_samples().begin(), state.rank_samples().end());
  finished_ranks_.insert(state.finished_ranks().begin(), state.finished_ranks().end());
  rounds_per_epoch_ = state.rounds_per_epoch();
  samples_ = state.samples();
  samples_lost_ = state.samples_lost();
  steps_ = state.steps();
  era_ = state.era();
  base_checkpoint_ = state.base_checkpoint();
  committed_checkpoint_ = state.committed_checkpoint();
  regrouping_.insert(state.regrouping().begin(), state.regrouping().end());
  divergences_ = state.divergences();
  owed_going_back_ = state.owed_going_back();
  divergence_.Saved(steps_);
  const v1::StatusBoardState& board = state.board();
  divergence_.Restore(board.points().empty() ? 0 : board.points(0).loss(),
                      board.evaluations().empty() ? 0 : board.evaluations(0).loss());
  const absl::Duration trained = absl::Nanoseconds(state.trained_nanos());
  const absl::Duration at_checkpoint = absl::Nanoseconds(state.trained_nanos_at_checkpoint());
  const absl::Duration at_end = absl::Nanoseconds(state.trained_nanos_at_end());
  const auto within = [trained](absl::Duration part) { return part >= absl::ZeroDuration() && part <= trained; };
  if (trained > kLongestRun || !within(at_checkpoint) || !within(at_end)) {
    return absl::DataLossError(absl::StrCat("coordinator: trained for ", absl::FormatDuration(trained), ", for ",
                                            absl::FormatDuration(at_checkpoint), " at the newest checkpoint, and for ",
                                            absl::FormatDuration(at_end), " at the end"));
  }
  if (state_ != v1::STARTING) {
    started_ = now - trained;
    board_.Start(started_);
    const std::string& last = committed_checkpoint_.empty() ? base_checkpoint_ : committed_checkpoint_;
    course_.Start(started_ + at_checkpoint, StepOfDirectoryName(last).value_or(0));
  }
  if (state_ >= v1::FINISHING) ended_ = started_ + at_end;
  for (const v1::RoundClose& close : state.closes()) {
    if (close.round() >= rounds_.open_round() || (!closes_.empty() && close.round() != closes_.back().round() + 1)) {
      return absl::DataLossError(absl::StrCat("coordinator: round ", close.round(), " is closed while round ",
                                              rounds_.open_round(), " is open, or one before it is missing"));
    }
    closes_.push_back(close);
  }
  void_tickets_.insert(state.void_tickets().begin(), state.void_tickets().end());
  return absl::OkStatus();
}

}  // namespace leeway
