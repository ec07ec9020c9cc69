// Shard: its part in a checkpoint. All shards make their cuts at the same steps of every worker: pushes of new steps
// wait until every shard has said how far each worker has come; then what is below the highest of these comes in, the
// cut is made, and pushes go on while it is written (protocol-rules.md 19).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/shard.h"

namespace leeway {
namespace {

// Does the checkpoint hold this step of a worker with this limit?
bool Holds(const v1::MemberClock& limit, std::uint64_t step) {
  return step < limit.clock() &&
         std::find(limit.not_begun().begin(), limit.not_begun().end(), step) == limit.not_begun().end();
}

}  // namespace

void Shard::FollowCut(const v1::Cut& cut) {
  if (replaying_) return;
  if (cut.id() != cut_.id()) {
    // The one before is over, whatever became of it; what this shard still writes of it nobody asks for.
    cut_phase_ = CutPhase::kNone;
    cut_limits_.clear();
    store_cut_.reset();
    cut_report_.Clear();
    cut_ = cut;
    if (cut.id() == 0) return;
    cut_report_.set_id(cut.id());
    cut_phase_ = CutPhase::kHolding;
    if (cut.limited() || cut_sink_ == nullptr || !weights_ready_) {
      cut_phase_ = CutPhase::kReported;
      cut_report_.set_error(absl::StrCat("shard ", options_.index,
                                         cut.limited()          ? " has begun in the middle of it"
                                         : cut_sink_ == nullptr ? " has no --checkpoint_dir"
                                                                : " has no weights yet"));
      return;
    }
    // In rounds the cut is between two: a checkpoint does not hold what is held for an open one, or is about to be,
    // also of a worker that has left.
    if (aggregation() == v1::ROUND) cut_report_.set_round(std::max(rounds_.end(), departed_.end()));
    for (const auto& [id, info] : members_) {
      if (info.proto.state() == v1::OBSERVER) continue;
      v1::MemberClock& seen = *cut_report_.add_seen();
      seen.set_worker_id(id);
      seen.set_incarnation(info.proto.incarnation());
      seen.set_clock(info.window.highest());
      seen.set_entry(info.proto.entry_clock());
      for (const std::uint64_t step : info.window.given()) seen.add_begun(step);
      for (const std::uint64_t step : info.window.OpenBelow(info.window.clock())) {
        info.window.Begun(step) ? seen.add_begun(step) : seen.add_not_begun(step);
      }
      cut_limits_[id] = seen;
    }
    return;
  }
  if (cut.limited() && !cut_.limited()) {
    cut_ = cut;
    cut_limits_.clear();
    for (const v1::MemberClock& limit : cut.limits()) cut_limits_[limit.worker_id()] = limit;
  }
}

bool Shard::WaitsForCut(const v1::PushRequest& header) const {
  if (cut_phase_ != CutPhase::kHolding) return false;
  const auto limit = cut_limits_.find(header.stamp().worker_id());
  const bool known = limit != cut_limits_.end() && limit->second.incarnation() == header.stamp().incarnation();
  return known ? !Holds(limit->second, header.clock()) : header.clock() >= cut_.round();
}

void Shard::TryCut() {
  if (cut_phase_ != CutPhase::kHolding || !cut_.limited() || chunks_under_way_ > 0 || closing_ || !closes_.empty()) {
    return;
  }
  if (open_round_ < cut_.round()) return;
  for (const auto& [id, info] : members_) {
    const auto limit = cut_limits_.find(id);
    if (limit == cut_limits_.end() || limit->second.incarnation() != info.proto.incarnation()) continue;
    if (info.proto.state() == v1::OBSERVER) continue;
    for (const std::uint64_t step : info.window.OpenBelow(limit->second.clock())) {
      if (Holds(limit->second, step)) return;
    }
  }
  cut_phase_ = CutPhase::kWriting;
  cut_limits_.clear();
  cut_report_.set_version(version_);
  last_cut_ = cut_.id();
  cut_made_ = cut_.name();
  journal_at_cut_ = journal_ == nullptr ? 0 : journal_->bytes();
  store_cut_ = cut_sink_->Begin(cut_.id(), cut_.name(), SaveStateLocked(), store_);
  // Who waited goes on. Not at once: this may be called in the middle of a pump.
  executor_->Post([this] {
    Actions actions;
    {
      MutexLock lock(mu_);
      Pump(&actions);
    }
    Run(actions);
  });
}

void Shard::Drain() {
  MutexLock lock(mu_);
  draining_ = true;
}

bool Shard::Quiet() {
  MutexLock lock(mu_);
  return chunks_under_way_ == 0 && !closing_ && copies_under_way_ == 0;
}

std::uint64_t Shard::last_cut() {
  MutexLock lock(mu_);
  return last_cut_;
}

void Shard::CutWritten(const v1::CutReport& report) {
  MutexLock lock(mu_);
  if (report.id() != cut_.id() || cut_phase_ != CutPhase::kWriting) return;
  const std::uint64_t version = cut_report_.version();
  cut_report_ = report;
  cut_report_.set_version(version);
  store_cut_.reset();
  cut_phase_ = CutPhase::kReported;
}

}  // namespace leeway
