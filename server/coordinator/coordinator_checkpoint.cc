// Coordinator: checkpoints, from when one is due to when it is committed (docs/adr/0013-cut-of-a-checkpoint.md).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/coordinator/coordinator.h"

namespace leeway {

void Coordinator::DriveCheckpoint() {
  if (options_.committer == nullptr || state_ < v1::TRAINING || going_back_) return;
  const Instant now = clock_->Now();
  if (state_ != v1::TRAINING && course_.under_way()) return EndCheckpoint("training is over");
  course_.Expire(now);
  if (!course_.failure().empty()) return EndCheckpoint(course_.failure());
  if (course_.written() && !committing_ && ProgressComplete(now)) {
    committing_ = true;
    options_.committer->Commit(CheckpointIndexNow(), [this](const absl::Status& status) {
      executor_->Post([this, status] { OnCommitted(status); });
    });
    return;
  }
  const bool all_there = std::all_of(shards_.begin(), shards_.end(), [&](const ShardInfo& shard) {
    return shard.weights_ready && now - shard.seen < options_.lease;
  });
  // A shard that is killed without its journal, and a loss that diverges, need something to go back to from the
  // beginning on.
  const bool might_go_back =
      options_.rollback_on_divergence > 0 ||
      std::any_of(shards_.begin(), shards_.end(), [](const ShardInfo& shard) { return !shard.keeps_journal; });
  const bool bare = might_go_back && committed_checkpoint_.empty() && base_checkpoint_.empty();
  const bool due = course_.Due(now, steps_) || (bare && course_.Free(now));
  if (state_ != v1::TRAINING || beginning_ || !all_there || !due) return;
  beginning_ = true;
  options_.committer->Begin(steps_, [this, step = steps_](const absl::Status& status) {
    executor_->Post([this, step, status] { OnBegun(step, status); });
  });
}

void Coordinator::OnBegun(std::uint64_t step, const absl::Status& status) {
  Replies replies;
  {
    MutexLock lock(mu_);
    beginning_ = false;
    if (!shutdown_.empty() || state_ != v1::TRAINING) return;
    if (!status.ok()) {
      Event(absl::StrCat("no checkpoint at step ", step, ": ", std::string(status.message())));
      course_.End(clock_->Now(), steps_, false);
      return;
    }
    // A number that no cut had before, also not of a coordinator that this one has taken up from.
    course_.Begin(clock_->Now(), snapshot_.sequence() + 1, StepDirectoryName(step));
    at_cut_.reset();
    written_at_.reset();
    checkpoint_step_ = step;
    changed_ = true;
    Settle(&replies);
  }
  Send(std::move(replies));
}

void Coordinator::CaptureProgress() {
  if (at_cut_ || !course_.cut().limited()) return;
  // In rounds the state is right when all the cut's rounds are closed, and the next one is not: no shard has it whole
  // before its cut. Whatever becomes of the workers, it is when all shards have written.
  if (options_.policy.aggregation() == v1::ROUND && !course_.written()) {
    for (const v1::MemberClock& limit : course_.cut().limits()) {
      if (rounds_.open_round() < limit.clock()) return;
    }
  }
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
  *index.mutable_policy() = options_.policy;
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
      committed_checkpoint_ = course_.cut().name();
      divergence_.Saved(checkpoint_step_);
      Event(absl::StrFormat("checkpoint %s is committed", committed_checkpoint_));
      course_.End(clock_->Now(), steps_, true);
      changed_ = true;
    } else {
      EndCheckpoint(std::string(status.message()));
    }
    Settle(&replies);
  }
  Send(std::move(replies));
}

void Coordinator::EndCheckpoint(const std::string& failure) {
  if (committing_) return;  // its end is on its way
  Event(absl::StrCat("checkpoint ", course_.cut().name(), " is given up: ", failure));
  course_.End(clock_->Now(), steps_, false);
  changed_ = true;
}

}  // namespace leeway
