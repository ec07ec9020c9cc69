// Coordinator: progress in, status out.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/coordinator/check_progress.h"
#include "server/coordinator/coordinator.h"
#include "server/max_delay.h"

namespace leeway {
namespace {

// A shard asks every second, whatever the lease.
constexpr absl::Duration kSilentShard = absl::Seconds(3);

// By the evaluator's own time: one whose answer was lost, also with the coordinator's process, or an older one still.
bool ComesAgain(const v1::Evaluation& now, const v1::Evaluation& last) {
  return now.seconds() < last.seconds() || now.SerializeAsString() == last.SerializeAsString();
}

}  // namespace

void Coordinator::ReportProgress(const v1::ReportProgressRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    v1::ReportProgressReply reply;
    absl::Status status = CheckStamp(request.stamp());
    if (status.ok()) status = CheckProgress(request.progress(), options_.num_shards, Membership::kMostIds);
    if (status.ok()) {
      const Instant now = clock_->Now();
      const v1::Member& member = *membership_.Find(request.stamp().worker_id());
      waits_.Add(now, member.worker_id(), member.incarnation(), request);
      if (request.has_progress()) HearProgress(now, member, request.progress());
      DataState& data = data_states_[member.worker_id()];
      if (data.incarnation != member.incarnation()) data = DataState{member.incarnation()};
      if (request.has_evaluation() && !ComesAgain(request.evaluation(), data.evaluation)) {
        data.evaluation = request.evaluation();
        v1::Evaluation evaluation = request.evaluation();
        evaluation.set_samples(samples_);
        board_.AddEvaluation(now, evaluation);
        stop_.Observe(evaluation);
        divergence_.Evaluated(evaluation.loss(), steps_);
        Event(absl::StrFormat("evaluation after %d samples: loss %.4f, accuracy %.4f%s", samples_, evaluation.loss(),
                              evaluation.accuracy(), evaluation.final() ? " (final)" : ""));
        store_->Changed();
        Settle(&replies);
      }
      reply.set_state(state_);
      reply.set_drain(IsDrained(request.stamp()));
    }
    replies.Give(std::move(done), status, reply);
  }
  Send(std::move(replies));
}

void Coordinator::HearProgress(Instant now, const v1::Member& member, const v1::Progress& progress) {
  board_.AddProgress(now, member, progress, samples_);
  divergence_.Trained(member.worker_id(), member.incarnation(), progress.loss_sum(), progress.samples(), steps_,
                      membership_.trainers(), progress.nonfinite_samples());
}

void Coordinator::NoteRates(Instant now) {
  if (state_ == v1::STARTING || ended_) return;
  v1::RatePoint point;
  point.set_seconds(board_.Seconds(now));
  point.set_samples(board_.SamplesPerSecond(now));
  for (const ShardInfo& shard : shards_) {
    point.set_push_bytes(point.push_bytes() + shard.push_bytes.Get(now));
    point.set_pull_bytes(point.pull_bytes() + shard.pull_bytes.Get(now));
  }
  rates_.Observe(point);
}

std::string Coordinator::WaitsFor() const {
  if (state_ == v1::FINISHED) return "";
  // Then it hears of nothing else.
  if (const absl::Status ready = store_->Ready(); !ready.ok()) return std::string(ready.message());
  if (!cannot_choose_.empty()) return absl::StrCat("to go back: ", cannot_choose_);
  std::vector<std::string> not_come;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (shards_[i].generation == 0) not_come.push_back(absl::StrCat("ps ", i));
  }
  if (!not_come.empty()) {
    return absl::StrCat(shards_.size() - not_come.size(), " of ", shards_.size(),
                        " ps have come; missing: ", absl::StrJoin(not_come, ", "));
  }
  if (std::string start = membership_.StartWaitsFor(); state_ == v1::STARTING || !start.empty()) return start;
  const std::string missing = MissingShard();
  if (LastIsDue()) {
    return absl::StrCat(LastWaitsForEvaluation() ? "the final evaluation, then " : "", "the last checkpoint",
                        missing.empty() ? "" : ": ", missing);
  }
  if (!missing.empty()) return missing;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (!shards_[i].pushes_wait.empty()) return absl::StrCat("ps ", i, ": ", shards_[i].pushes_wait);
  }
  return deserted_since_ ? absl::StrCat("a worker: none is left", InQuarantine()) : "";
}

absl::Duration Coordinator::Silence(const ShardInfo& shard) const {
  // Not until now: since the last tick this process may have been stopped.
  return last_tick_ - std::max(shard.seen, heard_since_);
}

bool Coordinator::IsSilent(const ShardInfo& shard) const {
  return Silence(shard) >= std::max(options_.lease, kSilentShard);
}

bool Coordinator::MayBeThere(const ShardInfo& shard) const {
  if (shard.generation == 0) return false;
  const bool has_come = shard.protocol_version != 0;  // else this process is a new one, and waits for nobody
  return (has_come ? Silence(shard) : clock_->Now() - shard.seen) < options_.lease;
}

std::string Coordinator::MissingShard() const {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const bool has_come = shards_[i].protocol_version != 0;
    if (!has_come || IsSilent(shards_[i])) return absl::StrCat("ps ", i, " is not there");
    if (!shards_[i].weights_ready) return absl::StrCat("ps ", i, " has no weights yet");
  }
  return "";
}

void Coordinator::NoteSilence() {
  if (state_ == v1::FINISHED) return;  // then they end
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    ShardInfo& shard = shards_[i];
    // (One that has not come to this process has not fallen silent.)
    if (shard.protocol_version == 0 || shard.silent || !IsSilent(shard)) continue;
    shard.silent = true;
    Event(absl::StrCat("ps ", i, " at ", shard.address, " is silent for ",
                       absl::FormatDuration(absl::Trunc(Silence(shard), absl::Milliseconds(10))),
                       ": whoever needs it waits"));
  }
}

void Coordinator::NoteCheckpoint(const std::string& error) {
  const Instant now = clock_->Now();
  v1::CheckpointStatus status;
  status.set_name(course_.cut().name());
  status.set_seconds(board_.Seconds(now));
  status.set_duration(absl::ToDoubleSeconds(now - cut_began_));
  status.set_steps(checkpoint_step_);
  status.set_error(error);
  if (course_.written()) {
    for (const v1::CutReport& report : course_.reports()) {
      for (const v1::CheckpointFile& file : report.files()) status.set_bytes(status.bytes() + file.bytes());
    }
  }
  checkpoints_told_.push_back(std::move(status));
  if (checkpoints_told_.size() > kMostCheckpointsTold) checkpoints_told_.pop_front();
}

v1::GetStatusReply Coordinator::Status(const v1::GetStatusRequest& request) {
  v1::GetStatusReply reply;
  MutexLock lock(mu_);
  const Instant now = clock_->Now();
  reply.set_state(state_);
  reply.set_waiting_for(WaitsFor());
  reply.set_run_id(options_.run_id);
  *reply.mutable_policy() = policies_.policy();
  if (manifest_) {
    reply.set_model(manifest_->model());
    reply.set_elements(manifest_->elements());
  }
  // The clock of the run stops when training does: rates are over the time trained.
  const Instant until = ended_.value_or(now);
  reply.set_seconds(board_.Seconds(until));
  reply.set_samples(samples_);
  reply.set_steps(steps_);
  reply.set_num_records(data_.num_records());
  reply.set_total_samples(policies_.policy().stop().epochs() * data_.num_records());
  reply.set_membership_epoch(membership_.epoch());
  reply.set_stop_reason(stop_reason_);
  reply.set_failure(Failure());
  reply.set_era(era_);
  reply.set_policy_waits_for(policies_.WaitsFor());
  reply.set_delay_limit(DelayLimit(policies_.policy(), tickets_.last_serial()).value_or(0));
  board_.Fill(now, &reply);
  waits_.Fill(board_.start(), request, &reply);
  if (!request.want_waits()) {
    // They grow with the square of the number of workers, and most who ask do not look at them.
    for (auto& worker : *reply.mutable_workers()) {
      if (worker.has_progress()) worker.mutable_progress()->clear_waits();
    }
  }
  for (auto& worker : *reply.mutable_workers()) {
    const v1::Member* member = membership_.Find(worker.worker_id());
    if (member == nullptr) continue;
    if (member->state() == v1::PARKED) worker.set_state("parked");
    if (drained_workers_.count(worker.worker_id()) > 0) worker.set_state("draining");
    waits_under_way_.Fill(now, &worker);
    worker.set_silent_seconds(absl::ToDoubleSeconds(membership_.Silence(now, worker.worker_id())));
  }
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    v1::ShardStatus& status = *reply.add_shards();
    status.set_index(static_cast<std::uint32_t>(i));
    status.set_address(shards_[i].address);
    *status.mutable_stats() = shards_[i].stats;
    status.set_connected(MayBeThere(shards_[i]));
    status.set_push_bytes_per_second(shards_[i].push_bytes.Get(now));
    status.set_pull_bytes_per_second(shards_[i].pull_bytes.Get(now));
    if (placement_) status.set_num_blocks(placement_->ShardBlocks(static_cast<std::uint32_t>(i)));
  }
  for (const v1::RatePoint& point : rates_.points()) *reply.add_rates() = point;
  for (const v1::CheckpointStatus& checkpoint : checkpoints_told_) *reply.add_checkpoints() = checkpoint;
  if (course_.under_way()) reply.set_checkpoint_under_way(course_.cut().name());
  return reply;
}

void Coordinator::GetStatus(const v1::GetStatusRequest& request, ReplyCallback done) {
  // At once, whatever waits for the disk: nobody acts on it, and it is how an outage can be seen.
  done(absl::OkStatus(), EncodeMessage(Status(request)));
}

}  // namespace leeway
