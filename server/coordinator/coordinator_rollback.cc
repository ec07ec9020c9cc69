// Coordinator: going back to a checkpoint (docs/adr/0015-going-back-together.md).
#include <spdlog/spdlog.h>

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/rollback.h"

namespace leeway {

absl::Status Coordinator::AnswerLost(const v1::WatchRequest& request, const std::string& reason) {
  const std::string what = absl::StrCat("ps ", request.shard_index(), " cannot go on: ", reason);
  if (options_.committer == nullptr || state_ == v1::FINISHED) return absl::FailedPreconditionError(what);
  if (!stuck_.empty()) return absl::FailedPreconditionError(absl::StrCat(what, "; ", stuck_));
  // The first word takes the run back; what others say meanwhile is of the same loss.
  const std::string& by = request.lost_said_by();
  if (!by.empty() && !going_back_ && quarantine_.ObserveGoingBack(by)) PutInQuarantine(by);
  GoBack(what, std::numeric_limits<std::uint64_t>::max());
  return absl::UnavailableError(absl::StrCat(what, "; the run goes back to a checkpoint"));
}

void Coordinator::CheckDivergence() {
  if (!divergence_.diverged() || state_ != v1::TRAINING || going_back_) return;
  if (course_.under_way() || beginning_) return;  // it may be the first, and is passed over if it is not good
  if (divergences_ >= kMostDivergences) {
    return FailDiverged(
        absl::StrCat("after going back ", divergences_, " times the loss has diverged again: ", divergence_.reason()));
  }
  if (options_.committer == nullptr || !stuck_.empty()) {
    return FailDiverged(absl::StrCat("the loss has diverged: ", divergence_.reason(), "; ", stuck_));
  }
  GoBack(divergence_.reason(), divergence_.last_good_steps());
}

void Coordinator::FailDiverged(const std::string& reason) {
  diverged_ = last_over_ = true;  // the last good checkpoint stays the newest
  if (course_.under_way()) EndCheckpoint("the model has diverged");
  Fail(reason);
}

void Coordinator::HearOfBadWeights(const std::string& why) {
  divergence_.NotFinite(why);
  if (last_begun_) FailDiverged(absl::StrCat(stop_reason_, ", but there is no model: ", why));
}

void Coordinator::GoBack(const std::string& reason, std::uint64_t at_most) {
  if (std::exchange(going_back_, true)) return;
  Event(absl::StrCat("the run goes back to a checkpoint: ", reason));
  if (course_.under_way()) EndCheckpoint("the run goes back");
  options_.committer->ChooseNewestGood(at_most, [this](absl::StatusOr<v1::CheckpointIndex> checkpoint) {
    executor_->Post([this, checkpoint = std::move(checkpoint)] { OnChosen(checkpoint); });
  });
}

void Coordinator::OnChosen(const absl::StatusOr<v1::CheckpointIndex>& checkpoint) {
  Replies replies;
  std::string name;
  std::uint64_t era = 0;
  {
    MutexLock lock(mu_);
    if (!shutdown_.empty()) return;
    if (checkpoint.ok()) {
      name = StepDirectoryName(checkpoint->step());
      Event(absl::StrCat("the run goes back from ", steps_, " steps to ", name));
    }
    absl::StatusOr<v1::CoordinatorState> state =
        checkpoint.ok() ? RollBack(DescribeLocked(), *checkpoint, name, options_.num_shards)
                        : absl::StatusOr<v1::CoordinatorState>(checkpoint.status());
    if (state.ok()) {
      if (divergence_.diverged()) state->set_divergences(divergences_ + 1);
      era = state->era();
      rolled_back_ = *std::move(state);
    } else {
      going_back_ = false;
      stuck_ = absl::StrCat("and there is nothing to go back to: ", std::string(state.status().message()));
      Event(stuck_);
      Settle(&replies);
    }
  }
  if (era == 0) return Send(std::move(replies));
  // What this coordinator still does is of no account: nobody hears of it.
  Shutdown(absl::StrCat("the run goes back to ", name));
  store_->Changed();
  store_->WhenSaved([this, era, name](const absl::Status& saved) {
    if (saved.ok()) options_.on_go_back(era, name);
  });
}

bool Coordinator::Regrouped() {
  const Instant now = clock_->Now();
  if (!regroup_until_) regroup_until_ = now + options_.lease;
  bool all = true;
  for (const std::string& name : regrouping_) {
    const std::optional<std::uint32_t> id = membership_.IdOf(name);
    all = all && id && membership_.Find(*id) != nullptr;
  }
  if (!all && now < *regroup_until_) return false;
  regrouping_.clear();
  return true;
}

}  // namespace leeway
