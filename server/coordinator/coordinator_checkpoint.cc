// Coordinator: checkpoints, from when one is due to when it is committed (docs/adr/0013-cut-of-a-checkpoint.md).
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/coordinator/coordinator.h"

namespace leeway {
void Coordinator::DriveCheckpoint() {
  if (options_.committer == nullptr || state_ < v1::TRAINING || state_ == v1::FINISHED || going_back_) return;
  const Instant now = clock_->Now();
  const std::string missing = MissingShard();
  if (course_.under_way()) {
    course_.Expire(now);
    if (state_ != v1::TRAINING && !last_begun_ && !committing_) {
      Event(absl::StrCat("checkpoint ", course_.cut().name(), " is given up for the last one: training is over"));
      course_.Drop();
      changed_ = true;
    } else if (!course_.failure().empty()) {
      EndCheckpoint(course_.failure());
    } else if (!course_.written() && !missing.empty()) {
      EndCheckpoint(missing);
    } else if (!owed_going_back_.empty()) {
      EndCheckpoint("the run goes back");  // it would have the loss
    } else {
      CommitIfWritten(now);
    }
  }
  GiveUpLastIfLate(now);
  if (!missing.empty() || beginning_ || course_.under_way() || !CheckpointDue(now)) return;
  beginning_ = true;
  asked_for_ = journal_full_ = false;
  last_begun_ = state_ != v1::TRAINING;
  options_.committer->Begin(steps_, [this, step = steps_](const absl::Status& status) {
    executor_->Post([this, step, status] { OnBegun(step, status); });
  });
}

bool Coordinator::CheckpointDue(Instant now) const {
  if (!owed_going_back_.empty()) return false;
  if (state_ != v1::TRAINING) return LastIsDue() && course_.MayBegin(now);
  if (divergence_.diverged()) return false;  // the run goes back, or ends
  return asked_for_ || course_.Due(now, steps_) ||
         (course_.MayBegin(now) && (FirstIsDue() || (journal_full_ && steps_ > checkpoint_step_)));
}

bool Coordinator::FirstIsDue() const { return committed_checkpoint_.empty() && base_checkpoint_.empty(); }

bool Coordinator::LastWaitsForEvaluation() const {
  // (A `ps` that ends may take its weights with it.)
  return last_begun_ && options_.rollback_on_divergence > 0 && EvaluatorExpected() && !course_.waited_for_to_end();
}

bool Coordinator::LastIsDue() const {
  return (state_ == v1::FINISHING || state_ == v1::EVALUATING) && membership_.trainers() == 0 && !LastIsOver();
}

void Coordinator::GiveUpLastIfLate(Instant now) {
  if (!LastIsDue()) return;
  if (!last_since_) last_since_ = now;
  const absl::Duration limit = options_.last_checkpoint_timeout;
  // Shards that write are waited for (CheckpointCourse has a limit for that), a disk that says nothing is not.
  const bool goes_on = course_.under_way() && (!written_at_ || now - *written_at_ < limit);
  if (now - *last_since_ < limit || goes_on) return;
  const std::string missing = MissingShard();
  last_failure_ = !missing.empty() ? missing : failed_reason_.empty() ? "the disk does not answer" : failed_reason_;
  last_over_ = true;
  spdlog::error("coordinator: there is no checkpoint of the end of training: {}", last_failure_);
}

void Coordinator::CommitIfWritten(Instant now) {
  if (!course_.written() || committing_ || LastWaitsForEvaluation() || !ProgressComplete(now)) return;
  committing_ = true;
  options_.committer->Commit(CheckpointIndexNow(), divergence_.trusted_steps(), [this](const absl::Status& status) {
    executor_->Post([this, status] { OnCommitted(status); });
  });
}

void Coordinator::OnBegun(std::uint64_t step, const absl::Status& status) {
  Replies replies;
  {
    MutexLock lock(mu_);
    beginning_ = false;
    // Begun while there was training, and now there is none: the last one is another.
    if (!shutdown_.empty() || diverged_ || (state_ != v1::TRAINING && !last_begun_) || state_ == v1::FINISHED) return;
    // A number that no cut had before, also not of a coordinator that this one has taken up from.
    std::optional<std::uint64_t> last_round;
    if (last_begun_) last_round = rounds_.open_round();  // CloseRounds closes none any more
    course_.Begin(clock_->Now(), snapshot_.sequence() + 1, StepDirectoryName(step), last_round);
    at_cut_.reset();
    written_at_.reset();
    cut_began_ = clock_->Now();
    checkpoint_step_ = step;
    if (absl::IsAlreadyExists(status)) {
      Committed();  // of just these steps there is one
    } else if (!status.ok()) {
      EndCheckpoint(std::string(status.message()));
    }
    changed_ = true;
    Settle(&replies);
  }
  Send(std::move(replies));
}

void Coordinator::CaptureProgress() {
  if (at_cut_ || !course_.cut().limited()) return;
  // In rounds the state is right when all the cut's rounds are closed, and the next one is not: no shard has it whole
  // before its cut. Whatever becomes of the workers, it is when all shards have written.
  const bool rounds = policies_.policy().aggregation() == v1::ROUND;
  if (rounds && !course_.written() && rounds_.open_round() < course_.cut().round()) return;
  at_cut_.emplace(DescribeLocked(), leases_, course_.cut());
}

bool Coordinator::ProgressComplete(Instant now) {
  CaptureProgress();
  if (!written_at_) written_at_ = now;
  if (at_cut_->awaited() == 0) return true;
  // Who does not come by now is out after its lease; a member that is alive and does not say what became of its
  // step has lost it.
  if (now - *written_at_ < options_.lease) return false;
  Event(absl::StrCat("checkpoint ", course_.cut().name(), ": the commits of ", at_cut_->awaited(),
                     " steps have not come; it says that their records are to be trained on"));
  return true;
}

v1::CheckpointIndex Coordinator::CheckpointIndexNow() const {
  v1::CheckpointIndex index;
  index.set_step(checkpoint_step_);
  index.set_run_id(options_.run_id);
  index.set_era(era_);
  *index.mutable_policy() = policies_.policy();
  *index.mutable_manifest() = manifest_->ToProto();
  index.set_model_fingerprint(manifest_->fingerprint());
  index.set_num_shards(options_.num_shards);
  index.set_block_elements(placement_->block_elements());
  *index.mutable_coordinator_state() = at_cut_->State();
  for (const v1::CutReport& report : course_.reports()) {
    index.set_slots(report.slots());
    for (const v1::CheckpointFile& file : report.files()) *index.add_files() = file;
  }
  return index;
}

void Coordinator::OnCommitted(const absl::Status& status) {
  Replies replies;
  {
    MutexLock lock(mu_);
    committing_ = false;
    if (!shutdown_.empty() || !course_.under_way()) return;
    if (status.ok()) {
      Event(absl::StrFormat("checkpoint %s is committed; %d steps were trained on meanwhile", course_.cut().name(),
                            steps_ - checkpoint_step_));
      checkpoints_.Committed(cut_began_, clock_->Now());
      NoteCheckpoint("");
      Committed();
    } else {
      EndCheckpoint(std::string(status.message()));
    }
    Settle(&replies);
  }
  Send(std::move(replies));
}

void Coordinator::Committed() {
  committed_checkpoint_ = course_.cut().name();
  divergence_.Saved(checkpoint_step_);
  stuck_.clear();
  cannot_choose_.clear();
  committed_number_ = course_.cut().id();
  committed_sequence_ = snapshot_.sequence() + 1;
  if (last_begun_) last_over_ = true;
  course_.End(clock_->Now(), steps_, true);
  changed_ = true;
}

void Coordinator::EndCheckpoint(const std::string& failure) {
  if (committing_) return;  // its end is on its way
  Event(absl::StrCat("checkpoint ", course_.cut().name(), " is given up: ", failure));
  checkpoints_.Failed();
  NoteCheckpoint(failure);
  failed_number_ = course_.cut().id();
  failed_reason_ = failure;
  course_.End(clock_->Now(), steps_, false);
  changed_ = true;
}

// --- On request ------------------------------------------------------------------------------------------

void Coordinator::Checkpoint(const v1::CheckpointRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    absl::Status status = CheckAsker("checkpoint", request.run_id());
    if (options_.committer == nullptr) {
      status = absl::FailedPreconditionError("checkpoint: ps 0 has no --checkpoint_dir");
    }
    if (!status.ok()) {
      replies.Refuse(done, status);
    } else {
      auto held = std::make_unique<Held>();
      held->kind = Held::kCheckpoint;
      held->checkpoint = request;
      if (request.number() == 0) {
        const bool ends_too = request.if_possible() && course_.waited_for_to_end();
        const bool open = course_.under_way() && (!course_.cut().limited() || ends_too || last_begun_);
        held->checkpoint.set_number(open ? course_.cut().id() : snapshot_.sequence() + 1);
      }
      held->done = std::move(done);
      Hold(std::move(held), absl::Milliseconds(request.wait_millis()), &replies);
      DriveCheckpoint();
      Settle(&replies);
    }
  }
  Send(std::move(replies));
}

bool Coordinator::AttemptCheckpoint(Held& held, Replies* replies) {
  const std::uint64_t number = held.checkpoint.number();
  v1::CheckpointReply reply;
  reply.set_number(number);
  const auto refuse = [&](const absl::Status& status) {
    replies->Refuse(std::move(held.done), status);
    return true;
  };
  if (diverged_) return refuse(absl::FailedPreconditionError(absl::StrCat("checkpoint: ", stop_reason_)));
  const bool ended = last_over_ && last_failure_.empty();
  if (committed_number_ >= number || ended) {
    reply.set_name(committed_checkpoint_);
    reply.set_path(absl::StrCat(options_.checkpoint_dir, "/", committed_checkpoint_));
    replies->Answer(std::move(held.done), reply);
    return true;
  }
  const bool failed = failed_number_ >= number && !course_.under_way() && state_ == v1::TRAINING;
  if (failed) return refuse(absl::AbortedError(absl::StrCat("the checkpoint was given up: ", failed_reason_)));
  if (state_ == v1::STARTING) return refuse(absl::FailedPreconditionError("checkpoint: training has not begun"));
  if (state_ == v1::FINISHED) {
    return refuse(absl::FailedPreconditionError(absl::StrCat(
        "checkpoint: the run is over", last_failure_.empty() ? "" : ", and it has no last one: ", last_failure_)));
  }
  const std::string missing = MissingShard();
  if (!missing.empty() && held.checkpoint.if_possible()) {
    return refuse(absl::FailedPreconditionError(absl::StrCat("checkpoint: ", missing)));
  }
  if (held.checkpoint.if_possible() && course_.cut().id() >= number) course_.WaitedForToEnd();
  // The one under way does not do, or none is: DriveCheckpoint begins it.
  if (state_ == v1::TRAINING && (!course_.under_way() || course_.cut().id() < number) && !beginning_) asked_for_ = true;
  if (!held.expired) return false;
  std::string reason = missing;
  if (reason.empty() && !course_.under_way()) reason = "it is about to begin";
  if (reason.empty()) {
    const std::string waits = WaitsFor();  // a cut waits for what a full disk holds up
    reason = absl::StrCat(course_.cut().name(), " is being taken", waits.empty() ? "" : "; waiting: ", waits);
  }
  reply.mutable_not_yet()->set_reason(reason);
  replies->Answer(std::move(held.done), reply);
  return true;
}

}  // namespace leeway
