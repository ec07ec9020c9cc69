// Coordinator: going back to a checkpoint (docs/adr/0015-going-back-together.md).
#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/rollback.h"

namespace leeway {

namespace {

constexpr absl::Duration kChooseAgain = absl::Seconds(10);
// Whoever has a reason to go back asks again sooner.
constexpr absl::Duration kNobodyAsks = absl::Minutes(1);

std::string JournalEndsAt(std::uint64_t found, std::uint64_t written) {
  return absl::StrCat("the end of the journal is lost: it ends at record ", found, ", and what was answered at record ",
                      written);
}

// What this process has found of its journal. (One of the version before does not say it.)
std::uint64_t FoundBy(const v1::WatchRequest& request) {
  return request.has_journal() ? request.journal().found() : std::numeric_limits<std::uint64_t>::max();
}

}  // namespace

Coordinator::Loss Coordinator::WhyLost(const v1::WatchRequest& request) const {
  if (state_ == v1::FINISHED) return {};  // nobody needs its weights any more: it is told that the run is over
  if (!request.lost().empty()) return {request.lost(), request.lost_said_by()};
  if (request.era() < era_) return {absl::StrCat("it has nothing of era ", era_), ""};
  const ShardInfo& known = shards_[request.shard_index()];
  const std::uint64_t found = FoundBy(request);
  if (known.generation == request.generation()) {
    const bool after = known.next_generation != 0 && request.known_sequence() >= known.next_since;
    if (!after || found >= known.next_answered) return {};
    return {JournalEndsAt(found, known.next_answered), known.answered_said_by};
  }
  if (known.generation == 0) return {};
  // It has its journal, and with it all that its predecessor has said and answered.
  const bool told = request.keeps_journal() && request.known_sequence() >= known.acknowledged;
  const std::uint64_t next = known.next_generation == request.generation() ? 0 : known.next_answered;
  const std::uint64_t answered = std::max(known.answered, next);
  if (told && found >= std::max<std::uint64_t>(known.journal.written(), answered)) return {};
  // What it has said so far is of no weight: nobody has trained, and initial weights are made from the seed.
  if (state_ == v1::STARTING && (!manifest_ || init_fingerprint_ == 0)) return {};
  if (known.acknowledged == 0) return {};
  if (!told) {
    return {absl::StrCat("the weights of generation ", absl::Hex(known.generation), " at ", known.address, " are lost"),
            ""};
  }
  if (found < known.journal.written()) return {JournalEndsAt(found, known.journal.written()), ""};
  return {JournalEndsAt(found, answered), known.answered_said_by};
}

void Coordinator::NoteJournal(const v1::WatchRequest& request) {
  ShardInfo& shard = shards_[request.shard_index()];
  if (shard.generation != request.generation()) {
    if (shard.generation != 0) {
      shard.replaced.push_back(shard.generation);
      shard.found_since.push_back(FoundBy(request));
    }
    if (shard.replaced.size() > ShardInfo::kReplacedKnown) {
      shard.replaced.pop_front();
      shard.found_since.pop_front();
    }
    for (std::uint64_t& found : shard.found_since) found = std::min(found, FoundBy(request));
    shard.journal.Clear();
    shard.answered = shard.next_generation == request.generation() ? shard.next_answered : 0;
    shard.next_generation = shard.next_answered = 0;
  }
  shard.journal.set_found(FoundBy(request));
  shard.journal.set_written(std::max<std::uint64_t>(shard.journal.written(), request.journal().written()));
}

void Coordinator::HearOfJournal(const v1::Journaled& journaled, const std::string& said_by) {
  if (journaled.shard_index() >= shards_.size()) return;
  ShardInfo& shard = shards_[journaled.shard_index()];
  if (journaled.generation() == shard.generation) {
    if (said_by.empty()) {
      shard.journal.set_written(std::max<std::uint64_t>(shard.journal.written(), journaled.records()));
    } else if (journaled.records() > shard.answered) {
      shard.answered = journaled.records();
      shard.answered_said_by = said_by;
    }
    return;
  }
  const auto replaced = std::find(shard.replaced.begin(), shard.replaced.end(), journaled.generation());
  if (replaced == shard.replaced.end()) {
    if (said_by.empty()) return;
    if (shard.next_generation != journaled.generation()) {
      shard.next_generation = journaled.generation();
      shard.next_answered = 0;
      shard.next_since = snapshot_.sequence() + 1;
      changed_ = true;
    }
    shard.next_answered = std::max<std::uint64_t>(shard.next_answered, journaled.records());
    shard.answered_said_by = said_by;
    return;
  }
  const std::uint64_t found = shard.found_since[static_cast<std::size_t>(replaced - shard.replaced.begin())];
  if (journaled.records() <= found) return;
  AnswerLost(journaled.shard_index(), {JournalEndsAt(found, journaled.records()), said_by, true}).IgnoreError();
}

absl::Status Coordinator::AnswerLost(std::uint32_t shard, const Loss& loss) {
  const std::string what = absl::StrCat("ps ", shard, " cannot go on: ", loss.reason);
  if (options_.committer == nullptr || state_ == v1::FINISHED) return absl::FailedPreconditionError(what);
  // Nobody needs its weights: it is soon told that the run is over.
  if (diverged_) return absl::UnavailableError(absl::StrCat(what, "; the run has failed: ", stop_reason_));
  if (!stuck_.empty()) return absl::FailedPreconditionError(absl::StrCat(what, "; ", stuck_));
  // The first word takes the run back; what others say meanwhile is of the same loss.
  const std::string& by = loss.said_by;
  if (!by.empty() && !going_back_ && cannot_choose_.empty() && quarantine_.ObserveGoingBack(by)) PutInQuarantine(by);
  if (loss.said_once) {
    owed_going_back_ = what;
    store_->Changed();
  }
  GoBack(what, std::numeric_limits<std::uint64_t>::max());
  return absl::UnavailableError(
      absl::StrCat(what, "; the run goes back to a checkpoint", cannot_choose_.empty() ? "" : "; ", cannot_choose_));
}

void Coordinator::DriveGoingBack() {
  if (!going_back_ && clock_->Now() - choose_after_ > kNobodyAsks) cannot_choose_.clear();
  CheckDivergence();  // first: it trusts fewer checkpoints
  if (owed_going_back_.empty() || state_ == v1::FINISHED) return;
  GoBack(owed_going_back_, std::numeric_limits<std::uint64_t>::max());
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
  owed_going_back_.clear();
  if (course_.under_way()) EndCheckpoint("the model has diverged");
  Fail(reason);
}

void Coordinator::HearOfBadWeights(const std::string& why) {
  divergence_.NotFinite(why);
  if (last_begun_) FailDiverged(absl::StrCat(stop_reason_, ", but there is no model: ", why));
}

void Coordinator::GoBack(const std::string& reason, std::uint64_t at_most) {
  if (going_back_ || (!cannot_choose_.empty() && clock_->Now() < choose_after_)) return;
  going_back_ = true;
  if (cannot_choose_.empty()) Event(absl::StrCat("the run goes back to a checkpoint: ", reason));
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
    if (!shutdown_.empty() || diverged_ || state_ == v1::FINISHED) return;  // over: nobody needs weights any more
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
      if (IsWorthless(state.status())) {
        owed_going_back_.clear();
        cannot_choose_.clear();
        stuck_ = absl::StrCat("and there is nothing to go back to: ", std::string(state.status().message()));
        Event(stuck_);
      } else {
        // What cannot be read just now may be good.
        const std::string why = absl::StrCat("no checkpoint can be chosen yet: ", state.status().message());
        if (std::exchange(cannot_choose_, why) != why) Event(why);
        choose_after_ = clock_->Now() + kChooseAgain;
      }
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
